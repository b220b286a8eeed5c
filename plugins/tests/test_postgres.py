"""The PostgreSQL backend where it differs from the others: writers that commit out of order, lost connections, kills.

Its rules are judged by `perdure run postgres`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import string
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

pytest.importorskip("asyncpg", reason="NOT RUN: asyncpg is not installed; pip install 'perdure[postgres]'")

import asyncpg
from hypothesis import given
from hypothesis import strategies as st
from perdure import (
    AtomicWrite,
    EventEnvelope,
    Location,
    Payload,
    PersistentRepr,
    ReadJournal,
    SnapshotMetadata,
    SnapshotSelectionCriteria,
    Storage,
)
from perdure.errors import OpenFailed, SequenceConflict, WriteFailed
from perdure_postgres import backend, postgres_backend
from perdure_postgres._text import loaded, stored
from perdure_scenarios.servers import Postgres
from perdure_tck.endpoints import NoServer

WAIT_S = 60.0
HELD = "held"
"""The id whose writers wait inside their transaction until a lock is given free."""

GATE = 42
HOLD = f"""
    CREATE FUNCTION {{schema}}.hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared({GATE});
        RETURN NEW;
    END $$;
    CREATE TRIGGER hold AFTER INSERT ON {{schema}}.event FOR EACH ROW
        WHEN (NEW.persistence_id = '{HELD}') EXECUTE FUNCTION {{schema}}.hold();
"""

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    try:
        started = Postgres()
    except NoServer as reason:
        pytest.skip(f"NOT RUN: {reason}")
    with started:
        yield started


@pytest.fixture
def location(server: Postgres) -> Location:
    """A location that nobody else has."""
    return Location(endpoint=server.endpoint, namespace=f"n{next(numbers)}", page_size=3, refresh_interval_s=0.02)


def event(persistence_id: str, number: int, *tags: str) -> PersistentRepr:
    return PersistentRepr(persistence_id, number, Payload(1, "m", b"x"), timestamp=700, tags=frozenset(tags))


def write(persistence_id: str, first: int, last: int | None = None) -> AtomicWrite:
    return AtomicWrite(tuple(event(persistence_id, number) for number in range(first, (last or first) + 1)))


def reading(storage: Storage) -> ReadJournal:
    assert isinstance(storage.queries, ReadJournal)
    return storage.queries


def runs(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), WAIT_S))


@contextlib.asynccontextmanager
async def holding(server: Postgres, location: Location) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Whoever writes to the id `held` stays inside the transaction, until what this gives is called."""
    connection = await asyncpg.connect(server.endpoint)
    await connection.execute(HOLD.format(schema=f'"{location.namespace}"'))
    await connection.execute(f"SELECT pg_advisory_lock({GATE})")

    async def free() -> None:
        await connection.execute("SELECT pg_advisory_unlock_all()")

    try:
        yield free
    finally:
        await connection.close()


async def until_held(server: Postgres) -> None:
    """Wait until a writer stands at the gate: it has its orderings, and has not committed."""
    connection = await asyncpg.connect(server.endpoint)
    try:
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted"
        while not await connection.fetchval(asked, GATE):  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


# ----------------------------------------------------------------------------------------------------------------- text


@given(st.text(alphabet=st.sampled_from("\0\1\2a") | st.characters(exclude_categories=["Cs"])))
def test_any_text_is_stored_without_nul_and_comes_back(text: str) -> None:
    assert "\0" not in stored(text)
    assert loaded(stored(text)) == text


def test_common_text_is_stored_as_it_is() -> None:
    assert stored(string.printable) == string.printable


@pytest.mark.parametrize("text", ["\1", "a\1b", "\1\3"])
def test_text_that_was_never_stored_like_this_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+0001 without"):
        loaded(text)


