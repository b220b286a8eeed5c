"""Recording what a process does to the files of a directory, call by call, and putting faults into single calls.

Linux on x86-64 and aarch64, with ptrace and seccomp, for any user; `refusal()` says why it cannot be done elsewhere.
"""

from ._final_state import final_state as final_state
from ._mapped import mapped_files_matter as mapped_files_matter
from ._record import Recording as Recording
from ._record import RecordingRefused as RecordingRefused
from ._record import record as record
from ._record import record_command as record_command
from ._refusal import refusal as refusal
from .faults import Capacity as Capacity
from .faults import Fail as Fail
from .faults import Injection as Injection
from .faults import Kill as Kill
from .faults import Lie as Lie
from .faults import Short as Short
