"""An HTTP service on loopback, with the controls that a test needs.

The local ESC, GitHub and Sentry differ only in their routes. They share a real HTTP/1.1 server with kept-alive
connections, and a record of the requests. A test can make a service slow or faulty, or let another writer act between
two requests.
"""

import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self, TypeAlias

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from sandbox.connections import HOST, Listener
from sandbox.faults import Body, Ending, Fault, FaultKind, Hook, Orders

# Werkzeug compiles each route from a syntax tree. Python sometimes fails if two threads make one at once
# (github.com/python/cpython/issues/106905).
_BUILDING = threading.Lock()

Json: TypeAlias = dict[str, Any]
Route: TypeAlias = tuple[str, Callable[..., ResponseReturnValue]]


class RefusedError(Exception):
    """A request that the service refuses; `details` are further members of the error's JSON body."""

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


@dataclass
class Recorded:
    """A request as it arrived, but with only the scheme of an `Authorization` header."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float
    """Seconds since the epoch."""
    status: int | None = None
    """Status of the answer. None before the answer, or if the connection was closed without one."""


class Server(ABC):
    """One service on an ephemeral port of 127.0.0.1. It answers its routes in its own threads."""

    latency: float
    """Delay of each request, in seconds."""
    requests: list[Recorded]
    """The requests that have arrived, oldest first."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.requests = []
        self.lock = threading.RLock()
        """Held while a request is carried out, so that each is one transaction, as in the real services' databases."""
        self._orders = Orders()
        self._listener = Listener(self)
        self._stopping = threading.Event()
        self._timers: list[threading.Timer] = []
        with _BUILDING:
            self._app = self._build()

    # What a service defines.

    @abstractmethod
    def routes(self) -> Iterable[Route]:
        """Return the routes: a method and a path in Flask's notation, and the function that answers them."""

    @abstractmethod
    def error_body(self, status: int, message: str, details: Json) -> Json:
        """Return the JSON body of an error, in the form of the service."""

    def admit(self) -> None:  # noqa: B027 - a service need not
        """Raise `RefusedError` for a request that isn't admitted. Called before each route."""

    def finish(self, response: Response) -> Response:
        """Add the headers that all answers of the service have. Called with each answer of a route."""
        return response

    # Start and stop.

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._listener.port}"

    def start(self) -> Self:
        self._stopping.clear()
        self._listener.reserve()
        self._listener.open()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._cancel_timers()
        self._listener.close(hang_up=True)
        self._listener.release()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def down(self) -> None:
        """Stop listening, but keep the port: clients are refused from now on (ECONNREFUSED).

        Idle connections are closed. A request that is being answered still gets its answer.
        """
        self._listener.close(hang_up=False)

    def up(self) -> None:
        """Listen again after `down`."""
        if not self._stopping.is_set():
            self._listener.open()

    # What a test can order.

    def fail(  # noqa: PLR0913 - each but the first has its default
        self,
        pattern: str,
        *,
        kind: FaultKind = "status",
        status: int | None = None,
        times: int | None = 1,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        after: bool = False,
        seconds: float = 0.5,
    ) -> Fault:
        """Make the requests that match `pattern` fail: the next `times` of them, or all (None).

        `pattern` is a regular expression for the whole of `METHOD /path`, without the query. If several faults match,
        the one ordered first hits until its `times` are used up.

        - `status` (needs `status=`): the answer has that status, and `body` or else the service's own error.
        - `close`: the connection is closed without an answer.
        - `truncate`: the connection is closed after half of the body that `Content-Length` promised, or half of the
          header if there is no body. A read is carried out. A write is carried out only with `after`; otherwise an
          error is cut in half.
        - `empty`: status 200 (or `status`), no body, and none of the service's headers.
        - `garbage`: status 200 (or `status`) with an HTML page (or `body`).
        - `hang`: no answer; ends when the client leaves or the server stops.
        - `refuse`: the service goes down as with `down`. The first matching request already has a connection, which is
          closed without an answer. All later requests, including its retries, are refused: for `seconds`, or with
          `times=None` until `up` or `reset_faults`. To refuse the matching request itself, go down before it comes:
          `server.after("<the request before>", server.down)`.

        With `after` the request is carried out first, and then its answer is replaced or lost. A write succeeds, but
        its client can't know.
        """
        fault = Fault(re.compile(pattern), kind, status, times, headers or {}, body, after, seconds)
        self._orders.add_fault(fault)
        return fault

    def before(self, pattern: str, call: Callable[[], object], times: int | None = 1) -> None:
        """Call `call` before each of the next `times` matching requests is carried out, as another writer would act.

        `pattern` is as for `fail`. The request waits until the call is done.
        """
        self._orders.add_before(Hook(re.compile(pattern), call, times))

    def after(self, pattern: str, call: Callable[[], object], times: int | None = 1) -> None:
        """Call `call` once a matching request has been carried out, before its answer is sent."""
        self._orders.add_after(Hook(re.compile(pattern), call, times))

    def reset_faults(self) -> None:
        """Forget all faults and hooks, and listen again if the service is down."""
        self._orders.clear()
        self._cancel_timers()
        self.up()

    # How a request is handled.

    def exchange(self, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        """Record a request, call the hooks, carry it out or let it fail."""
        recorded = _record(Request(environ))
        with self.lock:
            self.requests.append(recorded)
        self._stopping.wait(self.latency)
        line = f"{recorded.method} {recorded.path}"
        self._orders.call_before(line)
        fault = self._orders.fault_for(line)
        response, ending = self._answer(fault, recorded.method, environ)
        self._orders.call_after(line)
        recorded.status = None if response is None else response.status_code
        return response, ending

    def _carry_out(self, environ: dict[str, Any]) -> Response:
        with self.lock:
            return Response.from_app(self._app, environ, buffered=True)

    def _answer(self, fault: Fault | None, method: str, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        if fault is None:
            return self._carry_out(environ), Ending.WHOLE
        real = None
        if fault.after or (fault.kind == "truncate" and method in ("GET", "HEAD")):
            real = self._carry_out(environ)
        match fault.kind:
            case "close":
                return None, Ending.CLOSED
            case "hang":
                return None, Ending.SILENT
            case "refuse":
                self._refuse(fault)
                return None, Ending.CLOSED
            case "truncate":
                return real or self._error(HTTPStatus.INTERNAL_SERVER_ERROR), Ending.CUT
            case _:
                return fault.replacement(self._error), Ending.WHOLE

    def _refuse(self, fault: Fault) -> None:
        self.down()
        if fault.times is not None:
            timer = threading.Timer(fault.seconds, self.up)
            timer.daemon = True
            self._timers.append(timer)
            timer.start()

    def _error(self, status: int, message: str | None = None, details: Json | None = None) -> Response:
        body = self.error_body(status, message or HTTPStatus(status).phrase, details or {})
        return Response(json.dumps(body), status, content_type="application/json")

    def _build(self) -> Flask:
        app = Flask(type(self).__module__, static_folder=None)
        # Keep paths as they are: pulumi-esc-sdk requests one with a double slash.
        app.url_map.merge_slashes = False
        app.url_map.strict_slashes = False
        if isinstance(app.json, DefaultJSONProvider):
            app.json.sort_keys = False
        for line, answer in self.routes():
            method, path = line.split(" ", 1)
            app.add_url_rule(path, endpoint=line, view_func=answer, methods=[method])
        app.before_request(self.admit)
        app.after_request(self.finish)

        def refused(error: RefusedError) -> Response:
            return self._error(error.status, error.message, error.details)

        def failed(error: HTTPException) -> Response:
            return self._error(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)

        app.register_error_handler(RefusedError, refused)
        app.register_error_handler(HTTPException, failed)
        return app


def _record(request: Request) -> Recorded:
    headers = dict(request.headers)
    if "Authorization" in headers:
        headers["Authorization"] = headers["Authorization"].split(" ", 1)[0] + " …"
    return Recorded(request.method, request.path, request.args.to_dict(), headers, time.time())
