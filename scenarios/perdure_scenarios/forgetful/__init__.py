"""The forgetful disk: a file system that forgets what was not synced, and power cuts under load on top of it."""

from ._disk import Keep as Keep
from ._disk import Model as Model
from ._load import Load as Load
from ._load import LoadFailed as LoadFailed
from ._load import Powered as Powered
from ._load import cut_under_load as cut_under_load
from ._load import power_cuts_under_load as power_cuts_under_load
from ._load import totals as totals
from ._load import worst as worst
from ._lost import SEVERITIES as SEVERITIES
from ._lost import Batch as Batch
from ._lost import Lost as Lost
from ._lost import Severity as Severity
from ._lost import judged as judged
from ._lost import unopenable as unopenable
from ._mount import REFUSE as REFUSE
from ._mount import DiskFailed as DiskFailed
from ._mount import ForgetfulDisk as ForgetfulDisk
from ._mount import refusal as refusal
from ._rules import Counters as Counters
from ._rules import Rule as Rule
