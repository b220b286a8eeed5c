"""Recording: run something under the tracer, listen to what it reports, and give back everything that it did.

The tracer has a thread of its own, since ptrace obeys only the thread that started the process. Whoever asked for the
recording listens meanwhile. Before each call the tracer listens as well, so that what a worker has told before it made
a call is counted before the call, always.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
from perdure_tck.stage import KitFault

from ..crew import Start, Worker, spawned, worker_command
from ..submission import submission, submitting_command
from ..tasks import AnyReport, Closing, Completed, Invoked, NotReady, Run, Words
from ..trace import Trace
from ._calls import Calls, Read
from ._files import Root, Unrecordable
from ._filter import filter_for
from ._final_state import difference, final_state
from ._machine import Machine, this_machine
from ._tracer import Tracer
from .faults import Capacity, Faults, Injection


class RecordingRefused(Exception):
    """This machine does not let a process be traced. `refusal()` says so beforehand."""


class Recording(msgspec.Struct, frozen=True):
    """What a process did to a directory, what it told meanwhile, and how it ended."""

    trace: Trace
    reports: tuple[AnyReport, ...]
    exit: int
    """As in `subprocess`: minus the number of the signal for one that was killed."""

    silent: bool
    """Whether it was killed because it took too long."""

    struck: int
    """How many calls a fault has struck. A fault that struck none has shown nothing."""

    mapped: tuple[str, ...]
    """Files that were changed in memory and never synced, and whose contents therefore the trace does not have."""

    said: str
    """The end of what it wrote to standard output and standard error."""

    stops: int
    """How often it was stopped."""

    reads: tuple[Read, ...] = ()
    """The reads of its files, if they were asked for."""


class Hearing:
    """What a worker has told so far. Two threads listen; neither misses what the other has heard."""

    def __init__(self, steps: int) -> None:
        self._lock = threading.Lock()
        self._steps = steps
        self.worker: Worker | None = None
        self.reports: list[AnyReport] = []
        self.ended = False
        self._step = 0
        self._told = 0

    def listen(self) -> tuple[int, int]:
        """Take in what is in the pipe: the step under way, and how many acknowledgements have come."""
        with self._lock:
            heard = self.worker.heard() if self.worker and not self.ended else []
            self.ended = self.ended or heard is None
            for report in heard or ():
                self._note(report)
            return self._step, self._told

    def _note(self, report: AnyReport) -> None:
        self.reports.append(report)
        match report:
            case Invoked(number=number):
                self._step = number
            case Completed():
                self._told += 1
            case Closing():
                self._step = self._steps + 1


def record(
    words: Words,
    run: Run,
    injections: Sequence[Injection] = (),
    capacity: Capacity | None = None,
    limit_s: float = 120.0,
    environment: Mapping[str, str] | None = None,
    process: Start = spawned,
    reads: bool = False,
) -> Recording:
    """Carry out a program in a directory, which must be there, and record what the backend does to it. `process` is
    how the process is started: `spawned`, or by a `Nursery`.

    With `reads` also what it reads is told, which costs a stop for each read; faults in reads bring that about.
    Raises `KitFault` if the backend cannot be loaded, and `RecordingRefused` where processes cannot be traced.
    """

    def start(submission: str) -> Worker:
        return Worker(lambda pipes: worker_command(words, pipes, submission), environment, process)

    recording = _recorded(start, run.directory, run, Faults(injections, capacity), limit_s, reads)
    for report in recording.reports:
        if isinstance(report, NotReady):
            raise KitFault(report.message)
    return recording


def record_command(
    command: Sequence[str],
    directory: str,
    injections: Sequence[Injection] = (),
    capacity: Capacity | None = None,
    limit_s: float = 120.0,
) -> Recording:
    """Run any command and record what it does to a directory. It tells nothing, so every call has step 0."""

    def start(submission: str) -> Worker:
        return Worker(lambda _: submitting_command(submission, command))

    return _recorded(start, directory, None, Faults(injections, capacity), limit_s)


Submitted = Callable[[str], Worker]
"""Starts a process that is given this submission."""


class _Box:
    """One recording while it is made: the thread that traces, and what it has come to."""

    def __init__(
        self, start: Submitted, machine: Machine, root: Root, hearing: Hearing, faults: Faults, reads: bool
    ) -> None:
        self._start, self._machine, self._hearing, self._reads = start, machine, hearing, reads or faults.reads
        self.root, self.faults = root, faults
        self.calls = Calls(root, hearing.listen)
        self.tracer: Tracer | None = None
        self.started = threading.Event()
        self.error: BaseException | None = None
        self._process: int | None = None
        self.thread = threading.Thread(target=self._trace, name="perdure-tracer", daemon=True)

    def _trace(self) -> None:
        try:
            worker = self._start(submission(filter_for(self._machine, self._reads)))
            self._process = os.pidfd_open(worker.pid)
            self._hearing.worker = worker
            self.tracer = Tracer(self._machine, worker.pid, self.root, self.calls, self.faults)
            self.started.set()
            self.tracer.run()
        except BaseException as error:
            self.error = error
        finally:
            self.started.set()

    def kill(self) -> None:
        """Kill the process; the tracer sees to the rest. By a descriptor, which can mean no other process."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def end(self) -> None:
        """Wait until nothing is left of it."""
        self.kill()
        if self.thread.ident is not None:
            self.started.wait()
            self.kill()
            self.thread.join()
        if self._process is not None:
            os.close(self._process)
            self._process = None


