"""Run a read-only command: its settings, its signed-in CLI, its time limit, and its errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar, cast

import anyio

from sophia_sync.console.screen import Screen, error_json
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.esc.sign_in import organization_of, sign_in
from sophia_sync.runtime.context import run_context
from sophia_sync.runtime.errors import EscError, SyncError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.run import Program, conduct
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import Access

T = TypeVar("T")

# Grace period after the time limit, in seconds: the parts of a command can report that they were late.
_GRACE = 1.0


class Session:
    """The settings and signed-in CLIs of a read-only command. Make one with `session`."""

    def __init__(self, screen: Screen, access: Access, home: Path) -> None:
        self.screen = screen
        self.access = access
        self.context = run_context()
        self.deadline = TimeLimit(access.timeout)
        self._home = home
        self._signed_in: dict[str, Pulumi] = {}
        self._one_at_a_time = anyio.Lock()

    @property
    def environments(self) -> tuple[str, ...]:
        return self.access.esc_environment

    async def pulumi(self, environment: str) -> Pulumi:
        """Return the Pulumi CLI, signed in for an environment's organization.

        Raises:
            SignInError: Pulumi refuses, or there is no token or login.
        """
        organization = organization_of(environment)
        async with self._one_at_a_time:
            if organization not in self._signed_in:
                self._signed_in[organization] = await sign_in(
                    self.access,
                    organization,
                    self._home,
                    self.context,
                    self.screen.redact,
                    self.screen.runner.hide,
                    at_terminal=True,
                )
        return self._signed_in[organization]


@contextlib.asynccontextmanager
async def session(screen: Screen, given: Mapping[str, str]) -> AsyncIterator[Session]:
    """Open a session with inputs from the environment and from options. It ends at the time limit in the inputs.

    Raises:
        InputError: An input is malformed.
        EscError: The time is over.
    """
    inputs.give(given)
    for secret in inputs.raw_secrets():
        screen.redact.add(secret)
    access = inputs.load_access(at_terminal=True)
    for secret in access.secrets:
        screen.redact.add(secret)
    with private_folder() as home, anyio.move_on_after(access.timeout + _GRACE) as limit:
        yield Session(screen, access, home)
    if limit.cancelled_caught:
        raise EscError(
            f"It was not done within {access.timeout} seconds.",
            "Run it again, or with a larger --timeout.",
            title="The command took too long",
        )


class _Looking(Program, Generic[T]):
    """A read-only command.

    Args:
        screen: Where it prints.
        look: Reads and returns the result.
        show: Prints the result and returns the exit code; no signal interrupts it.
    """

    name = "sophia-sync"

    def __init__(self, screen: Screen, look: Callable[[], Awaitable[T]], show: Callable[[T], int]) -> None:
        self._screen = screen
        self._look = look
        self._show = show
        self._found: T | None = None

    async def work(self) -> None:
        self._found = await self._look()

    def state(self) -> str:
        return ""

    def trace(self, text: str) -> None:
        self._screen.progress(text)

    def report(self, error: SyncError | None) -> int:
        if error is None:
            return self._show(cast(T, self._found))
        self._screen.failure(error)
        self._screen.json({"error": error_json(error)})
        return error.exit_code


def look_and_show(screen: Screen, look: Callable[[], Awaitable[T]], show: Callable[[T], int]) -> int:
    """Run a read-only command, and report its error. Return the exit code. See `_Looking`."""
    return conduct(_Looking(screen, look, show))
