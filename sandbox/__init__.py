"""A local Pulumi ESC, GitHub and Sentry: real HTTP servers on loopback.

They stand in for the real services in `make run`, in the tests and in the benchmark:

    with Sandbox() as box:
        box.esc.create("acme/default/production", "values:\\n  greeting: hello\\n")
        subprocess.run(["pulumi", "env", "open", "acme/default/production"], env={
            "PULUMI_BACKEND_URL": box.esc.url, "PULUMI_ACCESS_TOKEN": box.esc.token, ...})
"""

from contextlib import ExitStack
from typing import Self

from sandbox.esc import ChangeRequest, Esc, Revision
from sandbox.faults import Fault
from sandbox.github import App, Dispatch, GitHub, Permissions
from sandbox.sentry import Sentry
from sandbox.server import Recorded, RefusedError, Server

__all__ = [
    "App",
    "ChangeRequest",
    "Dispatch",
    "Esc",
    "Fault",
    "GitHub",
    "Permissions",
    "Recorded",
    "RefusedError",
    "Revision",
    "Sandbox",
    "Sentry",
    "Server",
]


class Sandbox:
    """The three services, started and stopped together. ESC trusts the identity tokens of GitHub's jobs."""

    def __init__(self) -> None:
        self.esc = Esc()
        self.github = GitHub()
        self.sentry = Sentry()
        self._started = ExitStack()
        self.esc.trust(lambda: self.github.id_token_issuer, lambda: self.github.id_token_key.public)

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.esc, self.github, self.sentry

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in self.servers:
                started.enter_context(server)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()
