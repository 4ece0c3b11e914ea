"""Run the server with a source that gives no values until it is closed. The source prints when it is asked for them."""

import os
import sys
from collections.abc import Iterable, Mapping

import anyio
from pydantic import SecretStr
from sentry_mcp.main import main

ASKED = "asked for credentials"
MISSING = "MISSING"
"""Environment variable. If it isn't empty, the first request for values returns none at once."""


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
