"""Isolate unit tests from their machine, and fail a test at once if it starts a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from sandbox import GitHub
from tests.support.inputs import environment, without_inputs

_STARTS = ("execv", "execve", "fork", "forkpty", "posix_spawn", "posix_spawnp", "system")
_MAY_START = ("test_processes.py", "test_cli.py")


@pytest.fixture(autouse=True)
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Refuse to start processes, and record it in case the error is caught.

    Not by an audit hook: while one in Python runs, Python 3.11 can't begin to trace another thread, and ends it.
    """
    refused: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        refused.append(f"{arguments[1:]}")
        raise AssertionError(f"a unit test started a process: {refused[-1]}")

    if request.path.name not in _MAY_START:
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
        for name in _STARTS:
            monkeypatch.setattr(os, name, refuse)
    yield refused
    assert not refused


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
