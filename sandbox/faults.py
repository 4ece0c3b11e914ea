"""Faults of a service that a test can order, and calls between two requests."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from werkzeug.wrappers import Response

FaultKind: TypeAlias = Literal["status", "close", "truncate", "empty", "garbage", "hang", "refuse"]
Body: TypeAlias = str | bytes | dict[str, Any] | list[Any]

GARBAGE = "<!doctype html>\n<title>Sign in to the network</title>\n<p>This is not what was asked for.\n"

_ANSWERED = frozenset({"status", "empty", "garbage"})


class Ending(Enum):
    """How an exchange ends."""

    WHOLE = auto()
    CUT = auto()
    """The connection is closed in the middle of the answer."""
    CLOSED = auto()
    """The connection is closed without an answer."""
    SILENT = auto()
    """The server sends nothing until the client leaves or the server stops."""


@dataclass(eq=False)
class Fault:
    """A fault ordered with `Server.fail`. `hits` counts the requests that it has hit."""

    pattern: re.Pattern[str]
    kind: FaultKind
    status: int | None
    times: int | None
    headers: dict[str, str]
    body: Body | None
    after: bool
    seconds: float
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind == "status" and self.status is None:
            raise ValueError("a fault needs a status or a kind")
        if self.kind not in _ANSWERED and self.status is not None:
            raise ValueError(f"a fault of the kind {self.kind!r} has no status")

    def strikes(self, line: str) -> bool:
        return (self.times is None or self.hits < self.times) and self.pattern.fullmatch(line) is not None

    def replacement(self, own_error: Callable[[int], Response]) -> Response:
        """Return the answer to send instead. `own_error` makes the service's own error for a status."""
        status = self.status or HTTPStatus.OK
        if self.kind == "empty":
            response = Response(b"", status)
            del response.headers["Content-Type"]
        elif self.body is not None:
            response = _response(self.body, status)
        elif self.kind == "garbage":
            response = Response(GARBAGE, status, content_type="text/html; charset=utf-8")
        else:
            response = own_error(status)
        response.headers.update(self.headers)
        return response


@dataclass(eq=False)
class Hook:
    """A call ordered with `Server.before` or `Server.after`."""

    pattern: re.Pattern[str]
    call: Callable[[], object]
    times: int | None
    calls: int = 0

    def is_due(self, line: str) -> bool:
        return (self.times is None or self.calls < self.times) and self.pattern.fullmatch(line) is not None


class Orders:
    """The faults and hooks of one service. A line is `METHOD /path`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._before: list[Hook] = []
        self._after: list[Hook] = []

    def add_fault(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def add_before(self, hook: Hook) -> None:
        with self._lock:
            self._before.append(hook)

    def add_after(self, hook: Hook) -> None:
        with self._lock:
            self._after.append(hook)

    def clear(self) -> None:
        with self._lock:
            for orders in (self._faults, self._before, self._after):
                orders.clear()

    def fault_for(self, line: str) -> Fault | None:
        """Return the fault that hits this request, and count it. Of several, the one ordered first hits."""
        with self._lock:
            for fault in self._faults:
                if fault.strikes(line):
                    fault.hits += 1
                    return fault
        return None

    def call_before(self, line: str) -> None:
        self._call(self._before, line)

    def call_after(self, line: str) -> None:
        self._call(self._after, line)

    def _call(self, hooks: list[Hook], line: str) -> None:
        with self._lock:
            due = [hook for hook in hooks if hook.is_due(line)]
            for hook in due:
                hook.calls += 1
        for hook in due:
            hook.call()


def _response(body: Body, status: int) -> Response:
    if isinstance(body, dict | list):
        return Response(json.dumps(body), status, content_type="application/json")
    return Response(body, status, content_type="text/plain; charset=utf-8")
