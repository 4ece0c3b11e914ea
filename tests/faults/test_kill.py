"""SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGKILL at any moment of a sync: ESC is old or new, and the report is true."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from sandbox import Sandbox
from sophia_sync.runtime.tasks import AT_ONCE
from tests.faults import moments
from tests.faults.matrix import REQUESTS
from tests.faults.moments import LIMIT, MOMENTS, SILENCES, Killed, Moment
from tests.faults.parallel import begun
from tests.faults.program import ENVIRONMENT, REPOSITORY, Place, in_order, untruths
from tests.support.docker_step import Job

pytestmark = [pytest.mark.pulumi, pytest.mark.full]

# Number of runs at a time. None of them waits, so more would only slow them down, and each has 5 seconds to end.
WORKERS = 5

Case = tuple[Moment, signal.Signals]
SIGTERMS = [(moment, signal.SIGTERM) for moment in (*MOMENTS, *SILENCES)]
OTHERS = [
    (moment, number)
    for number, moments in (
        (signal.SIGINT, MOMENTS[::9]),
        (signal.SIGHUP, MOMENTS[4::18]),
        (signal.SIGQUIT, MOMENTS[13::18]),
    )
    for moment in moments
]
SIGKILLS = [(moment, signal.SIGKILL) for moment in MOMENTS]


def name(case: Case) -> str:
    return f"{case[1].name}-{case[0]}"


@pytest.fixture(scope="module")
def killed(request: pytest.FixtureRequest, pulumi: Path) -> Iterator[Mapping[Case, Future[Killed]]]:
    """Start all selected runs."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    cases = [item.callspec.params["killed_at"] for item in items if "killed_at" in getattr(item, "fixturenames", ())]
    with begun(
        lambda case: moments.end(*case), [case for case in cases if isinstance(case, tuple)], WORKERS
    ) as futures:
        yield futures


def test_there_are_fifty_moments() -> None:
    assert len(MOMENTS) >= 50


@pytest.mark.parametrize("killed_at", SIGTERMS + OTHERS, ids=name)
def test_asked_to_end(killed_at: Case, killed: Mapping[Case, Future[Killed]]) -> None:
    moment, number = killed_at
    result = killed[killed_at].result()
    assert result.problems == (), result.ended.told
    if moment.is_last and not result.ended.errors:  # everything was done; only the process had to end
        assert (result.state, result.dispatched) == ("new", 1)
        assert result.ended.outputs["deploy-conclusion"] == "success"
        return
    assert result.ended.code == 128 + number, result.ended.told
    assert len(result.ended.errors) == 1
    assert f"{number.name} ended the run." in result.ended.errors[0]
    assert "What to do:" in result.ended.summary
    assert result.state in ("old", "new")


@pytest.mark.parametrize("killed_at", SIGKILLS, ids=name)
def test_killed(killed_at: Case, killed: Mapping[Case, Future[Killed]]) -> None:
    moment, number = killed_at
    result = killed[killed_at].result()
    assert result.problems == (), result.ended.told
    assert result.ended.code == -number or (moment.is_last and result.ended.code == 0)
    assert result.state in ("old", "new")


@pytest.mark.parametrize("line", ["GET {}/decrypt", "PATCH {}"], ids=["read", "write"])
def test_with_several_environments_under_way(line: str, pulumi: Path, tmp_path: Path) -> None:
    with Sandbox() as box:
        others = [f"{ENVIRONMENT}-{number}" for number in range(9)]
        inputs = {"esc-environment": "\n".join([ENVIRONMENT, *others]), "pulumi-access-token": box.esc.token}
        place = Place(box, tmp_path, inputs)
        for name in others:
            box.esc.create(name, place.before)
        before = {name: box.esc.definition(name) for name in (ENVIRONMENT, *others)}
        arrived = threading.Semaphore(0)
        for name in before:
            request = line.format(f"/api/esc/environments/{name}")
            box.esc.fail(request, kind="hang", times=None)
            box.esc.before(request, arrived.release)
        running = place.start()
        for _ in range(AT_ONCE):
            assert arrived.acquire(timeout=60)
        running.popen.terminate()
        began = time.monotonic()
        ended = running.end(60)
        assert time.monotonic() - began < LIMIT
        assert ended.code == 143, ended.told
        assert len(ended.errors) == 1
        assert {name: box.esc.definition(name) for name in before} == before
        assert place.leaks(ended) == []
        assert (place.processes(), place.files()) == ([], [])
        assert len(json.loads(ended.outputs["environments"])) == len(before)


@pytest.mark.parametrize("request_name", ["approvals", "draft", "submission", "draft read", "draft opened"])
def test_while_it_proposes(request_name: str, pulumi: Path, tmp_path: Path) -> None:
    """This run names every proposal, or says that it isn't known; the next run names it."""
    with Sandbox() as box:
        place = Place(box, tmp_path / "place")
        place.need_approvals()
        request = next(request for request in REQUESTS if request.name == request_name)
        reached, sent = threading.Event(), threading.Event()

        def wait() -> None:
            reached.set()
            assert sent.wait(60)

        in_order(box, request.preceded, lambda: box.esc.before(request.line, wait))
        running = place.start()
        assert reached.wait(60)
        running.popen.terminate()
        sent.set()
        ended = running.end(LIMIT)
        assert ended.code == 143, ended.told
        (error,) = ended.errors
        proposals = box.esc.open_change_requests(ENVIRONMENT)
        assert all(proposal.id in error for proposal in proposals) or "isn't known" in error
        assert (place.state(), place.leaks(ended), place.processes(), place.files()) == ("old", [], [], [])
        again = place.run()
        (proposal,) = box.esc.open_change_requests(ENVIRONMENT)
        assert again.code == (4 if proposal.status == "draft" else 0), again.told
        assert again.outputs["change-request-id"] == proposal.id


@pytest.mark.docker
@pytest.mark.parametrize("request_name", ["edit", "write", "read-back", "dispatch"])
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGKILL"])
def test_in_the_container(request_name: str, signal_name: str, image: str, tmp_path: Path) -> None:
    """The program is process 1 there: the kernel then ignores signals that have no handler."""
    with Sandbox() as box:
        place = Place(box, tmp_path / "place")
        (tmp_path / "job").mkdir()
        variables = {"GITHUB_API_URL": box.github.url, "GITHUB_REPOSITORY": REPOSITORY}
        job = Job(tmp_path / "job", image, box.github.token, variables)
        reached, sent = threading.Event(), threading.Event()

        def wait() -> None:
            reached.set()
            assert sent.wait(60)

        request = next(request for request in REQUESTS if request.name == request_name)
        in_order(box, request.preceded, lambda: getattr(box, request.service).before(request.line, wait))
        step = job.start(place.inputs)
        try:
            assert reached.wait(60)
            step.signal(signal_name)
            began = time.monotonic()
        finally:
            sent.set()
            result = step.finish(timeout=60)
        assert result.ended - began < LIMIT
        assert result.code == {"SIGTERM": 143, "SIGKILL": 137}[signal_name]
        assert place.state() in ("old", "new")
        texts = [error.data for error in result.errors]
        assert len(texts) == (1 if signal_name == "SIGTERM" else 0)
        assert list(untruths(texts, place.state(), len(box.esc.revisions(ENVIRONMENT)) - 2)) == []
        assert list(job.left_behind()) == []
        again = job.run(place.inputs)
        assert again.code == 0, again.log
        assert place.state() == "new"
        assert box.github.dispatches
