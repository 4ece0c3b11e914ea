"""Install Bugsink, a Sentry-compatible ingest, for the tests.

It has its own virtual environment, because it pins older versions of packages that this project needs.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tools import packages
from tools.go_build import CACHE, ROOT, locked, scratch_beside

REQUIREMENTS = ROOT / "requirements" / "bugsink.txt"


class NoBugsinkError(Exception):
    """Bugsink can't be installed. pip's output is on stderr."""


def ensure(cache: Path = CACHE) -> Path:
    """Return the interpreter of Bugsink's virtual environment. Install Bugsink at the first call.

    Raises:
        NoBugsinkError: It can't be installed.
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
    # The environment is moved afterwards: its interpreter still works, but the scripts beside it don't.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)  # noqa: S603 - fixed
    if packages.install(REQUIREMENTS, venv / "bin" / "python") != 0:
        raise NoBugsinkError("Bugsink could not be installed.")
