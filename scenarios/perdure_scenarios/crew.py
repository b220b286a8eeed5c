"""The parent of worker processes: starts them, listens to them, and sees to it that none is left.

A `Crew` has several workers look at directories at once, with a time limit for each look that is kept from outside: a
worker that hangs or dies is an answer too (`Gone`), and another takes its place.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Literal, Protocol

import msgspec
from perdure_tck.stage import KitFault

from .tasks import AnyReport, Look, Moment, NotReady, Ready, Seen, Task, Words, encoded, noted, report_of

START_LIMIT_S = 60.0
TAIL_OF_STDERR = 2000


class Gone(msgspec.Struct, frozen=True):
    """A worker that gave no answer: it was silent for too long and was killed, it died, or it said nonsense."""

    how: Literal["silent", "died", "nonsense"]
    during: Moment
    exit: int
    """As in `subprocess`: minus the number of the signal for one that was killed."""
    said: str
    """The end of what it wrote to standard error."""


Pipes = tuple[int, int, int, int]
"""The ends of a worker: where it reads tasks, where it tells, what it dies with, and where it notes what it does."""

Command = Callable[[Pipes], list[str]]


class Process(Protocol):
    """As much of `subprocess.Popen` as a worker needs."""

    pid: int
    returncode: int | Any

    def kill(self) -> None: ...

    def wait(self) -> int: ...


Start = Callable[[Sequence[str], Pipes, IO[bytes], Mapping[str, str]], Process]
"""Starts a command with these pipes open, its output going to a file, in an environment that has these more."""


def spawned(command: Sequence[str], pipes: Pipes, output: IO[bytes], environment: Mapping[str, str]) -> Process:
    """A process that is started as usual, from nothing."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pipes,
        start_new_session=True,
        env={**os.environ, **environment, "PYTHONPATH": import_path()},
    )


class Worker:
    """One process in a session of its own, with the pipes to it. Whoever starts one calls `end`, whatever happens."""

    def __init__(self, command: Command, environment: Mapping[str, str] | None = None, start: Start = spawned) -> None:
        requests, self._requests = os.pipe()
        self.reports, reports = os.pipe()
        lifeline, self._lifeline = os.pipe()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._notes: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # like this one: nobody is woken by a note
        theirs = (requests, reports, lifeline, self._notes.fileno())
        self.exit: int | None = None
        self._last_moment: Moment = "load"
        self._rest = b""
        try:
            self._process = start(command(theirs), theirs, self._stderr, environment or {})
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for descriptor in theirs[:3]:
                os.close(descriptor)
        os.set_blocking(self.reports, False)
        self.pid = self._process.pid

    def send(self, task: Task) -> None:
        """Hand over a task. A worker that has died meanwhile is noticed by whoever waits for its answer."""
        rest = memoryview(encoded(task))
        with suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._requests, rest) :]

    def heard(self) -> list[AnyReport] | None:
        """The reports that have come since; None after the last one, when the pipe is closed at the other end."""
        reports: list[AnyReport] = []
        while True:
            try:
                chunk = os.read(self.reports, 1 << 16)
            except BlockingIOError:
                return reports
            if not chunk:
                return reports or None
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            reports.extend(report_of(line) for line in lines)

    def kill(self) -> None:
        """End the process and everything in its group. Its number is ours until `end` has waited for it."""
        if self.exit is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()

    def end(self) -> int:
        """Kill it if it is still there, wait for it, and give back how it ended. What it told can be heard no more."""
        if self.exit is None:
            self.kill()
            self.left(self._process.wait())
        self._close_pipes()
        return self.exit or 0

    def last_heard(self) -> list[AnyReport]:
        """Kill it and wait for it: what was in the pipe when it was dead."""
        self.kill()
        self.left(self._process.wait())
        return self.heard() or []

    def left(self, exit_code: int) -> None:
        """It is known how the process ended."""
        self._process.returncode = self.exit = exit_code

    @property
    def moment(self) -> Moment:
        """What it was doing when it was last known."""
        return self._last_moment if self._notes.closed else noted(self._notes.fileno())

    def said(self) -> str:
        """The end of what it wrote to standard output and standard error."""
        if self._stderr.closed:
            return self._last_words
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - TAIL_OF_STDERR))
        return self._stderr.read().decode(errors="replace").strip()

    def _close_pipes(self) -> None:
        if self._stderr.closed:
            return
        self._last_words, self._last_moment = self.said(), self.moment
        self._stderr.close()
        self._notes.close()
        for descriptor in (self._requests, self.reports, self._lifeline):
            os.close(descriptor)


