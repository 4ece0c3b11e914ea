"""Let a fork wait for what must not be forked half done."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class _Fork:
    """The lock that a fork takes before it. A child has another one."""

    lock = threading.RLock()


@contextlib.contextmanager
def forks_wait() -> Iterator[None]:
    """Let no other thread fork the process meanwhile.

    A child would inherit what is under way and has nobody to finish it: the lock of a module that is being imported,
    for instance, which every later import of the module waits for.
    """
    lock = _Fork.lock
    with lock:
        yield


def _renew() -> None:
    _Fork.lock = threading.RLock()


# Each time the lock that there is then.
os.register_at_fork(
    before=lambda: _Fork.lock.acquire(),  # noqa: PLW0108
    after_in_parent=lambda: _Fork.lock.release(),  # noqa: PLW0108
    after_in_child=_renew,
)
