"""Images made from the real one, some of which are made to fail."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.deploy.gateway import Gateway, inside
from tests.support import docker_registry
from tests.support.docker_engine import docker

LATEST_DERIVED = "sentry-mcp:derived"
"""The last image that was made here, on this machine."""


class Derived:
    """Makes images of the real one with further lines of a Dockerfile, each in the registry.

    Args:
        image: The real one.
        registry: The registry's address.
    """

    def __init__(self, image: str, registry: str) -> None:
        self._image = image
        self._registry = registry
        config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image).stdout)
        self._command: list[str] = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]

    def __call__(self, *lines: str) -> str:
        """The new image by its digest."""
        text = "\n".join([f"FROM {self._image}", *lines])
        command = ["docker", "build", "--quiet", "--tag", LATEST_DERIVED, "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=300)
        return docker_registry.push(LATEST_DERIVED, f"{self._registry}/ai-cherry/sentry-mcp:derived")

    def behind(self, gate: Gate, *lines: str) -> str:
        """One that starts only if the gate lets it in."""
        code = f"import os, urllib.request; urllib.request.urlopen('{inside(gate.url)}'); "
        code += f"os.execvp({self._command[0]!r}, {self._command!r})"
        return self(f"ENTRYPOINT {json.dumps(['python3', '-c', code])}", "CMD []", *lines)


class Gate:
    """Lets containers start, or not: an image whose entrypoint asks here first works as often as we like."""

    def __init__(self) -> None:
        self.let_in = 0
        """How many more may start; each question counts it down."""
        self.asked = 0
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.asked += 1
                gate.let_in -= 1
                self.send_response(200 if gate.let_in >= 0 else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._gateway = Gateway([self.url])
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.__exit__()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
