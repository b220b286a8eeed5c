"""For the tests of applications: a clock that only the test moves, storages that fail on request, and probes."""

from ._behavior_driver import BehaviorDriver as BehaviorDriver
from ._behavior_driver import Outcome as Outcome
from ._clock import VirtualLoop as VirtualLoop
from ._clock import advance as advance
from ._clock import settle as settle
from ._clock import virtual_time as virtual_time
from ._faults import Call as Call
from ._faults import FaultyStorage as FaultyStorage
from ._faults import delay as delay
from ._faults import fail as fail
from ._faults import has_manifest as has_manifest
from ._faults import has_value as has_value
from ._faults import hold as hold
from ._faults import lose_answer as lose_answer
from ._probe import Probe as Probe
