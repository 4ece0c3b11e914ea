"""Relays from a container's own network to the local services, which listen on this machine's loopback only.

In the container, `localhost` has a second address: this machine's on Docker's default bridge. If the container's own
loopback refuses a client, it tries the second one. There a relay passes the connection on to the service, on the same
port. So tests keep the Compose file's own network, and http stays allowed for loopback names only.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import threading
from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit

from tests.support.docker_engine import RUNNER_IMAGE, docker

HOST_ENTRY = "localhost:host-gateway"
"""The entry that the container needs under `extra_hosts`."""


def inside(url: str) -> str:
    """Return a local service's URL as a container sees it."""
    return f"http://localhost:{urlsplit(url).port}"


@functools.cache
def bridge_address() -> str:
    """Return this machine's address on the bridge, which Docker inserts for `host-gateway`."""
    command = ("--rm", "--add-host=here:host-gateway", "--entrypoint=getent", RUNNER_IMAGE, "ahostsv4", "here")
    return str(ipaddress.IPv4Address(docker("run", *command).stdout.split()[0]))


class Relay:
    """A relay from the bridge's address to a service on the loopback, on the same port."""

    def __init__(self, address: str, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((address, port))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Refuse new connections and close the open ones."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                self._open.append(ours)
                try:
                    theirs = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    ours.close()
                    continue
                self._open.append(theirs)
                for source, target in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Gateway:
    """The relays to a set of services."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._ports = [port for url in urls if (port := urlsplit(url).port)]
        self._relays: dict[int, Relay] = {}

    def __enter__(self) -> Self:
        for port in self._ports:
            self._relays[port] = Relay(bridge_address(), port)
        return self

    def __exit__(self, *_: object) -> None:
        for relay in self._relays.values():
            relay.close()
