"""Exploration: what the gate lets through is found, small, once, again with the same seed, and kept in any case."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import subprocess
import sys
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from perdure import Backend, Claims, Location, Storage, load_backend
from perdure_memory import Log, MemoryJournal, MemorySnapshotStore, World
from perdure_tck import exploration
from perdure_tck.command_line._group import perdure
from perdure_tck.exploration import LENGTHS, Expedition, Quest, Watch, explore
from perdure_tck.finds import Find, written
from perdure_tck.generation import CODE_SIZE, HEAD_SIZE, decode
from perdure_tck.judge import disagreement
from perdure_tck.loose import BYTES_MAX, EVENTS_MAX, RAW_IDS, loose
from perdure_tck.operations import Write, ids_of
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import parse, read_scenario, show
from perdure_tck.tally import Tally

FIFTH = 5
CHANCES = itertools.count()


class Ticks:
    """A clock that goes on by a little each time somebody looks: so many looks fit into a search."""

    def __init__(self, tick_s: float = 0.01) -> None:
        self.now = 0.0
        self._tick_s = tick_s

    def __call__(self) -> float:
        self.now += self._tick_s
        return self.now


class Forgetful(MemoryJournal):
    """From the fifth deletion on of an id that has a snapshot, the highest number is that of the events left.

    `forgets` says whether it does so this time, given how often it could have.
    """

    def __init__(self, world: World, clock: Callable[[], int], forgets: Callable[[int], bool]) -> None:
        super().__init__(world.events, clock, 1)
        self._snapshots, self._forgets = world.snapshots.snapshots, forgets
        self._deletions: Counter[str] = Counter()

    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        log = self._shelf.logs.get(persistence_id)
        before = len(log.events) if log else 0
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        if log and len(log.events) < before and any(owner == persistence_id for owner, _ in self._snapshots):
            self._deletions[persistence_id] += 1
            if self._deletions[persistence_id] >= FIFTH and self._forgets(next(CHANCES)):
                log.highest_sequence_nr = max(log.events, default=0)


def planted(forgets: Callable[[int], bool] = lambda _: True) -> Backend:
    @asynccontextmanager
    async def opened(location: Location) -> AsyncIterator[Storage]:
        world = World()
        snapshots = MemorySnapshotStore(world.snapshots, location.clock)
        yield Storage(Forgetful(world, location.clock, forgets), snapshots)

    return Backend("planted", opened, Claims())


def search(backend: Backend, ticks: int = 120, watch: Watch | None = None, **wanted: Any) -> Expedition:
    """A search of so many looks at the clock; about as many programs."""
    quest = Quest(**{"claims": backend.claims, "seed": 1, "duration_s": ticks / 100, **wanted})
    return explore(backend, quest, watch, Ticks())


class Notes:
    """A watch that remembers, and that presses Ctrl-C after so many programs."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.found_: list[Find] = []
        self.programs = 0
        self._interrupt_after = interrupt_after

    def progress(self, tally: Tally) -> None:
        self.programs = tally.programs.total()
        if self.programs == self._interrupt_after:
            raise KeyboardInterrupt

    def found(self, find: Find) -> None:
        self.found_.append(find)


# -------------------------------------------------------------------------------------------------------- what is found


@pytest.fixture(scope="module")
def ended() -> Expedition:
    return search(planted())


def test_a_find_is_small_and_blamed_on_a_rule_that_names_it(ended: Expedition) -> None:
    assert ended.finds
    rules = {find.rule for find in ended.finds}
    assert rules & {"J-42", "J-43", "J-44"}, rules
    for find in ended.finds:
        kinds = Counter(step.operation.split()[0] for step in find.witness.steps)
        assert (kinds["delete"], kinds["save"]) == (FIFTH, 1), find.witness.text
        assert len(find.witness.steps) <= 2 * FIFTH + 3, find.witness.text