def _recorded(
    start: Submitted, directory: str, task: Run | None, faults: Faults, limit_s: float, reads: bool = False
) -> Recording:
    machine = this_machine()
    if machine is None:
        raise RecordingRefused("the registers of this machine are not known")
    root, hearing = Root(directory), Hearing(len(task.program.steps) if task else 0)
    before = root.contents()
    box = _Box(start, machine, root, hearing, faults, reads)
    silent = False
    try:
        box.thread.start()
        silent = _listen(box, hearing, task, time.monotonic() + limit_s)
    finally:
        box.end()
        worker = hearing.worker
        if worker is not None:
            hearing.listen()
            if box.tracer is not None:
                worker.left(os.waitstatus_to_exitcode(box.tracer.status))
            worker.end()
    return _result(box, hearing, before, silent)


def _listen(box: _Box, hearing: Hearing, task: Run | None, deadline: float) -> bool:
    """Until the worker and all that it started have closed the pipe, or its time is up."""
    box.started.wait()
    if hearing.worker is None:
        return False
    if task is not None:
        hearing.worker.send(task)  # not by the tracer: a worker that is stopped does not read, and a pipe gets full
    with selectors.DefaultSelector() as selector:
        selector.register(hearing.worker.reports, selectors.EVENT_READ)
        while not hearing.ended:
            if not selector.select(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                return True
            hearing.listen()
    box.thread.join(max(0.0, deadline - time.monotonic()))
    return box.thread.is_alive()


def _result(box: _Box, hearing: Hearing, before: dict[str, bytes], silent: bool) -> Recording:
    if box.error is not None:
        raise box.error
    worker, tracer = hearing.worker, box.tracer
    assert worker is not None, "there was no error, so there is a worker"
    assert tracer is not None
    if not (tracer.submitted or silent) and not any(isinstance(report, NotReady) for report in hearing.reports):
        raise RecordingRefused(worker.said() or "the process ended before it could be traced")
    trace = Trace(before, tuple(tracer.trace))
    mapped = tuple(sorted(box.calls.mapped))
    _check(trace, box, frozenset(mapped))
    return Recording(
        msgspec.structs.replace(trace, given_up=box.calls.given_up),
        tuple(hearing.reports),
        worker.exit or 0,
        silent,
        box.faults.struck,
        mapped,
        worker.said(),
        tracer.stops,
        tuple(box.calls.reads),
    )


def _check(trace: Trace, box: _Box, mapped: frozenset[str]) -> None:
    """Give up a recording that does not lead to the files as they are: something has changed them unseen."""
    if box.calls.given_up is not None:
        return
    try:
        found = difference(final_state(trace), box.root.contents(), mapped)
    except Unrecordable as error:
        found = str(error)
    except KeyError as error:
        found = f"a call names {error}, which no call has made"
    if found:
        box.calls.give_up("unknown", found)
