"""The process that serves a forgetful disk: `python -m perdure_scenarios.forgetful._process DIRECTORY MODEL`.

It is told what to do in lines of JSON on its standard input, and answers each with a line. It lives in a session of its
own, so that Ctrl-C and the end of a terminal pass it by, and it unmounts and ends when nobody can tell it anything any
more: when its input ends, or its parent is gone.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from pathlib import Path
from typing import cast

import msgspec

from ._disk import Disk, Keep, Model
from ._fuse import Served, Watch, caller, serve
from ._mounts import unmount
from ._rules import Counters, Rule

LOOK_FOR_PARENT_S = 1.0


class Mount(msgspec.Struct, frozen=True, tag="mount"):
    """Mount, or mount again after a power cut."""


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    keep: Keep
    seed: int


class Survivors(msgspec.Struct, frozen=True, tag="survivors"):
    """Write what cuts would leave now, all at one moment, each into an empty directory elsewhere. Nothing is cut."""

    cuts: tuple[tuple[str, Keep, int], ...]


class SetRules(msgspec.Struct, frozen=True, tag="rules"):
    rules: tuple[Rule, ...]


class SyncAll(msgspec.Struct, frozen=True, tag="sync"):
    """Everything is on the disk from now on."""


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Tell the counters."""


Request = Mount | Cut | Survivors | SetRules | SyncAll | Count


class Done(msgspec.Struct, frozen=True, tag="done"):
    counters: Counters


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    reason: str


Answer = Done | Refused


class Server:
    """One disk and its present mount."""

    def __init__(self, directory: Path, model: Model) -> None:
        self.directory = directory
        self.watch = Watch(Disk(model))
        self._served: Served | None = None

    def carry_out(self, request: Request) -> Answer:
        match request:
            case Mount():
                reason = self._mount()
                return Refused(reason) if reason else Done(self.watch.counters())
            case Cut(keep, seed):
                if self._served is None:
                    return Refused("nothing is mounted")
                self._served._power_cut(keep, seed)
            case Survivors(cuts):
                return self._written_out(cuts)
            case SetRules(rules):
                self.watch.set_rules(rules)
            case SyncAll():
                with self.watch.guard:
                    self.watch.disk.sync_all()
            case Count():
                pass
        return Done(self.watch.counters())

    def _written_out(self, cuts: tuple[tuple[str, Keep, int], ...]) -> Answer:
        try:
            with self.watch.guard:
                for into, keep, seed in cuts:
                    self.watch.disk.survivors(keep, seed, Path(into))
        except OSError as error:
            return Refused(f"what a power cut would leave cannot be written to {error.filename}: {error.strerror}")
        return Done(self.watch.counters())

    def _mount(self) -> str:
        """Why it cannot be mounted, or "". An earlier mount goes on failing for whoever still has it open."""
        if not unmount(self.directory):
            return f"{self.directory} cannot be unmounted"
        settled = threading.Event()
        reasons: list[str] = []
        served = Served(self.watch, caller, settled.set)

        def answer() -> None:
            try:
                serve(served, str(self.directory))
            except Exception as error:
                reasons.append(f"mounting failed: {error!r}")
            settled.set()

        threading.Thread(target=answer, daemon=True).start()
        settled.wait()
        if not reasons:
            self._served = served
        return "; ".join(reasons)


def _listen(server: Server) -> None:
    parent = os.getppid()
    requests = sys.stdin.fileno()  # never read through `sys.stdin`: select does not see what was read ahead
    held = b""
    while os.getppid() == parent:
        if not select.select([requests], [], [], LOOK_FOR_PARENT_S)[0]:
            continue
        more = os.read(requests, 1 << 16)
        if not more:
            return
        *lines, held = (held + more).split(b"\n")
        for line in lines:
            answer = server.carry_out(msgspec.json.decode(line, type=Request))
            os.write(sys.stdout.fileno(), msgspec.json.encode(answer) + b"\n")


def main() -> None:
    directory = Path(sys.argv[1])
    try:
        _listen(Server(directory, cast(Model, sys.argv[2])))
    except BrokenPipeError:
        pass
    finally:
        unmount(directory)
        os._exit(0)  # a mount that somebody still has open keeps its thread for ever


if __name__ == "__main__":
    main()
