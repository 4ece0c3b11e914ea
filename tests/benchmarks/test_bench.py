"""The benchmark's counts, which a pull request must not raise unseen. A person reads its times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import Bench, Row, page, picture, targets
from sandbox import Sandbox

pytestmark = pytest.mark.pulumi


@pytest.fixture(scope="module")
def rows(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Row]]:
    """One run of each command, after one that isn't counted."""
    with Sandbox() as box:
        bench = Bench(box, tmp_path_factory.mktemp("bench"), pulumi)
        for name, run in bench.commands().items():
            run(name)
            run(name)
        yield bench.rows


@pytest.mark.parametrize(
    ("command", "processes", "requests", "revisions"),
    [
        ("the script", 11, 30, 5),
        ("one bare read", 1, 3, 0),
        ("unchanged", 1, 3, 0),
        ("changed", 3, 8, 1),
        ("changed, preflight, tag, dispatch", 5, 16, 1),
    ],
)
def test_no_process_request_or_revision_is_added(
    rows: Mapping[str, Row], command: str, processes: int, requests: int, revisions: int
) -> None:
    assert rows[command].counts == (processes, requests, revisions)


def test_the_page_and_the_targets_tell_what_was_measured() -> None:
    rows = {
        f"{name}, {latency}": Row([seconds], 50_000_000, (1, 3, 0))
        for latency in ("0 ms", "100 ms")
        for name, seconds in (("the script", 3.0), ("unchanged", 0.4), ("changed", 2.0))
    }
    missed = {name for name, measured, most in targets(rows) if measured > most}
    assert missed == {
        "changed beside the script, 0 ms",
        "changed beside the script, 100 ms",
        "memory, unchanged, in MB",
    }
    text = page(rows, "A machine.")
    assert "The script took 3.00 s. An unchanged sync took 0.40 s, a changed one 2.00 s." in text
    assert "changed beside the script, 0 ms: 0.67 instead of 0.33" in text
    assert "A machine." in text
    ET.fromstring(picture(rows))  # noqa: S314 - our own
