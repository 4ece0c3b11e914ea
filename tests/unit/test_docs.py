"""The documentation names the tests, error titles and exit codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import errors as deploy_errors
from sophia_sync.runtime.errors import EndedBySignalError, InputError, SeveralError, SyncError

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAMED = [
    (file, test)
    for file, tests in re.findall(r'\[\d+\]\(\.\./(tests/[\w/]+\.py)(?: "([^"]+)")?\)', SECURITY)
    for test in tests.split(", ")
]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_threats_name_tests_that_exist(file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {test}(" in text if test else "def test_" in text


def test_every_threat_is_shown_by_a_test() -> None:
    section = SECURITY.split("## What each attacker gets\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \*\*.*$", section, re.MULTILINE)
    assert len(rows) >= 20
    assert all("(../tests/" in row.rsplit("|", 2)[1] for row in rows)


def kinds_of(error: type[SyncError]) -> list[type[SyncError]]:
    return [error, *(kind for below in error.__subclasses__() for kind in kinds_of(below))]


# docs/deploy.md has the deploy program's exit codes, and docs/command-line.md those of the command line.
OF_THE_ACTION = [kind for kind in kinds_of(SyncError) if re.match(r"sophia_sync\.(?!console\.)", kind.__module__)]


def test_every_error_of_the_action_has_a_title_of_its_own() -> None:
    assert len({kind.title for kind in OF_THE_ACTION}) == len(OF_THE_ACTION)


@pytest.mark.parametrize("error", OF_THE_ACTION)
def test_the_troubleshooting_page_tells_every_title_with_its_exit_code(error: type[SyncError]) -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    [codes] = [codes for codes, title in rows if title == error.title]
    of_its_own = {EndedBySignalError: "129, 130, 131, 143", SeveralError: "the highest of them"}
    assert codes == of_its_own.get(error, str(error.exit_code))


def test_the_troubleshooting_page_tells_every_title_that_an_error_is_given() -> None:
    code = [file for file in (ROOT / "sophia_sync").rglob("*.py") if "console" not in file.parts]
    given = {title for file in code for title in re.findall(r'\btitle="([^"]+)",$', file.read_text(), re.MULTILINE)}
    assert given
    told = re.findall(r"^\| [\d, ]+ \| ([^|]+) \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    assert given <= set(told)


def test_the_deploys_page_tells_every_exit_code_of_the_deploy_program() -> None:
    section = (ROOT / "docs/deploy.md").read_text(encoding="utf-8").split("### Exit codes\n")[1].split("\n#")[0]
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for code in row.split(",")}
    kinds = [kind for kind in vars(deploy_errors).values() if isinstance(kind, type) and issubclass(kind, SyncError)]
    assert told == {0, InputError.exit_code, 129, 130, 131, 143} | {kind.exit_code for kind in kinds}
