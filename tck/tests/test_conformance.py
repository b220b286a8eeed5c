"""`conformance.toml`: what is wrong with a file is said in one line that names it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from perdure import Claims
from perdure_tck.conformance import Conformance, ConformanceError, read_conformance
from perdure_tck.rules import EDITION, all_rules

WAIVER = """
[[waiver]]
rule = "J-43"
reason = "known"
link = "https://example.org/issues/12"
until = 2027-03-01
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conformance.toml"


def test_a_good_file_is_read(path: Path) -> None:
    path.write_text(f'edition = "{EDITION}"\nlevel = "full"\n[claims]\ntags = false\natomic_batch = 5\n{WAIVER}')
    found = read_conformance(path)
    assert found.level == "full"
    (waiver,) = found.waiver
    assert (waiver.rule, waiver.reason, waiver.until) == ("J-43", "known", datetime.date(2027, 3, 1))
    assert found.claims_of(Claims(shared=True)) == Claims(shared=True, tags=False, atomic_batch=5)


def test_an_empty_file_states_nothing(path: Path) -> None:
    path.write_text("")
    assert read_conformance(path) == Conformance()
    assert read_conformance(path).claims_of(Claims(tags=False)) == Claims(tags=False)


UNJUDGED = next(one.id for one in all_rules().values() if not one.judged)

BAD = {
    "no TOML": ("edition = ", "Invalid value"),
    "text that is not UTF-8": (b"# \xff", "utf-8"),
    "an unknown key": ("color = 1", "unknown field `color`"),
    "an unknown level": ('level = "half"', "Invalid enum value 'half'"),
    "another edition": ('edition = "1999.1"', f"edition '1999.1' is not in this kit; it has {EDITION}"),
    "an unknown claim": (
        "[claims]\nfast = true",
        "no claim named 'fast'; there are atomic_batch, deleted_events_in_feeds",
    ),
    "a claim of another type": ('[claims]\ntags = "no"', "Expected `bool`, got `str`"),
    "a claim of another value": ('[claims]\npower_durable = "perhaps"', "Invalid enum value 'perhaps'"),
    "claims that are no table": ("claims = 5", "Expected `object`, got `int`"),
    "an unknown key of a waiver": (WAIVER + "color = 1", "unknown field `color`"),
    "an unknown rule": (WAIVER.replace("J-43", "J-999"), "a waiver names no rule 'J-999'; there are J-01 to J-85"),
    "two waivers of one rule": (WAIVER * 2, "two waivers for J-43; keep one"),
    "a waiver of what is not judged": (
        WAIVER.replace("J-43", UNJUDGED),
        f"a waiver for {UNJUDGED}, which is not judged",
    ),
    "a waiver without a reason": (WAIVER.replace("known", " "), "the waiver for J-43 needs a reason and a link"),
    "a waiver without a link": (
        WAIVER.replace("https://example.org/issues/12", ""),
        "the waiver for J-43 needs a reason and a link",
    ),
    "a waiver without an end": (WAIVER.replace("until = 2027-03-01", ""), "missing required field `until`"),
    "a waiver that ends on no day": (WAIVER.replace("2027-03-01", '"some day"'), "Invalid RFC3339"),
    "a waiver of what is not claimed": (
        "[claims]\ntags = false\n" + WAIVER.replace("J-43", "J-22"),
        "J-22 is waived, and excused because tags is not claimed; keep one of the two",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(path: Path, text: str | bytes, message: str) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConformanceError) as raised:
        read_conformance(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.path == path


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(ConformanceError, match="No such file"):
        read_conformance(path)
