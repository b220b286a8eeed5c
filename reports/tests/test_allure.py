"""Allure results, read back: stable ids, the steps of the smallest history alone, and a directory treated with care."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from perdure_reports.allure import write
from perdure_tck.document import BackendFacts, Fault, ShownStep
from perdure_tck.verdict import Word

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "me/mydb",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_NUMBER": "12",
    "GITHUB_WORKFLOW": "conformance",
}


def results(folder: Path) -> dict[str, Any]:
    """The results by the first word of their names, which is the rule's id."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*-result.json")]
    assert len({one["uuid"] for one in read}) == len(read)
    return {one["name"].split()[0]: one for one in read}


def written(run: Any, folder: Path) -> dict[str, Any]:
    write(run, folder / "allure")
    return results(folder / "allure")


def labels(result: Any, name: str) -> list[str]:
    return [label["value"] for label in result["labels"] if label["name"] == name]


def test_each_word_has_its_status(build: Any, tmp_path: Path) -> None:
    assert {name: one["status"] for name, one in written(build.every_word(), tmp_path).items()} == {
        "J-01": "passed",
        "J-42": "failed",
        "J-43": "passed",
        "J-44": "skipped",
        "S-04": "broken",
        "S-05": "skipped",
        "S-06": "broken",
        "Kit": "broken",
    }


def test_a_test_is_known_over_runs_by_rule_backend_and_level(build: Any, tmp_path: Path) -> None:
    first = written(build.run(build.rule("J-01")), tmp_path / "1")["J-01"]
    later = build.run(build.rule("J-01"), started="2027-01-01T00:00:00+00:00", kit="0.9.0", corpus="ffff")
    second = written(later, tmp_path / "2")["J-01"]
    assert first["historyId"] == second["historyId"] == hashlib.md5(b"J-01\0sqlite\0core").hexdigest()
    assert first["testCaseId"] == second["testCaseId"]
    assert first["uuid"] != second["uuid"]
    other = build.run(build.rule("J-01"), backend=BackendFacts("mydb", "1", {}, {}))
    assert written(other, tmp_path / "3")["J-01"]["historyId"] != first["historyId"]


