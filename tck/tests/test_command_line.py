"""The command line: what it says, with which exit code, and one line for whatever a person got wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from perdure_tck.command_line._group import perdure
from perdure_tck.document import read_run
from perdure_tck.packs import installed_programs
from perdure_tck.rules import all_rules
from perdure_tck.scenario_text import show

BROKEN = '''
"""Loses the last event of a replay of more than two."""
from contextlib import asynccontextmanager
from perdure import Backend, Claims, Storage
from perdure_memory import MemoryJournal, MemorySnapshotStore, World

class Journal(MemoryJournal):
    async def replay_messages(self, *window):
        events = [event async for event in super().replay_messages(*window)]
        for event in events if len(events) <= 2 else events[:-1]:
            yield event

@asynccontextmanager
async def open_broken(location):
    world = World()
    yield Storage(Journal(world.events, location.clock, 1), MemorySnapshotStore(world.snapshots, location.clock))

backend = Backend("broken", open_broken, Claims())
'''

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line within a folder of its own, with nothing of this machine's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "broken_journal.py").write_text(BROKEN)

    def call(*arguments: str | Path) -> Result:
        sys.modules.pop("broken_journal", None)
        return CliRunner().invoke(perdure, [str(one) for one in arguments])

    return call


def python_m(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    script = "from perdure_tck.command_line import main; main()"
    words = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)


# --------------------------------------------------------------------------------------------------------------- run


def test_the_backend_in_memory_conforms(tmp_path: Path) -> None:
    done = python_m("run", "memory", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    judged = sum(one.judged and not one.swept for one in all_rules().values())
    assert (
        f"{judged} CONFORMS · 0 VIOLATED · 0 WAIVED · 0 UNSUPPORTED · 0 UNPROVEN · 0 NOT RUN · 0 KIT FAULT"
        in done.stdout
    )
    assert done.stdout.splitlines()[-1].startswith("CONFORMS to core")
    assert read_run(tmp_path / ".perdure" / "memory.jsonl").footer.exit_code == 0


def test_single_rules_can_be_judged_whatever_their_case(command: Command, tmp_path: Path) -> None:
    done = command("run", "memory", "j-43", "S-01", "--out", "run.jsonl")
    assert done.exit_code == 0
    assert [result.id for result in read_run(tmp_path / "run.jsonl").rules] == ["J-43", "S-01"]


def test_settings_reach_the_backend_and_the_report(command: Command, tmp_path: Path) -> None:
    assert command("run", "memory", "J-43", "-s", "offset_step=7", "--out", "run.jsonl").exit_code == 0
    assert read_run(tmp_path / "run.jsonl").header.backend.settings == {"offset_step": "7"}


def test_piped_output_has_no_control_codes(command: Command) -> None:
    for arguments in (["run", "broken_journal:backend", "J-50"], ["rules"], ["explain", "J-43"]):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", command(*arguments).output)


def test_a_violation_is_told_in_a_block_that_can_be_replayed(command: Command, tmp_path: Path) -> None:
    done = command("run", "broken_journal:backend", "J-50")
    assert done.exit_code == 1
    blocks = re.findall(r"^VIOLATED  J-50  .*?^  explain .*?$", done.output, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert len(blocks[0].splitlines()) <= 15
    assert all_rules()["J-50"].sentence in " ".join(blocks[0].split())
    replay = re.search(r"^  replay   perdure (replay .*)$", blocks[0], flags=re.MULTILINE)
    assert replay is not None
    again = command(*replay.group(1).split())
    assert again.exit_code == 1
    assert "VIOLATED  J-50" in again.output
    assert "✗ allowed: 1..3" in again.output
    assert sorted(path.suffix for path in (tmp_path / ".perdure").rglob("*") if path.is_file())[-1] == ".scenario"


def test_the_summary_of_a_ci_job_is_appended(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert command("run", "memory", "J-43").exit_code == 0
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "CONFORMS" in text


def test_reports_are_written_where_they_are_asked_for(command: Command, tmp_path: Path) -> None:
    assert (
        command("run", "memory", "J-43", "--junit", "junit.xml", "--allure", "allure", "--history", "h.jsonl").exit_code
        == 0
    )
    assert "J-43" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert any((tmp_path / "allure").iterdir())
    assert (tmp_path / "h.jsonl").stat().st_size > 0


def test_a_document_is_rendered_again(command: Command) -> None:
    ran = command("run", "memory", "J-43", "--out", "run.jsonl")
    assert command("report", "run.jsonl").output == ran.output
    assert command("report", "run.jsonl", "--junit", "again.xml").exit_code == 0


def test_a_conformance_file_here_is_used(command: Command, tmp_path: Path) -> None:
    (tmp_path / "conformance.toml").write_text("[claims]\ntags = false\n")
    done = command("run", "memory", "J-22", "J-43")
    assert done.exit_code == 0
    assert "UNSUPPORTED  J-22  tags is not claimed, yet it held in" in done.output


def test_an_adapter_that_cannot_be_opened_is_a_fault(command: Command, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "from perdure import Backend\ndef opened(location): raise OSError('no such server')\n"
        "backend = Backend('faulty', opened)\n"
    )
    done = command("run", "faulty:backend", "J-43")
    assert done.exit_code == 3
    assert "KIT FAULT" in done.output
    assert "opening faulty raised OSError: no such server" in done.output


# ------------------------------------------------------------------------------------------------------------- replay


def test_an_installed_scenario_is_replayed_by_its_name(command: Command) -> None:
    program = next(one for one in installed_programs() if one.rules == ("J-43",))
    done = command("replay", program.name, "--backend", "memory")
    assert done.exit_code == 0
    assert f"nothing deviates in {len(program.steps)} steps" in done.output
    assert len(done.output.splitlines()) == len(program.steps) + 1


def test_a_scenario_file_is_replayed_by_its_path(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.scenario").write_text(show(installed_programs()[0]), encoding="utf-8")
    assert command("replay", "mine.scenario", "--backend", "memory").exit_code == 0


# ---------------------------------------------------------------------------------------------------------- the others


def test_every_rule_is_listed_with_its_state(command: Command) -> None:
    listed = command("rules").output.splitlines()
    assert [line.split()[0] for line in listed] == list(all_rules())
    assert len(command("rules", "--judged").output.splitlines()) == sum(one.judged for one in all_rules().values())


@pytest.mark.parametrize("rule_id", ["J-43", "j-43", "J-01", "J-05"])
def test_a_rule_is_explained(command: Command, rule_id: str) -> None:
    done = command("explain", rule_id)
    one = all_rules()[rule_id.upper()]
    assert done.exit_code == 0
    assert done.output.startswith(f"{one.id}  {one.level}  edition {one.edition}")
    words = " ".join(done.output.split())
    assert " ".join(one.sentence.split()) in words
    assert all(" ".join(hint.split()) in words for hint in one.check)
    assert ("Believed when" in words) is one.judged
    assert ("scenario" in done.output) is one.judged


def test_check_says_that_an_adapter_is_ready(command: Command) -> None:
    done = command("check", "memory")
    assert done.exit_code == 0
    assert "✗" not in done.output
    assert done.output.splitlines()[-1] == "ready: perdure run memory"


def test_check_names_the_step_that_fails(command: Command, tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(
        "from contextlib import asynccontextmanager\nfrom perdure import Backend, Storage\n"
        "@asynccontextmanager\nasync def opened(location):\n    yield Storage(object())\n"
        "backend = Backend('half', opened)\n"
    )
    done = command("check", "half:backend")
    assert done.exit_code == 3
    assert (
        "✗ has the methods of the contracts   its journal (object) has no method write_messages(writes)" in done.output
    )
    assert "KIT FAULT" in done.output


def test_a_database_is_looked_into(command: Command, tmp_path: Path) -> None:
    (tmp_path / "wrote.py").write_text(
        "import asyncio, pathlib\nfrom perdure import *\n"
        "async def main():\n"
        "    location = Location(directory=pathlib.Path('data'))\n"
        "    pathlib.Path('data').mkdir()\n"
        "    async with load_backend('sqlite').open(location) as storage:\n"
        "        payload = Payload(4, '', b'hello')\n"
        "        event = PersistentRepr('order \\x1b[31m', 1, payload, timestamp=1, tags=frozenset({'red'}))\n"
        "        await storage.journal.write_messages([AtomicWrite((event,))])\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "wrote.py"], check=True, cwd=tmp_path)
    (database,) = [path for path in (tmp_path / "data").iterdir() if path.suffix not in (".lock", ".json")]
    listed = command("events", database)
    assert listed.exit_code == 0
    assert "1 ids · 1 events · 0 snapshots" in listed.output
    shown = command("events", database, "--all").output
    assert "hello" in shown
    assert "tags red" in shown
    assert "\x1b" not in listed.output + shown


# -------------------------------------------------------------------------------------- what a person may get wrong


USAGE: dict[str, tuple[Sequence[str], str]] = {
    "an unknown backend": (["run", "nosuch"], "no backend named 'nosuch'; installed: files, memory"),
    "a backend that cannot be imported": (["run", "nosuch:backend"], "cannot be imported: ModuleNotFoundError"),
    "a backend that is none": (["run", "os:path"], "is a module, not a perdure.Backend"),
    "an unknown backend to check": (["check", "nosuch"], "no backend named 'nosuch'"),
    "an unknown rule": (["run", "memory", "J-999"], "no rule 'J-999'; there are J-01 to J-85"),
    "a rule that nothing can judge": (["run", "memory", "J-01"], "rule J-01 is not judged: it is untestable"),
    "a rule that is not judged yet": (["run", "memory", "J-30"], "rule J-30 is not judged: it awaits faults"),
    "an unknown rule to explain": (["explain", "X-1"], "no rule 'X-1'"),
    "a setting without a value": (["run", "memory", "-s", "offset_step"], "--setting 'offset_step' is not name=value"),
    "an unknown setting": (["run", "memory", "-s", "colour=red"], "memory has no setting colour"),
    "a setting of another type": (["run", "memory", "-s", "offset_step=x"], "offset_step 'x' is not a whole number"),
    "a syntax error in a scenario": (
        ["replay", "bad.scenario", "--backend", "memory"],
        "bad.scenario:3: expected a whole number or max, found 'x'",
    ),
    "a scenario that is not there": (["replay", "no.scenario", "--backend", "memory"], "no.scenario: No such file"),
    "a scenario that is no text": (
        ["replay", "binary.scenario", "--backend", "memory"],
        "binary.scenario:1: expected text",
    ),
    "a scenario of an unknown name": (
        ["replay", "no_such_story", "--backend", "memory"],
        "no scenario 'no_such_story'",
    ),
    "a scenario that contradicts the model": (
        ["replay", "wrong.scenario", "--backend", "memory"],
        "wrong.scenario: step 1 'write p 1 -> conflict': the model allows ok",
    ),
    "a scenario beyond the claims": (
        ["replay", "reopening.scenario", "--backend", "broken_journal:backend"],
        "reopening asks for survives_close, which broken_journal:backend does not claim",
    ),
    "a bad conformance file": (["run", "memory", "--conformance", "bad.toml"], "bad.toml: no claim named 'fast'"),
    "a malformed conformance file": (["run", "memory", "--conformance", "bad.scenario"], "bad.scenario: "),
    "a conformance file that is not there": (["check", "memory", "--conformance", "no.toml"], "no.toml: "),
    "a document that was cut off": (["report", "cut.jsonl"], "cut.jsonl: was cut off: no footer after 2 lines"),
    "a document that is none": (["report", "bad.toml"], "bad.toml: line 1 is not a line of a run document"),
    "a document that is not there": (["report", "no.jsonl"], "no.jsonl: cannot be read: No such file"),
    "a name of two lines": (["report", "no\nsuch.jsonl"], "no such.jsonl: cannot be read"),
    "a report that cannot be written": (["report", "run.jsonl", "--junit", "file/junit.xml"], "file"),
    "a place that cannot be written": (["run", "memory", "J-43", "--out", "file/run.jsonl"], "file"),
    "a place deep below a file": (["run", "memory", "J-43", "--out", "file/a/b/run.jsonl"], "file"),
    "a history that cannot be written": (["run", "memory", "J-43", "--history", "file/h.jsonl"], "file"),
    "an allure folder that cannot be written": (["run", "memory", "J-43", "--allure", "file/allure"], "file"),
    "a file that is no database": (["events", "bad.toml"], "bad.toml"),
    "a database that is not there": (["events", "no.db"], "no.db: there is no such file"),
    "a folder in place of a database": (["events", "."], ".: there is no such file"),
    "a bad name of a plugin": (["new", "My-DB"], "'My-DB' cannot be the name of a package"),
    "a folder that is not empty": (["new", "mydb", "--into", "."], ". is there already and not empty"),
    "a folder that is a file": (["new", "mydb", "--into", "file"], "file is there already"),
    "a folder below a file": (["new", "mydb", "--into", "file/mydb"], "file"),
}


@pytest.fixture
def mistakes(command: Command, tmp_path: Path) -> Command:
    (tmp_path / "bad.scenario").write_text("# Prose.\nrules J-43\nwrite p x\n")
    (tmp_path / "wrong.scenario").write_text("rules J-43\nwrite p 1 -> conflict\n")
    (tmp_path / "reopening.scenario").write_text("rules J-43\nwrite p 1\nreopen\n")
    (tmp_path / "binary.scenario").write_bytes(b"rules J-43\n\xff\n")
    (tmp_path / "bad.toml").write_text("[claims]\nfast = true\n")
    (tmp_path / "file").write_text("")
    assert command("run", "memory", "J-43", "--out", "run.jsonl").exit_code == 0
    (tmp_path / "cut.jsonl").write_bytes(b"".join((tmp_path / "run.jsonl").read_bytes().splitlines(keepends=True)[:-1]))
    return command


@pytest.mark.parametrize(("arguments", "message"), USAGE.values(), ids=USAGE)
def test_a_mistake_is_answered_in_one_line_with_exit_code_2(
    mistakes: Command, arguments: Sequence[str], message: str
) -> None:
    done = mistakes(*arguments)
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit)
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("perdure: ")
    assert message in done.stderr


@pytest.mark.parametrize(
    "arguments", [["run", "nosuch"], ["replay", "bad.scenario", "--backend", "memory"]], ids=" ".join
)
def test_a_mistake_has_no_traceback_in_a_process_either(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "bad.scenario").write_text("rules J-43\nwrite p x\n")
    done = python_m(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"perdure: [^\n]+\n", done.stderr)


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "memory", "--limit", "0"], ["nosuch"], ["run", "--nosuch"]], ids=" ".join
)
def test_words_that_the_command_does_not_know_are_usage_errors_too(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_without_the_extra_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    script = "import sys; sys.modules['click'] = None\nfrom perdure_tck.command_line import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ}
    )
    assert done.returncode == 2
    assert re.fullmatch(r'perdure: .*is not installed; pip install "perdure\[tck\]"\n', done.stderr)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT RUN: this system has no named pipes")
def test_ctrl_c_ends_a_run_in_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pipe, temporary = tmp_path / "history", tmp_path / "temporary"
    os.mkfifo(pipe)
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure_tck", "run", "memory", "--history", str(pipe), "--out", "run.jsonl"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open() as history:
        history.readline()  # it has begun
        process.send_signal(signal.SIGINT)
        history.read()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.strip().splitlines() == ["perdure: interrupted; what was not finished is not reported"]
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "run.jsonl").exists()
