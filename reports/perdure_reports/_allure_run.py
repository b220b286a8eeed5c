"""What an Allure report says of the run as a whole: the categories, the environment, and who ran it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perdure_tck.document import Run
from perdure_tck.verdict import Word

from ._story import claim, counts, struck

STATUS = {
    Word.CONFORMS: "passed",
    Word.VIOLATED: "failed",
    Word.WAIVED: "passed",
    Word.UNSUPPORTED: "skipped",
    Word.UNPROVEN: "broken",
    Word.NOT_RUN: "skipped",
    Word.KIT_FAULT: "broken",
}
"""What Allure calls each word."""

CATEGORIES = (
    ("Violation", Word.VIOLATED),
    ("Kit fault", Word.KIT_FAULT),
    ("Unproven", Word.UNPROVEN),
    ("Waived", Word.WAIVED),
    ("Not run", Word.NOT_RUN),
)


def categories() -> Iterator[Mapping[str, Any]]:
    """The groups of the report's page of defects. Allure matches the whole message, which begins with the word."""
    for name, word in CATEGORIES:
        yield {"name": name, "messageRegex": f"{word}  .*", "matchedStatuses": [STATUS[word]]}


def described(run: Run) -> Mapping[str, str]:
    """All that is known of the run: what was judged, how it was set up, what it claims, how many ended in each word."""
    header = run.header
    settings = {f"setting.{name}": value for name, value in header.backend.settings.items()}
    claims = {f"claim.{name}": str(value) for name, value in header.backend.claims.items()}
    words = {f"rules.{word}": str(count) for word, count in counts(run).items()}
    known = ("edition", "level", "kit", "corpus", "python", "platform", "started", "command")
    return {
        "backend": header.backend.name,
        "version": header.backend.version,
        **{name: getattr(header, name) for name in known},
        "verdict": claim(run),
        "awaiting": str(len(run.awaiting)),
        **({"struck": struck(run)} if run.footer.struck else {}),
        **words,
        **settings,
        **claims,
    }


def properties(described: Mapping[str, str]) -> bytes:
    """The format of java.util.Properties, which is Latin-1: anything beyond ASCII is written as an escape."""
    lines = (f"{_property_key(name)}={_property(value)}\n" for name, value in described.items())
    return "".join(lines).encode("ascii")


def _property_key(name: str) -> str:
    return re.sub(r"[ =:#!]", r"\\\g<0>", _property(name))


def _property(value: str) -> str:
    text = re.sub(r"^ |\\", r"\\\g<0>", value)  # a space at the beginning would be skipped
    units = text.encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)


def executors(environment: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Who ran this, if it is a CI service that we know: none or one."""
    return [told(environment) for sign, told in _SERVICES.items() if sign in environment][:1]


def _github(environment: Mapping[str, str]) -> Mapping[str, Any]:
    server = environment.get("GITHUB_SERVER_URL", "https://github.com")
    number = environment.get("GITHUB_RUN_NUMBER", "0")
    run = f"{server}/{environment.get('GITHUB_REPOSITORY', '')}/actions/runs/{environment.get('GITHUB_RUN_ID', '')}"
    return _executor("GitHub Actions", "github", run, environment.get("GITHUB_WORKFLOW", "run"), number)


def _gitlab(environment: Mapping[str, str]) -> Mapping[str, Any]:
    url, number = environment.get("CI_JOB_URL", ""), environment.get("CI_PIPELINE_IID", "0")
    return _executor("GitLab CI", "gitlab", url, environment.get("CI_JOB_NAME", "job"), number)


def _jenkins(environment: Mapping[str, str]) -> Mapping[str, Any]:
    number = environment.get("BUILD_NUMBER", "0")
    return _executor("Jenkins", "jenkins", environment.get("BUILD_URL", ""), environment.get("JOB_NAME", "job"), number)


def _executor(name: str, kind: str, url: str, build: str, number: str) -> Mapping[str, Any]:
    order = int(number) if number.isdecimal() else 0
    return {"name": name, "type": kind, "buildName": f"{build} #{number}", "buildUrl": url, "buildOrder": order}


_SERVICES: Mapping[str, Callable[[Mapping[str, str]], Mapping[str, Any]]] = {
    "GITHUB_ACTIONS": _github,
    "GITLAB_CI": _gitlab,
    "JENKINS_URL": _jenkins,
}
"""The variable by which a CI service is known, and what it says of itself."""
