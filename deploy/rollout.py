"""Putting a version into operation: tried beside the running one, then in its place; if it fails there, back.

What runs, and what ran before, is known from Docker itself: the container's image by digest and its environment.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from deploy import check, ssh
from deploy.check import Answers, CheckError
from deploy.docker import Compose, Container
from deploy.errors import BroughtBackError, DownError, ImageError
from deploy.settings import ACCESS_TOKEN, PUBLISHED_PORT, SECRET_VARIABLES, SERVER_VARIABLES, Settings
from sophia_sync import interrupts
from sophia_sync.errors import SyncError
from sophia_sync.interrupts import Interrupted
from sophia_sync.process import Deadline

LONGEST_RETURN = 120.0
"""Seconds for the check of a former version that was brought back, whatever was left of the time."""
SPARE = 60.0
"""Seconds by which Docker's commands may go on after that, and after the time of the deploy itself."""


@dataclass(frozen=True)
class Deployed:
    """What a deploy led to."""

    image: str
    former: str | None
    """The image that ran before."""
    changed: bool
    answers: Answers


class Rollout:
    """One deploy."""

    def __init__(self, settings: Settings, compose: Compose, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.compose = compose
        self.docker = compose.docker
        self.say = say
        self.wanted = settings.variables(settings.image)
        self.deadline = Deadline(settings.timeout)
        """For the checks of the new version. Docker's own is later: what goes wrong must still be told and undone."""

    def run(self) -> Deployed:
        """Deploy.

        Raises:
            LockedError: Another deploy is under way.
            ImageError: The new version failed beside the running one, which wasn't touched.
            BroughtBackError: It failed in its place; the former one is back and works.
            DownError: As before, but the former one doesn't work either, or there was none.
        """
        image = self.settings.image
        self.say(f"Fetching {image}")
        self.docker.pull(image)
        longest = self.settings.timeout + LONGEST_RETURN + 2 * SPARE
        with self.docker.lock(f"{self.compose.project}-deploy", image, longest):
            former = self.compose.running(self.wanted)
            self.say(f"Runs now: {former.image if former else 'nothing'}")
            for name in SECRET_VARIABLES:
                self.docker.redact.add(SecretStr(former.environment.get(name, "") if former else ""))
            self.try_beside()
            deployed = self.replace(former)
            # Every deploy leaves an image there; the last two are enough, and the registry has them all.
            self.docker.forget(image.partition("@")[0], keep=(deployed.image, deployed.former))
            return deployed

    def try_beside(self) -> None:
        """See that a container with everything as it will be works, under another port."""
        self.say("Trying the new version beside it")
        name = f"{self.compose.project}-trial"
        try:
            with self.compose.trial(name, self.wanted) as container:
                self.examine(container, self.deadline)
        except CheckError as error:
            raise ImageError(
                f"{self.settings.image} doesn't work. {error}",
                "What runs was not touched. Mend the image or its configuration, and deploy again.",
            ) from None

    def replace(self, former: Container | None) -> Deployed:
        """Put the new version in the former one's place; if that fails, or is broken off, put the former one back."""
        try:
            with interrupts.shielded(lambda _: None):  # half a replacement is worse than a late one
                self.compose.up(self.wanted)
            container = self._current()
            self.say(f"Checking {container.image}")
            answers = self.examine(container, self.deadline)
        except (Exception, Interrupted) as error:  # for a defect of ours, too, nothing stays that wasn't checked
            interrupts.ignore()  # what is known in the end must be told, whatever signal comes meanwhile
            outcome = self.back(former, self._told(error))
            if isinstance(error, Interrupted) and isinstance(outcome, BroughtBackError):
                raise
            raise outcome from None
        changed = former is None or former.id != container.id
        return Deployed(container.image, former.image if former else None, changed, answers)

    def back(self, former: Container | None, why: str) -> SyncError:
        """Bring the former version back, with the environment that it had, and check it; the error to raise."""
        failed = f"{self.settings.image} failed in operation. {why}"
        self.docker.deadline = Deadline(LONGEST_RETURN + SPARE)
        if former is None:
            return self._taken_down(failed)
        self.say(f"Bringing back {former.image}")
        try:
            self.compose.up(self._as_it_was(former))
            self.examine(self._current(), Deadline(LONGEST_RETURN))
        except CheckError as error:
            return DownError(
                f"{failed}\nThe former version, {former.image}, is back, but doesn't work either. {error}",
                "So the cause may lie outside of both: look at Sentry, at Pulumi ESC and at the server's log.",
            )
        except Exception as error:  # noqa: BLE001 - the first failure must be told, whatever the second is
            return DownError(
                f"{failed}\nIt isn't known whether the former version, {former.image}, is back. {self._told(error)}",
                "See on the machine what runs.",
            )
        return BroughtBackError(
            f"{failed}\nThe former version, {former.image}, is back and works.", "Mend the new one and deploy again."
        )

    def _taken_down(self, failed: str) -> DownError:
        """Stop a first version, which failed; the error to raise."""
        self.say("Taking it down, there was no version before")
        try:
            self.compose.down(self.wanted)
        except Exception as error:  # noqa: BLE001 - the first failure must be told, whatever the second is
            return DownError(
                f"{failed}\nThere was no version before, and it isn't known whether this one is down. "
                f"{self._told(error)}",
                "See on the machine what runs.",
            )
        return DownError(failed, "There was no version before, so nothing runs now. Mend it and deploy again.")

    def examine(self, container: Container, deadline: Deadline) -> Answers:
        """Wait until a container's server is ready, and ask it what its clients would.

        Raises:
            CheckError: It doesn't work; the text ends with the last lines of its log.
        """

        def fate() -> str | None:
            now = self.docker.inspect(container.id)
            if now is not None and not now.failed:
                return None
            return "Its container is gone." if now is None else "Its container ends instead of serving."

        # A former version may have one of its own.
        token = SecretStr(container.environment.get(ACCESS_TOKEN) or self.settings.server[ACCESS_TOKEN])
        try:
            with self.reachable(container) as url:
                check.wait_for(url, "/readyz", fate, deadline)
                return check.ask(url, token, deadline)
        except CheckError as error:
            raise CheckError(f"{error} Its log ends:\n{self.docker.logs(container.id) or '(it is empty)'}") from None

    @contextlib.contextmanager
    def reachable(self, container: Container) -> Iterator[str]:
        """The server's address as this machine has it."""
        port = published_port(self.compose, container)
        if not self.settings.docker_host:
            yield f"http://127.0.0.1:{port}"
            return
        docker = self.docker
        with ssh.forwarded(self.settings.docker_host, port, docker.environ, docker.deadline) as here:
            yield f"http://127.0.0.1:{here}"

    def _told(self, error: BaseException) -> str:
        """What ended the work, in a sentence; if nobody foresaw it, the trace is shown before."""
        if isinstance(error, Interrupted):
            return f"{error} ended the deploy."
        if isinstance(error, (CheckError, SyncError)):
            return str(error)
        self.say("".join(traceback.format_exception(error)))
        return f"A defect of the deploy program, {type(error).__name__}: its trace is above."

    def _current(self) -> Container:
        container = self.compose.running(self.wanted)
        if container is None:
            raise CheckError("Its container is gone.")
        return container

    def _as_it_was(self, former: Container) -> dict[str, str]:
        """The variables with which the former version ran: those that it was given, and no others; under its port."""
        given: Mapping[str, str] = {
            name: former.environment[name] for name in SERVER_VARIABLES if former.environment.get(name)
        }
        port = {PUBLISHED_PORT: former.port} if former.port else {}
        return {**given, **port, "SENTRY_MCP_IMAGE": former.image, "SENTRY_MCP_ESC_REVISION": former.revision}


def published_port(compose: Compose, container: Container) -> int:
    """The container's port on the loopback of the engine's machine.

    Raises:
        CheckError: There is none; a container that has ended has none.
    """
    try:
        return compose.published_port(container.id)
    except (SyncError, ValueError, IndexError):
        raise CheckError("Its container ends instead of serving.") from None
