"""A person's machine with a place of its own among the local services."""

from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.laptop import Laptop


@pytest.fixture
def laptop(box: Sandbox, pulumi: Path, tmp_path: Path) -> Laptop:
    return Laptop(box, pulumi, tmp_path)
