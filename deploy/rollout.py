"""Putting a version into operation: tried beside the running one, then in its place; if it fails there, back.

What runs, and what ran before, is known from Docker itself: the container's image by digest and its environment. While
one takes the other's place, the former is recorded on the engine, so that it can be brought back whatever ends us.
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

LONGEST_UNLOCK = 60.0
"""Seconds until Docker has noticed that a deploy, which was cut off, holds its lock no longer."""
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
        self.trial = f"{compose.project}-trial"
        """The container in which a new version is tried."""
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
        with self._alone(image):
            running, recorded = self.compose.running(self.wanted), self.compose.recorded()
            self.say(f"Runs now: {running.image if running else 'nothing'}")
            if recorded is not None:
                self.say(f"A deploy was cut off before it was done. What ran before that: {recorded.image}")
            former = recorded or running
            if former is not None:
                self._hide(former)
            self.try_beside()
            if former is not None and recorded is None:
                self.compose.record(former, given(former))
            deployed = self.replace(running, former)
            # Every deploy leaves an image there; the last two are enough, and the registry has them all.
            self.docker.forget(image.partition("@")[0], keep=(deployed.image, deployed.former))
            return deployed

    def recover(self) -> Container | None:
        """Bring back what a deploy recorded that was cut off, and remove what it was trying.

        Returns:
            The record; None if there is none, and what runs was not touched.

        Raises:
            LockedError: A deploy is under way.
            DownError: The former version doesn't work, or can't be brought back; it stays recorded.
        """
        left = self.compose.recorded() or self.docker.inspect(self.trial)
        if left is None:
            return None
        with self._alone(left.image, LONGEST_UNLOCK):
            self.docker.remove(self.trial)
            recorded = self.compose.recorded()  # whoever held the lock may be done with it
            if recorded is not None:
                self._hide(recorded)
                interrupts.ignore()  # as in `replace`: what is known in the end must be told
                self.bring_back(recorded)
            return recorded

    def try_beside(self) -> None:
        """See that a container with everything as it will be works, under another port."""
        self.say("Trying the new version beside it")
        try:
            with self.compose.trial(self.trial, self.wanted) as container:
                self.examine(container, self.deadline)
        except CheckError as error:
            raise ImageError(
                f"{self.settings.image} doesn't work. {error}",
                "What runs was not touched. Mend the image or its configuration, and deploy again.",
            ) from None

    def replace(self, running: Container | None, former: Container | None) -> Deployed:
        """Put the new version in the running one's place; if that fails, or is broken off, bring the former one back.

        The two are the same, unless a deploy before this one was cut off: then what runs was never checked.
        """
        try:
            with interrupts.shielded(lambda _: None):  # half a replacement is worse than a late one
                self.compose.up(self.wanted)
            container = self._current(self.wanted)
            self.say(f"Checking {container.image}")
            answers = self.examine(container, self.deadline)
            interrupts.ignore()  # from here on the deploy counts as done, whatever signal comes
            self.compose.drop_record()
        except (Exception, Interrupted) as error:  # for a defect of ours, too, nothing stays that wasn't checked
            interrupts.ignore()  # what is known in the end must be told, whatever signal comes meanwhile
            outcome = self.back(former, self._told(error))
            if isinstance(error, Interrupted) and isinstance(outcome, BroughtBackError):
                raise
            raise outcome from None
        changed = running is None or running.id != container.id
        return Deployed(container.image, former.image if former else None, changed, answers)

    def back(self, former: Container | None, why: str) -> SyncError:
        """Bring the former version back, with the environment that it had, and check it; the error to raise."""
        failed = f"{self.settings.image} failed in operation. {why}"
        if former is None:
            return self._taken_down(failed)
        try:
            self.bring_back(former)
        except DownError as error:
            return DownError(f"{failed}\n{error.what}", error.todo)
        return BroughtBackError(
            f"{failed}\nThe former version, {former.image}, is back and works.", "Mend the new one and deploy again."
        )

    def bring_back(self, former: Container) -> None:
        """Make the recorded version what runs, check it, and drop the record.

        Raises:
            DownError: It doesn't work, or can't be brought back.
        """
        self.say(f"Bringing back {former.image}")
        self.docker.deadline = Deadline(LONGEST_RETURN + SPARE)
        variables = as_it_was(former)
        try:
            self.compose.up(variables)
            self.examine(self._current(variables), Deadline(LONGEST_RETURN))
            self.compose.drop_record()
        except CheckError as error:
            raise DownError(
                f"The former version, {former.image}, is back, but doesn't work. {error}",
                "The cause may lie outside of it: look at Sentry, at Pulumi ESC and at the server's log. "
                "It stays recorded, `recover` tries it again.",
            ) from None
        except Exception as error:  # noqa: BLE001 - why it had to be brought back must be told, whatever this is
            raise DownError(
                f"It isn't known whether the former version, {former.image}, is back. {self._told(error)}",
                "See on the machine what runs. If it is still recorded, `recover` tries it again.",
            ) from None

    def _taken_down(self, failed: str) -> DownError:
        """Stop a first version, which failed; the error to raise."""
        self.say("Taking it down, there was no version before")
        self.docker.deadline = Deadline(SPARE)
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
            if now is not None and not now.failed_since(container):
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

    def _alone(self, image: str, patience: float = 0.0) -> contextlib.AbstractContextManager[None]:
        """The lock of all that changes what runs, as a container of an image that is there."""
        longest = self.settings.timeout + LONGEST_RETURN + 2 * SPARE
        return self.docker.lock(f"{self.compose.project}-deploy", image, longest, patience)

    def _hide(self, container: Container) -> None:
        """Let no secret be told that a container was given."""
        for name in SECRET_VARIABLES:
            self.docker.redact.add(SecretStr(container.environment.get(name, "")))

    def _current(self, variables: Mapping[str, str]) -> Container:
        container = self.compose.running(variables)
        if container is None:
            raise CheckError("Its container is gone.")
        return container


def given(container: Container) -> dict[str, str]:
    """The variables that a container was given by the Compose file."""
    return {name: container.environment[name] for name in SERVER_VARIABLES if container.environment.get(name)}


def as_it_was(former: Container) -> dict[str, str]:
    """The variables for the Compose file with which a version ran: those that it was given, and no others."""
    port = {PUBLISHED_PORT: former.port} if former.port else {}
    return {
        **given(former),
        **port,
        "SENTRY_MCP_IMAGE": former.image,
        "SENTRY_MCP_ESC_REVISION": former.revision,
    }


def published_port(compose: Compose, container: Container) -> int:
    """The container's port on the loopback of the engine's machine.

    Raises:
        CheckError: There is none; a container that has ended has none.
    """
    try:
        return compose.published_port(container.id)
    except (SyncError, ValueError, IndexError):
        raise CheckError("Its container ends instead of serving.") from None
