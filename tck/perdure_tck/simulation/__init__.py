"""The simulation: an event loop without clock, threads and sockets, on which the kit chooses what runs next."""

from ._loop import Deadlock as Deadlock
from ._loop import Livelock as Livelock
from ._loop import NotSimulated as NotSimulated
from ._loop import SimulatedLoop as SimulatedLoop
from ._schedule import Choose as Choose
from ._schedule import Schedule as Schedule
from ._schedule import following as following
from ._schedule import schedules as schedules
from ._thread import END_S as END_S
from ._thread import SimulatedThread as SimulatedThread
