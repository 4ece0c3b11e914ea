"""The action with its own environment and repository in the local services."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.action import Action


@pytest.fixture
def action(box: Sandbox, pulumi: Path, tmp_path: Path) -> Action:
    return Action(box, pulumi, tmp_path)
