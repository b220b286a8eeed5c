"""Whether files that a process changes in memory matter: a trace does not have what was stored in them.

SQLite's `-shm` and LMDB's lock table are such files. They serve the processes that have them open, and whoever opens
the place first makes them anew. That is the criterion, and it is tried: the backend must see the same whether it finds
such a file as the process left it or as the calls of the trace left it. Files that are mapped and also synced (fsync,
msync) are meant to survive; with those a recording is given up without a trial.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec

from ..crew import Crew, Gone
from ..tasks import Look, Seen
from ._final_state import final_state
from ._record import Recording


def mapped_files_matter(recording: Recording, look: Look, crew: Crew) -> bool:
    """Look at the directory as it is, which must be as the recording left it, and as the trace has it.

    Record without `close` for this: a backend that was closed has removed such files.
    """
    if not recording.mapped:
        return False
    with tempfile.TemporaryDirectory(prefix="perdure-") as scratch:
        as_left, as_traced = Path(scratch, "left"), Path(scratch, "traced")
        shutil.copytree(look.directory, as_left)
        shutil.copytree(look.directory, as_traced)
        for path, content in final_state(recording.trace).items():
            if path in recording.mapped:
                (as_traced / path).write_bytes(content)
        return _seen(look, as_left, crew) != _seen(look, as_traced, crew)


def _seen(look: Look, directory: Path, crew: Crew) -> Seen | Gone:
    return crew.look(msgspec.structs.replace(look, directory=str(directory)))
