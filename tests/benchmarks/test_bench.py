"""The benchmark's counts, so that a pull request can't raise one unnoticed. Its times are left to a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import Bench
from benchmarks.page import HUNDRED, LOADING, ONE_MB, Counts, Row, page, picture, targets
from sandbox import Sandbox

pytestmark = pytest.mark.pulumi


@pytest.fixture(scope="module")
def rows(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Row]]:
    """Run each command once. An uncounted read comes first, because an account's first use signs in."""
    with Sandbox() as box:
        bench = Bench(box, tmp_path_factory.mktemp("bench"), pulumi)
        commands = bench.commands()
        commands["one bare read"]("sign-in")
        for name, run in commands.items():
            run(name)
        yield bench.rows


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        ("one bare read", Counts(processes=1, requests=3, revisions=0)),
        ("unchanged", Counts(processes=1, requests=3, revisions=0)),
        ("changed", Counts(processes=3, requests=8, revisions=1)),
        ("changed, preflight, tag, dispatch", Counts(processes=5, requests=18, revisions=1)),
    ],
)
def test_no_process_request_or_revision_is_added(rows: Mapping[str, Row], command: str, counts: Counts) -> None:
    assert rows[command].counts == counts


def test_the_page_and_the_targets_tell_what_was_measured() -> None:
    rows = {
        f"{name}, {added}": Row([seconds], 50_000_000, Counts(processes=1))
        for added in ("0 ms", "100 ms")
        for name, seconds in {
            "the script": 3.0,
            "one bare read": 0.2,
            "unchanged": 0.4,
            "changed": 2.0,
            "changed, preflight, tag, dispatch": 2.5,
        }.items()
    }
    rows[LOADING] = Row([0.3])
    for image, seconds in {"the image": 1.0, "the former image": 4.0}.items():
        rows |= {f"{image}: {step}": Row([seconds]) for step in ("pull and unpack", "docker run, unchanged")}
    assert {name for name, figure, most in targets(rows) if figure is not None and figure > most} == {
        "changed / the script, 0 ms",
        "changed / the script, 100 ms",
        "MiB of memory, unchanged",
    }
    text = " ".join(page(rows, ["A machine."]).split())
    assert "Not measured: seconds to plan, merge and prove 1 MB; 100 environments / 50, changed." in text
    more = (ONE_MB, HUNDRED, "50 environments, changed", "100 environments, unchanged")
    everything = page(rows | {name: Row([1.0]) for name in more}, ["The CLI.", "A machine.", "What figures are."])
    assert "Not measured" not in everything
    assert everything.count("\n- ") == 10
    assert "the script takes 3.00 s, a sync 0.40 s if nothing changed, 2.00 s if all keys changed" in text
    assert "one bare read by the CLI takes 0.20 s, and Python's start with its packages 0.30 s." in text
    assert "an unchanged sync take 2.00 s with the image, 1.00 s of it for the pull; 8.00 s with the former" in text
    assert "changed / the script, 0 ms: 0.667, at most 0.333" in text
    assert "- A machine." in page(rows, ["A machine."])
    ET.fromstring(picture(rows))  # noqa: S314 - our own
