"""Animals in files: the backend on plain files with one mistake. They do what they should until something goes wrong,
so only crashes, power cuts, refusing disks and damage show them.

`files_writing` has what is done wrong while a log is open, `files_opening` what is done wrong when it is opened, and
`files_refusals` which errors of the disk are not believed.
"""

from __future__ import annotations

from . import files_opening, files_refusals, files_writing
from ._animal import Animal
from ._cage import CAGES as CAGES

FILES_ANIMALS: tuple[Animal, ...] = (
    *files_writing.family.animals,
    *files_opening.family.animals,
    *files_refusals.family.animals,
)
"""Every animal in files. Each can be loaded by another process, by the words in its `chosen`."""
