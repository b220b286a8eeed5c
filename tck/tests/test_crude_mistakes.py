"""Every scenario bites: there is a broken backend that it catches, by a rule that it is about.

The animals of the zoo are subtle, since real bugs are, so the plain scenarios let them pass. Those are there for the
crude mistakes below, which nobody has to have made. A scenario that catches neither an animal nor one of these checks
nothing that anybody could get wrong, as one with a slip in it would.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from perdure import (
    AtomicWrite,
    Backend,
    Claims,
    EventEnvelope,
    Location,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
    WriteRejected,
)
from perdure_scenarios.recording._refusal import refusal
from perdure_tck.examiner import Examiner
from perdure_tck.judge import unmet_claim
from perdure_tck.packs import installed_programs
from perdure_tck.program import Program
from perdure_tck.sweep import Ask, installed_sweeping
from perdure_zoo import ANIMALS
from perdure_zoo._animal import Ward, WardJournal, WardSnapshots, caged
from perdure_zoo._query_ward import WardQueries, caged_with_queries
from perdure_zoo.files import FILES_ANIMALS

needs_ptrace = pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}")

# ------------------------------------------------------------------------------------------------------------ journals


class OneStepBehind(WardJournal):
    """Reads do not see the last event."""

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return super().window(persistence_id, first, last)[:-1]


class KeepsAnswers(WardJournal):
    """What was read once is the answer for ever."""

    _kept: dict[str, list[PersistentRepr]]

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        self._kept = getattr(self, "_kept", {})
        return self._kept.setdefault(persistence_id, super().window(persistence_id, first, last))


class OrdersByTime(WardJournal):
    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return sorted(super().window(persistence_id, first, last), key=lambda event: event.timestamp)


class IgnoresTheLowerBound(WardJournal):
    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        return super().window(persistence_id, 1, last)


class EndsAtTheFirstGap(WardJournal):
    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        found = super().window(persistence_id, first, last)
        return [event for place, event in enumerate(found) if event.sequence_nr == found[0].sequence_nr + place]


class IgnoresTheLimit(WardJournal):
    def selected(self, persistence_id: str, first: int, last: int, limit: int) -> Iterable[PersistentRepr]:
        return self.window(persistence_id, first, last)


class ReadsWhateverBeginsAlike(WardJournal):
    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        alike = [one for one in self._shelf.logs if one.startswith(persistence_id)]
        return [event for one in alike for event in WardJournal.window(self, one, first, last)]


class OneNumberForAllIds(WardJournal):
    def highest(self, persistence_id: str, hint: int) -> int:
        return max((log.highest_sequence_nr for log in self._shelf.logs.values()), default=0)


class DeletionForgetsTheNumber(WardJournal):
    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, to_sequence_nr)
        self.log(persistence_id).highest_sequence_nr = 0


class DeletesNothing(WardJournal):
    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        await super().delete_messages_to(persistence_id, 0)


class DeletesOfAllIds(WardJournal):
    async def delete_messages_to(self, persistence_id: str, to_sequence_nr: int) -> None:
        for one in list(self._shelf.logs):
            await super().delete_messages_to(one, to_sequence_nr)


class ChecksNoArguments(WardJournal):
    async def read_highest_sequence_nr(self, persistence_id: str, from_sequence_nr: int = 0) -> int:
        return self._highest(persistence_id)


class StoresTheFirstOfABatch(WardJournal):
    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        return await super().write_messages([AtomicWrite(one.events[:1]) for one in writes])


class HasItsOwnTime(WardJournal):
    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return msgspec.structs.replace(event, timestamp=1)


class DropsManifests(WardJournal):
    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        payload = msgspec.structs.replace(event.payload, manifest="")
        return msgspec.structs.replace(event, manifest="", payload=payload)


class EndsTagsAtANul(WardJournal):
    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        return msgspec.structs.replace(event, tags=frozenset(tag.partition("\0")[0] for tag in event.tags))


class ParsesJson(WardJournal):
    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        try:
            data = json.dumps(json.loads(event.payload.data)).encode()
        except ValueError:
            return event
        return msgspec.structs.replace(event, payload=msgspec.structs.replace(event.payload, data=data))


class NormalisesText(WardJournal):
    def encoded(self, event: PersistentRepr) -> PersistentRepr:
        data = unicodedata.normalize("NFC", event.payload.data.decode(errors="replace")).encode()
        return msgspec.structs.replace(event, payload=msgspec.structs.replace(event.payload, data=data))


class Renaming(WardJournal):
    """Keeps events under another id than the one they were given, and finds them by it."""

    def key(self, persistence_id: str) -> str:
        raise NotImplementedError

    async def write_messages(self, writes: Sequence[AtomicWrite]) -> Sequence[WriteRejected | None]:
        return await super().write_messages([AtomicWrite(tuple(map(self._renamed, one.events))) for one in writes])

    def _renamed(self, event: PersistentRepr) -> PersistentRepr:
        return msgspec.structs.replace(event, persistence_id=self.key(event.persistence_id))

    def window(self, persistence_id: str, first: int, last: int) -> list[PersistentRepr]:
        found = super().window(self.key(persistence_id), first, last)
        return [msgspec.structs.replace(event, persistence_id=persistence_id) for event in found]


class CutsIds(Renaming):
    def key(self, persistence_id: str) -> str:
        return persistence_id[:100]


class ReplacesOddCharacters(Renaming):
    def key(self, persistence_id: str) -> str:
        return "".join(one if one.isascii() and one.isalnum() else "_" for one in persistence_id)


# ----------------------------------------------------------------------------------------------------------- snapshots


class LoadsNothing(WardSnapshots):
    def newest(self, candidates: Sequence[SelectedSnapshot]) -> SelectedSnapshot | None:
        return None


class KeepsTextOnly(WardSnapshots):
    def put(self, metadata: SnapshotMetadata, selected: SelectedSnapshot) -> None:
        data = selected.snapshot.data.decode("ascii", "replace").encode()
        super().put(metadata, SelectedSnapshot(selected.metadata, Payload(4, selected.snapshot.manifest, data)))


class ForgetsTheBoundOfNumbers(WardSnapshots):
    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        times = SnapshotSelectionCriteria(max_timestamp=criteria.max_timestamp, min_timestamp=criteria.min_timestamp)
        await super().delete_matching(persistence_id, times)


class DeletesUncheckedIds(WardSnapshots):
    async def delete_matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> None:
        for selected in self._matching(persistence_id, criteria):
            self.discard(selected)


class RenamingSnapshots(WardSnapshots):
    """Keeps snapshots under another id than the one they were given, and finds them by it."""

    def key(self, persistence_id: str) -> str:
        raise NotImplementedError

    async def save(self, metadata: SnapshotMetadata, snapshot: Payload) -> None:
        await super().save(
            msgspec.structs.replace(metadata, persistence_id=self.key(metadata.persistence_id)), snapshot
        )

    def matching(self, persistence_id: str, criteria: SnapshotSelectionCriteria) -> list[SelectedSnapshot]:
        found = super().matching(self.key(persistence_id), criteria)
        named = [msgspec.structs.replace(one.metadata, persistence_id=persistence_id) for one in found]
        return [SelectedSnapshot(name, one.snapshot) for name, one in zip(named, found, strict=True)]


class CutsSnapshotIds(RenamingSnapshots):
    def key(self, persistence_id: str) -> str:
        return persistence_id[:100]


class FoldsSnapshotIds(RenamingSnapshots):
    def key(self, persistence_id: str) -> str:
        return persistence_id.strip().casefold()


class ReplacesOddCharactersOfSnapshotIds(RenamingSnapshots):
    def key(self, persistence_id: str) -> str:
        return "".join(one if one.isascii() and one.isalnum() else "_" for one in persistence_id)


# ------------------------------------------------------------------------------------------------------------- queries


class MissesTheLast(WardQueries):
    """The last event and the last id are not there yet."""

    def rows(self, subject: str) -> Sequence[EventEnvelope]:
        return super().rows(subject)[:-1]

    def ids(self) -> Iterable[str]:
        return [*super().ids()][:-1]


class LiveListsEnd(WardQueries):
    async def list_ids(self, live: bool) -> AsyncIterator[str]:
        async for persistence_id in super().list_ids(live=False):
            yield persistence_id


class NobodyIsToldOfClosing(WardQueries):
    def close(self) -> None:
        pass


class ClosingWaitsForAnEvent(WardQueries):
    """A query that waits cannot be cancelled."""

    async def feed(self, subject: str, behind: int, tag: str, live: bool) -> AsyncIterator[EventEnvelope]:
        try:
            async for row in super().feed(subject, behind, tag, live):
                yield row
        finally:
            if live:
                await self.shelf.changes.after(self.shelf.changes.count)


QUERIES: Sequence[type[WardQueries]] = (MissesTheLast, LiveListsEnd, NobodyIsToldOfClosing, ClosingWaitsForAnEvent)


@asynccontextmanager
async def open_for_oneself(location: Location) -> AsyncIterator[Storage]:
    """Each handle has its own things."""
    ward = Ward()
    yield Storage(WardJournal(ward, location), WardSnapshots(ward, location))


JOURNALS: Sequence[type[WardJournal]] = (
    OneStepBehind,
    KeepsAnswers,
    OrdersByTime,
    IgnoresTheLowerBound,
    EndsAtTheFirstGap,
    IgnoresTheLimit,
    ReadsWhateverBeginsAlike,
    OneNumberForAllIds,
    DeletionForgetsTheNumber,
    DeletesNothing,
    DeletesOfAllIds,
    ChecksNoArguments,
    StoresTheFirstOfABatch,
    HasItsOwnTime,
    DropsManifests,
    EndsTagsAtANul,
    ParsesJson,
    NormalisesText,
    CutsIds,
    ReplacesOddCharacters,
)

SNAPSHOTS: Sequence[type[WardSnapshots]] = (
    LoadsNothing,
    KeepsTextOnly,
    ForgetsTheBoundOfNumbers,
    DeletesUncheckedIds,
    CutsSnapshotIds,
    FoldsSnapshotIds,
    ReplacesOddCharactersOfSnapshotIds,
)

CRUDE: Sequence[Backend] = (
    *(caged(one.__name__, journal=one) for one in JOURNALS),
    *(caged(one.__name__, snapshots=one) for one in SNAPSHOTS),
    *(caged_with_queries(one.__name__, one) for one in QUERIES),
    Backend("OpensForItself", open_for_oneself, Claims(survives_close=True, shared=True)),
)


CALM = [program for program in installed_programs() if not program.hazards]
STRUCK = [program for program in installed_programs() if program.hazards]

CAUGHT_IN_SWEEPS: Mapping[str, str] = {
    "batch_after_batch": "events_are_framed_one_by_one",
    "batch_is_there_whole_or_not_at_all": "nothing_is_synced",
    "batch_of_several_pages": "nothing_is_synced",
    "call_of_several_ids": "events_are_framed_one_by_one",
    "call_of_several_writes_of_one_id": "events_are_framed_one_by_one",
    "compaction_keeps_the_highest_number_of_an_emptied_id": "torn_end_resets_the_numbers",
    "damage_to_a_file_of_events": "damage_wipes_the_history",
    "damage_to_a_long_log": "damage_wipes_the_history",
    "damage_to_a_snapshot": "unreadable_snapshot_is_none",
    "deleted_twice_and_written_again": "torn_end_resets_the_numbers",
    "deletion_beside_another_id": "nothing_is_synced",
    "deletion_is_one_step": "nothing_is_synced",
    "deletion_of_everything_keeps_the_highest_number_after_a_crash": "nothing_is_synced",
    "disk_becomes_read_only": "read_only_disk_is_ignored",
    "disk_is_full_at_every_byte": "short_write_is_the_whole_write",
    "events_one_after_another": "torn_end_stays",
    "every_call_fails_once_for_want_of_room": "rename_without_room_is_ignored",
    "every_call_fails_once_with_an_io_error": "removal_is_not_looked_at",
    "every_call_is_interrupted_once": "interrupted_write_is_done",
    "every_read_fails_once": "read_error_is_the_end",
    "every_sync_fails_once": "failed_sync_is_repeated",
    "every_write_is_short_once": "short_write_is_the_whole_write",
    "everything_that_an_event_has": "events_are_framed_one_by_one",
    "first_write_of_an_empty_store": "torn_end_stays",
    "killed_during_one_batch": "acknowledged_in_the_buffer",
    "long_log_with_deletions": "torn_end_stays",
    "opened_again_after_a_deletion": "torn_end_resets_the_numbers",
    "opened_again_in_between": "torn_end_stays",
    "payload_of_several_pages": "nothing_is_synced",
    "snapshot_covers_deleted_events_after_a_crash": "nothing_is_synced",
    "snapshot_is_replaced": "nothing_is_synced",
    "snapshot_is_saved": "nothing_is_synced",
    "snapshot_of_several_pages": "nothing_is_synced",
    "snapshots_are_deleted": "nothing_is_synced",
}
"""For each scenario with hazards an animal in files that it catches: to look for one takes minutes."""

UNCAUGHT: Mapping[str, str] = {
    "every_sync_lies_once": "what such a disk loses is measured, since no backend can help it",
}
"""The scenarios with hazards that catch nothing, and why."""


def catches(program: Program, backend: Backend) -> bool:
    """Whether a program convicts a backend by one of its own rules; a field that it only passes by does not count."""
    if unmet_claim(program, backend.claims):
        return False
    with Examiner(backend, operation_limit_s=1.0) as examiner:
        if examiner.offers().lacking(program):
            return False  # whoever has no queries fails on each of them, and that proves nothing
        return any({*one.rules} & {*program.rules} for one in examiner.try_alone(program).deviations)


def suspects(program: Program) -> list[Backend]:
    """Every broken backend, likely ones first."""
    about = {*program.rules}
    likely = sorted(ANIMALS, key=lambda one: (-len(about & {*one.killed_by}), -len(about & {*one.signature})))
    return [*(one.backend for one in likely), *CRUDE]


@pytest.mark.parametrize("program", CALM, ids=lambda program: program.name)
def test_a_scenario_catches_a_broken_backend_by_a_rule_that_it_is_about(program: Program) -> None:
    assert any(catches(program, backend) for backend in suspects(program)), (
        f"{program.name} catches nothing: write a backend that breaks {' '.join(program.rules)} the way it looks for"
    )


@pytest.mark.parametrize("backend", CRUDE, ids=lambda backend: backend.name)
def test_a_crude_mistake_is_caught(backend: Backend) -> None:
    assert any(catches(program, backend) for program in installed_programs())


@needs_ptrace
@pytest.mark.parametrize("name", CAUGHT_IN_SWEEPS)
def test_a_scenario_with_hazards_catches_an_animal_in_files_by_a_rule_that_it_is_about(name: str) -> None:
    program = next(one for one in STRUCK if one.name == name)
    animal = next(one for one in FILES_ANIMALS if one.name == CAUGHT_IN_SWEEPS[name])
    about = {*program.rules} & {*animal.killed_by}
    assert about, f"{name} is not about what is wrong with {animal.name}"
    sweeping = installed_sweeping()
    assert sweeping is not None
    with sweeping(Ask(words=animal.chosen, claims=animal.backend.claims, states_max=60, runs_max=24)) as sweep:
        found = sweep.sweep(program, lambda *_: None)
    assert about & {rule for witness in found.witnesses for rule in witness.rules}, f"{name} lets {animal.name} pass"


def test_every_scenario_with_hazards_has_its_animal_or_says_why_not() -> None:
    assert {program.name for program in STRUCK} == CAUGHT_IN_SWEEPS.keys() | UNCAUGHT.keys()
    assert not CAUGHT_IN_SWEEPS.keys() & UNCAUGHT.keys()
