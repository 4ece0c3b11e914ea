"""Provide configurations of the backend that the real CLI code reads from the local ESC."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.core.auto_esc_config import AutoEscConfig
from sandbox import Esc
from tests.backend.support import PATH, SECRETS, definition


@pytest.fixture(scope="session")
def esc_server() -> Iterator[Esc]:
    with Esc() as esc:
        yield esc


@pytest.fixture
def esc(esc_server: Esc) -> Iterator[Esc]:
    """Yield the local ESC as if it had just started, with the environment that the backend reads by default."""
    esc_server.requests.clear()
    esc_server.create(PATH, definition(SECRETS))
    yield esc_server
    esc_server.reset_faults()
    esc_server.latency = 0.0
    for environment in list(esc_server.environments):
        esc_server.delete(environment.path)


@pytest.fixture
def environ(esc: Esc, pulumi: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment variables of a backend with an access token and no `pulumi login`."""
    return {
        "PATH": f"{pulumi.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path),
        "PULUMI_ACCESS_TOKEN": esc.token,
        "PULUMI_BACKEND_URL": esc.url,
    }


Configure = Callable[..., AutoEscConfig]


@pytest.fixture
def configure(environ: dict[str, str]) -> Configure:
    """Return a function that makes a configuration from `environ` and further variables."""

    def make(variables: dict[str, str] | None = None, **arguments: Any) -> AutoEscConfig:
        return AutoEscConfig(environ | (variables or {}), **arguments)

    return make
