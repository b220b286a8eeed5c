"""Proofs: states that broke a rule, kept as directories that can be judged again another day.

D-10-5f3a.struck/
    README          what happened, for people
    proof.json      what was known when it was struck: program, answers, moment, backend
    history.jsonl   the answers, one a line
    files/          the files as they were
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from perdure_tck.durability import Breach, Moment
from perdure_tck.history import Completed, Invoked, Observation, completion_of
from perdure_tck.outcomes import AnyOutcome
from perdure_tck.past import Past
from perdure_tck.program import Program
from perdure_tck.scenario_text import ScenarioError, parse, show
from perdure_tck.sweep import ProofError
from perdure_tck.witness_files import STRUCK

from .images import Image
from .recording.faults import Capacity, Injection
from .scratch import materialise, read_image

FORMAT = 1


class Rerun(msgspec.Struct, frozen=True):
    """The faults to run the program with again, for a breach that lies in its answers."""

    injections: tuple[Injection, ...] = ()
    capacity: Capacity | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """All that it takes to judge a state again, but for its files."""

    format: int = FORMAT
    backend: str
    claims: dict[str, Any]
    name: str
    program: str
    answers: tuple[tuple[int, AnyOutcome], ...]
    moment: Moment
    words: str
    model: str
    breaches: tuple[Breach, ...]
    rerun: Rerun | None = None


def kept(proof: Proof, image: Image | None, folder: Path) -> Path:
    """Write a proof below a folder; its place. One of the same state is replaced. Raises `OSError`, and leaves none."""
    directory = folder / f"{proof.breaches[0].rules[0]}-{_digest(proof, image)}{STRUCK}"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        _write(proof, image, directory)
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _write(proof: Proof, image: Image | None, directory: Path) -> None:
    (directory / "files").mkdir(parents=True)
    if image is not None:
        materialise(image, directory / "files")
    (directory / "proof.json").write_text(json.dumps(msgspec.to_builtins(proof), indent=1) + "\n", encoding="utf-8")
    (directory / "history.jsonl").write_bytes(_history(proof))
    (directory / "README").write_text(_readme(proof, directory.name), encoding="utf-8", errors="backslashreplace")


def _digest(proof: Proof, image: Image | None) -> str:
    text = f"{proof.program}{proof.moment}{proof.words}{proof.model}{image.digest.hex() if image else proof.rerun}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:4]


def _history(proof: Proof) -> bytes:
    program = program_of(proof)
    lines: list[bytes] = []
    for number, outcome in proof.answers:
        step = program.steps[number - 1]
        began = Invoked(program.name, number, step.client, str(step.operation), 0)
        ended = Completed(program.name, number, step.client, completion_of(outcome), str(outcome), 0)
        lines += [msgspec.json.encode(began), msgspec.json.encode(ended)]
    if proof.moment.under_way:
        step = program.steps[proof.moment.under_way - 1]
        operation = str(step.operation)
        lines.append(msgspec.json.encode(Invoked(program.name, proof.moment.under_way, step.client, operation, 0)))
    return b"".join(line + b"\n" for line in lines)


def _readme(proof: Proof, name: str) -> str:
    lines = [
        f"{' '.join(breach.rules)}: {breach.what} found {breach.found}, allowed is {breach.allowed}"
        for breach in proof.breaches
    ]
    return "\n".join(
        [
            f"{proof.moment.context} {proof.words}",
            *([proof.model] if proof.model else []),
            *lines,
            "",
            f"Backend: {proof.backend}",
            f"Scenario: {proof.name}; {proof.moment.told} of its steps had been answered.",
            "The files as they were are in `files`. To judge them again:",
            "",
            f"    perdure replay {name}",
            "",
        ]
    )


def read(directory: Path) -> tuple[Proof, Image]:
    """A kept proof with its files. Raises `ProofError` for one that is not whole."""
    try:
        text = json.loads((directory / "proof.json").read_text(encoding="utf-8"))
        if isinstance(text, Mapping) and text.get("format") != FORMAT:
            raise ProofError(f"{directory}: has format {text.get('format')}, this kit reads {FORMAT}; sweep again")
        proof = msgspec.convert(text, Proof)
        if not (directory / "files").is_dir():
            raise ProofError(f"{directory}: has no directory 'files'; a proof is its files")
        program_of(proof)
        return proof, read_image(directory / "files")
    except OSError as error:
        raise ProofError(f"{directory}: {Path(error.filename or '').name} cannot be read: {error.strerror}") from error
    except (msgspec.ValidationError, ScenarioError, ValueError) as error:
        if isinstance(error, ProofError):
            raise
        raise ProofError(f"{directory}: proof.json cannot be read: {error}") from error


def program_of(proof: Proof) -> Program:
    return parse(proof.program, proof.name)


def past_of(proof: Proof, claims: Any) -> Past:
    program = program_of(proof)
    return Past(program, observed(program, proof.answers), claims)


def observed(program: Program, answers: Sequence[tuple[int, AnyOutcome]]) -> list[Observation]:
    return [Observation(number, program.steps[number - 1], outcome) for number, outcome in answers]


def text_of(program: Program) -> str:
    """The program without what struck it."""
    return show(msgspec.structs.replace(program, hazards=()))
