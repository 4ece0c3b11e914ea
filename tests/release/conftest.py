"""A repository to release, and a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.project import Project
from tests.support import docker_registry


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with a commit that is ready to be released, and nothing released yet."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real registry."""
    with docker_registry.serve(tmp_path_factory.mktemp("registry")) as address:
        yield address
