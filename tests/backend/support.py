"""Provide what the backend's tests share: the values in ESC, a clock that stands still, and a runner of Python code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from sandbox import Esc

ROOT = Path(__file__).resolve().parents[2]
PATH = "scoobyjava-org/default/sophia-ai-production"
# The values hold characters that each encoding spells differently.
SECRETS = {
    "SENTRY_DSN": "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.invalid/42",
    "SENTRY_API_TOKEN": 'sntryu_"quoted"\\and/slashed+é&<5>',
    "SENTRY_CLIENT_SECRET": "client secret, spoken äloud",
}
SLUGS = {"SENTRY_ORGANIZATION_SLUG": "pay-ready", "SENTRY_PROJECT_SLUG": "pay-ready"}


def definition(secrets: Mapping[str, str], plain: Mapping[str, object] = SLUGS) -> str:
    values = {key: {"fn::secret": value} for key, value in secrets.items()}
    return yaml.safe_dump({"values": {**values, **plain}}, allow_unicode=True)


def reads(esc: Esc) -> int:
    """Return how often the environment was opened."""
    return sum(seen.method == "POST" and seen.path.endswith("/open") for seen in esc.requests)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def python(code: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python code as a backend program, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", code],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
