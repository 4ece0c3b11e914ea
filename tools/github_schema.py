"""Fetch GitHub's published OpenAPI description for the tests, from the npm package `@octokit/openapi`.

The package's version and hash are pinned below. A package with another hash is refused.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from tools.go_build import CACHE, locked, put, scratch_beside
from tools.progress import say

PACKAGE, VERSION = "@octokit/openapi", "23.0.2"
INTEGRITY = "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
"""The package's hash, as npm publishes it."""

NPM_TIMEOUT = 300
_FILE = "package/generated/api.github.com.json"


class NoSchemaError(Exception):
    """The description can't be fetched. The text says why."""


def ensure(cache: Path = CACHE) -> Path:
    """Return the path of the description. Fetch it at the first call.

    Raises:
        NoSchemaError: There is no npm, the package can't be fetched, or it has another hash.
    """
    file = cache / "github-schema" / VERSION / "api.github.com.json"
    with locked(cache / "github-schema"):
        if file.exists():
            return file
        npm = shutil.which("npm")
        if npm is None:
            raise NoSchemaError("There is no npm on PATH to fetch GitHub's OpenAPI description with.")
        say(f"Fetching {PACKAGE} {VERSION} (once)")
        with scratch_beside(file) as scratch:
            return put(_unpack(_fetch(npm, scratch), scratch), file)


def _fetch(npm: str, folder: Path) -> Path:
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_TIMEOUT, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoSchemaError(f"{PACKAGE} {VERSION} can't be fetched: {error}") from error
    packages = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(packages) != 1:
        raise NoSchemaError(f"{PACKAGE} {VERSION} can't be fetched:\n{done.stderr[-2000:]}")
    return packages[0]


def _unpack(package: Path, folder: Path) -> Path:
    found = "sha512-" + base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise NoSchemaError(f"{PACKAGE} {VERSION} has the hash {found}, not {INTEGRITY}: it is not used.")
    with tarfile.open(package) as tar:
        tar.extract(_FILE, folder, filter="data")
    return folder / _FILE
