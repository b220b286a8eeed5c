"""What runs an actor: its mailbox, the one handler that is active, and its life from start to stop.

No actor has a task of its own. When it is its turn (`_dispatcher`), a cell handles a few dozen messages; only a handler
that is a coroutine gets a task, and until that has ended the cell does nothing else. Three queues are served in this
order: `control` (stopping, restarting), `urgent` (answers of the journal), and the mailbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InitializationFailed
from ._actor import Actor, resolve
from ._context import Context
from ._messages import DeadLetter, PoisonPill, ReceiveTimeout, Terminated, TimerFired
from ._ref import ActorRef, LocalRef
from ._supervision import Directive
from ._timers import Timers

if TYPE_CHECKING:
    from ._runtime import Runtime

log = logging.getLogger("perdure.actors")

THROUGHPUT = 64
"""Messages that an actor handles before others have their turn."""

_AUTO = frozenset({PoisonPill, Terminated, TimerFired, ReceiveTimeout})
"""Types of messages that the cell looks at before the actor does."""

_NOTHING = object()


class Parent(Protocol):
    """What a cell asks of whoever spawned it: another cell, or the runtime."""

    def directive(self, child: Cell, error: Exception) -> Directive: ...
    def child_failed(self, error: Exception) -> None: ...
    def child_ended(self, child: Cell) -> None: ...


class Cell:
    """One actor over all its incarnations."""

    # Not for the memory alone: with more than 30 attributes in a dict each look at one takes twice as long.
    __slots__ = (
        "_actor",
        "_behaviors",
        "_childless",
        "_control",
        "_end_waiters",
        "_factory",
        "_loop",
        "_names",
        "_parent",
        "_receive",
        "_receive_timeout_s",
        "_receive_timer",
        "_scheduled",
        "_soon",
        "_suspended",
        "_task",
        "after",
        "answer",
        "capacity",
        "children",
        "context",
        "ended",
        "held",
        "interruptible",
        "mailbox",
        "message",
        "on_overflow",
        "parent_ref",
        "ref",
        "restarts",
        "runtime",
        "sender",
        "stashed",
        "stopping",
        "timers",
        "urgent",
        "watchers",
        "watching",
    )

    def __init__(
        self, runtime: Runtime, parent: Parent, parent_ref: ActorRef | None, factory: Callable[[], Actor], path: str
    ) -> None:
        self.runtime = runtime
        self.ref = LocalRef(path, self)
        self.parent_ref = parent_ref
        self.context = Context(self)
        self.children: dict[str, Cell] = {}
        self.watchers: set[Cell] = set()
        self.watching: set[ActorRef] = set()
        self.mailbox: deque[tuple[object, ActorRef | None]] = deque()
        self.stashed: deque[tuple[object, ActorRef | None]] = deque()
        self.urgent: deque[Any] = deque()
        self.sender: ActorRef | None = None
        self.message: object = _NOTHING
        self.held = False
        self.capacity: int | None = None
        self.on_overflow: Callable[[object, ActorRef | None], None] = self._dead
        self.answer: Callable[[Any], object] = _no_answers
        self.after: Callable[[], None] | None = None
        self.ended = False
        self.stopping = False
        self.interruptible = False
        self.restarts: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._soon = runtime.dispatcher.add
        self.timers = Timers(self, self._loop)
        self._parent = parent
        self._factory = factory
        self._actor: Actor | None = None
        self._receive: Callable[[object], object] = _no_answers
        self._behaviors: list[Callable[[object], object]] = []
        self._control: deque[Callable[[], None]] = deque()
        self._task: asyncio.Task[Any] | None = None
        self._scheduled = False
        self._suspended = False
        self._childless: asyncio.Future[None] | None = None
        self._end_waiters: list[asyncio.Future[None]] = []
        self._receive_timeout_s: float | None = None
        self._receive_timer: asyncio.TimerHandle | None = None
        self._names = 0
        self._control.append(lambda: self._run_task(self._start(None)))
        self.schedule()

    # -- the queues

    def enqueue(self, message: object, sender: ActorRef | None) -> None:
        if self.ended:
            self._dead(message, sender)
            return
        if self.capacity is not None and len(self.mailbox) >= self.capacity and self._holding():
            self.on_overflow(message, sender)
            return
        self.mailbox.append((message, sender))
        if not self._scheduled and not self.held and self._task is None:
            self._scheduled = True
            self._soon(self._run)

    def _holding(self) -> bool:
        return self.held or self.interruptible

    def post(self, answers: list[Any]) -> None:
        """Answers for the actor, handled before any further message."""
        self.urgent.extend(answers)
        if not self._scheduled and self._task is None and not self.ended:
            self._scheduled = True
            self._soon(self._run)

    def control(self, action: Callable[[], None]) -> None:
        self._control.append(action)
        self.schedule()

    def schedule(self) -> None:
        if not self._scheduled and self._task is None and not self.ended:
            self._scheduled = True
            self._soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        for _ in range(THROUGHPUT):
            if self._task is not None or self.ended:
                return
            if self._control:
                self._control.popleft()()
                continue
            if self._suspended:
                return
            if self.urgent:
                self.message = _NOTHING
                step, argument = self.answer, self.urgent.popleft()
            elif self.mailbox and not self.held:
                argument, self.sender = self.mailbox.popleft()
                if argument.__class__ in _AUTO:
                    argument = self._automatic(argument)
                    if argument is _NOTHING:
                        continue
                self.message = argument
                if self._receive_timeout_s is not None:
                    self._rearm_receive_timeout()
                step = self._receive
            else:
                return
            try:  # no function of its own: this is the path of every message
                result = step(argument)
            except Exception as error:
                self._done(error)
                continue
            if result is not None and hasattr(result, "__await__"):
                self._run_task(_coroutine(result))
            elif self.after is not None:
                self.after()
        self.schedule()

    def _automatic(self, message: object) -> object:
        """What the actor is to receive instead, or `_NOTHING`."""
        if isinstance(message, TimerFired):
            return message.message if self.timers.accept(message) else _NOTHING
        if isinstance(message, Terminated):
            if message.ref not in self.watching:
                return _NOTHING
            self.watching.discard(message.ref)
            return message
        if isinstance(message, PoisonPill):
            self.stop()
            return _NOTHING
        return message if self._receive_timeout_s is not None else _NOTHING

    def _done(self, error: BaseException | None) -> None:
        if self.after is not None:
            self.after()
        if error is not None:
            self._fail(error)

    # -- tasks: coroutine handlers and the steps of life

    def _run_task(self, work: Coroutine[Any, Any, Any]) -> None:
        self._task = self._loop.create_task(work, name=self.ref.path)
        self._task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        self.interruptible = False
        if task.cancelled():
            self.stop()
            self.schedule()
            return
        error = task.exception()
        if not self.ended:
            self._done(error)
        elif error is not None:
            log.error("%s: %r while stopping", self.ref.path, error, exc_info=error)
        self.schedule()

    def abort(self) -> None:
        """Cancel the coroutine that is being awaited, if any; the actor then stops."""
        if self._task is not None:
            self._task.cancel()

    async def _start(self, error: BaseException | None) -> None:
        """Make an instance and start it. What raises here is a failure of initialization."""
        try:
            actor = self._factory()
            actor._attach(self)
        except Exception as cause:
            raise InitializationFailed(f"{self.ref.path} could not be made: {cause!r}") from cause
        self._actor = actor
        self._receive = actor.receive
        self._behaviors.clear()
        await actor._start(error)

    async def _restart(self, error: BaseException, message: object) -> None:
        if self._actor is not None:
            self.message = message
            await resolve(self._actor.pre_restart(error, message))
            self._detach()
        await self._stop_children()
        self.unstash(len(self.stashed))
        self._suspended = False
        await self._start(error)

    async def _stop(self) -> None:
        await self._stop_children()
        try:
            if self._actor is not None:
                await resolve(self._actor.post_stop())
        except Exception as error:
            log.exception("%s: post_stop raised %r", self.ref.path, error)
        finally:
            self._detach()
            self._finish()

    def _detach(self) -> None:
        self.timers.cancel_all()
        self.set_receive_timeout(None)
        self.held = False
        self.urgent.clear()
        self.answer, self.after = _no_answers, None
        if self._actor is not None:
            self._actor._detach()
            self._actor = None

    async def _stop_children(self) -> None:
        if self.children:
            for child in list(self.children.values()):
                child.stop()
            self._childless = self._loop.create_future()
            await self._childless
            self._childless = None

    def _finish(self) -> None:
        self.ended = True
        for ref in self.watching:
            assert isinstance(ref, LocalRef)
            ref.cell.watchers.discard(self)
        for message, sender in (*self.stashed, *self.mailbox):
            if message.__class__ not in _AUTO:
                self._dead(message, sender)
        self.mailbox.clear()
        self.stashed.clear()
        for watcher in list(self.watchers):
            watcher.enqueue(Terminated(self.ref), self.ref)
        self._parent.child_ended(self)
        for waiter in self._end_waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _dead(self, message: object, sender: ActorRef | None) -> None:
        self.runtime.dead_letter(DeadLetter(message, sender, self.ref))

    # -- failure

    def fail(self, error: Exception) -> None:
        """Fail as if a handler had raised, after the current one."""
        self.control(lambda: self._fail(error))

    def _fail(self, error: BaseException) -> None:
        if self.stopping:
            log.error("%s failed while it was about to stop: %r", self.ref.path, error, exc_info=error)
            return
        self._suspended = True
        if not isinstance(error, Exception):
            self.stop()
            return
        directive = self._parent.directive(self, error)
        level = logging.DEBUG if directive is Directive.ESCALATE else logging.ERROR
        log.log(level, "%s failed: %r; %s", self.ref.path, error, directive.value, exc_info=error)
        if directive is Directive.RESUME:
            self._resume()
        elif directive is Directive.RESTART:
            message = None if self.message is _NOTHING else self.message
            self._control.append(lambda: self._run_task(self._restart(error, message)))
            self.schedule()
        elif directive is Directive.STOP:
            self.stop()
        else:
            self._parent.child_failed(error)

    def _resume(self) -> None:
        self._suspended = False
        for child in self.children.values():
            if child._suspended:  # its failure was escalated to us
                child._resume()
        self.schedule()

    def directive(self, child: Cell, error: Exception) -> Directive:
        strategy = (self._actor or Actor).supervisor_strategy
        decision = strategy.decide(error)
        if decision is Directive.RESTART and not strategy.may_restart(child.restarts, self._loop.time()):
            return Directive.STOP
        return decision

    def child_failed(self, error: Exception) -> None:
        self.fail(error)

    def child_ended(self, child: Cell) -> None:
        self.children.pop(child.ref.path.rpartition("/")[2], None)
        if not self.children and self._childless is not None and not self._childless.done():
            self._childless.set_result(None)

    # -- what the context and the actor ask for

    def stop(self) -> None:
        """Stop after what is being handled now. Recovery is broken off; a coroutine handler is waited for."""
        if self.stopping or self.ended:
            return
        self.stopping = True
        self._control.clear()
        self._control.append(lambda: self._run_task(self._stop()))
        if self._task is not None and self.interruptible:
            self._task.cancel()
        self.schedule()

    async def wait_ended(self) -> None:
        if not self.ended:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._end_waiters.append(waiter)
            await waiter

    def spawn(self, factory: Callable[[], Actor], name: str | None) -> ActorRef:
        if self.stopping:
            raise RuntimeError(f"{self.ref.path} is stopping and can have no new child")
        self._names += 1
        key = child_name(name, self._names, self.children, self.ref.path)
        child = Cell(self.runtime, self, self.ref, factory, f"{self.ref.path}/{key}")
        self.children[key] = child
        return child.ref

    def add_watcher(self, watcher: Cell) -> None:
        if self.ended:
            watcher.enqueue(Terminated(self.ref), self.ref)
        else:
            self.watchers.add(watcher)

    def become(self, receive: Callable[[object], object], discard_old: bool) -> None:
        if not discard_old:
            self._behaviors.append(self._receive)
        self._receive = receive

    def unbecome(self) -> None:
        if self._behaviors:
            self._receive = self._behaviors.pop()
        elif self._actor is not None:
            self._receive = self._actor.receive

    def stash_current(self) -> None:
        if self.message is _NOTHING:
            raise RuntimeError("stash() has no message to stash here: a persist handler is no message")
        if self.stashed and self.stashed[-1][0] is self.message and self.stashed[-1][1] is self.sender:
            raise RuntimeError(f"{self.message!r} is stashed already")
        self.stashed.append((self.message, self.sender))

    def unstash(self, count: int) -> None:
        """Put the oldest ones back to the front of the mailbox, in their order."""
        oldest = [self.stashed.popleft() for _ in range(min(count, len(self.stashed)))]
        self.mailbox.extendleft(reversed(oldest))
        self.schedule()

    def set_receive_timeout(self, timeout_s: float | None) -> None:
        self._receive_timeout_s = timeout_s
        self._rearm_receive_timeout()

    def _rearm_receive_timeout(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None
        if self._receive_timeout_s is not None:
            self._receive_timer = self._loop.call_later(self._receive_timeout_s, self.enqueue, ReceiveTimeout(), None)


def child_name(name: str | None, number: int, taken: dict[str, Cell], path: str) -> str:
    """The name that a child gets: its own, if that is free, or one made from a number."""
    if name is None:
        return f"${number}"
    if not name or "/" in name or name.startswith("$"):
        raise ValueError(f"actor name {name!r} is not allowed: not empty, no '/', no '$' at its beginning")
    if name in taken:
        raise ValueError(f"{path} has a child named {name!r} already")
    return name


def _no_answers(answer: object) -> object:
    raise AssertionError(f"nothing waits for {answer!r}")


async def _coroutine(awaitable: Awaitable[Any] | Any) -> Any:
    return await awaitable
