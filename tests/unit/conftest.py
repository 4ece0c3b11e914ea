"""Isolate unit tests from their machine, and fail a test at once if it starts a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from sandbox import GitHub
from tests.support.inputs import environment, without_inputs

_STARTS = ("execv", "execve", "fork", "forkpty", "posix_spawn", "posix_spawnp", "system")
_MAY_START = ("test_processes.py", "test_cli.py")


@pytest.fixture(autouse=True)
def refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail a test that starts a process. Keep a list of the attempts, because the test may catch the error.

    An audit hook could do that too. But while a hook in Python runs, Python 3.11 can't begin to trace another thread,
    and ends that thread.
    """
    refused: list[str] = []

    def refuse(name: str, *arguments: object) -> None:
        refused.append(f"{name}{arguments}")
        raise AssertionError(f"a unit test started a process: {refused[-1]}")

    if request.path.name not in _MAY_START:
        monkeypatch.setattr(subprocess.Popen, "__init__", lambda _, *arguments, **__: refuse("Popen", *arguments))
        for name in _STARTS:
            monkeypatch.setattr(os, name, partial(refuse, name))
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
