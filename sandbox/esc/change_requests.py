"""Approvals: environments whose updates are gated, and the change requests that replace a direct update.

Sources: pulumi.com/docs, "Approvals in Pulumi ESC" (docs/esc/concepts/approvals); Pulumi Cloud's published OpenAPI
(`CreateEnvironmentDraft`, `SubmitChangeRequest`, `ApproveChangeRequest`, `ApplyChangeRequest`, `CloseChangeRequest`);
the Pulumi CLI's `env edit --draft` (github.com/pulumi/esc, `cmd/esc/cli/client/client.go`) and `env change-request`
(github.com/pulumi/pulumi, `pkg/cmd/esc/cli/env_change_request.go`), which names the statuses.
"""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from sandbox.esc.environments import Environment, Environments, Revision
from sandbox.server import RefusedError

UPDATE, OPEN = "update", "open"
DRAFT, PENDING, READY, APPLIED, CLOSED = "draft", "pending", "ready", "applied", "closed"
# The open ones, as `env change-request list` says: "open (draft, pending, or ready)".
_ACTIVE = (DRAFT, PENDING, READY)


@dataclass
class ChangeRequest:
    """A proposed definition of one environment. `base` is the revision that it was made from."""

    path: str
    author: str
    base: int
    definition: str
    """As it is stored: formatted by ESC, with ciphertext."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = DRAFT
    description: str = ""
    revision: int = 1
    etag: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    approvers: list[str] = field(default_factory=list)

    @property
    def is_active(self) -> bool:
        return self.status in _ACTIVE

    def store(self, definition: str) -> None:
        self.definition, self.etag = definition, f'"{secrets.token_hex(16)}"'


class ChangeRequests:
    """All change requests of the service."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self._all: dict[str, ChangeRequest] = {}

    def of(self, path: str) -> list[ChangeRequest]:
        """Return the change requests of an environment, oldest first."""
        return [request for request in self._all.values() if request.path == path]

    def active(self, path: str) -> ChangeRequest | None:
        return next((request for request in self.of(path) if request.is_active), None)

    def get(self, identifier: str, organization: str) -> ChangeRequest:
        request = self._all.get(identifier)
        if request is None or not request.path.startswith(f"{organization}/"):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Change request '{identifier}' not found")
        return request

    def draft(self, path: str, identifier: str) -> ChangeRequest:
        request = self.get(identifier, path.partition("/")[0])
        if request.path != path:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Change request '{identifier}' not found")
        return request

    def create(self, path: str, definition: str, author: str, etag: str | None) -> ChangeRequest:
        """Store a draft of the next revision. Refuse an etag other than the latest revision's with 409 (OpenAPI).

        "Only one draft can be active on an environment at a time" (docs); the text of the refusal is ours.
        """
        environment = self._environments.get(path)
        self._environments.refuse_other_etag(environment, etag)
        if self.active(path) is not None:
            message = f"Environment '{path}' already has an active change request"
            raise RefusedError(HTTPStatus.CONFLICT, message)
        request = ChangeRequest(path, author, environment.latest.number, "")
        request.store(self._environments.checked(environment, definition)[0])
        self._all[request.id] = request
        return request

    def update(self, path: str, identifier: str, definition: str, etag: str | None) -> ChangeRequest:
        """Change a draft: "A draft is mutable — team members can continue editing it" (docs).

        A new revision needs new approvals, as a ruleset may demand (docs: "Require re-approval").
        """
        request = self.draft(path, identifier)
        if etag and etag != request.etag:
            raise RefusedError(HTTPStatus.CONFLICT, "the environment has changed since it was read")
        _refuse_inactive(request)
        request.store(self._environments.checked(self._environments.get(path), definition)[0])
        request.revision += 1
        request.approvers.clear()
        self._evaluate(request)
        return request

    def submit(self, request: ChangeRequest, description: str) -> None:
        """Submit a draft (OpenAPI: "Submits a draft change request for approval")."""
        if request.status != DRAFT:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: the change request is {request.status}")
        request.description, request.status = description, PENDING
        self._evaluate(request)

    def approve(self, request: ChangeRequest, login: str, revision: int) -> None:
        """Count one approval of the latest revision. Refuse self-approval (docs: "Allow or prevent self-approval")."""
        _refuse_inactive(request)
        if revision != request.revision:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Bad Request: another revision is the latest")
        if login == request.author:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Forbidden: you can't approve your own change request")
        if login not in request.approvers:
            request.approvers.append(login)
        self._evaluate(request)

    def apply(self, request: ChangeRequest) -> Revision:
        """Make the draft the environment's next revision.

        "The change request must have received the required number of approvals before it can be applied. Returns 409
        if there is a conflict preventing application" (OpenAPI).
        """
        environment = self._environments.get(request.path)
        if request.status != READY:
            raise RefusedError(HTTPStatus.CONFLICT, f"The change request is {request.status}, not approved")
        if environment.latest.number != request.base:
            raise RefusedError(HTTPStatus.CONFLICT, "the environment has changed since the draft was made")
        request.status = APPLIED
        return environment.add_revision(request.definition, request.author)

    def close(self, request: ChangeRequest) -> None:
        """Close a change request (OpenAPI: "Closes a change request without applying it")."""
        _refuse_inactive(request)
        request.status = CLOSED

    def required(self, path: str) -> int:
        """Return how many approvals an update of an environment takes."""
        environment = self._environments.get(path)
        return environment.approvals if UPDATE in environment.gated else 0

    def _evaluate(self, request: ChangeRequest) -> None:
        if request.status in (PENDING, READY):
            enough = len(request.approvers) >= self.required(request.path)
            request.status = READY if enough else PENDING


def refuse_gated_update(environment: Environment) -> None:
    """Refuse a write that needs an approval. Docs: "direct writes to the environment are blocked"."""
    if UPDATE in environment.gated:
        raise RefusedError(
            HTTPStatus.CONFLICT,
            "This environment requires updates to be approved via change request. "
            "Please use the draft endpoint instead.",
        )


def refuse_gated_open(environment: Environment) -> None:
    """Refuse to open an environment that needs an approval.

    Docs: "any attempt to open the environment without an active access grant will be denied".
    """
    if OPEN in environment.gated:
        raise RefusedError(HTTPStatus.FORBIDDEN, "opens must be approved")


def _refuse_inactive(request: ChangeRequest) -> None:
    if not request.is_active:
        raise RefusedError(HTTPStatus.CONFLICT, f"The change request is {request.status}")
