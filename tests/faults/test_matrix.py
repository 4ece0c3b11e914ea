"""Run a selection of the fault matrix, spread over all requests and faults. `make faults` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.faults.matrix import CASES, REQUESTS, Case, Result, Times, run
from tests.faults.parallel import begun

pytestmark = pytest.mark.pulumi

# Even and odd numbers, because every other case is `once`.
SELECTION = [case for number, case in enumerate(CASES) if number % 16 in (0, 5, 11)]
# The quick `make test` runs a dozen of the selection, spread likewise. None of them waits for long.
_SHORT = [case for case in SELECTION if not case.takes_long and case.times is not Times.FOR_EVER]
DOZEN = _SHORT[:: len(_SHORT) // 11]


@pytest.fixture(scope="module")
def futures(request: pytest.FixtureRequest, pulumi: Path) -> Iterator[Mapping[Case, Future[Result]]]:
    """Start all selected cases together: most of them only wait."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    values = [item.callspec.params.get("case") for item in items if hasattr(item, "callspec")]
    cases = [value for value in values if isinstance(value, Case)]
    with begun(run, sorted(cases, key=lambda case: not case.takes_long)) as futures:
        yield futures


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=str(case), marks=[] if case in DOZEN else [pytest.mark.full]) for case in SELECTION]
)
def test_a_fault(case: Case, futures: Mapping[Case, Future[Result]]) -> None:
    result = futures[case].result()
    assert result.problems == [], result.ended.told


def test_the_selection_is_spread() -> None:
    assert len(SELECTION) >= 150
    assert {case.request for case in SELECTION} == set(REQUESTS)
    for request in REQUESTS:
        assert {case.times for case in SELECTION if case.request is request} >= {Times.ONCE, Times.FOR_EVER}
    assert {case.failure for case in SELECTION} == {case.failure for case in CASES}
