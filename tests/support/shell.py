"""Run the documentation's shell code, unchanged."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.docker_engine import ROOT


def run(
    code: str, environ: Mapping[str, str], *, typed: str = "", cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run shell code that must succeed.

    Args:
        code: As in the documentation.
        environ: All variables that are set.
        typed: What the person types while it runs.
        cwd: The working folder.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=cwd,
        env=environ,
        input=typed,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def output(code: str, environ: Mapping[str, str], cwd: Path = ROOT) -> str:
    """Return the output of shell code that must succeed."""
    return run(code, environ, cwd=cwd).stdout
