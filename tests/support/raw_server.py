"""A server that sends fixed bytes to every client, for responses that no correct server sends."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class RawServer:
    """A server that sends `answer` and closes the connection; with `drip`, it keeps sending `drip` instead."""

    def __init__(self, answer: bytes, drip: bytes = b"") -> None:
        self.requests: list[bytes] = []
        """The first 64 KiB of each."""
        self._answer = answer
        self._drip = drip
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # Wakes the accepting thread.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):  # the client may have left
                self.requests.append(connection.recv(65536))
                connection.sendall(self._answer)
                while self._drip and not self._stop.wait(0.02):
                    connection.sendall(self._drip)
