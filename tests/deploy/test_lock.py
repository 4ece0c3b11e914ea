"""The lock on an engine: who waits for it, and what becomes of one that a killed deploy leaves."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import engine
from deploy.engine import Engine
from deploy.errors import EngineError, LockedError
from tests.deploy.engine import before
from tests.support.docker_engine import docker

pytestmark = pytest.mark.docker

HERE = Engine(os.environ)
# Seconds to wait for the lock, where the test is about getting it. High, because the machine may be busy.
PATIENCE = 300


@pytest.fixture
def name() -> Iterator[str]:
    name = f"sentry-mcp-test-{secrets.token_hex(4)}-deploy"
    yield name
    docker("rm", "--force", name, check=False)


def of(name: str, template: str) -> str:
    return docker("container", "inspect", "--format", template, name, check=False).stdout.strip()


@pytest.fixture
def leftover(name: str, built: str, tmp_path: Path) -> str:
    """Leave what a deploy leaves that is killed between the two steps of `docker run`. Return its time by Docker."""
    first_step = f'[ "$1" = run ] && shift && exec {shutil.which("docker")} create "$@"'
    killed = Engine({**os.environ, **before(tmp_path, first_step)})
    with pytest.raises(EngineError), killed.lock(name, built, 0):
        pass
    assert of(name, "{{.State.Status}}") == "created"
    return of(name, "{{.Created}}")


def test_a_lock_that_never_started_is_removed(
    name: str, built: str, leftover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEFTOVER", leftover)
    with HERE.lock(name, built, PATIENCE):
        assert of(name, "{{.State.Status}}") == "running"
        assert of(name, "{{.Created}}") != leftover
    assert of(name, "{{.State.Status}}") == ""


@pytest.mark.usefixtures("leftover")
def test_a_lock_that_may_still_start_is_left_alone(name: str, built: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LEFTOVER", "24h")
    before = of(name, "{{.Id}}")
    with pytest.raises(LockedError), HERE.lock(name, built, 0):
        pass
    assert of(name, "{{.Id}} {{.State.Status}}") == f"{before} created"


def test_a_lock_that_is_held_is_left_alone_however_old(name: str, built: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LEFTOVER", "0s")
    with HERE.lock(name, built, 0):
        held = of(name, "{{.Id}} {{.State.Status}}")
        with pytest.raises(LockedError), HERE.lock(name, built, 0):
            pass
        assert of(name, "{{.Id}} {{.State.Status}}") == held
    assert held.endswith(" running")


def test_of_deploys_that_find_it_together_one_goes_after_the_other(
    name: str, built: str, leftover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEFTOVER", leftover)
    told: list[str] = []

    def deploy(_: int) -> None:
        with HERE.lock(name, built, PATIENCE):
            told.append("begins")
            of(name, "{{.Id}}")
            told.append("ends")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deploy, range(4)))
    assert told == ["begins", "ends"] * 4
