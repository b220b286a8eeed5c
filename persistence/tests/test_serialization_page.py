"""The page about serialization says what is true, and what it says about imports too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "serialization.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_runs_as_it_is_written(example: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("perdure", False),
        ("perdure.serialization", False),
        ("perdure.serialization.akka_net", True),
        ("perdure.serialization.protobuf", True),
    ],
)
def test_protobuf_is_loaded_only_by_those_who_need_it(module: str, loaded: bool) -> None:
    script = f"import sys, {module}; print('google.protobuf' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(loaded)
