"""How often and how long apart a failed request is repeated: exponential with jitter, within the run's deadline.

What may be repeated is for the caller to say: an answer of 400, 401, 403 or 404 never is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.tasks import time_left

ATTEMPTS = 5
_NUMBER = re.compile(r"[0-9]{1,12}")
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def asked_wait(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """The seconds for which a server asks us to wait, or None if it doesn't.

    Reads `Retry-After` (RFC 9110, 10.2.3: seconds or a date), then the rate limits of GitHub
    (`x-ratelimit-remaining: 0`, `x-ratelimit-reset`) and Sentry (`x-sentry-rate-limit-…`), in seconds since the epoch.
    """
    found = {name.lower(): value for name, value in headers.items()}
    after = found.get("retry-after", "").strip()
    if _NUMBER.fullmatch(after):
        return float(after)
    if after:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - no sync that goes well needs it

        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - now())
        except ValueError:
            return None
    for prefix in ("x-ratelimit", "x-sentry-rate-limit"):
        reset = found.get(f"{prefix}-reset", "").strip()
        if found.get(f"{prefix}-remaining", "").strip() == "0" and _NUMBER.fullmatch(reset):
            return max(0.0, float(reset) - now())
    return None


def retrying(
    limit: TimeLimit,
    is_transient: Callable[[BaseException], bool],
    headers_of: Callable[[BaseException], Mapping[str, str]] = lambda _: {},
    attempts: int = ATTEMPTS,
) -> Retrying:
    """Return a tenacity controller for blocking work: call it with a function, or loop over it.

    Args:
        limit: No wait goes past it: then the last error is raised at once.
        is_transient: Whether an error may go away by itself.
        headers_of: The headers of the answer that an error stands for; a wait asked for there is honoured.
        attempts: Tries in all.
    """
    return Retrying(sleep=time.sleep, **_rules(limit, is_transient, headers_of, attempts))


def retrying_async(is_transient: Callable[[BaseException], bool], attempts: int = ATTEMPTS) -> AsyncRetrying:
    """Return a tenacity controller for the calling task, within the time that it has left. See `retrying`."""
    return AsyncRetrying(sleep=anyio.sleep, **_rules(time_left(), is_transient, lambda _: {}, attempts))


def _rules(
    limit: TimeLimit,
    is_transient: Callable[[BaseException], bool],
    headers_of: Callable[[BaseException], Mapping[str, str]],
    attempts: int,
) -> dict[str, Any]:
    # Never less than 3.75 seconds in all: where chance alone decides, five tries may be over in a moment.
    backoff = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = asked_wait(headers_of(error)) if error else None
        return backoff(state) if asked is None else asked

    def stop(state: RetryCallState) -> bool:
        return stop_after_attempt(attempts)(state) or state.upcoming_sleep >= limit.remaining()

    return {"retry": retry_if_exception(is_transient), "wait": wait, "stop": stop, "reraise": True}
