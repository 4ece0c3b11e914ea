"""Sign-in to GitHub without a fixed token: apps, and the identity tokens of Actions.

Sources: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App", "REST API endpoints for GitHub Apps",
and "OpenID Connect reference" for Actions.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ALGORITHM = "RS256"
ID_TOKEN_SECONDS = 300
APP_TOKEN_LIMIT = 600
"""Longest validity of an app's own JWT, in seconds."""


class SigningKey:
    """An RSA key, made when it is first needed, because that takes a moment."""

    @cached_property
    def _private(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def private_pem(self) -> str:
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()

    @property
    def public(self) -> rsa.RSAPublicKey:
        return self._private.public_key()

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._private, ALGORITHM)


@dataclass
class App:
    """A GitHub App that is installed for some repositories of one owner."""

    id: int
    installation_id: int
    owner: str
    repositories: tuple[str, ...]
    """Full names."""
    actions: str = "write"
    key: SigningKey = field(default_factory=SigningKey)

    installed: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def permissions(self) -> dict[str, str]:
        """The permissions that it was granted, besides `metadata: read`, which every app has."""
        return {} if self.actions == "none" else {"actions": self.actions}

    @property
    def private_key(self) -> str:
        """The key in PEM form, as an app's owner downloads it from GitHub."""
        return self.key.private_pem

    def has_signed(self, token: str) -> bool:
        """Return whether this is the app's own JWT, unexpired, and valid for at most ten more minutes."""
        try:
            claims = jwt.decode(
                token, self.key.public, [ALGORITHM], options={"require": ["exp", "iat", "iss"], "verify_iss": False}
            )
        except jwt.InvalidTokenError:
            return False
        return str(claims["iss"]) == str(self.id) and claims["exp"] - time.time() <= APP_TOKEN_LIMIT


def id_token(key: SigningKey, issuer: str, audience: str, repository: str, branch: str) -> str:
    """Return the identity token of a job that runs on a branch of a repository."""
    now = int(time.time())
    return key.sign(
        {
            "iss": issuer,
            "aud": audience,
            "sub": f"repo:{repository}:ref:refs/heads/{branch}",
            "repository": repository,
            "repository_owner": repository.split("/", maxsplit=1)[0],
            "ref": f"refs/heads/{branch}",
            "event_name": "schedule",
            "iat": now,
            "nbf": now,
            "exp": now + ID_TOKEN_SECONDS,
        }
    )
