"""Fixtures for the tests of the documentation: the reader's machine and the local services."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.deploy.conftest import ENVIRONMENT, Host, built, good, new_host, registry
from tests.docs.machine import Machine
from tests.support import docker_engine
from tests.support.action import Action
from tests.support.laptop import Laptop

__all__ = ["built", "good", "registry"]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def action(box: Sandbox, pulumi: Path, tmp_path: Path) -> Action:
    return Action(box, pulumi, tmp_path)


@pytest.fixture
def laptop(box: Sandbox, pulumi: Path, tmp_path: Path) -> Laptop:
    return Laptop(box, pulumi, tmp_path)


@pytest.fixture
def reader(box: Sandbox, pulumi: Path, tmp_path: Path) -> dict[str, str]:
    """Return the variables of a person at a terminal whose Pulumi Cloud is the local one."""
    home = tmp_path / "reader"
    home.mkdir()
    path = [str(pulumi.parent), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "PULUMI_HOME": str(home / ".pulumi"),
        "LANG": "C.UTF-8",
        "PULUMI_ACCESS_TOKEN": box.esc.token,
        "PULUMI_BACKEND_URL": box.esc.url,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def host() -> Iterator[Host]:
    """Yield a host to deploy to. The environment that the pages name holds the same credentials."""
    docker_engine.provide_base_images()
    with new_host() as host:
        host.box.esc.create("acme/default/production", host.box.esc.decrypted(ENVIRONMENT))
        yield host


@pytest.fixture
def machine(host: Host, pulumi: Path, tmp_path: Path) -> Machine:
    """Return the machine of a person who also has Docker."""
    return Machine(host, tmp_path, pulumi)
