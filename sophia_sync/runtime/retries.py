"""Retry what failed, with exponential waits and jitter, up to a share of the deadline.

The caller says what to retry. An answer of 400, 401, 403 or 404 isn't retried, unless it is a rate limit.
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
    wait_exponential,
    wait_random,
)

from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.tasks import time_left

SHARE = 0.5
"""Part of the remaining time that retries may take; the rest is for the steps that follow."""
_NUMBER = re.compile(r"[0-9]{1,12}")
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def asked_wait(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks us to wait, or None if it doesn't ask.

    Read `Retry-After` (RFC 9110, 10.2.3: seconds or a date), then the rate limits of GitHub
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
        except (ValueError, OverflowError):
            return None
    for prefix in ("x-ratelimit", "x-sentry-rate-limit"):
        reset = found.get(f"{prefix}-reset", "").strip()
        if found.get(f"{prefix}-remaining", "").strip() == "0" and _NUMBER.fullmatch(reset):
            return max(0.0, float(reset) - now())
    return None


def retrying(
    deadline: TimeLimit,
    is_transient: Callable[[BaseException], bool],
    headers_of: Callable[[BaseException], Mapping[str, str]] = lambda _: {},
    attempts: int | None = None,
) -> Retrying:
    """Return a tenacity controller; call it with a function, or loop over it. Make a new one for each call.

    Args:
        deadline: Retries end after `SHARE` of what remains of it now. A wait that a server asks for may take longer,
            but never goes past the deadline. If it would, the last error is raised at once.
        is_transient: Returns whether to retry after an error.
        headers_of: Returns the headers of an error's response, which may ask for a wait.
        attempts: Maximum number of attempts; None sets no maximum.
    """
    return Retrying(sleep=deadline.sleep, **_rules(deadline, is_transient, headers_of, attempts))


def retrying_async(is_transient: Callable[[BaseException], bool]) -> AsyncRetrying:
    """Return a tenacity controller for the calling task, within a share of its time. See `retrying`."""
    return AsyncRetrying(sleep=anyio.sleep, **_rules(time_left(), is_transient, lambda _: {}, None))


def _rules(
    deadline: TimeLimit,
    is_transient: Callable[[BaseException], bool],
    headers_of: Callable[[BaseException], Mapping[str, str]],
    attempts: int | None,
) -> dict[str, Any]:
    # Five attempts take at least 3.75 seconds. With random waits alone, they could be over in a moment.
    backoff = wait_exponential(multiplier=0.25, max=8) + wait_random(0, 0.25)
    spare = deadline.remaining() * (1 - SHARE)

    def asked(state: RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return asked_wait(headers_of(error)) if error else None

    def wait(state: RetryCallState) -> float:
        # From the second attempt on, wait at least our own time: a server may always ask for no wait.
        seconds = asked(state)
        if seconds is None:
            return backoff(state)
        return seconds if state.attempt_number == 1 else max(seconds, backoff(state))

    def stop(state: RetryCallState) -> bool:
        if attempts is not None and state.attempt_number >= attempts:
            return True
        kept = spare if asked(state) is None else 0.0
        return bool(deadline.remaining() - state.upcoming_sleep <= kept)

    return {"retry": retry_if_exception(is_transient), "wait": wait, "stop": stop, "reraise": True}
