"""The package as PyPI will have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import docker_act


def build(scratch: Path) -> Path:
    """Build the wheel from a checkout of this tree, in an empty folder; return its path."""
    tree, output = scratch / "tree", scratch / "dist"
    docker_act.check_out(tree)
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir"]
    done = subprocess.run([*command, str(output), str(tree)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = output.glob("*.whl")
    return built