def test_each_find_is_told_once(ended: Expedition) -> None:
    notes = Notes()
    again = search(planted(), watch=notes)
    assert notes.found_ == list(again.finds)
    assert len({find.shape for find in again.finds}) == len(again.finds) == len(ended.finds)
    assert again.tally.deviating > len(again.finds)


def test_the_same_seed_finds_the_same_and_another_seed_tries_other_programs(ended: Expedition) -> None:
    again = search(planted())
    assert [find.witness for find in again.finds] == [find.witness for find in ended.finds]
    other = search(planted(), seed=2)
    assert [find.codes for find in other.finds] != [find.codes for find in ended.finds]


def test_a_search_goes_on_behind_a_find_until_its_time_is_up_or_there_are_enough(ended: Expedition) -> None:
    assert ended.tally.elapsed_s >= 1.2
    assert ended.tally.programs.total() > 80
    enough = search(planted(), finds_max=1)
    assert enough.finds == ended.finds[:1]
    assert enough.tally.programs.total() < ended.tally.programs.total()


def test_a_right_backend_is_left_alone() -> None:
    for name in ("memory", "sqlite"):
        right = search(load_backend(name), ticks=60)
        assert (right.finds, right.fault, right.interrupted) == ((), None, False)
        assert right.tally.deviating == 0


def test_both_lanes_run_and_everything_is_counted() -> None:
    tally = search(load_backend("memory"), ticks=850).tally
    assert tally.programs["volume"] > tally.programs["hypothesis"] > 0
    assert tally.operations > 40 * tally.programs.total()
    assert len(tally.states) > 100
    judged = sum(rule.judged for rule in all_rules().values())
    assert judged / 2 < tally.exercised <= judged


def test_a_rule_that_is_waived_is_not_told_again(ended: Expedition) -> None:
    waived = search(planted(), waived=frozenset({ended.finds[0].rule}))
    assert {find.rule for find in waived.finds} == {find.rule for find in ended.finds} - {ended.finds[0].rule}
    assert waived.tally.waived


# ------------------------------------------------------------------------------------------------------- what is kept


def test_what_was_found_is_kept_when_somebody_presses_ctrl_c(ended: Expedition) -> None:
    first = int(ended.finds[0].witness.scenario.rsplit("_", 1)[1])
    notes = Notes(interrupt_after=first + 1)
    cut = search(planted(), watch=notes)
    assert cut.interrupted
    assert cut.finds == ended.finds[:1]
    assert notes.programs == first + 1


def test_what_was_found_before_is_tried_first(tmp_path: Path) -> None:
    first = search(planted(), examples=tmp_path)
    again = search(planted(), examples=tmp_path, seed=99, finds_max=len(first.finds))
    assert again.tally.programs == {"again": len({find.codes for find in first.finds})}
    assert {find.shape for find in again.finds} == {find.shape for find in first.finds}


def test_what_was_mended_is_forgotten(tmp_path: Path) -> None:
    assert search(planted(), examples=tmp_path).finds
    mended = search(load_backend("memory"), examples=tmp_path, ticks=50)
    assert mended.tally.programs["again"] > 0
    assert search(load_backend("memory"), examples=tmp_path, ticks=50).tally.programs["again"] == 0


def test_a_fault_of_the_adapter_ends_a_search_and_keeps_what_was_found() -> None:
    notes = Notes()

    @asynccontextmanager
    async def opens_until_something_is_found(location: Location) -> AsyncIterator[Storage]:
        if notes.found_:
            raise OSError("no such server")
        async with planted().open(location) as storage:
            yield storage

    ended = search(Backend("faulty", opens_until_something_is_found, Claims()), watch=notes)
    assert "no such server" in str(ended.fault)
    assert ended.finds


def test_a_backend_that_offers_nothing_is_a_fault() -> None:
    @asynccontextmanager
    async def nothing(_: Location) -> AsyncIterator[Storage]:
        yield Storage()

    ended = search(Backend("nothing", nothing))
    assert str(ended.fault) == "nothing offers neither a journal nor a snapshot store"