def test_the_same_run_gives_the_same_files(build: Any, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        write(build.every_word(), folder, GITHUB)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_what_changes_without_the_question_changing_is_excluded_from_history(build: Any, tmp_path: Path) -> None:
    parameters = written(build.run(build.rule("J-01")), tmp_path)["J-01"]["parameters"]
    assert [(one["name"], one["value"], one.get("excluded", False)) for one in parameters] == [
        ("backend", "sqlite", False),
        ("edition", "2026.1", False),
        ("level", "core", False),
        ("kit", "0.1.0", True),
        ("corpus", "c41d", True),
    ]


def test_the_steps_are_those_of_the_smallest_history_and_the_last_one_failed(build: Any, tmp_path: Path) -> None:
    wide = (*(ShownStep("b", f"write p {n}", "ok") for n in range(40)), *build.witness().steps)
    run = build.run(build.rule("J-42", Word.VIOLATED, "", build.witness(), build.witness(wide)), build.rule("J-01"))
    found = written(run, tmp_path)
    steps = found["J-42"]["steps"]
    assert [(step["name"], step["status"]) for step in steps] == [
        ("write p 1..5  →  ok", "passed"),
        ("delete p ..max  →  ok", "passed"),
        ("highest p  →  0", "failed"),
    ]
    assert steps[-1]["statusDetails"]["message"] == "observed: 0\nallowed: 5"
    assert "steps" not in found["J-01"]


def test_a_step_names_its_client(build: Any, tmp_path: Path) -> None:
    witness = build.witness((ShownStep("b", "write p 1", "ok", "conflict"),))
    run = build.run(build.rule("J-42", Word.VIOLATED, "", witness))
    assert written(run, tmp_path)["J-42"]["steps"][0]["name"] == "b: write p 1  →  ok"


def test_a_violation_carries_its_scenario_and_its_block(build: Any, tmp_path: Path) -> None:
    found = written(build.every_word(), tmp_path)["J-42"]
    attached = {one["name"]: (tmp_path / "allure" / one["source"]).read_text("utf-8") for one in found["attachments"]}
    assert attached["smallest history, as a scenario"] == "write p 1..5\ndelete p ..max\nhighest p\n"
    assert attached["what is wrong"].startswith("VIOLATED  J-42  Deleting every event")
    assert found["statusDetails"]["trace"] + "\n" == attached["what is wrong"]


def test_one_that_falls_with_another_names_it(build: Any, tmp_path: Path) -> None:
    run = build.run(*(build.rule(name, Word.VIOLATED, "", build.witness()) for name in ("J-42", "J-43")))
    found = written(run, tmp_path)
    assert "falls with it  J-43" in found["J-42"]["statusDetails"]["trace"]
    assert found["J-43"]["statusDetails"]["message"].startswith("VIOLATED  J-43  falls with J-42: ")


def test_chapters_sections_and_rules_are_epics_features_and_stories(build: Any, tmp_path: Path) -> None:
    found = written(build.run(*(build.rule(name) for name in ("J-01", "J-42", "J-85", "S-04"))), tmp_path)
    told = {name: tuple(labels(one, kind)[0] for kind in ("epic", "feature", "story")) for name, one in found.items()}
    assert told == {
        "J-01": ("Journal", "Writes", "J-01 Events MUST come back in order."),
        "J-42": ("Journal", "Highest sequence number", found["J-42"]["name"]),
        "J-85": ("Journal", "Several writers, arguments", found["J-85"]["name"]),
        "S-04": ("Snapshot store", "Snapshot store", found["S-04"]["name"]),
    }


def test_severity_follows_the_level(build: Any, tmp_path: Path) -> None:
    found = written(build.every_word(), tmp_path)
    assert [labels(found[name], "severity")[0] for name in ("J-01", "S-04", "S-05")] == ["critical", "normal", "minor"]


def test_a_waived_rule_is_labelled_and_links_to_where_it_is_followed_up(build: Any, tmp_path: Path) -> None:
    found = written(build.every_word(), tmp_path)["J-43"]
    assert labels(found, "tag") == ["J-43", "waived"]
    assert [link["url"] for link in found["links"]] == ["https://example.org/issues/12"]


def test_a_conforming_rule_says_what_it_rests_on(build: Any, tmp_path: Path) -> None:
    told = written(build.run(build.rule("J-01", reason="3 scenarios")), tmp_path)["J-01"]["description"]
    assert told == (
        "**MUST** Events MUST come back in order.\n\nCONFORMS: 3 scenarios\n\n"
        "exercised: deletions 3 (floor 2)\n\nscenarios: empties_twice"
    )


def test_every_category_matches_the_messages_of_its_word_alone(build: Any, tmp_path: Path) -> None:
    found = written(build.every_word(), tmp_path)
    categories = json.loads((tmp_path / "allure" / "categories.json").read_text("utf-8"))
    matched = {
        name: [
            category["name"]
            for category in categories
            if re.fullmatch(category["messageRegex"], one["statusDetails"]["message"], re.DOTALL)
            and one["status"] in category["matchedStatuses"]
        ]
        for name, one in found.items()
    }
    assert matched == {
        "J-01": [],
        "J-42": ["Violation"],
        "J-43": ["Waived"],
        "J-44": [],
        "S-04": ["Unproven"],
        "S-05": ["Not run"],
        "S-06": ["Kit fault"],
        "Kit": ["Kit fault"],
    }


def test_the_environment_is_escaped_as_java_reads_it(build: Any, tmp_path: Path) -> None:
    backend = BackendFacts("mydb", " 漢🙂", {"data dir": "C:\\new=x"}, {"tags": False})
    written(build.run(build.rule("J-01"), backend=backend), tmp_path)
    lines = (tmp_path / "allure" / "environment.properties").read_text("ascii").splitlines()
    assert r"version=\ \u6f22\ud83d\ude42" in lines
    assert r"setting.data\ dir=C:\\new=x" in lines
    assert r"rules.KIT\ FAULT=0" in lines
    assert "claim.tags=False" in lines
    assert "verdict=CONFORMS to core" in lines


def test_the_executor_is_written_only_for_a_known_ci_service(build: Any, tmp_path: Path) -> None:
    executor = tmp_path / "executor.json"
    write(build.run(build.rule("J-01")), tmp_path, {"PATH": "/bin"})
    assert not executor.exists()
    write(build.run(build.rule("J-01")), tmp_path, GITHUB)
    assert json.loads(executor.read_text("utf-8")) == {
        "name": "GitHub Actions",
        "type": "github",
        "buildName": "conformance #12",
        "buildUrl": "https://github.example/me/mydb/actions/runs/77",
        "buildOrder": 12,
    }


def test_an_earlier_report_is_replaced_whole(build: Any, tmp_path: Path) -> None:
    write(build.every_word(), tmp_path, GITHUB)
    found = written(build.run(build.rule("J-01")), tmp_path.parent / f"{tmp_path.name}-fresh")
    write(build.run(build.rule("J-01")), tmp_path)
    fresh = tmp_path.parent / f"{tmp_path.name}-fresh" / "allure"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in fresh.iterdir()}
    assert results(tmp_path) == found