# ---------------------------------------------------------------------------------------------------- opening, settings


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"fsync": "maybe"}, "fsync 'maybe' is not known; one of on, off"),
        ({"synchronous_commit": "never"}, "synchronous_commit 'never' is not known; one of on, remote_apply"),
        ({"pool_size": "0"}, "pool_size 0 is out of range; 1 or more is allowed"),
        ({"pool_size": "many"}, "pool_size 'many' is not a number"),
        ({"timeout_s": "0"}, "timeout_s 0.0 is out of range; above 0 is allowed"),
        ({"colour": "red"}, "no setting named 'colour'; known: synchronous_commit, fsync, pool_size, timeout_s"),
    ],
)
def test_a_wrong_setting_is_named_with_the_way_out(given_settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        backend.configured(given_settings)


def test_the_claims_follow_from_the_settings() -> None:
    assert backend.claims.power_durable == "yes"
    assert postgres_backend(synchronous_commit="off").claims.power_durable == "prefix"
    assert not postgres_backend(synchronous_commit="off").claims.kill_durable
    assert postgres_backend(fsync="off").claims.power_durable == "no"


async def refusal(location: Location) -> str:
    with pytest.raises(OpenFailed) as refused:
        async with backend.open(location):
            pass
    return str(refused.value)


def test_a_location_without_a_server_says_what_it_needs() -> None:
    assert "needs an endpoint" in asyncio.run(refusal(Location()))


def test_an_absent_server_is_named_without_the_password() -> None:
    location = Location(endpoint="postgresql://me:secret@127.0.0.1:1/events")
    message = asyncio.run(refusal(location))
    assert "postgresql://me@127.0.0.1:1/events cannot be opened" in message
    assert "secret" not in message


def test_a_namespace_that_is_no_name_of_a_schema_is_refused(server: Postgres) -> None:
    message = asyncio.run(refusal(Location(endpoint=server.endpoint, namespace="n" * 64)))
    assert "cannot be the name of a schema; 1 to 63 bytes" in message


def test_a_schema_of_somebody_else_is_left_alone(server: Postgres, location: Location) -> None:
    async def test() -> None:
        connection = await asyncpg.connect(server.endpoint)
        await connection.execute(f'CREATE SCHEMA "{location.namespace}"')
        await connection.close()
        assert "is not one of ours" in await refusal(location)

    runs(test)


def test_a_server_without_fsync_is_opened_only_by_whoever_says_so() -> None:
    async def test(endpoint: str) -> None:
        location = Location(endpoint=endpoint)
        assert "runs with fsync=off" in await refusal(location)
        async with postgres_backend(fsync="off").open(location):
            pass

    try:
        started = Postgres({"fsync": "off"})
    except NoServer as reason:
        pytest.skip(f"NOT RUN: {reason}")
    with started as server:
        runs(lambda: test(server.endpoint))


# ---------------------------------------------------------------------------------------------------------------- feeds


def test_a_reader_does_not_pass_a_writer_that_has_not_committed(server: Postgres, location: Location) -> None:
    """Q-08: the event behind it is there, has a higher ordering, and must wait; then both come, in order."""

    async def test() -> None:
        async with backend.open(location) as one, backend.open(location) as other:
            feed = reading(other).all_events()
            async with holding(server, location) as free:
                held = asyncio.create_task(one.journal.write_messages([write(HELD, 1)]))
                await until_held(server)
                await other.journal.write_messages([write("fast", 1)])
                first: asyncio.Task[EventEnvelope] = asyncio.ensure_future(anext(feed))
                done, _ = await asyncio.wait([first], timeout=0.3)
                assert not done, "a reader passed a writer that may still appear below it"
                await free()
                await held
            found = [await first, await anext(feed)]
            assert [one.persistence_id for one in found] == [HELD, "fast"]

    runs(test)


def test_what_is_acknowledged_is_in_a_current_query_also_beside_a_slow_writer(
    server: Postgres, location: Location
) -> None:
    """Q-50: such a query waits for the writer that is under way, since it may not leave out what is above it."""

    async def test() -> None:
        async with backend.open(location) as one, backend.open(location) as other:
            async with holding(server, location) as free:
                held = asyncio.create_task(one.journal.write_messages([write(HELD, 1)]))
                await until_held(server)
                await other.journal.write_messages([write("fast", 1)])
                feed = reading(other).current_all_events()
                first = asyncio.ensure_future(anext(feed))
                await asyncio.wait([first], timeout=0.1)
                await free()
                await held
            assert [(await first).persistence_id] + [item.persistence_id async for item in feed] == [HELD, "fast"]

    runs(test)


def test_a_transaction_that_is_open_elsewhere_holds_no_reader_up(server: Postgres, location: Location) -> None:
    """A reader that goes by the oldest transaction of the server would wait for this one."""

    async def test() -> None:
        connection = await asyncpg.connect(server.endpoint)
        await connection.execute(f"CREATE TABLE elsewhere_{location.namespace} (n int)")
        async with backend.open(location) as storage, connection.transaction():
            await connection.execute(f"INSERT INTO elsewhere_{location.namespace} VALUES (1)")
            await storage.journal.write_messages([write("p", 1)])
            async with asyncio.timeout(WAIT_S / 4):
                assert (await anext(reading(storage).all_events())).persistence_id == "p"
        await connection.close()

    runs(test)


def test_a_reader_hears_of_what_another_handle_wrote(location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as one, backend.open(location) as other:
            first = asyncio.ensure_future(anext(reading(other).events_by_tag("red")))
            await asyncio.sleep(0.05)
            await one.journal.write_messages([AtomicWrite((event("p", 1, "red", "blue"),))])
            assert (await first).event.tags == {"red", "blue"}

    runs(test)


# -------------------------------------------------------------------------------------------------------------- writing


def test_calls_that_share_a_statement_do_not_share_a_failure(server: Postgres, location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as storage:
            journal = storage.journal
            await journal.write_messages([write("b", 1)])
            async with holding(server, location) as free:
                held = asyncio.create_task(journal.write_messages([write(HELD, 1)]))
                await until_held(server)  # what is asked for now waits, and becomes one statement
                calls = [write("a", 1), write("b", 1), write("c", 1)]
                together = asyncio.gather(*(journal.write_messages([one]) for one in calls), return_exceptions=True)
                await asyncio.sleep(0)
                await free()
                await held
                a, b, c = await together
            assert a == [None]
            assert isinstance(b, SequenceConflict)
            assert c == [None]

    runs(test)


def test_two_writers_of_one_number_are_told_apart(location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as one, backend.open(location) as other:
            for number in range(1, 21):
                both = [storage.journal.write_messages([write("p", number)]) for storage in (one, other)]
                found = await asyncio.gather(*both, return_exceptions=True)
                assert [None] in found
                assert [type(answer) for answer in found].count(SequenceConflict) == 1
            assert [found.sequence_nr async for found in one.journal.replay_messages("p")] == [*range(1, 21)]

    runs(test)


def test_a_call_whose_caller_is_gone_is_stored_whole(server: Postgres, location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as storage:
            async with holding(server, location) as free:
                held = asyncio.create_task(storage.journal.write_messages([write(HELD, 1, 3)]))
                await until_held(server)
                held.cancel()
                await free()
            assert await storage.journal.read_highest_sequence_nr(HELD) == 3

    runs(test)


def test_a_long_replay_is_one_view_although_everything_is_deleted_meanwhile(location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as storage:
            await storage.journal.write_messages([write("p", 1, 10)])
            replay = storage.journal.replay_messages("p")
            first = (await anext(replay)).sequence_nr
            await storage.journal.delete_messages_to("p", 10)
            assert [first] + [found.sequence_nr async for found in replay] == [*range(1, 11)]
            assert [found async for found in storage.journal.replay_messages("p")] == []

    runs(test)


# ---------------------------------------------------------------------------------------------------- kills, lost lines


async def every_event(storage: Storage) -> list[tuple[str, int]]:
    return [(found.persistence_id, found.sequence_nr) async for found in reading(storage).current_all_events()]


def test_a_connection_that_is_cut_in_a_write_leaves_it_unknown_and_the_next_write_is_fine(
    server: Postgres, location: Location
) -> None:
    async def test() -> None:
        async with backend.open(location) as storage:
            async with holding(server, location) as free:
                held = asyncio.create_task(storage.journal.write_messages([write(HELD, 1)]))
                await until_held(server)
                connection = await asyncpg.connect(server.endpoint)
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks "
                    "WHERE locktype = 'advisory' AND objid = $1 AND NOT granted",
                    GATE,
                )
                await connection.close()
                with pytest.raises(Exception) as cut:  # noqa: PT011 - any but those that say what became of it
                    await held
                assert not isinstance(cut.value, WriteFailed)
                await free()
            assert await storage.journal.write_messages([write("p", 1)]) == [None]
            assert await every_event(storage) == [("p", 1)]

    runs(test)


def test_after_a_kill_everything_acknowledged_is_there_and_the_same_handle_goes_on() -> None:
    """No acknowledged event is lost, none is there twice, and what was unknown is there whole or not at all."""

    async def test(server: Postgres) -> None:
        async with backend.open(Location(endpoint=server.endpoint)) as storage:
            acknowledged: set[tuple[str, int]] = set()
            unknown: set[tuple[str, int]] = set()
            enough = asyncio.Event()

            async def writing(persistence_id: str) -> None:
                try:
                    number = await storage.journal.read_highest_sequence_nr(persistence_id)
                except Exception:  # killed before this one has begun
                    return
                while True:
                    number += 1
                    try:
                        await storage.journal.write_messages([write(persistence_id, number)])
                    except WriteFailed:
                        return
                    except Exception:  # nobody knows
                        unknown.add((persistence_id, number))
                        return
                    acknowledged.add((persistence_id, number))
                    if len(acknowledged) % 40 == 0:
                        enough.set()

            for kill in range(5):
                writers = [asyncio.create_task(writing(f"p{one}")) for one in range(8)]
                enough.clear()
                await enough.wait()
                server.kill()
                await asyncio.gather(*writers)
                server.start()
                async with asyncio.timeout(WAIT_S / 6):
                    while True:
                        try:
                            await storage.journal.write_messages([write(f"after {kill}", 1)])
                            break
                        except Exception:  # it has not noticed yet; each connection is lost once
                            await asyncio.sleep(0.01)
                acknowledged.add((f"after {kill}", 1))
                found = await every_event(storage)
                assert len(found) == len(set(found))
                assert acknowledged <= set(found) <= acknowledged | unknown
            assert len(acknowledged) >= 200

    try:
        started = Postgres()
    except NoServer as reason:
        pytest.skip(f"NOT RUN: {reason}")
    with started as server:
        runs(lambda: test(server))


def test_snapshots_beyond_what_a_column_holds_are_refused(location: Location) -> None:
    async def test() -> None:
        async with backend.open(location) as storage:
            with pytest.raises(WriteFailed):
                await storage.snapshots.save(SnapshotMetadata("p", 1), Payload(2**70, "m", b""))
            assert await storage.snapshots.load("p", SnapshotSelectionCriteria()) is None

    runs(test)


def test_the_server_of_a_test_ends_with_it_and_leaves_nothing() -> None:
    try:
        started = Postgres()
    except NoServer as reason:
        pytest.skip(f"NOT RUN: {reason}")
    with started as server:
        directory, process = server.process.directory, server.process
        assert process.running
        server.restart()
        assert process.running
    assert not process.running
    assert not directory.exists()
