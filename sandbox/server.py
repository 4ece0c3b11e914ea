"""An HTTP service on loopback, with everything around it that a test needs.

The local ESC, GitHub and Sentry differ in their routes alone. What they share is here: a real HTTP/1.1 server
with kept-alive connections, a record of the requests, and the means to make a service slow or faulty, or to
let another writer come in between two requests.
"""

import contextlib
import io
import json
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, ClassVar, Literal, Self, TypeAlias

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

HOST = "127.0.0.1"

Json: TypeAlias = dict[str, Any]
Route: TypeAlias = tuple[str, Callable[..., ResponseReturnValue]]
FaultKind: TypeAlias = Literal["status", "close", "truncate", "empty", "garbage", "hang", "refuse"]

GARBAGE = "<!doctype html>\n<title>Sign in to the network</title>\n<p>This is not the answer that was asked for.\n"


class RefusedError(Exception):
    """A request that the service refuses; `details` are further members of the error's JSON body."""

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


@dataclass
class Recorded:
    """A request as it arrived. Of an `Authorization` header only the scheme is kept."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float
    """Seconds since the epoch."""
    status: int | None = None
    """Of the answer; None while there is none, and for ever if the connection was closed without one."""


@dataclass(eq=False)
class Fault:
    """A fault that was ordered with `Server.fail`; `hits` counts the requests that it has struck."""

    pattern: re.Pattern[str]
    kind: FaultKind
    status: int
    times: int | None
    headers: dict[str, str]
    body: bytes | None
    after: bool
    seconds: float
    hits: int = 0

    def strikes(self, line: str) -> bool:
        return (self.times is None or self.hits < self.times) and self.pattern.fullmatch(line) is not None


@dataclass(eq=False)
class _Hook:
    pattern: re.Pattern[str]
    call: Callable[[], object]
    times: int | None
    calls: int = 0


class Ending(Enum):
    """How the server ends an exchange."""

    WHOLE = auto()
    CUT = auto()
    """The connection is closed in the middle of the answer."""
    CLOSED = auto()
    """The connection is closed without an answer."""
    SILENT = auto()
    """Nothing is said until the client leaves or the server stops."""


class Server(ABC):
    """One service: its routes in a thread of its own, on an ephemeral port of 127.0.0.1."""

    latency: float
    """Seconds that are added to each request."""
    requests: list[Recorded]
    """What has arrived, oldest first."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.requests = []
        self.lock = threading.RLock()
        """Held while a request is carried out: each is one transaction, as with the real services'
        databases."""
        self._faults: list[Fault] = []
        self._before: list[_Hook] = []
        self._after: list[_Hook] = []
        self._book = threading.Lock()
        self._listener = _Listener(self)
        self._stopping = threading.Event()
        self._timers: list[threading.Timer] = []
        self._app = self._build()

    # What a service defines.

    @abstractmethod
    def routes(self) -> Iterable[Route]:
        """The routes, each a method and a path in Flask's notation with the function that answers it."""

    @abstractmethod
    def error_body(self, status: int, message: str, details: Json) -> Json:
        """The JSON body of an error, in the form of the service."""

    def admit(self) -> ResponseReturnValue | None:
        """Called before each route: raises `RefusedError` for a request that may not come in."""
        return None

    def finish(self, response: Response) -> Response:
        """Called with each answer of a route: adds the headers that the service puts on all its answers."""
        return response

    # Its life.

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
        for timer in self._timers:
            timer.cancel()
        self._listener.close(hang_up=True)
        self._listener.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def down(self) -> None:
        """Refuse connections from now on: the port stays ours, but nobody listens (ECONNREFUSED).

        Kept-alive connections are closed; a request that is being answered still gets its answer.
        """
        self._listener.close(hang_up=False)

    def up(self) -> None:
        """Listen again after `down`."""
        if not self._stopping.is_set():
            self._listener.open()

    # What a test may order.

    def fail(  # noqa: PLR0913 - each but the first has its default
        self,
        pattern: str,
        *,
        kind: FaultKind = "status",
        status: int | None = None,
        times: int | None = 1,
        headers: dict[str, str] | None = None,
        body: str | bytes | Json | list[Any] | None = None,
        after: bool = False,
        seconds: float = 0.5,
    ) -> Fault:
        """Make the requests that match `pattern` fail, the next `times` of them, or all (None).

        `pattern` is a regular expression for the whole of `METHOD /path`, without the query. Of several
        faults that match, the one that was ordered first strikes, until its `times` are used up.

        - `status` (needs `status=`): answered with that status, and `body` or else the service's own error
          body.
        - `close`: the connection is closed without an answer.
        - `truncate`: the connection is closed in the middle of the answer: half of the body that
          `Content-Length` promised, or half of the header if there is no body. A read is carried out for it;
          a write is with `after` only, and otherwise half an error is sent.
        - `empty`: status 200 (or `status`), no body, and none of the service's headers.
        - `garbage`: status 200 (or `status`) with an HTML page (or `body`).
        - `hang`: never answered; ends when the client leaves or the server stops.
        - `refuse`: the service goes down as in `down`. No server can choose by path whom it refuses a
          connection, so the first matching request, which came over a connection that was accepted, sees that
          one closed without an answer; those after it, and its own retries, are refused: for `seconds`, or
          with `times=None` until `up` or `reset_faults`. To have the very request refused, go down before it:
          `server.after("<the request before>", server.down)`.

        With `after` the request is carried out first and then its answer is replaced, or lost: a write that
        went through although the client can't know.
        """
        if kind == "status" and status is None:
            raise ValueError("a fault needs a status or a kind")
        if kind in _WITHOUT_STATUS and status is not None:
            raise ValueError(f"the fault {kind!r} has no status")
        fault = Fault(
            pattern=re.compile(pattern),
            kind=kind,
            status=HTTPStatus.OK if status is None else status,
            times=times,
            headers=dict(headers or {}),
            body=_encode(body),
            after=after,
            seconds=seconds,
        )
        with self._book:
            self._faults.append(fault)
        return fault

    def before(self, pattern: str, call: Callable[[], object], times: int | None = 1) -> None:
        """Call `call` before the next `times` matching requests are handled: another writer in between.

        `pattern` is as in `fail`. The request waits until the call is done.
        """
        with self._book:
            self._before.append(_Hook(re.compile(pattern), call, times))

    def after(self, pattern: str, call: Callable[[], object], times: int | None = 1) -> None:
        """Call `call` once a matching request has been carried out, before its answer is sent."""
        with self._book:
            self._after.append(_Hook(re.compile(pattern), call, times))

    def reset_faults(self) -> None:
        """Forget all faults and hooks, and listen again if the service was down."""
        with self._book:
            self._faults.clear()
            self._before.clear()
            self._after.clear()
        self.up()

    # How a request is handled.

    def exchange(self, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        """Handle one request, whose body has been read: record it, call the hooks, answer or fail it."""
        recorded = _record(Request(environ))
        with self._book:
            self.requests.append(recorded)
        self._stopping.wait(self.latency)
        line = f"{recorded.method} {recorded.path}"
        self._call(self._before, line)
        fault = self._fault_for(line)
        response: Response | None
        if fault is None:
            response, ending = self._carry_out(environ), Ending.WHOLE
        else:
            response, ending = self._fail(fault, recorded, environ)
        self._call(self._after, line)
        recorded.status = None if response is None else response.status_code
        return response, ending

    def _carry_out(self, environ: dict[str, Any]) -> Response:
        with self.lock:
            return Response.from_app(self._app, environ, buffered=True)

    def _fault_for(self, line: str) -> Fault | None:
        with self._book:
            for fault in self._faults:
                if fault.strikes(line):
                    fault.hits += 1
                    return fault
        return None

    def _call(self, hooks: list[_Hook], line: str) -> None:
        due = []
        with self._book:
            for hook in hooks:
                if (hook.times is None or hook.calls < hook.times) and hook.pattern.fullmatch(line):
                    hook.calls += 1
                    due.append(hook)
        for hook in due:
            hook.call()

    def _fail(self, fault: Fault, recorded: Recorded, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        real: Response | None = None
        if fault.after or (fault.kind == "truncate" and recorded.method in ("GET", "HEAD")):
            real = self._carry_out(environ)
        if fault.kind == "close":
            return None, Ending.CLOSED
        if fault.kind == "hang":
            return None, Ending.SILENT
        if fault.kind == "refuse":
            self._refuse(fault)
            return None, Ending.CLOSED
        if fault.kind == "truncate":
            return real or self._error(HTTPStatus.INTERNAL_SERVER_ERROR), Ending.CUT
        return self._replacement(fault), Ending.WHOLE

    def _refuse(self, fault: Fault) -> None:
        self.down()
        if fault.times is not None:
            timer = threading.Timer(fault.seconds, self.up)
            timer.daemon = True
            self._timers.append(timer)
            timer.start()

    def _replacement(self, fault: Fault) -> Response:
        if fault.kind == "empty":
            response = Response(b"", fault.status)
            del response.headers["Content-Type"]
        elif fault.body is not None:
            response = Response(fault.body, fault.status, content_type=_content_type(fault.body))
        elif fault.kind == "garbage":
            response = Response(GARBAGE, fault.status, content_type="text/html; charset=utf-8")
        else:
            response = self._error(fault.status)
        response.headers.update(fault.headers)
        return response

    def _error(self, status: int, message: str | None = None, details: Json | None = None) -> Response:
        body = self.error_body(status, message or _phrase(status), details or {})
        return Response(json.dumps(body), status, content_type="application/json")

    def _build(self) -> Flask:
        app = Flask(type(self).__module__, static_folder=None)
        # Paths are taken as they come: pulumi-esc-sdk asks for one with a double slash.
        app.url_map.merge_slashes = False
        app.url_map.strict_slashes = False
        app.json.sort_keys = False  # type: ignore[attr-defined]
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

    # What the connections ask.

    @property
    def listening(self) -> bool:
        return self._listener.is_open

    @property
    def connections(self) -> "_Connections":
        return self._listener.connections


_WITHOUT_STATUS = frozenset({"close", "truncate", "hang", "refuse"})


def _encode(body: str | bytes | Json | list[Any] | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _content_type(body: bytes) -> str:
    return "application/json" if body[:1] in (b"{", b"[") else "text/plain; charset=utf-8"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _record(request: Request) -> Recorded:
    headers = dict(request.headers)
    if "Authorization" in headers:
        headers["Authorization"] = headers["Authorization"].split(" ", 1)[0] + " …"
    return Recorded(request.method, request.path, request.args.to_dict(), headers, time.time())


class _Connections:
    """The open connections, and which of them wait for their next request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[socket.socket, bool] = {}

    @contextlib.contextmanager
    def open(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._idle[connection] = True
        try:
            yield
        finally:
            with self._lock:
                del self._idle[connection]

    @contextlib.contextmanager
    def busy(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._idle[connection] = False
        try:
            yield
        finally:
            with self._lock:
                self._idle[connection] = True

    def close(self, *, idle_only: bool) -> None:
        with self._lock:
            for connection, idle in self._idle.items():
                if idle or not idle_only:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)


class _Listener:
    """A port that can be listened on, left, and listened on again.

    A socket that is bound but doesn't listen keeps the port while nobody listens, so that no other process
    gets it.
    """

    def __init__(self, service: Server) -> None:
        self.port = 0
        self.connections = _Connections()
        self._handler = type("Handler", (_Handler,), {"service": service})
        self._lock = threading.Lock()
        self._reservation: socket.socket | None = None
        self._server: BaseWSGIServer | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def reserve(self) -> None:
        self._reservation = self._bound_socket(0)
        self.port = self._reservation.getsockname()[1]

    def release(self) -> None:
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None

    def open(self) -> None:
        with self._lock:
            if self._server is not None:
                return
            with self._bound_socket(self.port) as listening:
                listening.listen(socket.SOMAXCONN)
                server = make_server(
                    HOST,
                    self.port,
                    _no_application,
                    threaded=True,
                    request_handler=self._handler,
                    fd=listening.fileno(),
                )
            self._server = server
            threading.Thread(target=server.serve_forever, args=(0.1,), name=f"sandbox-{self.port}", daemon=True).start()

    def close(self, *, hang_up: bool) -> None:
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                # Refuses from this moment on, and wakes the accepting thread, where the system supports it.
                with contextlib.suppress(OSError):
                    server.socket.shutdown(socket.SHUT_RDWR)
                server.shutdown()
        self.connections.close(idle_only=not hang_up)

    @staticmethod
    def _bound_socket(port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
        return bound


def _no_application(*_: object) -> Iterable[bytes]:
    raise NotImplementedError("requests go to Server.exchange")


class _Handler(WSGIRequestHandler):
    """One connection. Werkzeug's own handler closes it after each answer; this one keeps it, as real services
    do."""

    service: ClassVar[Server]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.service.connections.open(self.connection):
            super().handle()

    def run_wsgi(self) -> None:
        with self.service.connections.busy(self.connection):
            environ = self.make_environ()
            body = Request(environ).get_data()
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["wsgi.input"] = io.BytesIO(body)
            if body:
                environ["CONTENT_LENGTH"] = str(len(body))
            response, ending = self.service.exchange(environ)
            if not self.service.listening:
                self.close_connection = True
            if ending is Ending.SILENT:
                self._wait_until_the_client_leaves()
            elif response is not None:
                self._send(response, environ, cut=ending is Ending.CUT)
            if ending is not Ending.WHOLE:
                self.close_connection = True

    def _send(self, response: Response, environ: dict[str, Any], *, cut: bool) -> None:
        headers = response.get_wsgi_headers(environ)
        headers.setdefault("Date", self.date_time_string())
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or response.status_code in (204, 304)
        body = b"" if bodiless else response.get_data()
        if cut and body:
            body = body[: len(body) // 2]
        elif cut:
            head = head[: len(head) // 2]
        self.wfile.write(head + body)

    def _wait_until_the_client_leaves(self) -> None:
        while self.connection.recv(65536):
            pass

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is werkzeug's
        """Say nothing: the requests are in `Server.requests`."""
