"""JUnit XML, read back by a parser: the counts are right, and nothing that was not proved looks green."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from perdure_reports.junit import write
from perdure_tck.document import BackendFacts, Fault, ShownStep
from perdure_tck.verdict import Word


def written(run: Any, folder: Path) -> Element:
    write(run, folder / "made" / "junit.xml")
    return ElementTree.parse(folder / "made" / "junit.xml").getroot()


def cases(root: Element) -> dict[str, Element]:
    return {str(case.get("name")).split()[0]: case for case in root.iter("testcase")}


def outcome(case: Element) -> tuple[str, str] | None:
    """The tag and the type of what a case ended in; None if it passed."""
    found = [(child.tag, str(child.get("type"))) for child in case if child.tag != "properties"]
    assert len(found) < 2
    return found[0] if found else None


def facts(element: Element) -> dict[str, str]:
    return {str(one.get("name")): str(one.get("value")) for one in element.findall("properties/property")}


def test_each_word_has_its_outcome(build: Any, tmp_path: Path) -> None:
    ended = {name: outcome(case) for name, case in cases(written(build.every_word(), tmp_path)).items()}
    assert ended == {
        "J-01": None,
        "J-42": ("failure", "VIOLATED"),
        "J-43": None,
        "J-44": ("skipped", "UNSUPPORTED"),
        "S-04": ("failure", "UNPROVEN"),
        "S-05": ("error", "NOT RUN"),
        "S-06": ("error", "KIT FAULT"),
        "fault": ("error", "KIT FAULT"),
    }


def test_not_run_is_skipped_only_where_the_run_ended_in_success(build: Any, tmp_path: Path) -> None:
    rules = [build.rule("J-01"), build.rule("S-05", Word.NOT_RUN, "this machine has no ptrace")]
    allowed = cases(written(build.run(*rules, partial=True), tmp_path))["S-05"]
    assert outcome(allowed) == ("skipped", "NOT RUN")
    refused = cases(written(build.run(*rules), tmp_path))["S-05"]
    assert outcome(refused) == ("error", "NOT RUN")
    assert "this machine has no ptrace" in str(refused.find("error").get("message"))  # type: ignore[union-attr]


def test_the_counts_are_those_of_the_cases(build: Any, tmp_path: Path) -> None:
    root = written(build.every_word(), tmp_path)
    found = [tuple(e.get(n) for n in ("tests", "failures", "errors", "skipped")) for e in (root, *root)]
    assert found == [("8", "2", "3", "1"), ("4", "1", "0", "1"), ("3", "1", "2", "0"), ("1", "0", "1", "0")]
    assert [suite.get("name") for suite in root] == ["sqlite journal", "sqlite snapshots", "sqlite kit"]


def test_a_case_is_a_rule_with_what_it_rests_on(build: Any, tmp_path: Path) -> None:
    case = cases(written(build.run(build.rule("J-01", reason="3 scenarios")), tmp_path))["J-01"]
    assert case.get("classname") == "perdure.sqlite.journal"
    assert case.get("name") == "J-01 Events MUST come back in order."
    assert facts(case) == {
        "rule": "J-01",
        "word": "CONFORMS",
        "level": "MUST",
        "reason": "3 scenarios",
        "coverage.deletions": "3",
        "floor.deletions": "2",
    }


def test_a_waived_rule_passes_and_says_so(build: Any, tmp_path: Path) -> None:
    assert facts(cases(written(build.every_word(), tmp_path))["J-43"])["word"] == "WAIVED"


def test_a_suite_says_what_was_judged(build: Any, tmp_path: Path) -> None:
    suite = written(build.run(build.rule("J-01")), tmp_path)[0]
    assert facts(suite)["setting.synchronous"] == "FULL"
    assert facts(suite)["corpus"] == "c41d"


def test_a_violation_holds_its_block_and_one_that_falls_with_it_names_the_other(build: Any, tmp_path: Path) -> None:
    run = build.run(
        build.rule("J-42", Word.VIOLATED, "seen in 2 scenarios", build.witness()),
        build.rule("J-43", Word.VIOLATED, "seen in 1 scenarios", build.witness()),
    )
    first, second = (case.find("failure") for case in cases(written(run, tmp_path)).values())
    assert first is not None
    assert second is not None
    assert first.get("message") == "VIOLATED: highest p gave 0, allowed: 5; seen in 2 scenarios"
    assert "     3  highest p       0   ✗ allowed: 5\n" in str(first.text)
    assert "falls with it  J-43" in str(first.text)
    assert str(second.get("message")).startswith("VIOLATED: falls with J-42: ")
    assert "falls with it" not in str(second.text)


def test_characters_that_xml_cannot_hold_are_written_visibly(build: Any, tmp_path: Path) -> None:
    evil = build.evil("a\x1b\x00\ud800\ufffe\r\n\x85]]><&\"'")
    step = ShownStep("", "replay p", evil, "none")
    run = build.run(
        build.rule("J-42", Word.VIOLATED, evil, build.witness((step,))),
        build.rule("J-44", Word.UNSUPPORTED, evil),
        faults=(Fault(evil, evil),),
        backend=BackendFacts(evil, evil, {evil: evil}, {}),
    )
    found = cases(written(run, tmp_path))
    seen = r"a\x1b\x00\ud800\ufffe\r\n\x85" + "]]><&\"'"
    assert seen in str(found["J-42"].findtext("failure"))
    assert found["J-44"].find("skipped").get("message") == f"UNSUPPORTED: {seen}"  # type: ignore[union-attr]
    assert found["J-44"].get("classname") == f"perdure.{seen}.journal"


def test_a_report_replaces_an_earlier_one_and_leaves_nothing_beside_it(build: Any, tmp_path: Path) -> None:
    written(build.every_word(), tmp_path)
    assert list(cases(written(build.run(build.rule("J-01")), tmp_path))) == ["J-01"]
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["junit.xml"]
