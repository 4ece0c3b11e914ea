"""Wait until one of our servers answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2


def wait_for(url: str, path: str, fate: Callable[[], str | None] = lambda: None) -> None:
    """Return when `path` answers 200.

    Args:
        url: The server's address.
        path: `/healthz` or `/readyz`.
        fate: Returns why the server will never answer, or None while it may.
    """
    said = "nothing"
    end = time.monotonic() + 120
    with httpx2.Client(trust_env=False, timeout=10) as http:
        while time.monotonic() < end:
            try:
                answer = http.get(url + path)
            except httpx2.HTTPError as error:
                said = type(error).__name__
            else:
                if answer.status_code == 200:
                    return
                said = answer.text
            ended = fate()
            assert ended is None, ended
            time.sleep(0.1)
    raise AssertionError(f"{path} was not good in time: {said}")
