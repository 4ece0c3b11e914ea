"""The action with a place of its own among the local services."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.action import Action


@pytest.fixture
def action(box: Sandbox, pulumi: Path, tmp_path: Path) -> Action:
    return Action(box, pulumi, tmp_path)