def worker_command(words: Words, pipes: Pipes, submission: str = "") -> list[str]:
    """The command line of a worker with these pipes. `submission` is for one that a tracer watches."""
    settings = [f"{name}={value}" for name, value in words.settings.items()]
    descriptors = [str(descriptor) for descriptor in pipes]
    return [sys.executable, "-m", "perdure_scenarios.worker", *descriptors, submission, words.name, *settings]


def submission_in(command: Sequence[str]) -> str:
    """The submission in the command line of a worker."""
    return command[7]


def import_path() -> str:
    """Where this process finds its modules: the words `module:attribute` must mean the same in a worker."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


class _Post(msgspec.Struct):
    """A place of the crew: its worker, and the look that it is busy with, until when."""

    worker: Worker
    ready: bool = False
    look: Look | None = None
    deadline: float = 0.0


class Crew:
    """Several workers with one backend. Use it as a context manager: no process is left behind, however it is left.

    `limit_s` is how long one look may take. Loading the backend has a limit of its own, for it says nothing about
    the backend's storage: a backend that cannot be loaded raises `KitFault`.
    """

    def __init__(self, words: Words, size: int = 2, limit_s: float = 30.0) -> None:
        self._words = words
        self._size = size
        self._limit_s = limit_s
        self._posts: list[_Post] = []

    def __enter__(self) -> Crew:
        try:
            for _ in range(self._size):
                self._posts.append(_Post(self._worker()))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker. Those that are busy are killed."""
        for post in self._posts:
            post.worker.kill()
        while self._posts:
            self._posts.pop().worker.end()

    def workers(self) -> list[int]:
        """The processes of the crew, by their numbers."""
        return [post.worker.pid for post in self._posts]

    def look(self, look: Look) -> Seen | Gone:
        """The answer to one look."""
        return next(answer for _, answer in self.look_at([look]))

    def look_at(self, looks: Iterable[Look]) -> Iterator[tuple[Look, Seen | Gone]]:
        """The answers, in the order in which they come. A look is taken from `looks` when a worker is free for it, so
        that a directory may be made when it is asked for and removed when its answer has come."""
        pending = iter(looks)
        try:
            while True:
                for post in self._posts:
                    if post.look is None and (look := next(pending, None)) is not None:
                        self._give(post, look)
                if not any(post.look for post in self._posts):
                    return
                yield from self._answers()
        finally:
            for place, post in enumerate(self._posts):
                if post.look is not None:  # nobody will hear this answer; the next one must not be taken for it
                    self._replace(place)

    def _give(self, post: _Post, look: Look) -> None:
        """Hand over a look, to a worker that is ready: it reads at once, so that the pipe cannot be full."""
        if not post.ready:
            self._await_ready(post.worker)
            post.ready = True
        post.look = look
        post.deadline = time.monotonic() + self._limit_s
        post.worker.send(look)

    def _await_ready(self, worker: Worker) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        with selectors.DefaultSelector() as selector:
            selector.register(worker.reports, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                heard = worker.heard()
                match heard:
                    case [NotReady(message=message)]:
                        raise KitFault(message)
                    case [Ready()]:
                        return
                    case None:
                        break
        worker.end()
        raise KitFault(f"a worker with backend {self._words.name!r} did not start: {worker.said() or worker.exit}")

    def _answers(self) -> list[tuple[Look, Seen | Gone]]:
        """Wait until something happens at a busy post, and say what was answered."""
        busy = [place for place, post in enumerate(self._posts) if post.look is not None]
        with selectors.DefaultSelector() as selector:
            for place in busy:
                selector.register(self._posts[place].worker.reports, selectors.EVENT_READ)
            selector.select(max(0.0, min(self._posts[place].deadline for place in busy) - time.monotonic()))
        answers: list[tuple[Look, Seen | Gone]] = []
        for place in busy:
            look = self._posts[place].look
            answer = self._answer(place)
            if look is not None and answer is not None:
                answers.append((look, answer))
        return answers

    def _answer(self, place: int) -> Seen | Gone | None:
        post = self._posts[place]
        try:
            reports = post.worker.heard()
        except (msgspec.DecodeError, ValueError):
            return self._gone(place, "nonsense")
        for report in reports or ():
            if isinstance(report, Seen):
                post.look = None
                return report
        if reports is None:
            return self._gone(place, "died")
        return self._gone(place, "silent") if time.monotonic() > post.deadline else None

    def _gone(self, place: int, how: Literal["silent", "died", "nonsense"]) -> Gone:
        worker = self._posts[place].worker
        exit_code = worker.end()
        self._replace(place)
        return Gone(how, worker.moment, exit_code, worker.said())

    def _worker(self) -> Worker:
        return Worker(lambda pipes: worker_command(self._words, pipes))

    def _replace(self, place: int) -> None:
        self._posts[place].worker.end()
        self._posts[place] = _Post(self._worker())
