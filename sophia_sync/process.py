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

# Seconds beyond a deadline that the work heeds by itself.
_MOMENT = 1.0


class CutError(Exception):
    """The deadline was cut before the work was begun."""


class Deadline:
    """A moment by which everything must be done; it can be brought forward to now, from any thread.

    Args:
        seconds: Time allowed from now.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds
        self._cut = _Cut()

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return 0.0 if self.is_cut else max(0.0, self._end - self._clock())

    def part(self, seconds: float) -> Deadline:
        """An earlier deadline for a part of the work, which is cut with this one."""
        part = Deadline(min(seconds, self.remaining()), self._clock)
        part._cut = self._cut
        return part

    @property
    def is_cut(self) -> bool:
        return self._cut.event.is_set()

    def cut(self, grace: float) -> None:
        """Let all that has this deadline end now, what must not be torn apart within `grace` seconds; wait for that."""
        with self._cut.lock:
            self._cut.event.set()
            # What another thread is about to begin shall not live on because it was not known yet.
            self._cut.lock.wait_for(lambda: not self._cut.counts["beginning"], _MOMENT)
            waiting = list(self._cut.calls)
        for call in waiting:
            call(grace)
        with self._cut.lock:  # a process that is about to die could still write where we clear away
            self._cut.lock.wait_for(lambda: not self._cut.counts["running"], grace + _MOMENT)

    def sleep(self, seconds: float) -> None:
        """Wait, but not on after a cut."""
        self._cut.event.wait(seconds)

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """What is begun while this is entered is told of a cut: a cut waits until it can be.

        Raises:
            CutError: There was a cut: it must not be begun.
        """
        with contextlib.ExitStack() as stack:
            with self._cut.lock:
                if self.is_cut:
                    raise CutError
                stack.enter_context(self._cut.counted("beginning"))
            yield

    def running(self) -> contextlib.AbstractContextManager[None]:
        """What runs while this is entered, a cut waits for."""
        return self._cut.counted("running")

    @contextlib.contextmanager
    def on_cut(self, call: Callable[[float], None]) -> Iterator[None]:
        """While this is entered: `call` is told of a cut, with its seconds of grace; at once if it has been."""
        with self._cut.lock:
            self._cut.calls.append(call)
        try:
            if self.is_cut:
                call(0)
            yield
        finally:
            with self._cut.lock:
                self._cut.calls.remove(call)


class _Cut:
    """What the parts of a deadline share."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.lock = threading.Condition()
        self.counts = {"beginning": 0, "running": 0}
        self.calls: list[Callable[[float], None]] = []

    @contextlib.contextmanager
    def counted(self, what: str) -> Iterator[None]:
        """Count what is under way while this is entered; who waits on the lock is told of its end."""
        with self.lock:
            self.counts[what] += 1
        try:
            yield
        finally:
            with self.lock:
                self.counts[what] -= 1
                self.lock.notify_all()


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
        self._shielded = False
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

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """A section that a cut of the deadline doesn't tear apart, but hurries."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False

    def cut(self, grace: float) -> None:
        """End now, or in a shielded section within `grace` seconds."""
        self.hurry(grace) if self._shielded else self._expire()

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
        CutError: The deadline was cut: it was not started.
        OSError: It can't be started.
    """
    with contextlib.ExitStack() as stack:
        with deadline.beginning():
            stack.enter_context(deadline.running())
            popen = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
                list(argv),
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            try:
                child = Child(popen, deadline)
            except BaseException:  # no more threads can be had
                with popen:
                    os.killpg(popen.pid, signal.SIGKILL)
                raise
            stack.callback(child.close)
            stack.enter_context(deadline.on_cut(child.cut))
        yield child


def run(argv: Sequence[str], environ: Mapping[str, str], deadline: Deadline) -> Finished:
    """Run `argv` to its end with nothing on standard input. See `start`."""
    with start(argv, environ, deadline) as child:
        return child.finish()


class Beside(Generic[T]):
    """Work that goes on beside the thread that began it; it doesn't keep the program from ending.

    Args:
        work: What is done.
        then: Called in its thread once there is a result.
    """

    def __init__(self, work: Callable[[], T], then: Callable[[], object] = lambda: None) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._is_done = False
        self._changed = threading.Condition()
        self._then = then
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 - raised in `result`, where it is seen
            self._error = error
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify_all()
            self._then()

    def wait(self, deadline: Deadline) -> T:
        """The same as `result` for work that ends by itself at `deadline`, and at once when that is cut.

        A process that was cut has been ended then, before we go on.
        """
        return self.result(Deadline(deadline.seconds), _MOMENT)

    def result(self, deadline: Deadline, grace: float = 0) -> T:
        """Wait for the work, and return what it returned or raise what it raised.

        Args:
            deadline: How long is waited; a cut ends the wait.
            grace: Seconds beyond that, for work that heeds the same deadline by itself.

        Raises:
            TimeoutError: It isn't done. The work is left behind.
        """

        def wake(_: float) -> None:
            with self._changed:
                self._changed.notify_all()

        with deadline.on_cut(wake), self._changed:
            self._changed.wait_for(lambda: self._is_done or deadline.is_cut, deadline.remaining() + grace)
        if not self._is_done:
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