def test_results_of_others_and_the_history_of_earlier_reports_stay(build: Any, tmp_path: Path) -> None:
    kept = {
        "1-result.json": '{"labels": []}',
        "2-result.json": "half",
        "1-attachment.txt": "",
        "3-container.json": "{}",
    }
    for name, content in kept.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "history").mkdir()
    write(build.every_word(), tmp_path)
    write(build.every_word(), tmp_path)
    assert {*kept, "history"} <= {path.name for path in tmp_path.iterdir()}


def test_a_directory_with_anything_else_is_refused_and_left_as_it_is(build: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} holds 'thesis.odt'")) as refused:
        write(build.every_word(), tmp_path)
    assert "give an empty or a new directory" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_file_in_the_place_of_the_directory_is_refused(build: Any, tmp_path: Path) -> None:
    (tmp_path / "allure").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="is a file; give an empty"):
        write(build.every_word(), tmp_path / "allure")


def test_an_earlier_result_cannot_have_a_file_elsewhere_removed(build: Any, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("", encoding="utf-8")
    folder = tmp_path / "allure"
    forged = {"labels": [{"name": "framework", "value": "perdure"}], "attachments": [{"source": "../precious.txt"}]}
    folder.mkdir()
    (folder / "x-result.json").write_text(json.dumps(forged), encoding="utf-8")
    write(build.every_word(), folder)
    assert (tmp_path / "precious.txt").exists()
    assert not (folder / "x-result.json").exists()


def test_whatever_a_backend_supplied_is_written_visibly(build: Any, tmp_path: Path) -> None:
    evil = build.evil()
    run = build.run(
        build.rule("J-42", Word.VIOLATED, evil, build.witness((ShownStep(evil, evil, evil, evil),), text=evil)),
        faults=(Fault(evil, evil),),
        backend=BackendFacts(evil, evil, {evil: evil}, {evil: evil}),
    )
    found = written(run, tmp_path)
    assert r"\x1b[31m\x00\ud800\n\u202e" in found["J-42"]["steps"][0]["name"]


@pytest.mark.parametrize("started", ["2026-03-01T12:00:00", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00"])
def test_a_test_begins_when_the_run_began_in_the_order_of_the_rules(build: Any, tmp_path: Path, started: str) -> None:
    found = written(build.run(build.rule("J-01"), build.rule("J-02"), started=started), tmp_path)
    assert (found["J-01"]["start"], found["J-02"]["start"]) == (1772366400000, 1772366400001)


def test_a_time_that_cannot_be_read_is_no_reason_to_fail(build: Any, tmp_path: Path) -> None:
    assert written(build.run(build.rule("J-01"), started="yesterday"), tmp_path)["J-01"]["start"] == 0


def test_without_allure_commons_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['allure_commons'] = None; import perdure_reports.allure"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(
        'ImportError: an Allure report needs allure-python-commons: pip install "perdure[tck]"'
    )


def test_the_other_reports_need_no_allure_commons() -> None:
    code = "import sys; sys.modules['allure_commons'] = None; from perdure_reports import junit, summary, terminal"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
