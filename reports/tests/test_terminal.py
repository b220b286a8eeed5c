"""The report in a terminal, compared whole: what a person reads is what is written here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from perdure_reports.terminal import show
from perdure_tck.document import BackendFacts, Fault, ShownStep, read_run, write_run
from perdure_tck.verdict import Word
from rich.console import Console

GREEN = """\
sqlite (SQLite 3.40.1) · edition 2026.1 · level core · kit 0.1.0
settings: journal_mode WAL · synchronous FULL

  journal    J  ████████████████████    2/2
  snapshots  S  ██████████··········    1/2   1 UNSUPPORTED  S-05

UNSUPPORTED  S-05  the backend offers none

3 CONFORMS · 0 VIOLATED · 0 WAIVED · 1 UNSUPPORTED · 0 UNPROVEN · 0 NOT RUN · 0 KIT FAULT
CONFORMS to core · 3 of 4 rules judged, 1 unsupported · 214 programs, 9 100 operations · 9.4 s · corpus c41d
"""

RED = """\
sqlite (SQLite 3.40.1) · edition 2026.1 · level core · kit 0.1.0
settings: journal_mode WAL · synchronous FULL

  journal  J  █████▒▒▒▒▒▒▒▒▒▒·····    3/4   2 VIOLATED  J-42 J-43   1 WAIVED  J-44

VIOLATED  J-42  Deleting every event MUST NOT lower the highest sequence number.

  smallest history that breaks it (7 tried; scenario empties_twice)
     1  write p 1..5    ok
     2  delete p ..max  ok
     3  highest p       0   ✗ allowed: 5

  check    Where does the number live when no row is left?
  falls with it  J-43
  replay   perdure replay empties_twice --backend sqlite
  explain  perdure explain J-42
  note     seen in 2 scenarios

