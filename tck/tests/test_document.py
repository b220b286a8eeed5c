"""The run document: it comes back as it was written, and half a run is refused, wherever it was cut."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from perdure import Backend, Claims, Location, Storage
from perdure_memory import MemoryJournal, World
from perdure_tck.document import BadDocument, Fault, Run, lines_of, read_run, write_run
from perdure_tck.engine import Request, conduct
from perdure_tck.failure_text import LINES_MAX, block
from perdure_tck.scenario_text import parse, read_scenario
from perdure_tck.verdict import Word
from perdure_tck.witness_files import with_files, without_files

PROGRAMS = [
    parse("rules J-40\nwrite p 1\nwrite p 2\nclock 5\nhighest p\n", "one"),
    parse("rules J-50\nwrite p 1\nreplay p\n", "two"),
]
MESSAGE = "no \ud83d \x1b[31m \u2028 'quotes'\nsecond line"


@pytest.fixture(scope="module")
def run() -> Run:
    class Raises(MemoryJournal):
        async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
            raise OSError(MESSAGE)

    @asynccontextmanager
    async def open_it(location: Location) -> AsyncIterator[Storage]:
        yield Storage(Raises(World().events, location.clock, 1))

    backend = Backend("odd", open_it, Claims(), settings={"colour": "red"})
    found = conduct(backend, Request(programs=PROGRAMS, today=datetime.date(2026, 1, 1), command="perdure run odd"))
    return msgspec.structs.replace(found, faults=(Fault("it raised", "Traceback\n  line"),))


@pytest.fixture
def document(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "run.jsonl"
    write_run(run, path)
    return path


def test_a_document_comes_back_as_it_was_written(run: Run, document: Path) -> None:
    assert read_run(document) == run


def test_the_run_at_hand_has_something_of_everything(run: Run) -> None:
    assert run.rules
    assert run.awaiting
    assert run.faults
    assert any(result.witnesses for result in run.rules)
    assert {result.word for result in run.rules} >= {Word.VIOLATED, Word.UNSUPPORTED, Word.UNPROVEN}


def test_nothing_but_the_document_is_left_in_its_folder(document: Path) -> None:
    assert list(document.parent.iterdir()) == [document]


def test_every_prefix_of_a_document_is_refused(run: Run, document: Path, tmp_path: Path) -> None:
    lines = document.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(list(lines_of(run)))
    cut = tmp_path / "cut.jsonl"
    for number in range(len(lines)):
        cut.write_bytes(b"".join(lines[:number]))
        with pytest.raises(
            BadDocument, match=r"cut\.jsonl: (was cut off: no footer after|does not begin with the header)"
        ):
            read_run(cut)


@pytest.mark.parametrize("missing", [1, 2, 20, 60])
def test_a_document_that_ends_within_its_last_line_is_refused(document: Path, missing: int) -> None:
    document.write_bytes(document.read_bytes().rstrip()[:-missing])
    with pytest.raises(BadDocument, match=r"line \d+ is not a line of a run document, or was cut off"):
        read_run(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with the header of a run document; write one with 'perdure run --out'"),
        ("\n\n", "does not begin with the header"),
        ("not json\n", "line 1 is not a line of a run document"),
        ('{"type":"rule"}\n', "line 1 is not a line of a run document"),
        ('{"type":"footer","counts":{},"exit_code":0,"programs":0,"operations":0,"duration_s":0}\n', "does not begin"),
        ("[1, 2]\n", "line 1 is not a line"),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(BadDocument, match=message) as raised:
        read_run(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_garbled_line_is_named_by_its_number(document: Path) -> None:
    lines = document.read_bytes().splitlines()
    lines[2] = b"\xff\xfe garbage"
    document.write_bytes(b"\n".join(lines))
    with pytest.raises(BadDocument, match="line 3 is not a line"):
        read_run(document)


def test_a_document_of_another_format_is_refused(run: Run, tmp_path: Path) -> None:
    other = msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, format=99))
    write_run(other, tmp_path / "other.jsonl")
    with pytest.raises(BadDocument, match="has format 99, this kit reads 1; run the backend again"):
        read_run(tmp_path / "other.jsonl")


def test_a_document_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"nosuch\.jsonl: cannot be read: No such file"):
        read_run(tmp_path / "nosuch.jsonl")
    with pytest.raises(BadDocument, match="cannot be read: Is a directory"):
        read_run(tmp_path)


def test_a_place_that_cannot_be_written_raises_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_run(run, tmp_path / "file" / "run.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_earlier_document_is_replaced(run: Run, document: Path) -> None:
    document.write_text("old")
    write_run(run, document)
    assert read_run(document) == run


# ------------------------------------------------------------------------------------------------- witnesses as files


def test_witnesses_are_written_as_scenario_files_and_old_ones_go(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "witnesses"
    folder.mkdir()
    (folder / "J-99-old.scenario").write_text("rules J-99\nwrite p 1\n")
    (folder / "notes.txt").write_text("mine")
    for name, inside in (("J-99-old.struck", "proof.json"), ("mine.struck", "notes.txt")):
        (folder / name).mkdir()
        (folder / name / inside).write_text("{}")
    without_files(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.struck", "notes.txt"]
    written = with_files(run, folder)
    files = {witness.file for result in written.rules for witness in result.witnesses if witness.file}
    assert {str(path) for path in folder.glob("*.scenario")} == files
    assert (folder / "notes.txt").exists()
    for result in written.rules:
        for witness in result.witnesses[:1]:
            assert read_scenario(Path(witness.file)).rules == witness.rules


def test_a_run_without_witnesses_makes_no_folder(tmp_path: Path) -> None:
    from perdure_memory import backend

    clean = conduct(backend, Request(programs=PROGRAMS, rules=("J-40",), today=datetime.date(2026, 1, 1)))
    assert with_files(clean, tmp_path / "witnesses") == clean
    assert not (tmp_path / "witnesses").exists()


# --------------------------------------------------------------------------------------------------- the failure block


def test_what_an_exception_said_is_shown_on_one_line_and_cannot_act(run: Run) -> None:
    violated = next(result for result in run.rules if result.id == "J-40")
    shown = block(violated, "odd")
    assert r"raised OSError: no \ud83d \x1b[31m \u2028 " in shown
    assert "second line" not in shown
    assert "\x1b" not in shown


def test_a_failure_block_has_the_rule_the_history_and_the_way_to_repeat_it(run: Run) -> None:
    violated = next(result for result in run.rules if result.id == "J-40")
    lines = block(violated, "odd", also=["J-61"]).splitlines()
    assert lines[0].startswith("VIOLATED  J-40  ")
    assert any("✗ allowed: 0" in line for line in lines)
    assert any(line.startswith("  check    ") for line in lines)
    assert "  falls with it  J-61" in lines
    assert "  replay   perdure replay one --backend odd" in lines
    assert lines[-1] == "  explain  perdure explain J-40"
    assert len(lines) <= LINES_MAX


def test_a_long_history_is_cut_to_the_size_of_a_block(run: Run) -> None:
    violated = next(result for result in run.rules if result.id == "J-40")
    witness = violated.witnesses[0]
    fine = msgspec.structs.replace(witness.steps[0], observed="ok", allowed="")
    long = msgspec.structs.replace(witness, steps=(*[fine] * 40, witness.steps[-1]))
    lines = block(msgspec.structs.replace(violated, witnesses=(long,)), "odd", also=["J-61"]).splitlines()
    assert len(lines) == LINES_MAX
    assert any("…" in line for line in lines)
    assert sum("✗ allowed" in line for line in lines) == 1


def test_each_client_has_a_column_of_its_own(run: Run) -> None:
    violated = next(result for result in run.rules if result.id == "J-40")
    witness = violated.witnesses[0]
    two = (msgspec.structs.replace(witness.steps[0], client="b"), witness.steps[-1])
    lines = block(msgspec.structs.replace(violated, witnesses=(msgspec.structs.replace(witness, steps=two),)), "odd")
    assert "b" in lines.splitlines()[3]
