from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.laptop import Laptop


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
    services.github.organizations.clear()
    yield services
    for server in services.servers:
        server.reset_faults()


@pytest.fixture
def laptop(box: Sandbox, pulumi: Path, tmp_path: Path) -> Laptop:
    return Laptop(box, pulumi, tmp_path)