WAIVED       J-44  known (https://example.org/issues/12)

1 CONFORMS · 2 VIOLATED · 1 WAIVED · 0 UNSUPPORTED · 0 UNPROVEN · 0 NOT RUN · 0 KIT FAULT
VIOLATED · 2 rules (J-42 J-43) · 3 of 4 rules judged, 1 waived · 214 programs, 9 100 operations · 9.4 s · corpus c41d
"""

FAULT = """\
!!  KIT FAULT  opening sqlite raised OSError: disk full
!!  The run ended there. Mend this first: it says nothing for or against the backend.
!!  without a verdict: S-06
"""


def piped(run: Any, verbose: bool = False, encoding: str = "utf-8", width: int | None = None) -> str:
    """What arrives at the other end of a pipe."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    show(run, Console(file=file, width=width), verbose)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(autouse=True)
def _no_wishes_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_a_green_run_fits_on_one_screen(build: Any) -> None:
    run = build.run(
        build.rule("J-01"),
        build.rule("J-02"),
        build.rule("S-04"),
        build.rule("S-05", Word.UNSUPPORTED, "the backend offers none"),
    )
    assert piped(run) == GREEN


def test_a_violated_run_shows_one_block_for_one_cause(build: Any) -> None:
    run = build.run(
        build.rule("J-01"),
        build.rule("J-42", Word.VIOLATED, "seen in 2 scenarios", build.witness()),
        build.rule("J-43", Word.VIOLATED, "seen in 1 scenarios", build.witness()),
        build.rule("J-44", Word.WAIVED, "known (https://example.org/issues/12)", build.witness()),
    )
    assert piped(run) == RED


def test_a_document_read_back_gives_the_same_report(build: Any, tmp_path: Path) -> None:
    write_run(build.every_word(), tmp_path / "run.jsonl")
    assert piped(read_run(tmp_path / "run.jsonl"), verbose=True) == piped(build.every_word(), verbose=True)


def test_a_fault_of_the_kit_looks_like_nothing_else(build: Any) -> None:
    shown = piped(build.every_word())
    assert FAULT in shown
    assert shown.count("disk full") == 1
    assert "OSError(28)" not in shown


def test_the_detail_of_a_fault_is_shown_on_request(build: Any) -> None:
    assert "!!  OSError(28)\n!!  in open\n" in piped(build.every_word(), verbose=True)


def test_every_word_has_its_line_with_what_is_missing_or_the_reason(build: Any) -> None:
    shown = piped(build.every_word()).splitlines()
    assert "UNSUPPORTED  J-44  tags is not claimed, and a probe confirmed that" in shown
    assert "UNPROVEN     S-04  not exercised enough: deletions 1 of 2" in shown
    assert "NOT RUN      S-05  this machine has no ptrace" in shown
    assert "1 CONFORMS · 1 VIOLATED · 1 WAIVED · 1 UNSUPPORTED · 1 UNPROVEN · 1 NOT RUN · 1 KIT FAULT" in shown
    assert shown[-1].startswith("KIT FAULT · says nothing for or against sqlite · 2 of 7 rules judged, ")


def test_rules_with_the_same_reason_share_a_line(build: Any) -> None:
    run = build.run(*(build.rule(f"J-{n}", Word.NOT_RUN, "this machine has no ptrace") for n in (10, 11, 12)))
    assert "NOT RUN      J-10 J-11 J-12  this machine has no ptrace\n" in piped(run)


def test_on_request_it_says_what_a_conforming_rule_rests_on(build: Any) -> None:
    shown = piped(build.every_word(), verbose=True)
    assert "CONFORMS     J-01  : deletions 3" not in shown
    assert "CONFORMS     J-01  deletions 3\n" in shown
    assert "AWAITING     J-05  will be judged with faults\n" in shown
    assert "claims: tags True\n" in shown


@pytest.mark.parametrize("width", [None, 10, 80])
def test_piped_output_has_no_control_codes_and_wraps_no_line(build: Any, width: int | None) -> None:
    long = "x" * 300
    run = build.run(build.rule("J-42", Word.UNSUPPORTED, f"[bold]{long}[/bold] :smile: {build.evil()}"))
    shown = piped(run, width=width)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert rf"UNSUPPORTED  J-42  [bold]{long}[/bold] :smile: a\x1b[31m\x00\ud800\n\u202eb]]><&|`" in shown.splitlines()


def test_an_escape_sequence_of_a_backend_does_not_reach_a_terminal(build: Any) -> None:
    file = io.StringIO()
    step = ShownStep("", "replay p", "\x1b]0;owned\x07", "none")
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "", build.witness((step,))), backend=BackendFacts("\x1b[2J", "", {}, {})
    )
    show(run, Console(file=file, force_terminal=True, color_system="standard"))
    assert "\x1b[" in file.getvalue(), "a terminal gets colours"
    assert "\x1b]" not in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_without_unicode_gets_characters_that_it_has(build: Any, encoding: str) -> None:
    run = build.run(build.rule("J-42", Word.VIOLATED, "漢", build.witness()), build.rule("J-01"))
    shown = piped(run, encoding=encoding)
    assert "##########xxxxxxxxxx" in shown
    assert "x allowed: 5" in shown
    assert r"note     \u6f22" in shown


def test_a_single_rule_does_not_vanish_among_many(build: Any) -> None:
    words = [Word.CONFORMS] * 98 + [Word.VIOLATED, Word.WAIVED]
    shown = piped(build.run(*(build.rule(f"J-{n}", word) for n, word in enumerate(words, 100))))
    assert f"  journal  J  {'█' * 18}▒·   99/100   1 VIOLATED  J-198   1 WAIVED  J-199" in shown.splitlines()


def test_a_run_that_ended_before_any_rule_is_told(build: Any) -> None:
    shown = piped(build.run(faults=(Fault("opening sqlite raised OSError", ""),)))
    assert "!!  KIT FAULT  opening sqlite raised OSError" in shown
    assert "0 CONFORMS · " in shown
