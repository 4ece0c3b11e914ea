"""A local Pulumi ESC: environments with encrypted secrets, revisions, tags, and evaluation."""

import secrets
from collections.abc import Callable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sandbox.esc.change_requests import UPDATE, ChangeRequest
from sandbox.esc.environments import Revision
from sandbox.esc.routes import EscRoutes
from sandbox.esc.sign_in import Issuer

__all__ = ["ChangeRequest", "Esc", "Revision"]


class Esc(EscRoutes):
    """The local ESC, with methods for tests and demonstrations.

    A `path` is `organization/project/environment`. The methods raise `sandbox.server.RefusedError` for what the
    service refuses.
    """

    login = "sandbox"
    """The owner of `token`."""
    foreign_login = "somebody-else"
    """The author of the revisions that `create` and `save` store."""
    reviewer = "reviewer"
    """The login that approves change requests."""

    def __init__(self) -> None:
        super().__init__()
        self.token = f"pul-{secrets.token_hex(20)}"
        self.tokens[self.token] = self.login

    @property
    def tokens(self) -> dict[str, str]:
        """The accepted access tokens and their owners; remove one to revoke it."""
        return self.accounts.tokens

    @property
    def teams(self) -> set[str]:
        """The teams for which the token exchange issues team tokens."""
        return self.accounts.teams

    def trust(self, url: Callable[[], str], key: Callable[[], RSAPublicKey]) -> None:
        """Accept an issuer's identity tokens. Its address and key may be known only later."""
        self.accounts.issuers.append(Issuer(url, key))

    def create(self, path: str, definition: str = "") -> None:
        """Create an environment. Revision 1 is empty; revision 2 holds the definition, if there is one."""
        with self.lock:
            self.environments.create(path, self.foreign_login)
            if definition:
                self.save(path, definition)

    def save(self, path: str, definition: str) -> int:
        """Save a definition as another writer who sends no etag. Return the revision's number."""
        with self.lock:
            revision, _ = self.environments.save(path, definition, self.foreign_login, etag=None)
            return revision.number

    def corrupt(self, path: str, change: Callable[[str], str]) -> None:
        """Replace the definition of the latest revision, but keep its etag: ESC stored something else than was sent.

        `change` gets the stored definition and returns the new one. Secrets in plain text are encrypted, and the text
        is formatted.
        """
        with self.lock:
            self.environments.corrupt(path, change)

    def date(self, path: str, number: int, created: datetime) -> None:
        """Change the time at which a revision was saved."""
        with self.lock:
            self.environments.change_revision(path, number, created=created)

    def retract(self, path: str, number: int) -> None:
        """Retract a revision, as `env version retract` does."""
        with self.lock:
            self.environments.retract(path, number)

    def delete(self, path: str) -> None:
        with self.lock:
            self.environments.delete(path)

    # Approvals, as a person gives them in the console.

    def gate(self, path: str, *actions: str, approvals: int = 1) -> None:
        """Require approvals for these actions, or for `update` if none is named."""
        with self.lock:
            environment = self.environments.get(path)
            environment.gated, environment.approvals = set(actions or (UPDATE,)), approvals

    def open_change_requests(self, path: str) -> list[ChangeRequest]:
        with self.lock:
            return [request for request in self.change_requests.of(path) if request.is_active]

    def propose(self, path: str, definition: str, author: str = foreign_login) -> ChangeRequest:
        """Open a change request and submit it."""
        with self.lock:
            request = self.change_requests.create(path, definition, author, etag=None)
            self.change_requests.submit(request, "")
            return request

    def approve(self, request: ChangeRequest) -> None:
        with self.lock:
            self.change_requests.approve(request, self.reviewer, request.revision)

    def apply(self, request: ChangeRequest) -> int:
        """Apply an approved change request. Return the new revision's number."""
        with self.lock:
            return self.change_requests.apply(request).number

    def close(self, request: ChangeRequest) -> None:
        with self.lock:
            self.change_requests.close(request)

    def definition(self, path: str) -> str:
        """Return the latest definition as ESC stores and serves it, with ciphertext."""
        with self.lock:
            return self.environments.get(path).latest.definition

    def decrypted(self, path: str) -> str:
        """Return the latest definition with its secrets in plain text."""
        with self.lock:
            return self.environments.decrypted(self.environments.get(path).latest)

    def sent(self, path: str) -> str:
        """Return the text of the latest revision, byte for byte as its author sent it."""
        return self.revisions(path)[-1].sent

    def values(self, path: str) -> dict[str, object]:
        """Return the evaluated values, as `env open` prints them."""
        with self.lock:
            environment = self.environments.get(path)
            name = f"{environment.project}/{environment.name}"
            return self.environments.open(environment.latest.definition, environment.organization, name).plain()

    def is_secret(self, path: str, key: str) -> bool:
        """Return whether the top-level key under `values` is encrypted."""
        with self.lock:
            environment = self.environments.get(path)
            checked = self.environments.check(environment.latest.definition, environment.organization).environment
        written = (checked or {}).get("exprs", {}).get(key, {})
        return bool(written.get("builtin", {}).get("name") == "fn::secret")

    def revision(self, path: str) -> int:
        return self.revisions(path)[-1].number

    def revisions(self, path: str) -> list[Revision]:
        """Return all revisions, oldest first."""
        with self.lock:
            return list(self.environments.get(path).revisions)

    def revision_tags(self, path: str) -> dict[str, int]:
        """Return the revision tags, including `latest`."""
        with self.lock:
            return {name: tag.revision for name, tag in self.environments.get(path).revision_tags.items()}

    def tags(self, path: str) -> dict[str, str]:
        """Return the tags of the environment itself."""
        with self.lock:
            return {name: tag.value for name, tag in self.environments.get(path).tags.items()}
