"""Actors in one process, on asyncio: what persistent actors need, and no more."""

from ._actor import UNHANDLED as UNHANDLED
from ._actor import Actor as Actor
from ._actor import Unhandled as Unhandled
from ._backoff import BackoffSupervisor as BackoffSupervisor
from ._context import Context as Context
from ._messages import DeadLetter as DeadLetter
from ._messages import Failure as Failure
from ._messages import PoisonPill as PoisonPill
from ._messages import ReceiveTimeout as ReceiveTimeout
from ._messages import Terminated as Terminated
from ._ref import ActorRef as ActorRef
from ._runtime import Runtime as Runtime
from ._supervision import Directive as Directive
from ._supervision import SupervisorStrategy as SupervisorStrategy
from ._supervision import stopping_strategy as stopping_strategy
from ._timers import Timers as Timers
