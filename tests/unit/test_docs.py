"""The documentation is held to what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sophia_sync.errors import EndedBySignalError, SeveralError, SyncError

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/threats.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_threats_name_tests_that_exist(file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {test}(" in text if test else "def test_" in text


def test_every_threat_is_shown_by_a_test() -> None:
    rows = [line for line in (ROOT / "docs/threats.md").read_text(encoding="utf-8").splitlines() if "| **" in line]
    assert len(rows) >= 10
    assert all("`tests/" in row.rsplit("|", 2)[1] for row in rows)


def is_ours(error: type[SyncError]) -> bool:
    """Whether the action tells it by a title of its own; the programs of other workflows have pages of theirs."""
    return "title" in vars(error) and error.__module__.startswith("sophia_sync.")


def kinds_of(error: type[SyncError]) -> list[type[SyncError]]:
    return [error, *(kind for below in error.__subclasses__() for kind in kinds_of(below))]


@pytest.mark.parametrize("error", [kind for kind in kinds_of(SyncError) if is_ours(kind)])
def test_the_failures_page_tells_every_title_with_its_exit_code(error: type[SyncError]) -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \|", (ROOT / "docs/failures.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    [codes] = [codes for codes, title in rows if title == error.title]
    of_its_own = {EndedBySignalError: "130, 143", SeveralError: "the highest of them"}
    assert codes == of_its_own.get(error, str(error.exit_code))
