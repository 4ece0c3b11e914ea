"""The server, with credentials that don't come until the source is closed. It tells when they are asked for."""

import os
import sys
from collections.abc import Iterable, Mapping

import anyio
from pydantic import SecretStr
from sentry_mcp.main import main

ASKED = "asked for credentials"
MISSING = "MISSING"
"""The environment variable that isn't empty where the first question is answered at once: there is nothing."""


class Unanswered:
    def __init__(self) -> None:
        self._closed = anyio.Event()

    async def values(self) -> Mapping[str, str]:
        known = os.environ[MISSING].split()
        if self._asked or not known:
            print(ASKED, file=sys.stderr, flush=True)
            await self._closed.wait()
        self._asked = True
        return {}

    _asked = False

    async def refresh(self) -> bool:
        await self._closed.wait()
        return False

    def secrets(self) -> Iterable[SecretStr]:
        return ()

    async def aclose(self) -> None:
        self._closed.set()


if __name__ == "__main__":
    sys.exit(main(source=Unanswered()))
