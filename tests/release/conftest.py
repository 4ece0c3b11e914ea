"""A repository to release, and a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.project import Project
from tests.support import docker_registry

NEXT = "1.3.0"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a repository with a commit that is ready for release, and no release yet. Tests copy it."""
    return Project.make(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def released_once(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a repository with one release, and a commit that is ready for the next. Tests copy it."""
    project = prepared.copy(tmp_path_factory.mktemp("released") / "project")
    project.release()
    project.prepare(NEXT)
    return project


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    """Return a copy of the prepared repository."""
    return prepared.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real registry. Yield its address."""
    with docker_registry.serve(tmp_path_factory.mktemp("registry")) as address:
        yield address
