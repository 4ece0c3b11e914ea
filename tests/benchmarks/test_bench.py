"""The benchmark: what it counts is held to what was promised; what it times is for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.contenders import Place
from benchmarks.measure import Row, Sample, interleaved
from benchmarks.page import page, plot, targets
from benchmarks.scale import Container, Large, Several, large, several
from sandbox import Sandbox

pytestmark = pytest.mark.pulumi


@pytest.fixture(scope="module")
def place(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Sandbox() as box:
        yield Place(box, tmp_path_factory.mktemp("bench"), pulumi)


@pytest.fixture(scope="module")
def rows(place: Place) -> Mapping[str, Row]:
    """One run of each command, with nothing added to the requests."""
    return {row.contender: row for row in interleaved(place, 1, [0.0])}


def test_the_script_takes_eleven_processes_and_five_revisions(rows: Mapping[str, Row]) -> None:
    processes, _, revisions = rows["script"].counts
    assert (processes, revisions) == (11, 5)


def test_nothing_to_do_is_one_read(rows: Mapping[str, Row]) -> None:
    assert rows["unchanged"].counts == rows["read"].counts
    assert rows["unchanged"].counts[0] == 1


def test_a_change_is_a_read_an_edit_and_a_read(rows: Mapping[str, Row]) -> None:
    processes, requests, revisions = rows["changed"].counts
    assert (processes, revisions) == (3, 1)
    assert requests <= 2 * rows["read"].counts[1] + rows["edit"].counts[1]


def test_tag_and_dispatch_add_one_process(rows: Mapping[str, Row]) -> None:
    processes, _, revisions = rows["changed, preflight, tag, deploy"].counts
    assert (processes, revisions) == (4, 1)


def test_python_alone_asks_nobody(rows: Mapping[str, Row]) -> None:
    assert rows["P"].counts == (0, 0, 0)
    assert rows["P"].memory > 1_000_000


def test_several_environments_are_all_synced(place: Place) -> None:
    found = several(place, 3)
    assert found.environments == 3
    for number in range(3):
        name = f"acme/scale-3/environment-{number}"
        assert place.box.esc.values(name)["SENTRY_DSN"] == place.box.sentry.dsn
        assert place.box.esc.revision(name) == 3, "made, saved, synced once"


def test_the_page_tells_what_was_measured(rows: Mapping[str, Row]) -> None:
    image = Container(300_000_000, 120_000_000, 100_000_000, 1.25, 1.0)
    text = page(
        [*rows.values(), *slower(rows)],
        [large(5_000, 1)],
        [Several(3, 1.5, 0.5, 50_000_000), Several(9, 3.5, 1.0, 50_000_000)],
        image,
        "A machine",
    )
    assert "A machine" in text
    assert f"| {rows['script'].median:.2f} s |" in text
    assert "| 3 | 1.50 s | 500 ms | 0.50 s | 167 ms | 50 MB |" in text
    assert "all changed, 0.50 s and 333 ms for each environment (R² = 1.0000)" in text
    assert "| image: base + `pulumi` + 45 MB | 300.00 MB | 265.00 MB | **no** |" in text
    assert "| `docker run`, unchanged: as outside + 0.6 s | 1.25 s | 1.60 s | yes |" in text
    ET.fromstring(plot(list(rows.values())))  # noqa: S314 - our own


def test_a_target_that_is_missed_is_told(rows: Mapping[str, Row]) -> None:
    late = Row("unchanged", 0.0, tuple(Sample(1e6, 10**9, *rows["unchanged"].counts) for _ in range(3)))
    found = targets(
        [*(row for row in rows.values() if row.contender != "unchanged"), late], [Large(5_000, 1, 0.6)], "none"
    )
    missed = {target.what for target in found if not target.is_met}
    assert missed >= {
        "unchanged, at 0 ms: read + 1.0 P",
        "unchanged, at 0 ms: 25% of the script",
        "unchanged, at 0 ms: memory",
        "plan, merge and proof of 5,000 keys",
    }
    assert not any(what.startswith("changed") and "script" not in what and "read" not in what for what in missed)


def slower(rows: Mapping[str, Row]) -> list[Row]:
    """The same with 100 ms a request."""
    return [Row(row.contender, 0.1, row.samples) for row in rows.values()]
