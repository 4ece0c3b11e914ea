"""The local services, and the Pulumi CLI signed in with them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def environ(box: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The environment of a CLI that has nothing but its token and the address of the local ESC."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "PULUMI_HOME": str(home),
        "PULUMI_ACCESS_TOKEN": box.esc.token,
        "PULUMI_BACKEND_URL": box.esc.url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "TZ": "UTC",
    }
