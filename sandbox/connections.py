"""The sockets of a service: a port that can close and open again, and its connections."""

import contextlib
import io
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol

from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from sandbox.faults import Ending

HOST = "127.0.0.1"


class Service(Protocol):
    def exchange(self, environ: dict[str, Any]) -> tuple[Response | None, Ending]:
        """Answer one request, whose body has been read."""


class Listener:
    """A port of 127.0.0.1 on which a service can start and stop listening.

    A second socket, bound but not listening, keeps the port while nobody listens. No other process can take the port,
    and clients are refused.
    """

    def __init__(self, service: Service) -> None:
        self.port = 0
        self.connections = _Connections()
        self._handler = type("Handler", (_Handler,), {"service": service, "listener": self})
        self._lock = threading.Lock()
        self._reservation: socket.socket | None = None
        self._server: BaseWSGIServer | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def reserve(self) -> None:
        self._reservation = _bound_socket(0)
        self.port = self._reservation.getsockname()[1]

    def release(self) -> None:
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None

    def open(self) -> None:
        with self._lock:
            if self._server is None:
                self._server = self._serve()

    def close(self, *, hang_up: bool) -> None:
        """Refuse new connections and end idle ones; `hang_up` also ends those in the middle of an exchange."""
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                # Refuses connections at once and wakes the accepting thread, on systems that can do that.
                with contextlib.suppress(OSError):
                    server.socket.shutdown(socket.SHUT_RDWR)
                server.shutdown()
        self.connections.close(idle_only=not hang_up)

    def _serve(self) -> BaseWSGIServer:
        with _bound_socket(self.port) as listening:
            listening.listen(socket.SOMAXCONN)
            server = ThreadedWSGIServer(HOST, self.port, _no_application, self._handler, fd=listening.fileno())
        name = f"sandbox-{self.port}"
        threading.Thread(target=server.serve_forever, args=(0.1,), name=name, daemon=True).start()
        return server


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


class _Handler(WSGIRequestHandler):
    """The handler of one connection.

    Werkzeug's own `run_wsgi` closes the connection after each answer. This one keeps it open, as real services do,
    and can break off an exchange.
    """

    service: ClassVar[Service]
    listener: ClassVar[Listener]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with self.listener.connections.open(self.connection):
            super().handle()

    def run_wsgi(self) -> None:
        with self.listener.connections.busy(self.connection):
            environ = self._read()
            response, ending = self.service.exchange(environ)
            if ending is not Ending.WHOLE or not self.listener.is_open:
                self.close_connection = True
            if ending is Ending.SILENT:
                self._wait_until_the_client_leaves()
            elif response is not None:
                self._send(response, environ, cut=ending is Ending.CUT)

    def _read(self) -> dict[str, Any]:
        """Read a request and its whole body, so that the next read on this connection starts at the next request."""
        environ = self.make_environ()
        body = Request(environ).get_data()
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input"] = io.BytesIO(body)
        if body:
            environ["CONTENT_LENGTH"] = str(len(body))
        return environ

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

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing: the service keeps its own record of the requests."""


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


def _no_application(*_: object) -> Iterable[bytes]:
    raise NotImplementedError("requests go to Service.exchange")
