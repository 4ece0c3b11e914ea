"""How the legs ended → one summary."""

from __future__ import annotations

import json
import re

import pytest

from sophia_sync.matrix import summary
from sophia_sync.matrix.summary import Ended

URL = "https://github.example/acme/fleet/actions/runs/17/job/4"
GOOD = Ended("lab", "success", ("acme/default/lab: all 5 keys are up to date, nothing was written",), URL)
BAD = Ended("production", "failure", ("Sentry refused it.\nMake a new one.",), URL)
MISSING = Ended("staging", "missing", ("GitHub lists no job for it: it was never started.",))


def rows(*legs: Ended) -> list[str]:
    return [line for line in summary.markdown(legs).splitlines() if "`" in line]


def test_each_leg_has_a_row_with_its_result_and_what_it_told() -> None:
    assert rows(GOOD) == [
        f"| [`lab`]({URL}) | ✅ success | acme/default/lab: all 5 keys are up to date, nothing was written |"
    ]


def test_what_failed_stands_first() -> None:
    assert [re.findall("`(.+?)`", row)[0] for row in rows(GOOD, BAD, GOOD, MISSING)][:2] == ["production", "staging"]


def test_the_heading_says_whether_all_is_well() -> None:
    assert summary.markdown([GOOD, GOOD]).startswith("## ✅ All 2 environments are in order\n")
    assert summary.markdown([GOOD, BAD, MISSING]).startswith("## ❌ 2 of 3 environments failed\n")


@pytest.mark.parametrize(
    "conclusion", ["failure", "cancelled", "timed_out", "skipped", "missing", "unknown", "neutral"]
)
def test_only_success_is_success(conclusion: str) -> None:
    assert summary.failed([Ended("lab", conclusion)])


def test_a_leg_without_a_job_has_no_link() -> None:
    assert rows(MISSING) == ["| `staging` | ❌ missing | GitHub lists no job for it: it was never started. |"]


def test_a_leg_that_told_nothing_is_not_passed_over() -> None:
    assert "It told nothing: see its page." in rows(Ended("lab", "cancelled", (), URL))[0]


def test_several_lines_stay_in_one_cell() -> None:
    assert "Sentry refused it.<br>Make a new one." in rows(BAD)[0]


@pytest.mark.parametrize(
    "text", ["| a | b |", "[x](https://evil.example)", "<img src=x>", "`x`", "**x**", "\\|", "_x_"]
)
def test_nothing_of_a_message_becomes_markup(text: str) -> None:
    [row] = rows(Ended("lab", "failure", (text,)))
    cell = re.fullmatch(r"\| `lab` \| ❌ failure \| (.*) \|", row)
    assert cell
    assert not re.search(r"(?<!\\)(\\\\)*[|*_`\[\]]|<", cell[1])


def test_256_long_messages_fit_into_a_summary() -> None:
    legs = [Ended("e" * 255, "failure", ("ü" * 4_096,), URL) for _ in range(256)]
    assert len(summary.markdown(legs).encode()) < 2**20


def test_the_results_are_for_programs() -> None:
    assert json.loads(summary.results([GOOD, MISSING])) == [
        {"environment": "lab", "conclusion": "success", "url": URL},
        {"environment": "staging", "conclusion": "missing", "url": ""},
    ]
