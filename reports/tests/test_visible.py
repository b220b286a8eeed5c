"""Whatever a backend supplied is seen, and none of it can act."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from perdure_reports._visible import escaped, visible
from perdure_tck.document import BackendFacts, Fault, ShownStep
from perdure_tck.verdict import Word


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, änd 漢字 and 🙂", "plain, änd 漢字 and 🙂"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\ud800", r"\ud800"),
        ("\u202ereversed\u2028", r"\u202ereversed\u2028"),
        ("\ufffe\uffff", r"\ufffe\uffff"),
    ],
)
def test_acting_characters_are_written_as_escapes(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_every_text_of_a_run_is_made_visible(build: Any) -> None:
    evil = build.evil()
    step = ShownStep(evil, evil, evil, evil)
    run = build.run(
        build.rule("J-42", Word.VIOLATED, evil, build.witness((step,), text=evil, scenario=evil)),
        faults=(Fault(evil, evil),),
        backend=BackendFacts(evil, evil, {evil: evil}, {"tags": evil}),
    )
    shown = msgspec.json.encode(visible(run)).decode()  # it refuses a lone surrogate by itself
    assert r"a\\x1b[31m\\x00\\ud800" in shown
    assert r"\u001b" not in shown
    assert "\u202e" not in shown


def test_only_texts_of_several_lines_keep_their_line_breaks(build: Any) -> None:
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "one\nline", build.witness(text="write p\nreplay p")),
        faults=(Fault("one\nline", "two\nlines"),),
    )
    shown = visible(run)
    assert shown.rules[0].reason == r"one\nline"
    assert shown.rules[0].witnesses[0].text == "write p\nreplay p"
    assert (shown.faults[0].message, shown.faults[0].detail) == (r"one\nline", "two\nlines")


def test_a_run_without_such_characters_stays_as_it_is(build: Any) -> None:
    run = build.every_word()
    assert visible(run) == run
