"""Sign-in to ESC: access tokens, and the exchange of another service's identity tokens for them.

An organization trusts an issuer of identity tokens (OpenID Connect). `POST /api/oauth/token` exchanges one of these
for a short-lived access token. Source: pulumi.com/docs/reference/cloud-rest-api/oauth-token-exchange.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sandbox.server import Json, RefusedError

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a type, not a token
ACCESS_TOKEN = "urn:pulumi:token-type:access_token"  # noqa: S105
DEFAULT_SECONDS = 7200
LONGEST_SECONDS = 25 * 3600

_SCOPES = {"organization": r"(admin)?", "team": r"team:(?P<team>.+)", "personal": r"user:(?P<user>.+)"}


@dataclass(frozen=True)
class Grant:
    """The scope and the expiry of an exchanged token. Other tokens have no limits."""

    organization: str
    team: str | None
    expires: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Issuer:
    """A service whose identity tokens are trusted."""

    url: Callable[[], str]
    key: Callable[[], RSAPublicKey]


@dataclass
class Accounts:
    tokens: dict[str, str] = field(default_factory=dict)
    """The accepted access tokens and the logins of their owners."""
    grants: dict[str, Grant] = field(default_factory=dict)
    """The grants of the exchanged tokens."""
    issuers: list[Issuer] = field(default_factory=list)
    teams: set[str] = field(default_factory=set)
    """The teams for which the exchange issues team tokens."""

    def sign_in(self, authorization: str) -> tuple[str, Grant | None]:
        """Return the login and the grant of `token T`. Refuse anything else with 401."""
        scheme, _, token = authorization.partition(" ")
        login = self.tokens.get(token) if scheme.lower() == "token" else None
        grant = self.grants.get(token)
        if login is None or (grant is not None and grant.expires <= time.time()):
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "Unauthorized: No credentials provided or are invalid.")
        return login, grant

    def exchange(self, form: Mapping[str, str]) -> Json:
        """Exchange an identity token for an access token. Check each field."""
        _expect(form, "grant_type", GRANT_TYPE)
        _expect(form, "subject_token_type", ID_TOKEN)
        organization = _field(form, "audience", r"urn:pulumi:org:(.+)")[1]
        kind = _field(form, "requested_token_type", ACCESS_TOKEN + r":(organization|team|personal)")[1]
        scope = _field(form, "scope", _SCOPES[kind]).groupdict()
        seconds = int(_field(form, "expiration", r"[1-9][0-9]*|")[0] or DEFAULT_SECONDS)
        if seconds > LONGEST_SECONDS:
            raise _bad("'expiration' is too long")
        self._verify(form.get("subject_token", ""), form["audience"])
        login = self._login(scope.get("team"), scope.get("user"))
        token = f"pul-{secrets.token_hex(20)}"
        self.tokens[token] = login
        self.grants[token] = Grant(organization, scope.get("team"), time.time() + seconds)
        return {
            "access_token": token,
            "issued_token_type": form["requested_token_type"],
            "token_type": "token",
            "expires_in": seconds,
            "scope": form.get("scope", ""),
        }

    def _verify(self, id_token: str, audience: str) -> None:
        for issuer in self.issuers:
            try:
                jwt.decode(id_token, issuer.key(), ["RS256"], audience=audience, issuer=issuer.url())
            except jwt.InvalidTokenError:
                continue
            return
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "Unauthorized: the identity token is not trusted")

    def _login(self, team: str | None, user: str | None) -> str:
        if team is not None and team not in self.teams:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"Forbidden: no token for the team '{team}'")
        if user is not None and user not in self.tokens.values():
            raise RefusedError(HTTPStatus.FORBIDDEN, f"Forbidden: no token for the user '{user}'")
        return user or "oidc"


def _expect(form: Mapping[str, str], name: str, value: str) -> None:
    _field(form, name, re.escape(value))


def _field(form: Mapping[str, str], name: str, pattern: str) -> re.Match[str]:
    match = re.fullmatch(pattern, form.get(name, ""))
    if match is None:
        raise _bad(f"'{name}' is missing or not supported")
    return match


def _bad(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: {message}")
