"""`perdure events`: look into the files of a journal, whichever installed backend wrote them."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path

import click
from perdure import (
    Backend,
    BrokenBackend,
    IdSummary,
    Inspection,
    Payload,
    PersistentRepr,
    SelectedSnapshot,
    installed_backends,
    load_backend,
)
from perdure.errors import OpenFailed

from ..operations import quoted
from ._usage import Usage, usage_errors


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--id", "persistence_id", help="Show the events and snapshots of this persistence id.")
@click.option("--all", "everything", is_flag=True, help="Show every event in the order in which it was written.")
def events(files: tuple[Path, ...], persistence_id: str | None, everything: bool) -> None:
    """List the persistence ids of each FILE, or the events of one id or of all."""
    for path in files:
        if not path.is_file():
            raise Usage(f"{path}: there is no such file")
        asyncio.run(_look(path, persistence_id, everything))


async def _look(path: Path, persistence_id: str | None, everything: bool) -> None:
    refusals = []
    for backend in _inspecting():
        assert backend.inspect is not None
        try:
            async with backend.inspect(path) as found:
                with usage_errors():
                    _show(path, found, persistence_id, everything)
                return
        except OpenFailed as error:
            refusals.append(str(error))
    raise Usage("; ".join(refusals) or f"{path}: no installed backend can look into files")


def _inspecting() -> Sequence[Backend]:
    found = []
    for name in installed_backends():
        try:
            backend = load_backend(name)
        except BrokenBackend:
            continue  # one that cannot be imported must not keep the others from looking
        if backend.inspect is not None:
            found.append(backend)
    return found


def _show(path: Path, found: Inspection, persistence_id: str | None, everything: bool) -> None:
    if everything or persistence_id is not None:
        shown = 0
        for line in itertools.chain(
            map(_event_line, found.events(persistence_id)), map(_snapshot_line, found.snapshots(persistence_id))
        ):
            click.echo(line)
            shown += 1
        if not shown:
            click.echo(f"{path}: no events or snapshots{f' of {persistence_id!r}' if persistence_id else ''}")
        return
    summaries = list(found.ids())
    for summary in summaries:
        click.echo(_id_line(summary))
    click.echo(
        f"{path}: layout {found.layout} · {len(summaries)} ids · {sum(one.events for one in summaries)} events · "
        f"{sum(one.snapshots for one in summaries)} snapshots"
    )


def _id_line(one: IdSummary) -> str:
    left = (
        f"{one.lowest_sequence_nr}..{one.highest_sequence_nr}"
        if one.events
        else f"none, highest {one.highest_sequence_nr}"
    )
    return f"{quoted(one.persistence_id):<40} {one.events:>8} events  {left:<16} {one.snapshots:>4} snapshots"


def _event_line(event: PersistentRepr) -> str:
    tags = f"  tags {' '.join(sorted(map(quoted, event.tags)))}" if event.tags else ""
    return (
        f"{quoted(event.persistence_id)} {event.sequence_nr}  {_time(event.timestamp)}  {_payload(event.payload)}{tags}"
    )


def _snapshot_line(one: SelectedSnapshot) -> str:
    metadata = one.metadata
    return (
        f"{quoted(metadata.persistence_id)} snapshot {metadata.sequence_nr}  {_time(metadata.timestamp)}  "
        f"{_payload(one.snapshot)}"
    )


def _payload(payload: Payload) -> str:
    shown = payload.data[:60]
    more = "…" if len(payload.data) > len(shown) else ""
    manifest = f" {payload.manifest}" if payload.manifest else ""
    return f"[{payload.serializer_id}{manifest}] {len(payload.data)} bytes {shown!r}{more}"


def _time(timestamp: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(timestamp / 1e9, datetime.UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp} ns"
