"""Delay forks of this process while it does work that a forked child couldn't finish."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


class _Fork:
    """The lock that a fork acquires first. A forked child gets a new one."""

    lock = threading.RLock()


@contextlib.contextmanager
def forks_wait() -> Iterator[None]:
    """Keep other threads from forking the process inside the `with` block.

    A child inherits unfinished work, but not the thread that would finish it. One example is the lock of a module that
    is being imported: in the child, every later import of the module waits for it.
    """
    lock = _Fork.lock
    with lock:
        yield


def _renew() -> None:
    _Fork.lock = threading.RLock()


# Look the lock up at each fork, because a forked child replaces it.
os.register_at_fork(
    before=lambda: _Fork.lock.acquire(),  # noqa: PLW0108
    after_in_parent=lambda: _Fork.lock.release(),  # noqa: PLW0108
    after_in_child=_renew,
)
