"""One run at a time for one run document, since a run removes the witnesses of the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._usage import Usage


@contextmanager
def alone(document: Path) -> Iterator[None]:
    """Keep other runs out while this one writes a document and its witnesses. Where there are no locks nobody is."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = document.with_name(document.name + ".lock")
    lock = os.open(place, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Usage(f"another run is writing {document}; wait for it, or give this one its own --out") from error
        try:
            yield
        finally:
            place.unlink(missing_ok=True)
    finally:
        os.close(lock)
