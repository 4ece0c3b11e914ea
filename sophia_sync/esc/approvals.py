"""Ask Pulumi Cloud whether an environment's updates need an approval, and which change request is open.

The CLI has no command for the first and an experimental one for the second, so this module sends its own requests.
Sources: Pulumi Cloud's OpenAPI, `GetEnvironmentMetadata` and `ReadChangeRequest`; github.com/pulumi/pulumi,
`pkg/cmd/esc/cli/env_change_request.go` (the statuses), `cmd/esc/cli/login.go` (`cloudConsoleURL`) and
`sdk/go/common/workspace/creds.go` (`credentials.json`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from sophia_sync.esc import messages
from sophia_sync.runtime.errors import EscError, TransientError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.tasks import in_thread, time_left

if TYPE_CHECKING:
    from sophia_sync.esc.cli import Pulumi
    from sophia_sync.runtime.http import Client

UPDATE, OPEN = "update", "open"
"""The actions that can need an approval."""
DRAFT = "draft"
"""Status of a change request that was not submitted."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CONSOLE = "PULUMI_CONSOLE_DOMAIN"


@dataclass(frozen=True)
class ChangeRequest:
    """An open change request of one environment: it is neither applied nor closed.

    Attributes:
        id: Its id in Pulumi Cloud.
        url: Its page in the Pulumi console; empty if the console's address isn't known.
        status: `draft`, `pending` or `ready`.
        author: The login of its author.
        created: When it was created.
        is_ours: Whether its author is the owner of our access token.
        is_new: Whether this run has opened it.
    """

    id: str
    url: str = ""
    status: str = "pending"
    author: str = ""
    created: datetime | None = None
    is_ours: bool = True
    is_new: bool = False

    def __str__(self) -> str:
        """Return its id and link, for use in a sentence."""
        return f"change request {self.id}" + (f" ({self.url})" if self.url else "")


@dataclass(frozen=True)
class Approvals:
    """The approvals of an environment.

    Attributes:
        actions: The actions that need an approval.
        open: The open change request.
        console: The environment's page in the Pulumi console; empty if its address isn't known.
    """

    actions: frozenset[str]
    open: ChangeRequest | None = None
    console: str = ""

    def page(self, identifier: str) -> str:
        """Return the page of a change request; empty if it isn't known."""
        return f"{self.console}?version={identifier}" if self.console else ""


def console(cloud_url: str, environ: Mapping[str, str], environment: str) -> str:
    """Return an environment's page in the Pulumi console, as the CLI makes it. Empty if it isn't known. Pure."""
    parts = urlsplit(cloud_url)
    host = environ.get(_CONSOLE) or ("app." + parts.netloc[4:] if parts.netloc.startswith("api.") else "")
    organization, _, name = environment.partition("/")
    return f"{parts.scheme}://{host}/{organization}/esc/{name}" if host else ""


async def ask(pulumi: Pulumi, environment: str, seconds: float | None = None) -> Approvals:
    """Ask Pulumi Cloud about an environment: one request, and two more if a change request is open.

    Args:
        pulumi: The CLI, signed in to the environment's organization: the requests use its access token.
        environment: `organization/project/environment`.
        seconds: Maximum time; that of one call of the CLI by default.

    Raises:
        TransientError: Pulumi Cloud gives no answer now.
        EscError: It refuses.
    """
    limit = TimeLimit(min(seconds or pulumi.longest_call, time_left().remaining()))
    return await in_thread(partial(_ask, pulumi, environment, limit))


