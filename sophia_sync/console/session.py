"""One command at work: its settings, what it may look at, and how it ends."""

from __future__ import annotations

import contextlib
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from sophia_sync import inputs, interrupts
from sophia_sync.console.screen import Screen, error_json
from sophia_sync.errors import EndedBySignalError, SignInError, SyncError
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.inputs import Access, RunContext
from sophia_sync.interrupts import Interrupted
from sophia_sync.process import Deadline

T = TypeVar("T")


def pulumi_for(
    access: Access, organization: str, folder: Path, context: RunContext, deadline: Deadline, screen: Screen
) -> Pulumi:
    """The Pulumi CLI for one organisation: with the access token, GitHub's identity token or an existing login.

    Raises:
        SignInError: There is none of them.
    """
    token, login = access.pulumi_access_token, None
    cloud_url = access.pulumi_cloud_url
    if token is None and context.oidc is not None:
        from sophia_sync import signin  # noqa: PLC0415 - it brings `requests`, which costs 0.2 s

        token = signin.access_token(access, organization, context, deadline, screen.runner.hide)
    if token is None:
        login = inputs.pulumi_login()
        if login is None:
            raise SignInError("There is no access token for Pulumi.", "Set PULUMI_ACCESS_TOKEN, or run `pulumi login`.")
        if "pulumi_cloud_url" not in access.model_fields_set:
            cloud_url = ""  # wherever that login is
    return Pulumi(
        home=folder,
        cloud_url=cloud_url,
        access_token=token,
        environ=inputs.child_environment(),
        deadline=deadline,
        redact=screen.redact,
        login=login,
        by_oidc=access.pulumi_access_token is None and login is None,
    )


class Session:
    """What a command that only looks has at hand. Make one with `session`."""

    def __init__(self, screen: Screen, access: Access, deadline: Deadline, home: Path) -> None:
        self.screen = screen
        self.access = access
        self.context = inputs.run_context()
        self.deadline = deadline
        self._home = home
        self._signed_in: dict[str, Pulumi] = {}

    @property
    def environments(self) -> tuple[str, ...]:
        return self.access.esc_environment

    def pulumi(self, environment: str) -> Pulumi:
        """The Pulumi CLI, signed in for an environment's organisation.

        Raises:
            SignInError: There is nothing to sign in with.
        """
        organization = environment.partition("/")[0]
        if organization not in self._signed_in:
            folder = self._home / organization
            folder.mkdir(mode=0o700, exist_ok=True)
            pulumi = pulumi_for(self.access, organization, folder, self.context, self.deadline, self.screen)
            pulumi.prepare(organization)
            self._signed_in[organization] = pulumi
        return self._signed_in[organization]


@contextlib.contextmanager
def session(screen: Screen, given: Mapping[str, str], whole: Deadline) -> Iterator[Session]:
    """A session with inputs from the environment and from options; its deadline is a part of `whole`.

    Raises:
        InputError: An input is malformed.
    """
    inputs.give(given)
    for secret in inputs.raw_secrets():
        screen.redact.add(secret)
    access = inputs.load_access()
    for secret in access.secrets:
        screen.redact.add(secret)
    deadline = whole.part(access.timeout)
    with private_folder(deadline) as home:
        yield Session(screen, access, deadline, home)


def conduct(screen: Screen, look: Callable[[Deadline], T], show: Callable[[T], int]) -> int:
    """Conduct a command that only looks, and tell how it failed; returns the exit code.

    Args:
        screen: Where it prints.
        look: Finds out what there is; a signal cuts the deadline that it is given.
        show: Prints that, and returns the exit code; no signal comes between.
    """
    whole = Deadline(math.inf)
    with interrupts.Watch() as watch:
        try:
            return show(watch.over(partial(look, whole), whole.cut))
        except SyncError as error:
            return _fail(screen, error)
        except Interrupted as by:
            return _fail(screen, EndedBySignalError(f"{by} ended it.", "Run again.", by.signal_number))
        except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
            screen.progress(traceback.format_exc())
            return _fail(screen, SyncError("A defect of sophia-sync stopped it.", "Please report it with its trace."))


def _fail(screen: Screen, error: SyncError) -> int:
    screen.failure(error)
    screen.json({"error": error_json(error)})
    return error.exit_code


def on_a_terminal() -> bool:
    """Whether there is a person who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
