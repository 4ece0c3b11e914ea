"""Moments of a sync, each named by a request: before it is carried out, when its answer is due, and shortly after.

A signal is sent at a moment. The process, ESC, and what is left behind show the result.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import Sandbox, Server
from tests.faults.matrix import REQUESTS, Request
from tests.faults.program import ENVIRONMENT, Ended, Place, in_order, untruths

LIMIT = 7
"""A run must end so many seconds after a signal. GitHub's runner sends the next signal after 7.5 seconds."""
LONGEST_RUN = 120

BEFORE, ANSWERED, SILENT = "before", "answered", "silent"
FIRST_LINE = "first line"

# Seconds after an answer: the CLI then still processes it, ends, or has ended, and our program works.
_PAUSES = (0.005, 0.02, 0.05, 0.1)
_SYNC = tuple(request for request in REQUESTS if request.scenario == "sync")


@dataclass(frozen=True)
class Moment:
    """A moment of a sync.

    Args:
        request: The request that it is at; None means the first line of the log.
        when: `before` the request is carried out; `answered`, before the answer is sent; `silent`, if none is sent.
        pause: Seconds after that.
    """

    request: Request | None
    when: str
    pause: float = 0

    def __str__(self) -> str:
        after = f"-{self.pause * 1000:.0f}ms" if self.pause else ""
        return f"{self.request or 'sync'}-{self.when}{after}".replace(" ", "-")

    @property
    def is_last(self) -> bool:
        """Whether the run may be over before the signal comes."""
        return self.request == _SYNC[-1] and self.when == ANSWERED


def _moments() -> Iterator[Moment]:
    yield Moment(None, FIRST_LINE)
    for number, request in enumerate(_SYNC):
        yield Moment(request, BEFORE)
        yield Moment(request, ANSWERED)
        yield Moment(request, ANSWERED, _PAUSES[number % len(_PAUSES)])


MOMENTS = tuple(_moments())
SILENCES = tuple(Moment(request, SILENT) for request in _SYNC)


@dataclass(frozen=True)
class Killed:
    """The result of a run that got a signal.

    Attributes:
        ended: The run; its code is None if it did not end in time.
        state: What ESC holds then.
        dispatched: The deploys that were dispatched.
        problems: What is wrong, whatever the signal.
        again: How the next run ended, if there was one.
    """

    ended: Ended
    state: str
    dispatched: int
    problems: tuple[str, ...]
    again: Ended | None = None


class _Shot:
    """A signal that is sent once to a process, when both are ready."""

    def __init__(self, number: signal.Signals) -> None:
        self.sent = threading.Event()
        self._number = number
        self._pid: int | None = None
        self._known = threading.Event()

    def aim(self, pid: int) -> None:
        self._pid = pid
        self._known.set()

    def fire(self) -> None:
        self._known.wait()
        assert self._pid is not None
        # Nobody has waited for this child yet, so no other process can have its id.
        os.kill(self._pid, self._number)
        self.sent.set()


def end(moment: Moment, number: signal.Signals) -> Killed:
    """Run a sync that gets a signal at a moment. Give what it started time to end, then judge the result."""
    with Sandbox() as box, tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = Place(box, Path(folder))
        ended = _shot(place, moment, number)
        problems = [*_remains(place, ended)]
        if number != signal.SIGKILL:
            problems += [f"the file {file} is left" for file in place.files()]
        state = place.state()
        revisions = len(box.esc.revisions(ENVIRONMENT)) - 2
        problems += untruths(ended.errors, state, revisions)
        if revisions != (1 if state == "new" else 0):
            problems.append(f"{revisions} new revisions, and ESC holds {state}")
        dispatched = len(box.github.dispatches)
        if dispatched and state != "new":
            problems.append("a deploy was dispatched")
        place.clean()
        again = place.run() if number == signal.SIGKILL else None
        if again is not None:
            problems += _problems_of_next(place, again)
        return Killed(ended, state, dispatched, tuple(problems), again)


def _shot(place: Place, moment: Moment, number: signal.Signals) -> Ended:
    shot = _Shot(number)
    _lay(place.box, moment, shot)
    running = place.start()
    shot.aim(running.popen.pid)
    line = running.first_line()
    assert line, "it ended before it began"
    if moment.request is None:
        shot.fire()
    assert shot.sent.wait(LONGEST_RUN), f"the moment {moment} never came"
    return running.end(LIMIT)


def _lay(box: Sandbox, moment: Moment, shot: _Shot) -> None:
    last = _SYNC[-1]
    if moment.request != last:
        # A busy machine may delay the signal: the run must not end before it.
        in_order(box, last.preceded, lambda: getattr(box, last.service).before(last.line, shot.sent.wait))
    if moment.request is None:
        return
    request = moment.request
    server: Server = getattr(box, request.service)

    def fire() -> None:
        if moment.pause:
            threading.Timer(moment.pause, shot.fire).start()
        else:
            shot.fire()

    def ready() -> None:
        if moment.when == SILENT:
            server.fail(request.line, kind="hang", times=None)
        (server.after if moment.when == ANSWERED else server.before)(request.line, fire)

    in_order(box, request.preceded, ready)


def _remains(place: Place, ended: Ended) -> Iterator[str]:
    yield from (f"the secret `{name}` was told" for name in place.leaks(ended))
    # Child processes end by themselves when their parent is gone, even if nobody could end them.
    until = time.monotonic() + LIMIT
    while (left := place.processes()) and time.monotonic() < until:
        time.sleep(0.05)
    yield from (f"the process `{process}` still runs" for process in left)


def _problems_of_next(place: Place, again: Ended) -> Iterator[str]:
    if again.code != 0:
        yield f"the next run ended with {again.code}: {again.errors}"
    if place.state() != "new":
        yield f"after the next run ESC holds {place.state()}"
    if len(place.box.github.dispatches) not in (1, 2):
        yield f"{len(place.box.github.dispatches)} deploys were dispatched by both runs"
    yield from (f"after the next run: {left}" for left in [*place.processes(), *place.files()])
