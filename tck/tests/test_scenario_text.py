"""The scenario language: it prints and parses without loss, and says where and what when it cannot read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from perdure import MAX_SEQUENCE_NR, MAX_TIMESTAMP
from perdure_tck.operations import (
    Batch,
    Bounds,
    Clock,
    Close,
    Content,
    Delete,
    DeleteSnapshot,
    DeleteSnapshots,
    Highest,
    LoadSnapshot,
    Query,
    Reopen,
    Replay,
    Resume,
    SaveSnapshot,
    Take,
    Write,
)
from perdure_tck.packs import digest
from perdure_tck.program import Program, Step, without_loose_ends
from perdure_tck.query_operations import FOREIGN
from perdure_tck.scenario_text import ScenarioError, parse, read_scenario, show

# --------------------------------------------------------------------------------------------------- without loss

RESERVED_LOOKALIKES = [
    word + ending
    for word in ("snapshot", "snapshots", "each", "nothing", "max", "empty", "limit", "hint", "at", "seq", "time")
    for ending in ("", "-1", "_", "s", " ")
]
HURTFUL = [
    *RESERVED_LOOKALIKES,
    "",
    " ",
    "-",
    "-1",
    "007",
    "1..3",
    "->",
    "| none",
    "# no comment",
    "a: write",
    'quo"ted',
    "it's",
    "back\\slash",
    "\\u0041",
    "\\",
    "🚀",
    "e\u0301",
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\u202e",
    "\ud83d",
    "\ude00\ud83d",
    "x" * 300,
    "\ud83d" * 300,
    "🚀" * 41,
    '"' * 300,
    "\\" * 41,
    "rules",
    "hex:00",
    "size:1",
    "data=x",
]
texts = st.sampled_from(HURTFUL) | st.text(max_size=8)
ids = texts


def is_writable(persistence_id: str) -> bool:
    """Whether an event can have this id; other operations may have any, to be refused."""
    return bool(persistence_id) and not any("\ud800" <= one <= "\udfff" for one in persistence_id)


writable_ids = ids.filter(is_writable)
numbers = st.integers(1, 30) | st.sampled_from([2**31, 2**53 + 1, MAX_SEQUENCE_NR - 1, MAX_SEQUENCE_NR])
signed = numbers | st.sampled_from([0, -1, -MAX_SEQUENCE_NR, MAX_SEQUENCE_NR + 1])
times = st.just(0) | st.integers(1, MAX_TIMESTAMP)
contents = st.one_of(
    st.builds(Content, text=texts),
    st.builds(Content, hex=st.binary(min_size=1, max_size=4).map(bytes.hex)),
    st.builds(Content, size=st.integers(1, 9)),
)
serializers = st.sampled_from([4, 0, 1, -(2**31), 2**31 - 1])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    first = draw(st.integers(1, 20) | st.sampled_from([2**53, MAX_SEQUENCE_NR - 2]))
    return Batch(
        persistence_id=draw(st.sampled_from(["p", "q"]) | writable_ids),
        first=first,
        last=first + draw(st.integers(0, 2)),
        content=draw(st.none() | contents),
        serializer_id=draw(serializers),
        payload_manifest=draw(st.just("") | texts),
        manifest=draw(st.just("") | texts),
        writer_uuid=draw(st.just("") | texts),
        timestamp=draw(times),
        tags=tuple(draw(st.lists(texts, max_size=2))),
        metadata=draw(st.none() | contents),
    )


plain = st.builds(lambda owner, first: Batch(owner, first, first), st.sampled_from(["p", "q"]), st.integers(1, 4))
bounds = st.builds(
    Bounds,
    max_sequence_nr=signed,
    max_timestamp=signed,
    min_sequence_nr=signed,
    min_timestamp=signed,
)
names = st.sampled_from(["f", "g2"])
resumes = st.none() | st.builds(Resume, names, st.integers(0, 3)) | st.just(FOREIGN)
operations = st.one_of(
    st.builds(Write, st.lists(batches() | plain, max_size=4).map(tuple)),
    st.builds(Replay, ids, signed, signed, signed),
    st.builds(Highest, ids, signed),
    st.builds(Delete, ids, signed),
    st.builds(SaveSnapshot, ids, st.just(0) | numbers, times, st.none() | contents, serializers, texts),
    st.builds(LoadSnapshot, ids, bounds),
    st.builds(DeleteSnapshot, ids, st.just(0) | numbers, times),
    st.builds(DeleteSnapshots, ids, bounds),
    st.builds(Query, names, st.just("persistence ids"), st.booleans()),
    st.builds(Query, names, st.just("events by persistence id"), st.booleans(), ids, signed, signed),
    st.builds(Query, names, st.just("events by tag"), st.booleans(), tag=texts, after=resumes),
    st.builds(Query, names, st.just("all events"), st.booleans(), after=resumes),
    st.builds(Take, names, st.integers(1, 9) | st.just(MAX_SEQUENCE_NR)),
    st.builds(Close, names),
    st.just(Reopen()),
    st.builds(Clock, st.integers(1, MAX_TIMESTAMP)),
)
EXPECTED = {
    Write: ["ok", "rejected", "ok, rejected", "conflict", "failed", "invalid"],
    Replay: ["none", "1..3, 5", "5, 3", "max", f"{2**53}..{2**53 + 1}", "invalid", "unreadable"],
    Highest: ["0", "7", "max", "invalid"],
    Delete: ["ok", "invalid"],
    SaveSnapshot: ["ok", "failed", "invalid"],
    LoadSnapshot: ["none", "13", "13 at 1000", "max at 5", "invalid", "unreadable"],
    DeleteSnapshot: ["ok", "invalid"],
    DeleteSnapshots: ["ok", "invalid"],
    Query: ["ok"],
    Take: [
        "end",
        "p 1..3, 5, q 1, end",
        '"end" 1, pending',
        "p",
        '"p|q", r, end',
        "closed",
        "invalid",
        "p 1, unreadable",
    ],
    Close: ["ok"],
    Reopen: ["ok"],
    Clock: [],
}


@st.composite
def steps(draw: st.DrawFn) -> Step:
    operation = draw(operations)
    words = EXPECTED[type(operation)]
    expected = draw(st.lists(st.sampled_from(words), max_size=2)) if words else []
    return Step(operation, draw(st.sampled_from(["", "", "a", "b2", "b@other"])), tuple(expected))


programs = st.builds(
    Program,
    name=st.just("generated"),
    prose=st.sampled_from(["", "One line.", "Two lines,\nthe second is shorter.", "rules J-01\n\nwrite p 1 -> ok"]),
    rules=st.sampled_from([("J-01",), ("J-42", "S-123")]),
    steps=st.lists(steps(), min_size=1, max_size=6).map(tuple).map(without_loose_ends).filter(bool),
    level=st.sampled_from(["core", "full"]),
    page_size=st.none() | st.integers(1, 9),
    private=st.booleans(),
)


@settings(max_examples=500)
@given(programs)
def test_every_program_is_read_back_as_it_was_written(program: Program) -> None:
    assert parse(show(program), program.name) == program


@pytest.mark.parametrize("text", HURTFUL, ids=ascii)
def test_every_hurtful_text_works_wherever_a_text_may_stand(text: str) -> None:
    owner = text if is_writable(text) else "p"
    batch = Batch(owner, 1, 2, Content(text), 4, text, text, text, 0, (text, text), Content(text))
    operations = (
        Write((batch, Batch("q", 3, 3), Batch(owner, 3, 3))),
        Replay(text, 1, 5, 2),
        Highest(text, 3),
        Delete(text, 3),
        SaveSnapshot(text, 3, 5, Content(text), 4, text),
        LoadSnapshot(text, Bounds(5)),
        DeleteSnapshot(text, 3),
        DeleteSnapshots(text),
        Query("f", "events by persistence id", False, text, 2),
        Query("g", "events by tag", True, tag=text, after=Resume("f")),
        Take("g"),
        Close("f"),
    )
    program = Program("hurtful", "", ("J-01",), tuple(map(Step, operations)))
    assert parse(show(program), "hurtful") == program


def test_neighbouring_writes_of_one_event_are_shown_as_each() -> None:
    assert str(Write((Batch("p", 1, 1), Batch("p", 2, 2), Batch("p", 4, 4)))) == "write p each 1..2, 4"


def test_the_digest_changes_with_every_step() -> None:
    one = parse("rules J-01\nwrite p 1", "a")
    other = parse("rules J-01\nwrite p 2", "a")
    assert digest([one]) == digest([one])
    assert len({digest([one]), digest([other]), digest([one, other]), digest([])}) == 4


# ------------------------------------------------------------------------------------------------ what cannot be read

BAD_LINES = [
    (
        "wite p 1",
        "expected write or replay or highest or delete or save or load or query or take or close or reopen or clock "
        "or cancel or start or tell or stop or crash or next or release or wait, "
        "found 'wite p 1'",
    ),
    ("rules J-02", "expected write or"),  # the head is over once an operation has been read
    ("write", "expected a persistence id, found the end of the line"),
    ("write 1", "expected a persistence id"),
    ("write p", "expected a whole number or max"),
    ("write p 0", "expected a number of 1 or more, found 0"),
    ("write p 3..1", "expected a number of 3 or more, found 1"),
    (f"write p {2**63}", f"expected a number up to max, found {2**63}"),
    ('write "" 1', 'expected a persistence id that an AtomicWrite can have, found ""'),
    (r'write "\ud800" 1', "expected a persistence id that an AtomicWrite can have"),
    ("write p 1, ", "expected a persistence id, found the end of the line"),
    ("write p 1 color=red", "expected data=, serializer="),
    ("write p 1..999999", "expected a number up to 100001, found 999999"),
    ('write "x"*99999999 1', "expected a number up to 1000000, found 99999999"),
    ("write p 1 data=size:999999999", "expected a number up to 268435456, found 999999999"),
    ("save snapshot p 1 tags=a", "expected data=, serializer=, payload_manifest=, found 'tags=a'"),
    ("write p 1 data=", 'expected "text", hex:00ff, size:4096 or empty'),
    ("write p 1 data=hex:0", "expected pairs of hexadecimal digits"),
    ("write p 1 data=hex:zz", "expected pairs of hexadecimal digits"),
    ("write p 1 data=size:0", "expected a number of 1 or more"),
    ("write p 1 tags=a+", "expected a tag"),
    ("write p 1 at=0", "expected a number of 1 or more"),
    ("write p 1 manifest=7", "expected a string"),
    ('write "p 1', "expected a persistence id, found '\"p 1'"),
    (r'write "\x" 1', "expected a persistence id"),
    ('write "a\tb" 1', "expected a persistence id"),
    ("write nothing, p 1", "expected the end of the line"),
    ("query", "expected the name of a query, such as f"),
    ("query F all events", "expected the name of a query, such as f"),
    ("query foreign all events", "expected a name that is not 'foreign'"),
    ("query f everything", "expected persistence ids or events by persistence id or events by tag or all events"),
    ("query f current", "expected persistence ids or events by persistence id"),
    ("query f events by tag", "expected a tag, found the end of the line"),
    ("query f events by persistence id", "expected a persistence id"),
    ("query f events by persistence id p 2", "expected '..'"),
    ("query f persistence ids after f", "expected the end of the line"),
    ("query f all events after", "expected the name of a query"),
    ("query f all events after g", "expected the name of a query that is open, found 'query f all events after g'"),
    ("take f 1", "expected the name of a query that is open, found 'take f 1'"),
    ("close f", "expected the name of a query that is open, found 'close f'"),
    ("take f", "expected a whole number or max"),
    ("take f 0", "expected a number of 1 or more"),
    (
        "take f 1 -> 1..3",
        "expected after the arrow of 'take': end or pending or closed or invalid or unreadable or events",
    ),
    ("take f 1 -> p 3..1", "expected after the arrow of 'take'"),
    ("take f 1 -> p 1, q", "expected after the arrow of 'take'"),
    ("take f 1 -> end, p 1", "expected after the arrow of 'take'"),
    ("take f 1 -> p,", "expected a persistence id, found the end of the line"),
    ("write p 1 -> okay", "expected after the arrow of 'write': ok or rejected or conflict"),
    ("write p 1 ->", "expected after the arrow of 'write'"),
    ("write p 1 -> ok |", "expected after the arrow of 'write'"),
    ("write p 1 ok", "expected the end of the line, found 'ok'"),
    ("replay p 2.3", "expected '..'"),
    ("replay p limit", "expected a whole number or max"),
    ("replay p limit x", "expected a whole number or max, found 'x'"),
    ("replay p -> some", "after the arrow of 'replay': none or invalid or unreadable or numbers such as 1..3, 5"),
    ("replay p -> 3..1", "after the arrow of 'replay'"),
    ("replay p -> 5, 3..1", "after the arrow of 'replay'"),
    ("highest", "expected a persistence id"),
    ("highest p hint", "expected a whole number or max"),
    ("highest p -> many", "after the arrow of 'highest': invalid or a number"),
    ("delete p 3", "expected '..' and the last number to delete"),
    ("delete p ..", "expected a whole number or max"),
    ("delete p ..3 -> done", "after the arrow of 'delete': ok or invalid"),
    ("delete snapshot p", "expected a whole number or max"),
    ("delete snapshots", "expected a persistence id"),
    ("save p 1", "expected snapshot, found 'p 1'"),
    (f"save snapshot p {2**63}", "expected a number up to max"),
    (f"delete snapshot p 1 at {2**63}", "expected a number up to max"),
    (f"clock {2**63}", "expected a number up to max"),
    ("save snapshot p -1", "expected a number of 0 or more, found -1"),
    ("save snapshot p 1 at 0", "expected a number of 1 or more, found 0"),
    ("load p", "expected snapshot"),
    ("load snapshot p seq 3", "expected '..'"),
    (
        "load snapshot p -> 3 at noon",
        "after the arrow of 'load snapshot': none or invalid or unreadable or a number, or",
    ),
    ("reopen -> none", "after the arrow of 'reopen': ok"),
    ("clock", "expected a whole number or max"),
    ("clock 5 -> ok", "after the arrow of 'clock': nothing"),
    ("A: write p 1", "expected write or"),
    ("a@: write p 1", "expected write or"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_named_by_file_and_number_with_what_was_expected(line: str, message: str) -> None:
    text = f"# Prose.\nrules J-01\n\nwrite q 1 -> ok\n{line}\n"
    with pytest.raises(ScenarioError) as raised:
        parse(text, "name", "folder/file.scenario")
    assert str(raised.value).startswith("folder/file.scenario:5: expected ")
    assert message in str(raised.value)
    assert raised.value.place == "folder/file.scenario:5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules J01\nwrite p 1", "name:1: expected rule ids such as J-42, found 'J01'"),
        ("rules J-1\nwrite p 1", "name:1: expected rule ids such as J-42"),
        ("rules J-01\nlevel half\nwrite p 1", "name:2: expected core or full, found 'half'"),
        ("rules J-01\nlevel core now\nwrite p 1", "name:2: expected the end of the line, found 'now'"),
        ("rules J-01\npage_size 0\nwrite p 1", "name:2: expected a number of 1 or more"),
        ("rules J-01\nprivate yes\nwrite p 1", "name:2: expected the end of the line"),
        ("write p 1", "name:2: expected a line 'rules J-01 ...'"),
        ("rules\nwrite p 1", "expected a line 'rules J-01 ...'"),
        ("rules J-01", "name:2: expected at least one operation"),
        ("", "name:1: expected a line 'rules J-01 ...'"),
    ],
)
def test_a_bad_head_is_named_by_file_and_number(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(text, "name")
    assert message in str(raised.value)


def test_a_file_that_is_no_text_is_refused_with_its_first_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "bad.scenario"
    path.write_bytes(b"rules J-01\nwrite \xff 1\n")
    with pytest.raises(ScenarioError, match=r"bad\.scenario:\d+: expected text in UTF-8, found byte 0xff"):
        read_scenario(path)


def test_a_file_gives_its_name_to_its_program(tmp_path: Path) -> None:
    path = tmp_path / "some_story.scenario"
    path.write_text("rules J-01\nwrite p 1\n", encoding="utf-8")
    assert read_scenario(path).name == "some_story"


# ------------------------------------------------------------------------------------------------------ expectations


@pytest.mark.parametrize(
    ("line", "normal"),
    [
        ("write p 1, 2 -> ok ,rejected", "ok, rejected"),
        ("replay p -> 1,2,3,5", "1..3, 5"),
        ("replay p -> 1..2 , 3..4", "1..4"),
        ("replay p -> 3, 1", "3, 1"),
        ("replay p -> 2..2", "2"),
        (f"replay p -> {MAX_SEQUENCE_NR}", "max"),
        ("replay p -> max", "max"),
        ("replay p -> 1, max", "1, max"),
        ("replay p -> none", "none"),
        ("highest p -> 7", "7"),
        ("highest p -> 007", "7"),
        (f"highest p -> {MAX_SEQUENCE_NR}", "max"),
        ("load snapshot p -> 13   at  1000", "13 at 1000"),
        (f"load snapshot p -> {MAX_SEQUENCE_NR} at 5", "max at 5"),
    ],
)
def test_expectations_take_the_form_in_which_outcomes_print_themselves(line: str, normal: str) -> None:
    assert parse(f"rules J-01\n{line}", "x").steps[0].expected == (normal,)


def test_several_outcomes_may_be_allowed() -> None:
    assert parse("rules J-01\nwrite p 1 -> ok|conflict", "x").steps[0].expected == ("ok", "conflict")


# ------------------------------------------------------------------------------------------------------------ programs


@given(programs, st.sampled_from(["k1-", "ä "]))
@example(Program("p", "", ("J-01",), (Step(Replay("")), Step(Reopen()), Step(Clock(1)))), "k1-")
def test_a_prefix_stands_before_every_id_but_the_empty_one(program: Program, prefix: str) -> None:
    program = msgspec.structs.replace(program, private=False)
    for before, after in zip(program.steps, program.with_prefix(prefix).steps, strict=True):
        match before.operation:
            case Write(batches=old):
                assert [prefix + one.persistence_id for one in old] == [
                    one.persistence_id for one in after.operation.batches
                ]
            case Reopen() | Clock() | Take() | Close():
                assert after == before
            case operation:
                assert after.operation.persistence_id == (
                    operation.persistence_id and prefix + operation.persistence_id
                )


@pytest.mark.parametrize(
    ("head", "own"), [("", False), ("private\n", True), ("page_size 2\n", False), ("b@other: highest p\n", True)]
)
def test_a_location_of_its_own_goes_to_whoever_needs_one(head: str, own: bool) -> None:
    program = parse(f"rules J-01\n{head}write p 1", "x")
    assert program.own_location is own


def test_a_private_program_keeps_its_ids() -> None:
    program = parse("rules J-01\nprivate\nwrite p 1", "x")
    assert program.with_prefix("k1-") == program
