"""Unit tests know nothing of the machine that they run on, and fail at once if anything starts a process."""

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
    """Refuses every start of a process while it is on, and remembers it, lest somebody catches the refusal."""

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
    """Nothing that the action reads is set."""
    with environment(without_inputs()):
        yield


@pytest.fixture(scope="session")
def github_server() -> Iterator[GitHub]:
    with GitHub() as server:
        yield server


@pytest.fixture
def github(github_server: GitHub) -> Iterator[GitHub]:
    """The local GitHub, as if nothing had happened to it yet."""
    github_server.requests.clear()
    github_server.dispatches.clear()
    github_server.return_run_details = True
    yield github_server
    github_server.reset_faults()
