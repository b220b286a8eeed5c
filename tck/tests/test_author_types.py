"""The contracts in an author's editor: a backend that fits type-checks; of one that does not, the method is named.

mypy judges files outside the repository against the installed package, as it does for an author.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import pytest
from click.testing import CliRunner
from perdure_tck.command_line._new import new

pytestmark = pytest.mark.skipif(find_spec("mypy") is None, reason="NOT RUN: mypy is not installed")

Mypy = Callable[[str], str]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The backend that `perdure new` writes: an author's file that fits."""
    folder = tmp_path_factory.mktemp("project")
    CliRunner().invoke(new, ["mydb", "--into", str(folder)])
    return (folder / "src" / "perdure_mydb" / "__init__.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    """What `mypy --strict` says of a file; each gets a name of its own, so that one cache serves all."""
    folder = tmp_path_factory.mktemp("author")
    numbers = itertools.count(1)

    def said(text: str) -> str:
        path = folder / f"author{next(numbers)}.py"
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), path.name]
        return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False).stdout

    return said


def changed(stub: str, changes: Mapping[str, str]) -> str:
    for old, new_text in changes.items():
        assert old in stub, f"the stub has no {old!r} any more"
        stub = stub.replace(old, new_text)
    return stub


def test_the_stub_of_a_new_project_type_checks(mypy: Mypy, stub: str) -> None:
    assert mypy(stub).startswith("Success")


def test_an_application_type_checks(mypy: Mypy) -> None:
    said = mypy(
        """
from pathlib import Path

from perdure import Location, PersistentRepr, Storage, load_backend


async def history(directory: Path, persistence_id: str) -> list[PersistentRepr]:
    async with load_backend("sqlite").open(Location(directory=directory)) as storage:
        journal = storage.journal
        return [event async for event in journal.replay_messages(persistence_id, to_sequence_nr=10)]


def nothing() -> Storage:
    return Storage()
"""
    )
    assert said.startswith("Success")


SYNC_REPLAY = {
    "async def replay_messages": "def replay_messages",
    "AsyncIterator[PersistentRepr]": "Iterator[PersistentRepr]",
    "import AsyncIterator, Sequence": "import AsyncIterator, Iterator, Sequence",
}
REPLAY_OF_A_LIST = {
    "AsyncIterator[PersistentRepr]": "list[PersistentRepr]",
    "        for event in window[:max_count]:\n            yield event\n": "        return window[:max_count]\n",
}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("delete_messages_to", {"persistence_id: str, to_sequence_nr: int) -> None": "persistence_id: str) -> None"}),
        ("replay_messages", SYNC_REPLAY),
        ("replay_messages", REPLAY_OF_A_LIST),
        ("read_highest_sequence_nr", {"async def read_highest": "def read_highest"}),
        ("write_messages", {"Sequence[WriteRejected | None]:": "Sequence[bool]:"}),
        ("load", {"-> SelectedSnapshot | None": "-> Payload | None"}),
        ("delete_matching", {"async def delete_matching": "async def delete_all_matching"}),
    ],
    ids=["an argument less", "not async", "a list", "no await", "another answer", "another value", "another name"],
)
def test_a_method_that_does_not_fit_is_named(mypy: Mypy, stub: str, method: str, changes: Mapping[str, str]) -> None:
    said = mypy(changed(stub, changes))
    assert 'to "Storage" has incompatible type' in said, said
    assert method in said.partition('to "Storage" has incompatible type')[2], said
