"""Deploy a version. If it fails, bring the former version back.

Docker itself knows what runs, and what ran before. While a new version replaces the former one, the former one is
recorded on the engine. However this deploy ends, `recover` or the next deploy can bring the former one back.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.commands import LIMIT, CommandError
from deploy.engine import Compose, Container
from deploy.errors import BroughtBackError, DownError
from deploy.program import SyncError

ACCESS_TOKEN = "SENTRY_MCP_TOKEN"  # noqa: S105 - a name
SECRETS = ("PULUMI_ACCESS_TOKEN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET", "SENTRY_DSN", ACCESS_TOKEN)
"""Names of the variables with a secret value that the Compose file passes to the server."""
VARIABLES = (
    *SECRETS,
    "PULUMI_ORG",
    "PULUMI_PROJECT",
    "PULUMI_ENVIRONMENT",
    "PULUMI_BACKEND_URL",
    "PULUMI_ESC_CACHE_SECONDS",
    "SENTRY_ORGANIZATION_SLUG",
    "SENTRY_PROJECT_SLUG",
    "SENTRY_MCP_READ_ONLY",
    "SENTRY_MCP_ALLOWED_HOSTS",
    "SENTRY_URL",
)
"""The variables that the Compose file passes to the server, each under its own name."""
IMAGE = "SENTRY_MCP_IMAGE"
REVISION = "SENTRY_MCP_ESC_REVISION"
PUBLISHED_PORT = "SENTRY_MCP_PUBLISHED_PORT"

RETURN_LIMIT = 120.0
"""Maximum seconds for a former version to become ready again."""
_WHOAMI = Path(__file__).with_name("whoami.py")


class CheckError(Exception):
    """The server doesn't work. The text ends with the last lines of its log."""


@dataclass(frozen=True)
class Deployed:
    """The result of a deploy."""

    image: str
    former: str
    """The image that ran before; empty if none did."""
    changed: bool
    """Whether the container is a new one."""
    tools: tuple[str, ...]