def test_a_find_that_does_not_always_happen_says_how_often_it_was_seen() -> None:
    race = search(planted(lambda chance: chance % 3 == 1), finds_max=1)
    (find,) = race.finds
    assert find.witness.intermittent
    assert 0 < find.witness.seen < find.witness.repeated


def test_silence_is_made_small_too() -> None:
    class Stubborn(MemoryJournal):
        async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
            if len(self._shelf.logs.get(persistence_id, Log()).events) > 2:
                await asyncio.Event().wait()
            await super().delete_messages_to(persistence_id, to_sequence_nr)

    @asynccontextmanager
    async def opened(location: Location) -> AsyncIterator[Storage]:
        world = World()
        yield Storage(Stubborn(world.events, location.clock, 1), MemorySnapshotStore(world.snapshots, location.clock))

    silent = search(Backend("stubborn", opened, Claims()), finds_max=1, operation_limit_s=0.2)
    (find,) = silent.finds
    assert find.rule == "J-61"
    assert len(find.witness.steps) <= 4
    assert find.witness.steps[-1].observed == "no answer in 0.2 s"


def test_a_find_is_written_as_a_scenario_that_says_what_was_observed(ended: Expedition, tmp_path: Path) -> None:
    find = written(ended.finds[0], tmp_path / "deep" / "finds")
    path = Path(find.witness.file)
    assert re.fullmatch(r"[JS]-\d\d(-[a-z0-9]+)+-[0-9a-f]{4}\.scenario", path.name)
    program = read_scenario(path)
    assert program.steps == parse(find.witness.text, "one").steps
    assert program.rules == find.witness.rules
    assert f"allowed is {find.witness.steps[-1].allowed}." in program.prose
    assert written(ended.finds[0], tmp_path / "deep" / "finds") == find


# --------------------------------------------------------------------------------------------------- programs let loose


def codes(head: int, seed: int, length: int = 40) -> bytes:
    return bytes([head]) + random.Random(seed).randbytes(HEAD_SIZE - 1 + CODE_SIZE * length)


def test_most_programs_are_those_of_the_gate_up_to_what_can_be_borne() -> None:
    """The second byte tells the mood; programs of a mood for long logs may write more than is borne."""
    whole = 0
    for seed in range(200):
        code = codes(seed * 7 % 240, seed)
        gate, let_loose = decode(code, "one"), loose(code, "one")
        assert let_loose == msgspec.structs.replace(gate, steps=gate.steps[: len(let_loose.steps)])
        if let_loose != gate:
            over = gate.steps[: len(let_loose.steps) + 1]
            batches = [one for step in over if isinstance(step.operation, Write) for one in step.operation.batches]
            assert sum(one.last - one.first + 1 for one in batches) > EVENTS_MAX
        whole += let_loose == gate
    assert whole > 180


def test_some_have_raw_ids_at_a_location_of_their_own() -> None:
    program = loose(codes(255, 3, 160), "one")
    assert program.private
    ids = {one for step in program.steps for one in ids_of(step.operation)}
    assert ids & {one for family in RAW_IDS for one in family}


def test_no_program_writes_more_than_can_be_borne() -> None:
    for seed in range(60):
        program = loose(codes(seed * 4 % 256 | 3, seed, 320), "heavy")
        batches = [one for step in program.steps if isinstance(step.operation, Write) for one in step.operation.batches]
        assert sum(one.last - one.first + 1 for one in batches) <= EVENTS_MAX
        sizes = [(one.last - one.first + 1) * one.content.size for one in batches if one.content]
        assert sum(sizes) <= BYTES_MAX


