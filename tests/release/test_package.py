"""The package for PyPI: built from this tree, then installed by pip, pipx and uv, and started."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import wheel as wheels
from tests.support.docker_engine import ROOT

BIN = Path(sys.executable).parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS = sorted(PROJECT["scripts"])
EXTRAS = ",".join(sorted({"cli", "mcp"} & set(PROJECT["optional-dependencies"])))


def run(*command: str | Path, cwd: Path | None = None, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def test_its_name_and_version_are_the_releases(wheel: Path) -> None:
    assert wheel.name == f"sentry_esc_sync-{PROJECT['version']}-py3-none-any.whl"


def test_it_holds_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names} - {f"sentry_esc_sync-{PROJECT['version']}.dist-info"}
    assert {"backend", "sophia_sync"} <= tops
    assert not tops & {"tests", "sandbox", "deploy", "release", "tools", "benchmarks", "docs"}
    assert "sophia_sync/console/__init__.py" in names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of scripts of an environment in which pip installed the wheel.

    uv installs the dependencies from its cache, because pip takes minutes for them. pip checks that none is missing.
    """
    folder = tmp_path_factory.mktemp("pip")
    run(sys.executable, "-m", "venv", folder)
    constraints = ROOT / "requirements" / "dev.txt"
    locked = [line.partition(" ")[0] for line in constraints.read_text("utf-8").splitlines() if "==" in line]
    (folder / "constraints").write_text("\n".join(locked), encoding="utf-8")
    uv = (BIN / "uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python")
    run(*uv, "--constraint", folder / "constraints", f"{wheel}[{EXTRAS}]")
    pip = (folder / "bin" / "pip", "--disable-pip-version-check")
    run(*pip, "uninstall", "--quiet", "--yes", "sentry-esc-sync")
    run(*pip, "install", "--quiet", f"{wheel}[{EXTRAS}]")
    run(*pip, "check")
    return folder / "bin"


@pytest.mark.parametrize("script", SCRIPTS)
def test_pip_installs_scripts_that_start(installed: Path, script: str, tmp_path: Path) -> None:
    assert "usage" in run(installed / script, "--help", cwd=tmp_path).lower()


@pytest.mark.parametrize("script", SCRIPTS)
def test_uvx_starts_them_without_an_installation(wheel: Path, script: str, tmp_path: Path) -> None:
    command = (BIN / "uv", "tool", "run", "--python", sys.executable, "--from", f"{wheel}[{EXTRAS}]", script, "--help")
    assert "usage" in run(*command, cwd=tmp_path).lower()


@pytest.mark.parametrize("script", SCRIPTS)
def test_pipx_runs_them_in_an_environment_of_their_own(wheel: Path, script: str, tmp_path: Path) -> None:
    command = (BIN / "pipx", "run", "--python", sys.executable, "--spec", f"{wheel}[{EXTRAS}]", script, "--help")
    environ = {**os.environ, "PIPX_HOME": str(tmp_path / "pipx"), "COLUMNS": "100"}
    assert "usage" in run(*command, cwd=tmp_path, environ=environ).lower()
