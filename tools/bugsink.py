"""Bugsink, a Sentry-compatible ingest, for the tests: in a virtual environment of its own, because it pins packages
that others of ours need newer.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tools import packages
from tools.go_build import CACHE, ROOT, locked, scratch_beside

REQUIREMENTS = ROOT / "requirements" / "bugsink.txt"


class NoBugsinkError(Exception):
    """It could not be installed; pip's own words are on stderr."""


def ensure(cache: Path = CACHE) -> Path:
    """The interpreter that has Bugsink beside it; installed at the first call, found in the cache afterwards.

    Raises:
        NoBugsinkError: it could not be installed.
    """
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    installed = cache / "bugsink" / key
    with locked(cache / "bugsink"):
        if not installed.exists():
            with scratch_beside(installed) as scratch:
                _make(scratch / "venv")
                (scratch / "venv").rename(installed)
    return installed / "bin" / "python"


def _make(venv: Path) -> None:
    # It is moved afterwards: only what is started through its interpreter works, not the scripts beside that.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)  # noqa: S603 - fixed
    if packages.install(REQUIREMENTS, venv / "bin" / "python") != 0:
        raise NoBugsinkError("Bugsink could not be installed.")