@dataclass(frozen=True)
class Rollout:
    """A deploy, or the recovery from one."""

    compose: Compose
    limit: float
    """Maximum seconds to wait for the new version to be ready, and for another deploy to end."""
    say: Callable[[str], None]
    hide: Callable[[str], None]
    """Masks a secret. It gets every secret of a container before a line of its log is shown."""

    def deploy(self, wanted: Mapping[str, str]) -> Deployed:
        """Deploy the version that these variables describe.

        Raises:
            EngineError: Docker refuses, the image doesn't fit, or another deploy is under way. Nothing was changed.
            BroughtBackError: The new version failed; the former version answers.
            DownError: The new version failed; no version is known to work.
        """
        engine, image = self.compose.engine, wanted[IMAGE]
        self.say(f"Fetch {image}")
        engine.fetch(image)
        with engine.lock(f"{self.compose.project}-deploy", image, self.limit):
            running, recorded = self.compose.container(wanted), self.compose.recorded()
            self.say(f"Now runs: {running.image if running else 'nothing'}")
            if recorded is not None:
                self.say(f"An earlier deploy was cut off. Before it ran: {recorded.image}")
            former = recorded or running
            if former is not None:
                self._hide(former)
                if recorded is None:
                    self.compose.record(former, given(former))
            container, tools = self._replace(wanted, former)
            engine.forget(image.partition("@")[0], keep=[image, *([former.image] if former else [])])
            changed = running is None or running.id != container.id
            return Deployed(image, former.image if former else "", changed, tools)

    def recover(self) -> str | None:
        """Bring back the version that a deploy recorded before it was cut off.

        Returns:
            Its image. None if no deploy was cut off; then nothing is touched.

        Raises:
            LockedError: A deploy is under way.
            DownError: The former version doesn't work. It stays recorded.
        """
        recorded = self.compose.recorded()
        if recorded is None:
            return None
        with self.compose.engine.lock(f"{self.compose.project}-deploy", recorded.image, self.limit):
            recorded = self.compose.recorded()  # the lock's former holder may have dropped it
            if recorded is None:
                return None
            self._hide(recorded)
            self._bring_back(recorded)
            return recorded.image

    def _replace(self, wanted: Mapping[str, str], former: Container | None) -> tuple[Container, tuple[str, ...]]:
        """Replace the running version with the new one. Undo that if anything goes wrong."""
        try:
            self.say(f"Start {wanted[IMAGE]}")
            container, tools = self._start(wanted, self.limit)
            if former is not None:
                self.compose.drop_record()
        except Exception as error:  # noqa: BLE001 - no version stays that wasn't checked, even for a defect of ours
            raise self._undo(wanted, former, self._told(error)) from None
        except BaseException as error:
            outcome = self._undo(wanted, former, f"{error or type(error).__name__} ended the deploy.")
            if former is not None and isinstance(outcome, BroughtBackError):
                raise
            raise outcome from None
        return container, tools

    def _undo(self, wanted: Mapping[str, str], former: Container | None, why: str) -> SyncError:
        """Bring the former version back, or remove the new one if none ran before. Return the error to raise."""
        failed = f"{wanted[IMAGE]} failed. {why}"
        if former is None:
            self.say("Take it down: no version ran before")
            try:
                self.compose.down(wanted)
            except CommandError as error:
                todo = "Look on the server for what runs."
                return DownError(failed, todo, f"No version ran before. This one may still run: {error}")
            changed = "No version ran before, so nothing runs now."
            return DownError(failed, "Fix the cause and deploy again.", changed)
        try:
            self._bring_back(former)
        except DownError as error:
            return DownError(f"{failed}\n{error.what}", error.todo, error.changed)
        back = f"The former version, {former.image}, runs again and answers."
        return BroughtBackError(failed, "Fix the cause and deploy again.", back)

    def _bring_back(self, former: Container) -> None:
        """Start the recorded version again, and drop the record.

        Raises:
            DownError: It doesn't work. It stays recorded.
        """
        self.say(f"Bring back {former.image}")
        try:
            self._start(as_it_was(former), RETURN_LIMIT)
            self.compose.drop_record()
        except Exception as error:  # noqa: BLE001 - the reason must be told, whatever it is
            raise DownError(
                f"The former version, {former.image}, doesn't work either. {self._told(error)}",
                "Check Sentry, Pulumi ESC and the server's network. Then run `recover`.",
                "The former version stays recorded.",
            ) from None

    def _start(self, variables: Mapping[str, str], seconds: float) -> tuple[Container, tuple[str, ...]]:
        """Start a version, wait until it is ready, and ask it as its clients do.

        Raises:
            CheckError: It doesn't work.
        """
        end = time.monotonic() + seconds
        try:
            self.compose.up(variables, seconds)
        except CommandError as error:
            container = self.compose.container(variables)
            raise CheckError(f"It doesn't start. {error}{self._log(container)}") from None
        container = self.compose.container(variables)
        if container is None:
            raise CheckError("Its container is gone.")
        try:
            code = _WHOAMI.read_text(encoding="utf-8")
            rest = max(end - time.monotonic(), 1)
            argv = ("exec", container.id, "python3", "-c", code, f"{rest:.0f}")
            said = json.loads(self.compose.engine.run(*argv, seconds=2 * rest + LIMIT))
        except (CommandError, ValueError) as error:
            raise CheckError(f"It can't be asked. {error}{self._log(container)}") from None
        if "error" in said:
            raise CheckError(f"It doesn't work: {said['error']}{self._log(container)}")
        return container, tuple(said["tools"])

    def _log(self, container: Container | None) -> str:
        log = self.compose.engine.logs(container.id) if container else ""
        return f"\nIts log ends:\n{log}" if log else ""

    def _told(self, error: Exception) -> str:
        """Return the text of an error. Print the traceback of an unexpected one."""
        if isinstance(error, CheckError | CommandError | SyncError):
            return str(error)
        self.say("".join(traceback.format_exception(error)))
        return f"A defect of the deploy program, {type(error).__name__}: its trace is above."

    def _hide(self, container: Container) -> None:
        for name in SECRETS:
            self.hide(container.environment.get(name, ""))


def given(container: Container) -> dict[str, str]:
    """Return the variables that the Compose file gave to a container."""
    return {name: container.environment[name] for name in VARIABLES if container.environment.get(name)}


def as_it_was(former: Container) -> dict[str, str]:
    """Return the Compose file's variables that start a version as it was."""
    port = {PUBLISHED_PORT: former.port} if former.port else {}
    return {**given(former), **port, IMAGE: former.image, REVISION: former.revision}
