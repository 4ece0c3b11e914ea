"""The server, with credentials that don't come until the source is closed. It tells when they are asked for."""

import os
import sys
import threading
from collections.abc import Iterable

from pydantic import SecretStr
from sentry_mcp.main import main

ASKED = "asked for credentials"
MISSING = "MISSING"
"""The environment variable with the names of those that are known to be nowhere, which is told at once."""


class Unanswered:
    def __init__(self) -> None:
        self._closed = threading.Event()

    def get(self, key: str) -> str | None:
        if key not in os.environ[MISSING].split():
            print(ASKED, file=sys.stderr, flush=True)
            self._closed.wait()
        return None

    def refresh(self) -> bool:
        return self._closed.wait()

    def secrets(self) -> Iterable[SecretStr]:
        return ()

    def close(self) -> None:
        self._closed.set()


if __name__ == "__main__":
    sys.exit(main(source=Unanswered()))
