"""The Markdown summary: compared whole, and shown anything."""

from __future__ import annotations

import re
from typing import Any

import pytest
from perdure_reports._markdown import fenced, plain
from perdure_reports.summary import text
from perdure_tck.document import BackendFacts, Fault, ShownStep
from perdure_tck.verdict import Word

# A row of a table is one line, however long.
RED = """\
## sqlite (SQLite 3.40.1) · edition 2026.1 · level core · kit 0.1.0

**VIOLATED · 2 rules (J-42 J-43) · 3 of 4 rules judged, 1 unsupported · 214 programs, 9 100 operations · 9.4 s · corpus c41d**

settings: journal_mode WAL · synchronous FULL

| CONFORMS | VIOLATED | WAIVED | UNSUPPORTED | UNPROVEN | NOT RUN | KIT FAULT |
| --- | --- | --- | --- | --- | --- | --- |
| 1 | 2 | 0 | 1 | 0 | 0 | 0 |

| rule | word | why | what it says |
| --- | --- | --- | --- |
| J-42 | VIOLATED | highest p gave 0, allowed: 5; seen in 2 scenarios | Deleting every event MUST NOT lower the highest sequence number. |
| J-43 | VIOLATED | highest p gave 0, allowed: 5 | Deleting everything a second time MUST NOT lower the highest sequence number. |
| S-04 | UNSUPPORTED | the backend offers none | A snapshot SHOULD be found by its number. |

```text
VIOLATED  J-42  Deleting every event MUST NOT lower the highest sequence number.

  smallest history that breaks it (7 tried; scenario empties_twice)
     1  write p 1..5    ok
     2  delete p ..max  ok
     3  highest p       0   ✗ allowed: 5

  check    Where does the number live when no row is left?
  falls with it  J-43
  replay   perdure replay empties_twice --backend sqlite
  explain  perdure explain J-42
```
"""  # noqa: E501


def test_a_violated_run_reads_verdict_counts_rules_blocks(build: Any) -> None:
    run = build.run(
        build.rule("J-01"),
        build.rule("J-42", Word.VIOLATED, "seen in 2 scenarios", build.witness()),
        build.rule("J-43", Word.VIOLATED, "", build.witness()),
        build.rule("S-04", Word.UNSUPPORTED, "the backend offers none"),
    )
    assert text(run) == RED


def test_a_green_run_has_no_table_of_rules_and_no_block(build: Any) -> None:
    shown = text(build.run(build.rule("J-01")))
    assert shown.endswith("| 1 | 0 | 0 | 0 | 0 | 0 | 0 |\n")


def test_a_fault_comes_before_the_counts(build: Any) -> None:
    shown = text(build.every_word())
    assert "> **KIT FAULT** opening sqlite raised OSError: disk full\n" in shown
    assert shown.index("KIT FAULT** opening") < shown.index("| CONFORMS |")
    assert "```text\nOSError(28)\nin open\n```" in shown


def test_a_cell_cannot_end_its_table(build: Any) -> None:
    run = build.run(build.rule("J-42", Word.NOT_RUN, "a|b\n| c <b> [x](y) **z** `q` $m$ &amp;"))
    (row,) = [line for line in text(run).splitlines() if line.startswith("| J-42")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert r"a\|b\\n\| c \<b\> \[x\](y) \*\*z\*\* \`q\` \$m\$ \&amp;" in row


def test_the_name_of_a_backend_cannot_act(build: Any) -> None:
    run = build.run(build.rule("J-01", Word.KIT_FAULT), backend=BackendFacts("<b>", "*1*", {"a|b": "`c`"}, {}))
    heading, _, sentence, _, stated = text(run).splitlines()[:5]
    assert heading.startswith(r"## \<b\> (\*1\*) · ")
    assert r"nothing for or against \<b\> · " in sentence
    assert stated == r"settings: a\|b \`c\`"


def test_a_payload_cannot_close_its_fence(build: Any) -> None:
    step = ShownStep("", "replay p", "````\n# owned", "none")
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "", build.witness((step,))), faults=(Fault("raised", "``` and ```"),)
    )
    shown = text(run)
    assert "\n`````text\nVIOLATED  J-42" in shown
    assert "\n````text\n``` and ```\n````\n" in shown


@pytest.mark.parametrize(("inner", "fence"), [("", "```"), ("`", "```"), ("``` a ````", "`````")])
def test_a_fence_is_longer_than_any_within(inner: str, fence: str) -> None:
    assert fenced(inner) == f"{fence}text\n{inner}\n{fence}"


def test_an_underscore_within_a_word_needs_no_escape() -> None:
    assert plain("journal_mode _x_") == r"journal_mode \_x\_"
