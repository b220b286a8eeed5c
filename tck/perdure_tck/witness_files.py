"""Writing witnesses as scenario files, so that one command replays them, today or on another day."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from .document import RuleResult, Run, Witness
from .packs import SUFFIX

STRUCK = ".struck"
"""The ending of a directory that holds a state that was struck."""


def with_files(run: Run, folder: Path) -> Run:
    """The run with the path of a written file in each first witness; a state that was struck is kept already."""
    rules = tuple(_with_file(result, folder) for result in run.rules)
    return msgspec.structs.replace(run, rules=rules)


def without_files(folder: Path) -> None:
    """Remove the witnesses of an earlier run from a folder, and nothing else."""
    if folder.is_dir():
        for old in folder.glob(f"*{SUFFIX}"):
            old.unlink()
        for old in folder.glob(f"*{STRUCK}"):
            if (old / "proof.json").is_file():
                shutil.rmtree(old)


def _with_file(result: RuleResult, folder: Path) -> RuleResult:
    if not result.witnesses:
        return result
    first = result.witnesses[0]
    if first.struck is not None:
        written = msgspec.structs.replace(first, file=first.struck.directory)
        return msgspec.structs.replace(result, witnesses=(written, *result.witnesses[1:]))
    path = folder / f"{result.id}-{_digest(first)}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(first.text, encoding="utf-8")
    written = msgspec.structs.replace(first, file=str(path))
    return msgspec.structs.replace(result, witnesses=(written, *result.witnesses[1:]))


def _digest(witness: Witness) -> str:
    return hashlib.sha256(witness.text.encode(errors="surrogatepass")).hexdigest()[:4]
