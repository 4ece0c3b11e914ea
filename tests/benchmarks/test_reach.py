"""How far it goes: docs/scale.md says what the arithmetic says, and the arithmetic starts from what is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import reach
from benchmarks.contenders import BEFORE, ROOT, Contender, Place
from benchmarks.measure import run
from benchmarks.reach import Fleet
from sandbox import Sandbox

COUNT = 4


@pytest.mark.parametrize("table", reach.TABLES, ids=lambda table: table.__name__)
def test_the_page_has_the_tables_as_they_are_worked_out(table: Callable[[], str]) -> None:
    assert f"\n\n{table()}\n\n" in (ROOT / "docs/scale.md").read_text(encoding="utf-8")


def test_the_seconds_are_still_about_those_that_the_benchmark_measures() -> None:
    """A new measurement on another machine may differ; by twice as much, the page is to be worked out anew."""
    performance = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    row = r"^\| 100 \| ([\d.]+) s \|.*\| ([\d.]+) s \|.*MB \|$"
    [(changed, unchanged)] = re.findall(row, performance, re.MULTILINE)
    assert 0.5 < reach.CHANGE_SECONDS / (float(changed) / 100) < 2
    assert 0.5 < reach.READ_SECONDS / (float(unchanged) / 100) < 2


def test_ten_legs_of_one_by_hand() -> None:
    fleet = Fleet(10, 10)
    assert fleet.leg_seconds(changed=False) == pytest.approx(0.2 + 0.039 + 2 * 0.1)
    assert fleet.leg_seconds(changed=True) == pytest.approx(0.2 + 0.110 + 9 * 0.1)
    assert fleet.seconds(changed=False) == pytest.approx(30 + (30 + 0.439) + (30 + 10 * 0.1))
    assert fleet.esc_requests(changed=True) == 100
    assert fleet.github_requests == 1 + 10
    assert fleet.minutes_a_day == 4 * (10 + 2)


def test_twenty_legs_of_fifty_by_hand() -> None:
    fleet = Fleet(1_000, 20)
    # Fifty are seven batches of eight.
    assert fleet.leg_seconds(changed=False) == pytest.approx(0.2 + 50 * 0.039 + 7 * 2 * 0.1)
    assert fleet.seconds(changed=False) == pytest.approx(60 + 20 * 0.1 + 30 + 3.55)
    assert fleet.esc_rate(changed=False) == pytest.approx(20 * 101 / 3.55)


@pytest.mark.parametrize(
    ("fleet", "calls"),
    [
        (Fleet(256, 256), 1),
        (Fleet(257, 257), 2),
        (Fleet(3_276, 20), 1),
        (Fleet(3_277, 20), 2),
        (Fleet(100_000, 500), 31),
        (Fleet(100_000, 100_000), 391),
    ],
)
def test_calls_by_the_limit_of_legs_and_of_the_list(fleet: Fleet, calls: int) -> None:
    assert fleet.calls == calls


def test_legs_wait_for_each_other() -> None:
    leg = 30 + Fleet(100, 100).leg_seconds(changed=False)
    assert Fleet(100, 100, 20).seconds(changed=False) - Fleet(100, 100, 100).seconds(changed=False) == pytest.approx(
        4 * leg
    )


@pytest.mark.pulumi
def test_the_requests_of_an_environment(pulumi: Path, tmp_path: Path) -> None:
    """Threads that begin at once may each ask for the organisation's name: that alone may come on top."""
    with Sandbox() as box:
        place = Place(box, tmp_path, pulumi)
        names = [f"acme/reach/environment-{number}" for number in range(COUNT)]
        for name in names:
            box.esc.create(name, BEFORE)
        [ours] = [contender for contender in place.contenders() if contender.name == "changed"]
        inputs = place.inputs(esc_environment="\n".join(names), tag_revision="true")
        several = Contender("several", ours.command, inputs)
        changed, unchanged = run(place, several).requests, run(place, several).requests
    assert reach.CHANGE_REQUESTS * COUNT < changed <= (reach.CHANGE_REQUESTS + 1) * COUNT + 1
    assert reach.READ_REQUESTS * COUNT < unchanged <= (reach.READ_REQUESTS + 1) * COUNT
