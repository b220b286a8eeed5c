"""Holds the models of the forgetful disk against real file systems: `python calibrate.py`, as root, about two minutes.

The same power cuts under load, with SQLite in settings that lose nothing, a suffix, or more, on ext4 and xfs in images
that are shut down without their log being flushed, and on both models. A real file system may lose less than its model
allows, never more: that is exit code 1. 4 means that this machine cannot do it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure_scenarios.forgetful import (
    SEVERITIES,
    ForgetfulDisk,
    Keep,
    Lost,
    Model,
    Powered,
    Severity,
    cut_under_load,
    refusal,
    totals,
    worst,
)
from perdure_scenarios.forgetful._mounts import mounted

SETTINGS = ["WAL FULL", "WAL NORMAL", "DELETE FULL", "DELETE EXTRA", "TRUNCATE FULL", "WAL OFF", "DELETE OFF"]
REAL = ["ext4", "xfs"]
MODEL_OF: dict[str, Model] = {"ext4": "ext4", "xfs": "strict"}
KEEPS: list[Keep] = ["nothing", "half"]
IMAGE_SIZE = 320 << 20  # the smallest that mkfs.xfs accepts is 300 MiB; the file is sparse
FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
ATTEMPTS = 100

Table = dict[str, dict[str, tuple[Lost, ...]]]
"""Verdicts by settings and column. The columns are the real file systems, and `model/keep`."""


class RealDisk:
    """A file system in an image, mounted for as long as the context lasts. Its power is cut by shutting it down."""

    def __init__(self, kind: str, scratch: Path) -> None:
        self.kind = kind
        self.image = scratch / "image"
        self.directory = scratch / "mount"

    def __enter__(self) -> RealDisk:
        self.directory.mkdir()
        with self.image.open("wb") as image:
            image.truncate(IMAGE_SIZE)
        force = "-F" if self.kind == "ext4" else "-f"
        _run(f"mkfs.{self.kind}", "-q", force, str(self.image))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        self._unmount()

    def power_cut(self, number: int) -> None:
        held = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(held, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(held)

    def remount(self) -> None:
        self._unmount()
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-t", self.kind, "-o", "loop", str(self.image), str(self.directory))

    def _unmount(self) -> None:
        for _ in range(ATTEMPTS):
            if not mounted(self.directory):
                return
            if subprocess.run(["umount", str(self.directory)], capture_output=True, check=False).returncode:
                time.sleep(0.05)  # what was killed may not have let go yet
        _run("umount", "-l", str(self.directory))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")


def missing() -> str:
    """What this machine lacks, or ""."""
    if refusal():
        return refusal()
    if os.getuid() != 0:
        return "mounting an image needs root"
    commands = [f"mkfs.{kind}" for kind in REAL]
    lacking = [command for command in commands if not shutil.which(command)]
    if lacking:
        return f"{' and '.join(lacking)}; Debian has them in e2fsprogs and xfsprogs"
    for kind in REAL:
        try:
            with scratch_directory() as scratch, RealDisk(kind, scratch) as disk:
                disk.power_cut(0)
        except OSError as error:
            return f"{kind} in an image cannot be mounted and shut down here: {error}"
    return ""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="perdure-calibration-") as directory:
        yield Path(directory)


def measured(cuts: int, seed: int, tell: Callable[[str], None]) -> Table:
    table: Table = {}
    for settings in SETTINGS:
        row = table[settings] = {}
        for kind in REAL:
            with scratch_directory() as scratch, RealDisk(kind, scratch) as real:
                row[kind] = _cut(real, settings, real.power_cut, cuts, seed)
            tell(f"{settings} on {kind}: {cell(row[kind])}")
        for model in MODEL_OF.values():
            for keep in KEEPS:
                with scratch_directory() as scratch, ForgetfulDisk(scratch, model) as disk:
                    row[f"{model}/{keep}"] = _cut(disk, settings, _cutter(disk, keep, seed), cuts, seed)
                tell(f"{settings} on the model {model}, {keep} kept: {cell(row[f'{model}/{keep}'])}")
    return table


def _cutter(disk: ForgetfulDisk, keep: Keep, seed: int) -> Callable[[int], object]:
    return lambda number: disk.power_cut(keep, seed + number)


def _cut(disk: Powered, settings: str, power_cut: Callable[[int], object], cuts: int, seed: int) -> tuple[Lost, ...]:
    journal_mode, synchronous = settings.split()
    words = f"sqlite --setting journal_mode={journal_mode} --setting synchronous={synchronous}"
    return cut_under_load(disk, words, power_cut, cuts=cuts, seconds_max=60, seed=seed)


def beyond_the_models(table: Table) -> list[str]:
    """Where a real file system lost more than its model."""
    wrong = []
    for settings, row in table.items():
        for kind, model in MODEL_OF.items():
            allowed: Severity = worst(tuple(lost for keep in KEEPS for lost in row[f"{model}/{keep}"]))
            real = worst(row[kind])
            if SEVERITIES.index(real) > SEVERITIES.index(allowed):
                wrong.append(f"{settings}: {kind} {real}, but the model {model} {allowed}")
    return wrong


def cell(cuts: tuple[Lost, ...]) -> str:
    acknowledged, lost = totals(cuts)
    cannot = " (unusable)" if any(one.unopenable for one in cuts) else ""
    return f"{worst(cuts)}{cannot}, {lost} of {acknowledged} in {len(cuts)} cuts"


def markdown(table: Table) -> str:
    columns = [*REAL, *(f"{model}/{keep}" for model in MODEL_OF.values() for keep in KEEPS)]
    titles = [*REAL, *(f"model {column.replace('/', ', kept: ')}" for column in columns[len(REAL) :])]
    lines = [["SQLite", *titles], ["---"] * (len(columns) + 1)]
    lines += [[settings, *(cell(row[column]) for column in columns)] for settings, row in table.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cuts", type=int, default=6, help="power cuts for each cell of the table")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"NOT RUN: {lacking}")
        return 4
    table = measured(arguments.cuts, arguments.seed, lambda line: print(line, file=sys.stderr, flush=True))
    print(markdown(table))
    wrong = beyond_the_models(table)
    print(*wrong or ["No real file system lost more than its model."], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
