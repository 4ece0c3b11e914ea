"""Which calls are retried, how often, and after which wait."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate

import pytest

from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.retries import SHARE, asked_wait, retrying
from tests.support.paced import Paced

NOW = 1_800_000_000.0


class TestWaitThatAServerAsksFor:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "7"}, 7),
            ({"retry-after": " 0 "}, 0),
            ({"RETRY-AFTER": formatdate(NOW + 30, usegmt=True)}, 30),
            ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0),
            ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 12)}, 12),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 12)}, 0),
            ({"X-Sentry-Rate-Limit-Remaining": "0", "X-Sentry-Rate-Limit-Reset": str(int(NOW) + 3)}, 3),
            ({"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 12)}, 7),
            ({}, None),
            ({"Retry-After": ""}, None),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "-1"}, None),
            ({"Retry-After": "\u00b2"}, None),
            ({"Retry-After": "Mon, 99 Xyz 99999 99:99:99 GMT"}, None),
            ({"Retry-After": f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}"}, None),
            ({"Retry-After": f"{'9' * 20}"}, None),
            ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "\u00b2"}, None),
            ({"X-RateLimit-Remaining": "17", "X-RateLimit-Reset": str(int(NOW) + 12)}, None),
            ({"X-RateLimit-Remaining": "0"}, None),
            ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ],
    )
    def test_is_read_from_its_headers(self, headers: dict[str, str], seconds: float | None) -> None:
        assert asked_wait(headers, lambda: NOW) == seconds


class Failing:
    """A call that raises each of `errors` in turn, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors: Iterator[Exception] = iter(errors)

    def __call__(self) -> str:
        self.calls += 1
        for error in self._errors:
            raise error
        return "done"


def is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError)


def at_once(error: BaseException) -> dict[str, str]:
    return {"Retry-After": "0"}


class TestRetrying:
    def test_what_succeeds_is_not_tried_again(self) -> None:
        call = Failing()
        assert retrying(TimeLimit(60), is_timeout)(call) == "done"
        assert call.calls == 1

    def test_what_may_pass_is_tried_again(self) -> None:
        call = Failing(TimeoutError(), TimeoutError())
        assert retrying(TimeLimit(60), is_timeout, at_once)(call) == "done"
        assert call.calls == 3

    def test_what_can_not_pass_is_raised_at_once(self) -> None:
        call = Failing(KeyError("one"))
        with pytest.raises(KeyError, match="one"):
            retrying(TimeLimit(60), is_timeout)(call)
        assert call.calls == 1

    def test_what_never_passes_is_raised_after_a_share_of_the_time(self) -> None:
        deadline = Paced(300)
        call = Failing(*[TimeoutError(str(number)) for number in range(1000)])
        with pytest.raises(TimeoutError, match=r"[0-9]+"):
            retrying(deadline, is_timeout)(call)
        assert 300 * SHARE <= deadline.remaining() < 300 * SHARE + 9
        assert call.calls > 15

    def test_what_never_passes_is_raised_after_a_number_of_attempts(self) -> None:
        call = Failing(*[TimeoutError(str(number)) for number in range(100)])
        with pytest.raises(TimeoutError, match="4"):
            retrying(Paced(300), is_timeout, attempts=5)(call)
        assert call.calls == 5

    def test_a_server_that_always_asks_for_no_wait_is_not_flooded(self) -> None:
        call = Failing(*[TimeoutError()] * 1000)
        with pytest.raises(TimeoutError):
            retrying(Paced(300), is_timeout, at_once)(call)
        assert 15 < call.calls < 60

    def test_a_wait_that_was_asked_for_may_take_all_the_time(self) -> None:
        call = Failing(TimeoutError())
        assert retrying(Paced(60), is_timeout, lambda _: {"Retry-After": "59"})(call) == "done"

    def test_no_wait_goes_past_the_deadline(self) -> None:
        call = Failing(TimeoutError(), TimeoutError())
        with pytest.raises(TimeoutError):
            retrying(TimeLimit(5), is_timeout, lambda _: {"Retry-After": "6"})(call)
        assert call.calls == 1

    def test_the_waits_grow(self) -> None:
        deadline = Paced(300)
        with pytest.raises(TimeoutError):
            retrying(deadline, is_timeout)(Failing(*[TimeoutError()] * 1000))
        assert deadline.waits[-1] > deadline.waits[0]
        assert all(wait <= 9 for wait in deadline.waits)

    def test_a_wait_that_was_asked_for_is_honoured(self) -> None:
        deadline = Paced(60)
        assert retrying(deadline, is_timeout, lambda _: {"Retry-After": "3"})(Failing(TimeoutError())) == "done"
        assert deadline.waits == [3]
