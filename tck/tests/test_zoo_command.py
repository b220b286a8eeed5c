"""`perdure zoo`: what it prints, with which exit code, and what it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import msgspec
import perdure_tck.zoo
import pytest
from click.testing import CliRunner, Result
from perdure_memory import backend as memory
from perdure_tck.command_line._group import perdure
from perdure_tck.kill_matrix import FALLS_MAX, examine_animal
from perdure_tck.packs import installed_programs
from perdure_zoo import ANIMALS, CATALOGUE, UNOPENABLE, Animal, animal

MARKS = "".join(
    f"<!-- {part}: written by `perdure zoo --write` -->\nold\n<!-- end of {part} -->\n"
    for part in ("matrix", "questions", "awaiting", "not ours")
)

REWINDS = animal("highest_rewinds")
SURVIVOR = msgspec.structs.replace(REWINDS, name="nothing_is_wrong", bug="BUG-001z", backend=memory)
SHUT = msgspec.structs.replace(REWINDS, name="cannot_be_opened", bug="BUG-001y", backend=UNOPENABLE[0])
MISUNDERSTOOD = msgspec.structs.replace(REWINDS, name="blamed_on_another", bug="BUG-001x", killed_by=("S-01",))

Install = Callable[..., None]


def zoo(*arguments: str) -> Result:
    return CliRunner().invoke(perdure, ["zoo", *arguments])


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts these animals in the place of all zoos that are installed."""

    def put(*animals: Animal, catalogue: Sequence[object] = ()) -> None:
        module = ModuleType("a_zoo_of_a_test")
        vars(module).update(BEASTS=animals, CATALOGUE=catalogue)
        monkeypatch.setitem(sys.modules, "a_zoo_of_a_test", module)
        point = EntryPoint("test", "a_zoo_of_a_test:BEASTS", perdure_tck.zoo.GROUP)
        monkeypatch.setattr(perdure_tck.zoo, "entry_points", lambda **_: [point])

    return put


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two files of a checkout that are written."""
    monkeypatch.chdir(tmp_path)
    for place, text in (("docs/zoo.md", f"# Zoo\n\n{MARKS}the end\n"), ("plugins/perdure_zoo/signatures.toml", "")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text)
    return tmp_path


# ----------------------------------------------------------------------------------------------------------- one animal


def test_a_named_animal_has_a_line_with_the_rules_that_name_its_cause_marked() -> None:
    ran = zoo("hint_is_the_answer", "second_deletion_rewinds")
    assert ran.exit_code == 0
    first, second, *rest = ran.output.splitlines()
    assert first.split()[:5] == ["✓", "hint_is_the_answer", "BUG-004", "1", "step"]
    assert first.endswith("  J-46*")
    assert second.endswith("  J-43* J-45")
    assert rest == ["", "animals killed by a rule that names the cause: 2 of 2"]


def test_an_examined_animal_tells_when_it_was_killed() -> None:
    programs = [program for program in installed_programs() if program.level == "core"]
    kill = examine_animal(REWINDS, programs)
    assert kill.killed
    assert kill.fell == REWINDS.signature
    assert {*kill.naming} == {*REWINDS.killed_by} & {*kill.fell}
    assert 0 < kill.programs <= len(programs)
    assert kill.seconds > 0
    alone = examine_animal(REWINDS, programs[: kill.programs])
    assert alone.fell
    assert not examine_animal(REWINDS, programs[: kill.programs - 1]).fell


def test_a_backend_that_does_nothing_wrong_survives_and_that_is_red(install: Install) -> None:
    install(REWINDS, SURVIVOR)
    ran = zoo()
    assert ran.exit_code == 1
    assert "✗ nothing_is_wrong" in ran.output
    assert "  no rule fell\n" in ran.output
    assert "animals killed by a rule that names the cause: 1 of 2" in ran.output


def test_an_animal_that_falls_for_other_reasons_only_survives(install: Install) -> None:
    install(MISUNDERSTOOD)
    ran = zoo()
    assert ran.exit_code == 1
    assert ran.output.startswith("✗ blamed_on_another ")
    assert "*" not in ran.output


def test_an_animal_that_cannot_be_judged_is_not_killed(install: Install) -> None:
    install(SHUT)
    ran = zoo()
    assert ran.exit_code == 1
    assert "KIT FAULT" in ran.output


def test_an_unknown_animal_is_refused_with_the_names_that_there_are() -> None:
    ran = zoo("unicorn", "highest_rewinds", "yeti")
    assert ran.exit_code == 2
    assert ran.output.startswith("perdure: no animal named 'unicorn', 'yeti'; there are: highest_rewinds, ")
    assert all(one.name in ran.output for one in ANIMALS)
    assert len(ran.output.splitlines()) == 1


def test_a_zoo_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_package:ANIMALS", perdure_tck.zoo.GROUP)
    monkeypatch.setattr(perdure_tck.zoo, "entry_points", lambda **_: [broken])
    ran = zoo()
    assert ran.exit_code == 2
    assert "zoo 'mine' (no_such_package:ANIMALS) cannot be loaded" in ran.output


def test_no_zoo_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perdure_tck.zoo, "entry_points", lambda **_: [])
    ran = zoo()
    assert ran.exit_code == 2
    assert ran.output == "perdure: no zoo is installed; reinstall perdure\n"


# ----------------------------------------------------------------------------------------------------------- the matrix


def test_the_matrix_asks_its_questions(install: Install) -> None:
    install(REWINDS, animal("first_instead_of_newest"), catalogue=CATALOGUE)
    lines = zoo().output.splitlines()
    idle = next(line for line in lines if line.startswith("rules that kill no animal: "))
    assert "J-02" in idle.split()
    assert "J-42" not in idle.split()
    wide = f"animals on which more than {FALLS_MAX} rules fall: first_instead_of_newest ("
    assert any(line.startswith(wide) for line in lines)
    assert f"bugs of the catalogue that have an animal: 2 of {len(CATALOGUE)}" in lines
    servers = [bug.id for bug in CATALOGUE if bug.awaits == "servers"]
    assert f"bugs that await servers: {len(servers)} ({' '.join(servers)})" in lines


def test_the_table_for_the_docs_has_neither_times_nor_anything_that_acts_as_markdown(install: Install) -> None:
    install(msgspec.structs.replace(REWINDS, cause="COUNT(*) | `x`"))
    ran = zoo("--markdown")
    heads, line, row = ran.output.splitlines()
    assert heads == "| animal | bug | what is wrong | rules that fall | witness |"
    assert line == "| --- | --- | --- | --- | --- |"
    assert row == (
        f"| `highest_rewinds` | [BUG-001]({REWINDS.source}) | COUNT(\\*) \\| \\`x\\` "
        "| A-16 J-16 **J-42** **J-43** **J-44** J-45 J-46 J-66 J-77 J-85 | 3 steps |"
    )


# ------------------------------------------------------------------------------------------------------- what it writes


def test_in_a_checkout_the_page_and_the_signatures_are_written(install: Install, checkout: Path) -> None:
    install(REWINDS, catalogue=CATALOGUE)
    assert zoo("--write").exit_code == 0
    text = (checkout / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert text.startswith("# Zoo\n\n<!-- matrix: ")
    assert text.endswith("<!-- end of not ours -->\nthe end\n")
    assert "old" not in text.splitlines()
    assert "| `highest_rewinds` |" in text
    assert all(f"[{bug.id}]" in text for bug in CATALOGUE if bug.awaits or bug.not_ours)
    written = (checkout / "plugins" / "perdure_zoo" / "signatures.toml").read_text()
    assert written.endswith('\nhighest_rewinds = "A-16 J-16 J-42 J-43 J-44 J-45 J-46 J-66 J-77 J-85"\n')
    assert zoo("--write").exit_code == 0
    assert (checkout / "docs" / "zoo.md").read_text(encoding="utf-8") == text


def test_nothing_is_written_where_an_animal_could_not_be_judged(install: Install, checkout: Path) -> None:
    install(SHUT)
    ran = zoo("--write")
    assert ran.exit_code == 1
    assert "nothing was written: not every animal was judged" in ran.output
    assert MARKS in (checkout / "docs" / "zoo.md").read_text()


def test_writing_is_about_the_whole_zoo_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["--write", "highest_rewinds"], "perdure: --write is about the whole zoo; leave the names out\n"),
        (["--write"], f"perdure: {Path('docs', 'zoo.md')}: there is no such file; --write works in the folder of a"),
    ):
        ran = zoo(*arguments)
        assert ran.exit_code == 2
        assert ran.output.startswith(message)


def test_a_page_without_the_places_to_write_is_refused(install: Install, checkout: Path) -> None:
    install(REWINDS)
    (checkout / "docs" / "zoo.md").write_text("# Zoo\n")
    ran = zoo("--write")
    assert ran.exit_code == 2
    assert "the page lacks '<!-- matrix: written by `perdure zoo --write` -->'" in ran.output
