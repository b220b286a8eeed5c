"""The tracer: stops a process and all that it starts at each call of the filter, and says to whom the call belongs.

One recorded call is under way at a time: a thread that comes to another one waits until the first has ended. So the
calls have one order, what they did can be looked at in peace, and a kill leaves exactly what the trace says.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
from collections import deque
from contextlib import suppress

import msgspec

from ..trace import AnyCall
from . import _ptrace
from ._calls import Attempt, Calls, Entry, buffers
from ._files import Root
from ._filter import FOREIGN
from ._machine import Machine
from ._ptrace import CONT, SYSCALL, Registers
from .faults import AnyFault, Fail, Faults, Kill, Lie, Short

WALL, WNOTHREAD = 0x40000000, 0x20000000
SYSCALL_STOP = 5 | 0x80  # SIGTRAP, which Windows does not name


class Flight(msgspec.Struct):
    """The recorded call that is under way, and what must be put right at its end."""

    tid: int
    attempt: Attempt
    forced: int | None = None
    """The result that a call is given which was not carried out."""

    argument: tuple[int, int] | None = None
    memory: tuple[int, bytes] | None = None
    kill: bool = False


class Tracer:
    """Traces one process that has submitted, in the thread that started it, until nothing of it is left."""

    def __init__(self, machine: Machine, pid: int, root: Root, calls: Calls, faults: Faults) -> None:
        self._machine = machine
        self._names = {number: name for name, number in (machine.calls | machine.reads).items()}
        self._pid, self._root, self._calls, self._faults = pid, root, calls, faults
        self._alive: set[int] = {pid}
        self._fresh: set[int] = {pid}
        self._held: deque[int] = deque()
        self._flight: Flight | None = None
        self._killed = False
        self.submitted = False
        self.trace: list[AnyCall] = []
        self.stops = 0
        self.status = 0
        """How the process ended, as `os.waitpid` tells it."""

    def run(self) -> None:
        """Until the last thread has ended. Whatever goes wrong here, the processes are killed and waited for."""
        try:
            while self._next():
                pass
        finally:
            self.kill()
            while self._reap():
                pass

    def kill(self) -> None:
        """Kill every process that is traced. What is stopped before a call does not make it any more."""
        self._killed = True
        for tid in self._alive:
            _kill(tid)

    def _reap(self) -> bool:
        with suppress(ChildProcessError):
            tid, status = os.waitpid(-1, WALL | WNOTHREAD)
            if os.WIFSTOPPED(status):
                _kill(tid)
            else:
                self._gone(tid, status)
            return True
        return False

    def _next(self) -> bool:
        """Wait for one thread to stop or end, and see to it. The wait is for what this Python thread started only."""
        try:
            tid, status = os.waitpid(-1, WALL | WNOTHREAD)
        except ChildProcessError:
            return False
        if not os.WIFSTOPPED(status):
            self._gone(tid, status)
        elif self._killed:
            _kill(tid)  # it has just been started by one that was killed
        else:
            with suppress(ProcessLookupError):  # killed from elsewhere while it was stopped
                self._stopped(tid, os.WSTOPSIG(status), status >> 16)
        return True

    def _gone(self, tid: int, status: int) -> None:
        self._alive.discard(tid)
        if tid in self._held:
            self._held.remove(tid)
        if self._flight is not None and self._flight.tid == tid:
            self._flight = None
        if tid == self._pid:
            self.status = status
            self.kill()  # nothing that it started outlives it
        elif not self._killed:
            self._release()

    def _stopped(self, tid: int, number: int, event: int) -> None:
        if tid not in self._alive:
            self._alive.add(tid)
            self._fresh.add(tid)
        if event == _ptrace.EVENT_SECCOMP:
            self.stops += 1
            self._at_entry(tid)
        elif number == SYSCALL_STOP:
            self._at_exit(tid)
        elif event == _ptrace.EVENT_EXEC:
            former = _ptrace.event_message(tid)
            if former != tid:  # a thread that was not the first has become the process, under the first's number
                self._gone(former, 0)
            self._resume(tid)
        elif event:
            self._resume(tid)
        elif number == signal.SIGSTOP and tid in self._fresh:
            self._begin(tid)
        else:
            self._resume(tid, number)

    def _begin(self, tid: int) -> None:
        """The first stop of a thread: our process has submitted, or something that is traced has started it."""
        self._fresh.discard(tid)
        if tid == self._pid:
            _ptrace.request(_ptrace.SETOPTIONS, tid, None, _ptrace.OPTIONS)
            self.submitted = True
        self._resume(tid)

    def _resume(self, tid: int, number: int = 0, until: int = CONT) -> None:
        _ptrace.request(until, tid, None, number)

    def _at_entry(self, tid: int) -> None:
        if self._flight is not None:
            self._held.append(tid)
            return
        registers = Registers(self._machine, tid)
        if _ptrace.event_message(tid) == FOREIGN or registers.number not in self._names:
            self._calls.give_up("unknown", "a program for another kind of processor was run")
            self._resume(tid)
            return
        entry = Entry(tid, self._names[registers.number], registers.arguments)
        attempt = self._attempt(entry)
        if attempt is None:
            self._resume(tid)
        else:
            self._take_off(entry, attempt, registers)

    def _attempt(self, entry: Entry) -> Attempt | None:
        try:
            return self._calls.attempt(entry)
        except (OSError, struct.error) as error:
            if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EFAULT, errno.ENOENT, errno.ENOTDIR):
                return None  # an address or a name that leads nowhere: the call will fail
            raise

    def _take_off(self, entry: Entry, attempt: Attempt, registers: Registers) -> None:
        flight = Flight(entry.tid, attempt)
        fault = self._fault(attempt)
        if fault == Kill("before"):
            self.kill()
            return
        self._flight = flight
        if fault is not None:
            self._prepare(flight, fault, entry, registers)
        self._resume(entry.tid, until=SYSCALL)

    def _fault(self, attempt: Attempt) -> AnyFault | None:
        if attempt.kind is None:
            return None
        so_far = len(self._calls.reads if attempt.kind == "read" else self.trace)
        fault = self._faults.befalls(so_far + 1, attempt.kind, attempt.size)
        if fault is None and attempt.growth and self._faults.limits_size:
            return self._faults.fullness(attempt.size, attempt.growth, self._root.used())
        return fault

    def _prepare(self, flight: Flight, fault: AnyFault, entry: Entry, registers: Registers) -> None:
        match fault:
            case Fail(error=name):
                self._skip(flight, -int(getattr(errno, name)), registers)
            case Lie():
                self._skip(flight, 0, registers)
            case Short(size=size):
                self._shorten(flight, size, entry, registers)
            case Kill(when="within"):
                flight.kill = True
                self._shorten(flight, flight.attempt.size // 2, entry, registers)
            case Kill():
                flight.kill = True

    def _skip(self, flight: Flight, result: int, registers: Registers) -> None:
        flight.forced = result
        registers.skip_call()
        registers.set_result(result)
        registers.store()

    def _shorten(self, flight: Flight, size: int, entry: Entry, registers: Registers) -> None:
        """Let a write have only its first bytes. Programs rely on registers and buffers to stay as they are."""
        place = flight.attempt.count_argument
        if place is None:
            place, size = 2, self._shorten_vector(flight, size, entry)
        flight.argument = place, entry.arguments[place]
        registers.set_argument(place, size)
        registers.store()

    def _shorten_vector(self, flight: Flight, size: int, entry: Entry) -> int:
        """Cut the buffer in which the limit lies, and give back how many buffers remain."""
        for place, (_, length) in enumerate(buffers(entry)):
            if size <= length:
                address = entry.arguments[1] + 16 * place + 8
                flight.memory = address, struct.pack("=Q", length)
                _ptrace.write_memory(entry.tid, address, struct.pack("=Q", size))
                return place + 1
            size -= length
        return len(buffers(entry))

    def _at_exit(self, tid: int) -> None:
        flight = self._flight
        if flight is None or flight.tid != tid:
            self._resume(tid)
            return
        registers = Registers(self._machine, tid)
        self._restore(flight, registers)
        if flight.forced is None and registers.result >= 0:
            self._record(flight, registers.result)
        self._flight = None
        if flight.kill:
            self.kill()
            return
        self._resume(tid)
        self._release()

    def _restore(self, flight: Flight, registers: Registers) -> None:
        if flight.memory is not None:
            _ptrace.write_memory(flight.tid, *flight.memory)
        if flight.argument is not None:
            registers.set_argument(*flight.argument)
        if flight.forced is not None:
            registers.set_result(flight.forced)
        if flight.argument is not None or flight.forced is not None:
            registers.store()

    def _record(self, flight: Flight, result: int) -> None:
        try:
            self.trace.extend(flight.attempt.finish(result))
        except OSError as error:
            self._calls.give_up("unknown", f"what a call did could not be read: {error}")

    def _release(self) -> None:
        """Let those go on that waited for the recorded call to end, until one of them makes the next."""
        while self._held and self._flight is None and not self._killed:
            with suppress(ProcessLookupError):
                self._at_entry(self._held.popleft())


def _kill(tid: int) -> None:
    """Kill the process of a thread. Nobody else has its number, since nobody has waited for it yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(tid, signal.SIGKILL)
