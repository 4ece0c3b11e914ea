"""Isolate unit tests from their machine, and fail a test at once if it starts a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import GitHub
from tests.support.inputs import environment, without_inputs

_STARTS = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")
_MAY_START = ("test_processes.py", "test_cli.py")


class ProcessGuard:
    """Audit hook that refuses to start a process while it is on, and records it in case the error is caught."""

    def __init__(self) -> None:
        self.on = False
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in _STARTS:
            self.refused.append(f"{event}{arguments[:2]}")
            raise AssertionError(f"a unit test started a process: {self.refused[-1]}")


_guard = ProcessGuard()
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def process_guard(request: pytest.FixtureRequest) -> Iterator[ProcessGuard]:
    _guard.on = request.path.name not in _MAY_START
    _guard.refused.clear()
    yield _guard
    _guard.on = False
    assert not _guard.refused


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_inputs() -> Iterator[None]:
    """Unset every variable that the action reads."""
    with environment(without_inputs()):
        yield


@pytest.fixture(scope="session")
def github_server() -> Iterator[GitHub]:
    with GitHub() as server:
        yield server


@pytest.fixture
def github(github_server: GitHub) -> Iterator[GitHub]:
    """Yield the local GitHub without the requests, dispatches and faults of earlier tests."""
    github_server.requests.clear()
    github_server.dispatches.clear()
    github_server.return_run_details = True
    yield github_server
    github_server.reset_faults()
