"""The one place that starts processes: always with a deadline, in a group of their own that ends with us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Generic, TypeVar, cast

T = TypeVar("T")


class Deadline:
    """A moment by which everything must be done.

    Args:
        seconds: Time allowed from now.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - self._clock())


@dataclass(frozen=True)
class Finished:
    """How a process ended. `stdout` is what had not been read before; `timed_out` if the deadline ended it."""

    code: int
    stdout: bytes
    stderr: str
    timed_out: bool


class Child:
    """A running process; its standard error is collected while it runs, so that it never blocks on it."""

    def __init__(self, popen: subprocess.Popen[bytes], deadline: Deadline) -> None:
        assert popen.stdin is not None  # noqa: S101 - `start` asks for all three
        assert popen.stdout is not None  # noqa: S101
        assert popen.stderr is not None  # noqa: S101
        self.stdin: IO[bytes] = popen.stdin
        self.stdout: IO[bytes] = popen.stdout
        self._popen = popen
        self._errors = bytearray()
        self._timed_out = False
        stderr = popen.stderr
        self._collector = threading.Thread(target=lambda: self._errors.extend(stderr.read()), daemon=True)
        self._collector.start()
        self._watchdog = threading.Timer(deadline.remaining(), self._expire)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _expire(self) -> None:
        self._timed_out = True
        self.kill()

    def send(self, data: bytes) -> None:
        """Write to standard input and close it. A child that is gone already is no error: see its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(data)
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()

    def finish(self) -> Finished:
        """Close standard input, read the rest and wait for the end."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        stdout = self.stdout.read()
        code = self._popen.wait()
        self._watchdog.cancel()
        self._collector.join()
        return Finished(code, stdout, self._errors.decode("utf-8", "replace"), self._timed_out)

    def hurry(self, seconds: float) -> None:
        """Bring the deadline forward to so many seconds from now."""
        self._watchdog.cancel()
        self._watchdog = threading.Timer(seconds, self._expire)
        self._watchdog.daemon = True
        self._watchdog.start()

    def kill(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def close(self) -> None:
        """End what still runs and give everything back."""
        self._watchdog.cancel()
        if self._popen.poll() is None:
            self.kill()
            self._popen.wait()
        self._collector.join()
        for pipe in (self.stdin, self.stdout, self._popen.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def start(argv: Sequence[str], environ: Mapping[str, str], deadline: Deadline) -> Iterator[Child]:
    """Run `argv` with exactly `environ`, pipes for all three streams; ended at the deadline, or on leaving.

    Raises:
        OSError: It can't be started.
    """
    popen = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
        list(argv),
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    child = Child(popen, deadline)
    try:
        yield child
    finally:
        child.close()


def run(argv: Sequence[str], environ: Mapping[str, str], deadline: Deadline) -> Finished:
    """Run `argv` to its end with nothing on standard input. See `start`."""
    with start(argv, environ, deadline) as child:
        return child.finish()


class Beside(Generic[T]):
    """Work that goes on beside the main thread; it doesn't keep the program from ending."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 - raised in `result`, where it is seen
            self._error = error

    def result(self) -> T:
        """Wait for the work, and return what it returned or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
