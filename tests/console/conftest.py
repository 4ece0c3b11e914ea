"""The machine of a person with an ESC environment and a repository of their own."""

from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.laptop import Laptop


@pytest.fixture
def laptop(box: Sandbox, pulumi: Path, tmp_path: Path) -> Laptop:
    return Laptop(box, pulumi, tmp_path)