def _ask(pulumi: Pulumi, environment: str, limit: TimeLimit) -> Approvals:
    from sophia_sync.runtime.http import Client  # noqa: PLC0415 - it costs 0.2 s, and most syncs don't need it

    cloud_url, token = _credentials(pulumi)
    organization = environment.partition("/")[0]
    with Client(token, limit, scheme="token") as client:
        get = partial(_get, client, pulumi, environment, cloud_url)
        metadata = get(f"/api/esc/environments/{environment}/metadata", "ownedBy")
        if metadata is None:  # the environment exists: it was read
            raise EscError(
                f"Could not {_doing(environment)}: {cloud_url} doesn't tell (HTTP 404).",
                "With `change-request: never` a sync writes without asking; give that, and run again.",
            )
        gated = metadata.get("gatedActions") or []
        active = metadata.get("activeChangeRequest")
        if not isinstance(gated, list) or not isinstance(active, dict | None):
            raise _odd(environment, cloud_url)
        actions = frozenset(action for action in gated if isinstance(action, str))
        approvals = Approvals(actions, console=console(cloud_url, pulumi.environ, environment))
        if active is None:
            return approvals
        identifier = _id(active.get("changeRequestId"), environment)
        found = get(f"/api/change-requests/{organization}/{identifier}", "status")
        if found is None:
            raise TransientError(
                f"Change request {identifier} of {environment} is open, and isn't found.", "Run again."
            )
        if not isinstance(found["status"], str):
            raise _odd(environment, cloud_url)
        if found.get("action") == OPEN:  # a request for access, which doesn't block a draft
            return approvals
        author = _login(found.get("createdBy"))
        request = ChangeRequest(
            identifier,
            approvals.page(identifier),
            found["status"].lower(),
            pulumi.redact(author),
            _time(found.get("createdAt")),
            is_ours=bool(author) and author == _login(get("/api/user", "githubLogin")),
        )
        return replace(approvals, open=request)


def _get(
    client: Client, pulumi: Pulumi, environment: str, cloud_url: str, path: str, member: str
) -> dict[str, Any] | None:
    """Return the JSON object that Pulumi Cloud answers with. It must have `member`. Return None for HTTP 404."""
    from sophia_sync.runtime.http import UnansweredError, one_line  # noqa: PLC0415

    doing = _doing(environment)
    try:
        answer = client.get(f"{cloud_url}{path}")
    except UnansweredError as error:
        raise TransientError(
            f"Could not {doing}: {cloud_url} {error}.", f"Check that {cloud_url} is up, and run again."
        ) from None
    body: Any = answer.body
    if answer.status == 404:
        return None
    if answer.status != 200:
        said = body.get("message") if isinstance(body, dict) else None
        why = f"error: [{answer.status}] {one_line(pulumi.redact(str(said or 'no reason given')))}"
        raise messages.failure(doing, why, 1, cloud_url, by_oidc=pulumi.by_oidc)
    if not isinstance(body, dict) or member not in body:
        raise _odd(environment, cloud_url)
    return body


def _doing(environment: str) -> str:
    return f"ask whether updates of {environment} need an approval"


def _odd(environment: str, cloud_url: str) -> TransientError:
    return TransientError(
        f"Could not {_doing(environment)}: {cloud_url} answers with something else.",
        f"Check that {cloud_url} is the address of Pulumi Cloud's API, and run again.",
    )


def _credentials(pulumi: Pulumi) -> tuple[str, SecretStr]:
    """Return Pulumi Cloud's address and the access token. Without a token, use that of the existing login."""
    if pulumi.access_token is not None or pulumi.login is None:
        return pulumi.cloud_url, pulumi.access_token or SecretStr("")
    try:
        found = json.loads((pulumi.login / "credentials.json").read_text(encoding="utf-8"))
        cloud_url = pulumi.cloud_url or str(found["current"])
        token = SecretStr(str(found["accessTokens"][cloud_url]))
    except (OSError, ValueError, KeyError, TypeError):
        raise EscError(
            "The access token of `pulumi login` can't be read.", "Run `pulumi login` again, or set PULUMI_ACCESS_TOKEN."
        ) from None
    pulumi.redact.add(token)
    return cloud_url.rstrip("/"), token


def _id(value: object, environment: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise EscError(
            f"Pulumi Cloud names an open change request of {environment} by something unknown.",
            "See it in the Pulumi console, and close or apply it there.",
        )
    return value


def _login(user: object) -> str:
    login = user.get("githubLogin") if isinstance(user, dict) else None
    return login if isinstance(login, str) and login.isprintable() and len(login) <= 100 else ""


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else None
