"""Sign in to Pulumi for one run: with a stored token, GitHub's identity token, or a person's own login."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from sophia_sync.esc.cli import Pulumi
from sophia_sync.runtime.context import RunContext, child_environment, pulumi_login
from sophia_sync.runtime.errors import EscError, SignInError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.tasks import in_thread, time_left
from sophia_sync.settings.inputs import Access

# Number of calls that may hang before the run's time is over.
_TRIES = 4


def organization_of(environment: str) -> str:
    """Return the organization of `organization/project/environment`."""
    return environment.partition("/")[0]


async def sign_in(
    access: Access,
    organization: str,
    home: Path,
    context: RunContext,
    redact: Redactor,
    hide: Callable[[SecretStr], None],
    *,
    at_terminal: bool,
) -> Pulumi:
    """Return the Pulumi CLI, signed in for one organization.

    Args:
        access: The inputs.
        organization: The Pulumi organization.
        home: A private folder; the CLI gets one of its own in it.
        context: What the GitHub runner offers.
        redact: Hides secrets in the CLI's messages.
        hide: Called with each token first.
        at_terminal: Whether an existing `pulumi login` counts.

    Raises:
        SignInError: There is no token or login, or Pulumi refuses.
    """
    token, login, cloud_url = access.pulumi_access_token, None, access.pulumi_cloud_url
    if token is None and at_terminal and context.oidc is None:
        login = pulumi_login()
        if login is None:
            raise SignInError("There is no access token for Pulumi.", "Set PULUMI_ACCESS_TOKEN, or run `pulumi login`.")
        if "pulumi_cloud_url" not in access.model_fields_set:
            cloud_url = ""  # the login knows its address
    elif token is None:
        from sophia_sync.esc import oidc  # noqa: PLC0415 - it brings `requests`, which costs 0.2 s

        token = await in_thread(partial(oidc.access_token, access, organization, context, time_left(), hide))
    folder = home / str(len(list(home.iterdir())))
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise EscError(
            f"There is no room for the Pulumi CLI's private files: {error.strerror}.",
            "Make room in /dev/shm or in TMPDIR, and run again.",
            title="No temporary folder can be made",
        ) from None
    pulumi = Pulumi(
        home=folder,
        cloud_url=cloud_url,
        access_token=token,
        environ=child_environment(),
        redact=redact,
        longest_call=access.timeout / _TRIES,
        login=login,
        by_oidc=access.pulumi_access_token is None and login is None,
    )
    pulumi.prepare(organization)
    return pulumi
