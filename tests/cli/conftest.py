"""The local services, and the action with a place of its own among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.action import Action


@pytest.fixture(scope="session")
def services() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def box(services: Sandbox) -> Iterator[Sandbox]:
    """The local services, as if nobody had asked them for anything yet."""
    for server in services.servers:
        server.requests.clear()
    services.github.dispatches.clear()
    yield services
    for server in services.servers:
        server.reset_faults()


@pytest.fixture
def action(box: Sandbox, pulumi: Path, tmp_path: Path) -> Action:
    return Action(box, pulumi, tmp_path)
