"""Get an access token for Pulumi: the stored one, or a short-lived one in exchange for GitHub's identity token.

Source: docs.github.com, "OpenID Connect reference"; pulumi.com/docs, "OAuth Token Exchange" and "Configuring OpenID
Connect for GitHub"; github.com/pulumi/pulumi, `ExchangeOidcToken`.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from sophia_sync.runtime.context import OidcRequest, RunContext
from sophia_sync.runtime.errors import SignInError
from sophia_sync.runtime.http import Answer, Client, UnansweredError, one_line
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings.inputs import Access, TokenScope

SHORTEST_LIFE = 900
"""Minimum lifetime to ask for, in seconds."""

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a type, not a token
_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
_ACCESS_TOKEN = "urn:pulumi:token-type:access_token"  # noqa: S105

_PERMISSION = """\
Let the job have GitHub's identity token, beside the permissions that it has:

permissions:
  id-token: write

(GitHub gives none to pull requests from forks.)"""
_STORED_TOKEN = "Or keep a Pulumi access token as a secret and pass it as `pulumi-access-token`."  # noqa: S105

_Hide = Callable[[SecretStr], None]


def access_token(
    settings: Access, organization: str, context: RunContext, deadline: TimeLimit, hide: _Hide
) -> SecretStr:
    """Return the access token for an organization's ESC: the stored one, else one exchanged for this run.

    Raises:
        SignInError: There is no token, and none can be exchanged.
    """
    if settings.pulumi_access_token is not None:
        return settings.pulumi_access_token
    if context.oidc is None:
        raise SignInError(
            "There is no access token for Pulumi: `pulumi-access-token` is not set, and the runner offers no identity "
            "token of GitHub's to exchange for one, because the job lacks the permission `id-token: write`.",
            f"{_PERMISSION}\n\n{_STORED_TOKEN}",
        )
    return exchange(settings.pulumi_cloud_url, organization, settings.pulumi_token_scope, context.oidc, deadline, hide)


def exchange(
    cloud_url: str, organization: str, scope: TokenScope, request: OidcRequest, deadline: TimeLimit, hide: _Hide
) -> SecretStr:
    """Exchange GitHub's identity token for an access token of Pulumi.

    Args:
        cloud_url: Pulumi Cloud's address, without a slash at its end.
        organization: The Pulumi organization that trusts GitHub.
        scope: The token's owner: the organization, a team or a user.
        request: Where GitHub gives the identity token.
        deadline: The time limit for retries. Its `seconds` are the time of the run.
        hide: Called with each token first.

    Raises:
        SignInError: GitHub or Pulumi refused, or gave no answer.
    """
    hide(request.token)
    audience = f"urn:pulumi:org:{organization}"
    id_token = _identity_token(request, audience, deadline)
    hide(id_token)
    form = {
        "audience": audience,
        "grant_type": _GRANT_TYPE,
        "subject_token_type": _ID_TOKEN,
        "subject_token": id_token.get_secret_value(),
        "requested_token_type": f"{_ACCESS_TOKEN}:{scope.kind}",
        "scope": str(scope),
        # Twice the time of the run: its clock has started already, and a revision tag may follow it.
        "expiration": str(max(SHORTEST_LIFE, int(2 * deadline.seconds))),
    }
    asked = f"Pulumi Cloud at {cloud_url}"
    todo = _trust(audience, scope, _issuer(id_token))
    try:
        with Client(None, deadline) as client:
            answer = client.post(f"{cloud_url}/api/oauth/token", form)
    except UnansweredError as error:
        raise SignInError(
            f"{asked} {error}: GitHub's identity token could not be exchanged for an access token.",
            f"Run again later. Is `pulumi-cloud-url` right? {_STORED_TOKEN}",
        ) from None
    if answer.status != 200:
        said = _said(answer, Redactor([request.token, id_token]))
        raise SignInError(
            f"{asked} gives no access token for GitHub's identity token (HTTP {answer.status}{said}).", todo
        )
    token = _token_in(answer, "access_token")
    if token is None:
        raise SignInError(f"{asked} answers the exchange of GitHub's identity token without an access token.", todo)
    hide(token)
    return token


def _identity_token(request: OidcRequest, audience: str, deadline: TimeLimit) -> SecretStr:
    separator = "&" if "?" in request.url else "?"
    what = "GitHub's identity token could not be had: its service"
    try:
        with Client(request.token, deadline) as client:
            answer = client.get(f"{request.url}{separator}audience={quote(audience, safe='')}")
    except UnansweredError as error:
        raise SignInError(f"{what} {error}.", f"Run again later. {_STORED_TOKEN}") from None
    if answer.status != 200:
        said = _said(answer, Redactor([request.token]))
        raise SignInError(f"{what} refuses it (HTTP {answer.status}{said}).", f"{_PERMISSION}\n\n{_STORED_TOKEN}")
    token = _token_in(answer, "value")
    if token is None:
        raise SignInError(f"{what} answers without one.", f"Run again later. {_STORED_TOKEN}")
    return token


def _token_in(answer: Answer, name: str) -> SecretStr | None:
    """Return the token in the JSON of an answer; None if it is missing or can't be sent in a header."""
    value = answer.body.get(name) if isinstance(answer.body, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value or " " in value:
        return None
    return SecretStr(value)


def _said(answer: Answer, redact: Redactor) -> str:
    """Return the service's own words for an error, to follow its HTTP status; empty if there are none."""
    body: Any = answer.body
    if not isinstance(body, dict):
        return ""
    words = next(
        (body[name] for name in ("error_description", "message", "error") if isinstance(body.get(name), str)), ""
    )
    return f": {one_line(redact(words))}" if words else ""


def _issuer(id_token: SecretStr) -> str:
    """Return the issuer that an identity token names: GitHub Enterprise Server and ghe.com have their own."""
    try:
        payload = id_token.get_secret_value().split(".")[1]
        issuer = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iss"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return _GITHUB_ISSUER
    is_address = isinstance(issuer, str) and issuer.isprintable() and re.fullmatch(r"https?://\S{1,300}", issuer)
    return issuer if is_address else _GITHUB_ISSUER


def _trust(audience: str, scope: TokenScope, issuer: str) -> str:
    """Return how to make a Pulumi organization trust GitHub."""
    whom = {"organization": "", "team": f" for the team {scope.name}", "personal": f" for the user {scope.name}"}
    return (
        f"Register GitHub's issuer {issuer} in Pulumi Cloud → Settings → Access "
        f"Management → OIDC Issuers, with an Allow policy for the token type {scope.kind}{whom[scope.kind]}, the "
        f"audience {audience} and a subject that matches this job, such as repo:OWNER/REPOSITORY:* or, for a "
        "repository that was created or renamed since July 2026, repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID:*. "
        f"Is `pulumi-token-scope` right? {_STORED_TOKEN}"
    )
