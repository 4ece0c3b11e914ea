"""The backend's configuration against the local ESC, by the real CLI code."""

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
    """The local ESC with the environment that the backend reads by default, as if it had just been started."""
    esc_server.requests.clear()
    esc_server.create(PATH, definition(SECRETS))
    yield esc_server
    esc_server.reset_faults()
    esc_server.latency = 0.0
    for environment in list(esc_server.environments):
        esc_server.delete(environment.path)


@pytest.fixture
def environ(esc: Esc, pulumi: Path, tmp_path: Path) -> dict[str, str]:
    """The environment variables of a backend that has an access token, and nothing else of Pulumi's."""
    return {
        "PATH": f"{pulumi.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path),
        "PULUMI_ACCESS_TOKEN": esc.token,
        "PULUMI_BACKEND_URL": esc.url,
    }


Configure = Callable[..., AutoEscConfig]


@pytest.fixture
def configure(environ: dict[str, str]) -> Configure:
    """Make a configuration from `environ` and further variables."""

    def make(variables: dict[str, str] | None = None, **arguments: Any) -> AutoEscConfig:
        return AutoEscConfig(environ | (variables or {}), **arguments)

    return make
