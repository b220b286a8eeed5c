"""Every sweep of the reference backends by `perdure run`, and settings of SQLite that are found wanting: minutes.

Run by `tox -e durability`. Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from perdure_scenarios.recording._refusal import refusal
from perdure_tck.command_line._group import perdure
from perdure_tck.document import Run, read_run
from perdure_tck.rules import all_rules
from perdure_tck.verdict import Word

pytestmark = [
    pytest.mark.skipif(not os.environ.get("PERDURE_SLOW"), reason="NOT RUN: takes minutes; set PERDURE_SLOW=1"),
    pytest.mark.skipif(bool(refusal()), reason=f"NOT RUN: {refusal()}"),
    pytest.mark.timeout(1800),
]

SWEPT = [rule.id for rule in all_rules().values() if rule.swept]
CLAIMED = '[claims]\npower_durable = "yes"\n'


def run(folder: Path, *words: str, claims: str = "") -> tuple[int, Run]:
    (folder / "conformance.toml").write_text(claims)
    out = folder / "run.jsonl"
    ran = CliRunner().invoke(
        perdure, ["run", *words, "--out", str(out), "--conformance", str(folder / "conformance.toml")]
    )
    print(ran.output)
    return ran.exit_code, read_run(out)


def words_of(found: Run) -> dict[str, Word]:
    return {result.id: result.word for result in found.rules}


@pytest.mark.parametrize("backend", ["files", "sqlite"])
def test_a_reference_backend_keeps_what_it_claims(tmp_path: Path, backend: str) -> None:
    code, found = run(tmp_path, backend, *SWEPT)
    assert code == 0
    assert {*words_of(found).values()} <= {Word.CONFORMS, Word.UNSUPPORTED}
    assert words_of(found)["D-10"] is Word.CONFORMS


def test_truncate_and_full_lose_nothing(tmp_path: Path) -> None:
    code, found = run(tmp_path, "sqlite", "D-01", "D-10", "--setting", "journal_mode=TRUNCATE")
    assert (code, {*words_of(found).values()}) == (0, {Word.CONFORMS})


@pytest.mark.parametrize("setting", ["synchronous=NORMAL", "journal_mode=DELETE", "synchronous=OFF"])
def test_a_setting_that_does_not_sync_is_found_wanting(tmp_path: Path, setting: str) -> None:
    code, found = run(tmp_path, "sqlite", "D-01", "D-10", "--setting", setting, claims=CLAIMED)
    assert code == 1
    assert words_of(found)["D-01"] is Word.CONFORMS
    assert words_of(found)["D-10"] is Word.VIOLATED
    (result,) = [one for one in found.rules if one.id == "D-10"]
    struck = result.witnesses[0].struck
    assert struck is not None
    assert setting.replace("=", " ") in struck.settings
    assert Path(struck.directory, "proof.json").is_file()


def test_level_full_of_memory_is_green(tmp_path: Path) -> None:
    code, found = run(tmp_path, "memory", "--level", "full")
    assert code == 0
    assert Word.VIOLATED not in words_of(found).values()
