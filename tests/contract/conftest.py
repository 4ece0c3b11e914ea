"""The local services, and the Pulumi CLI signed in with them."""

import os
import subprocess
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
    """Return the environment of a CLI that has only its token and the address of the local ESC."""
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


class Cli:
    """The CLI, signed in with the local ESC."""

    def __init__(self, program: Path, environ: dict[str, str]) -> None:
        self.program = program
        self.environ = environ
        self("ls")

    def __call__(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.program, "env", *arguments],
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def cli(pulumi: Path, environ: dict[str, str]) -> Cli:
    return Cli(pulumi, environ)