def test_long_programs_can_be_written_down_and_read_back() -> None:
    for seed in range(30):
        program = loose(codes(seed * 9 % 256, seed, max(LENGTHS)), "long")
        if program.steps:
            written_down = msgspec.structs.replace(program, rules=("J-40",))
            assert parse(show(written_down), "long") == written_down
            assert disagreement(written_down) == ""


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    module = types.ModuleType("planted_bug")
    module.__dict__["backend"] = planted()
    monkeypatch.setitem(sys.modules, "planted_bug", module)
    monkeypatch.setitem(os.environ, "HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path / "hypothesis"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(perdure, [str(word) for word in words])


def test_the_command_tells_each_find_and_how_to_repeat_and_freeze_it(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    done = command("explore", "planted_bug:backend", "--for", "1m", "--finds", "1", "--seed", "1")
    assert done.exit_code == 1
    assert done.output.startswith("planted_bug:backend · exploring for 1m · seed 1 · ")
    assert len(re.findall("^VIOLATED  ", done.output, re.MULTILINE)) == 1
    assert re.search(
        r"of 1:00 · 1 find · [\d ]+ programs · [\d ]+ operations · [\d ]+ states reached · \d+ of \d+ rules exercised",
        done.output,
    )
    (path,) = (tmp_path / ".perdure" / "finds").iterdir()
    assert f"  freeze   perdure freeze {path.relative_to(tmp_path)} --as " in done.output
    replay = re.search(r"^  replay   perdure (replay .*)$", done.output, re.MULTILINE)
    assert replay is not None
    assert command(*replay.group(1).split()).exit_code == 1


def test_the_second_search_finds_at_once(command: Callable[..., Result]) -> None:
    words = ("explore", "planted_bug:backend", "--for", "1m", "--finds", "1")
    assert command(*words, "--seed", "1").exit_code == 1
    assert "· 1 programs ·" in command(*words, "--seed", "2").output


def test_a_search_that_finds_nothing_says_that_this_proves_nothing(command: Callable[..., Result]) -> None:
    done = command("explore", "memory", "--for", "1s", "--seed", "7")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "nothing found, which proves nothing; the gate is: perdure run memory"


def test_ctrl_c_ends_the_command_with_what_was_found(
    command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = exploration._Search._keep

    def keep_and_interrupt(self: exploration._Search, find: Find) -> None:
        found(self, find)
        raise KeyboardInterrupt

    monkeypatch.setattr(exploration._Search, "_keep", keep_and_interrupt)
    done = command("explore", "planted_bug:backend", "--for", "1m", "--seed", "1")
    assert done.exit_code == 1
    assert "ended by Ctrl-C; what was found until then is kept" in done.output
    assert len(list((tmp_path / ".perdure" / "finds").iterdir())) == 1


def test_an_adapter_that_cannot_be_opened_is_a_fault(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("faulty")
    module.__dict__["backend"] = Backend("faulty", lambda _: 1 / 0)  # type: ignore[arg-type, return-value] # on purpose
    monkeypatch.setitem(sys.modules, "faulty", module)
    done = command("explore", "faulty:backend", "--for", "1s")
    assert done.exit_code == 3
    assert "KIT FAULT  opening faulty raised ZeroDivisionError" in done.output


MISTAKES = {
    "an unknown backend": (["nosuch"], "no backend named 'nosuch'"),
    "a time without a unit": (["memory", "--for", "10"], "--for '10' is no time"),
    "a time of another unit": (["memory", "--for", "2d"], "as in 30s, 10m or 1h"),
    "no time at all": (["memory", "--for", "0s"], "--for '0s' is no time"),
    "a folder below a file": (["memory", "--for", "1s", "--into", "file/finds"], "file"),
    "an unknown setting": (["memory", "-s", "colour=red"], "memory has no setting colour"),
    "a bad conformance file": (["memory", "--conformance", "no.toml"], "no.toml: "),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(
    command: Callable[..., Result], tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    done = command("explore", *words)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_the_other_commands_do_not_load_hypothesis() -> None:
    script = "import sys, perdure_tck.command_line._group; sys.exit('hypothesis' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
