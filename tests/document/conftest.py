"""Services on this machine, and a person who follows the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.conftest import Host, new_host, registry
from tests.document.machine import Machine
from tests.support import docker_engine

__all__ = ["registry"]


@pytest.fixture
def host() -> Iterator[Host]:
    docker_engine.provide_base_images()
    with new_host() as host:
        yield host


@pytest.fixture
def machine(host: Host, pulumi: Path, tmp_path: Path) -> Machine:
    return Machine(host, tmp_path, pulumi)
