"""Environments, their revisions and their tags."""

import contextlib
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from sandbox.esc.engine import Engine, EngineError, Evaluated, Json, Load
from sandbox.server import RefusedError

LATEST = "latest"
DEFAULT_PROJECT = "default"
ANONYMOUS = "<yaml>"
"""ESC's name for a definition that is checked or opened without being saved."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TAG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True)
class Revision:
    """One state of an environment. Numbers are consecutive; revision 1 is empty."""

    number: int
    definition: str
    """As it is stored: formatted by ESC, with ciphertext."""
    etag: str
    created: datetime
    author: str
    replacement: int | None = None
    """The revision that replaces this one, if this one was retracted and so can't be read any more."""
    sent: str = ""
    """The text that its author sent, byte for byte."""


@dataclass
class RevisionTag:
    name: str
    revision: int
    created: datetime
    modified: datetime
    editor: str


@dataclass
class EnvironmentTag:
    """A name and a value on a whole environment."""

    id: str
    name: str
    value: str
    created: datetime
    modified: datetime
    editor: str


@dataclass
class Environment:
    organization: str
    project: str
    name: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    revisions: list[Revision] = field(default_factory=list)
    revision_tags: dict[str, RevisionTag] = field(default_factory=dict)
    tags: dict[str, EnvironmentTag] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    """The actions that need an approval, `update` or `open`: the `gatedActions` of its metadata."""
    approvals: int = 1
    """Number of approvals that these actions need."""

    @property
    def path(self) -> str:
        return f"{self.organization}/{self.project}/{self.name}"

    @property
    def latest(self) -> Revision:
        return self.revisions[-1]

    def add_revision(self, definition: str, author: str, sent: str = "") -> Revision:
        """Add a revision. Its etag is new, even if an earlier revision has the same definition."""
        number = len(self.revisions) + 1
        etag = hashlib.sha256(f"{self.id}@{number}\n{definition}".encode()).hexdigest()[:32]
        now = datetime.now(UTC)
        self.revisions.append(Revision(number, definition, f'"{etag}"', now, author, sent=sent))
        latest = self.revision_tags.setdefault(LATEST, RevisionTag(LATEST, number, now, now, author))
        latest.revision, latest.modified, latest.editor = number, now, author
        return self.latest

    def revision(self, version: str) -> Revision | None:
        """Return the revision with this number or tag; an empty `version` is the latest. None if it can't be read."""
        if version.isdecimal():
            number = int(version)
        else:
            tag = self.revision_tags.get(version or LATEST)
            number = tag.revision if tag else 0
        found = self.revisions[number - 1] if 1 <= number <= len(self.revisions) else None
        return found if found and found.replacement is None else None

    def tags_of(self, revision: Revision) -> list[str]:
        return sorted(tag.name for tag in self.revision_tags.values() if tag.revision == revision.number)


class Environments:
    """All environments of the service. The methods raise `RefusedError` with the service's HTTP status."""

    def __init__(self) -> None:
        self.engine = Engine()
        self._environments: dict[str, Environment] = {}

    def __iter__(self) -> Iterator[Environment]:
        return iter(sorted(self._environments.values(), key=lambda environment: environment.path))

    def organizations(self) -> list[str]:
        return sorted({environment.organization for environment in self._environments.values()})

    def get(self, path: str) -> Environment:
        try:
            return self._environments[path]
        except KeyError:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Environment '{path}' not found") from None

    def create(self, path: str, author: str) -> Environment:
        organization, project, name = _split(path)
        if path in self._environments:
            raise RefusedError(HTTPStatus.CONFLICT, f"Environment '{path}' already exists")
        environment = Environment(organization, project, name)
        environment.add_revision("", author)
        self._environments[path] = environment
        return environment

    def delete(self, path: str) -> None:
        del self._environments[self.get(path).path]

    def save(self, path: str, definition: str, author: str, etag: str | None) -> tuple[Revision, list[Json]]:
        """Check a definition and store it, encrypted and formatted. Return the new revision and the check's warnings.

        Refuse an etag other than the latest revision's with 409, and a definition with errors with 400.
        """
        environment = self.get(path)
        self.refuse_other_etag(environment, etag)
        stored, warnings = self.checked(environment, definition)
        return environment.add_revision(stored, author, definition), warnings

    def refuse_other_etag(self, environment: Environment, etag: str | None) -> None:
        """Refuse an etag that isn't the latest revision's."""
        if etag and etag != environment.latest.etag:
            message = f"Environment '{environment.path}' has been modified since it was read"
            raise RefusedError(HTTPStatus.CONFLICT, message)

    def checked(self, environment: Environment, definition: str) -> tuple[str, list[Json]]:
        """Return a definition as ESC stores it, and the warnings of its check. Refuse errors with 400."""
        name = f"{environment.project}/{environment.name}"
        checked = self.check(definition, environment.organization, name)
        refuse_errors(checked)
        try:
            return self.engine.encrypt(name, definition), checked.diagnostics
        except EngineError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Bad Request: {error}") from None

    def corrupt(self, path: str, change: Callable[[str], str]) -> None:
        """Change the stored definition. A text that isn't YAML is stored unchanged."""
        environment = self.get(path)
        changed = change(environment.latest.definition)
        with contextlib.suppress(EngineError):
            changed = self.engine.encrypt(environment.name, changed)
        environment.revisions[-1] = replace(environment.latest, definition=changed)

    def retract(self, path: str, number: int) -> None:
        """Retract a revision, but not the first or latest. It becomes unreadable; its tags move to the previous one."""
        environment = self.get(path)
        if not 1 < number < environment.latest.number:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Revision {number} can't be retracted")
        earlier = reversed(environment.revisions[: number - 1])
        previous = next(each.number for each in earlier if each.replacement is None)
        self.change_revision(path, number, replacement=previous)
        for tag in environment.revision_tags.values():
            tag.revision = previous if tag.revision == number else tag.revision

    def change_revision(self, path: str, number: int, **changes: Any) -> None:
        """Change attributes of a revision."""
        revisions = self.get(path).revisions
        revisions[number - 1] = replace(revisions[number - 1], **changes)

    def decrypted(self, revision: Revision) -> str:
        """Return the definition with its secrets in plain text, formatted by ESC, or unchanged if it isn't YAML."""
        if not revision.definition:
            return ""
        try:
            return self.engine.decrypt(ANONYMOUS, revision.definition)
        except EngineError:
            return revision.definition

    def check(
        self, definition: str, organization: str, name: str = ANONYMOUS, *, show_secrets: bool = False
    ) -> Evaluated:
        """Evaluate a definition without opening providers."""
        return self.engine.check(name, definition, self._loader(organization), show_secrets=show_secrets)

    def open(self, definition: str, organization: str, name: str = ANONYMOUS) -> Evaluated:
        """Evaluate a definition as its consumers get it."""
        return self.engine.open(name, definition, self._loader(organization))

    def _loader(self, organization: str) -> Load:
        return lambda imported: self._imported(organization, imported)

    def _imported(self, organization: str, reference: str) -> str:
        """Return the definition of `[project/]name[@version]`."""
        path, _, version = reference.partition("@")
        full = path if "/" in path else f"{DEFAULT_PROJECT}/{path}"
        environment = self._environments.get(f"{organization}/{full}")
        revision = environment.revision(version) if environment else None
        if revision is None:
            raise LookupError(f"environment '{organization}/{full}' not found")
        return revision.definition

    def clone(self, path: str, to: str, author: str, *, history: bool, tags: bool, revision_tags: bool) -> None:
        source = self.get(path)
        clone = self.create(to, author)
        if history:
            clone.revisions = list(source.revisions)
        else:
            clone.add_revision(source.latest.definition, author, source.latest.sent)
        clone.revision_tags[LATEST].revision = clone.latest.number
        if tags:
            clone.tags = {name: replace(tag, id=secrets.token_hex(8)) for name, tag in source.tags.items()}
        if revision_tags and history:
            clone.revision_tags |= {name: replace(tag) for name, tag in source.revision_tags.items()}

    # Revision tags.

    def revision_tag(self, path: str, name: str) -> RevisionTag:
        try:
            return self.get(path).revision_tags[name]
        except KeyError:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Tag '{name}' not found") from None

    def create_revision_tag(self, path: str, name: str, revision: int | None, editor: str) -> None:
        environment = self.get(path)
        if not _TAG_NAME.fullmatch(name):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Invalid tag name '{name}'")
        if name in environment.revision_tags:
            raise RefusedError(HTTPStatus.CONFLICT, f"Tag '{name}' already exists")
        number = _number(environment, revision)
        now = datetime.now(UTC)
        environment.revision_tags[name] = RevisionTag(name, number, now, now, editor)

    def update_revision_tag(self, path: str, name: str, revision: int | None, editor: str) -> None:
        tag = self.revision_tag(path, name)
        _keep_latest(name)
        tag.revision = _number(self.get(path), revision)
        tag.modified, tag.editor = datetime.now(UTC), editor

    def delete_revision_tag(self, path: str, name: str) -> None:
        self.revision_tag(path, name)
        _keep_latest(name)
        del self.get(path).revision_tags[name]

    # Environment tags.

    def tag(self, path: str, name: str) -> EnvironmentTag:
        try:
            return self.get(path).tags[name]
        except KeyError:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"Tag '{name}' not found") from None

    def create_tag(self, path: str, name: str, value: str, editor: str) -> EnvironmentTag:
        tags = self.get(path).tags
        if not name or not value:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A tag needs a name and a value")
        if name in tags:
            raise RefusedError(HTTPStatus.CONFLICT, f"Tag '{name}' already exists")
        now = datetime.now(UTC)
        tags[name] = EnvironmentTag(secrets.token_hex(8), name, value, now, now, editor)
        return tags[name]

    def update_tag(self, path: str, name: str, current: str, to: tuple[str, str], editor: str) -> EnvironmentTag:
        """Rename a tag or change its value. `to` is the new name and value; an empty one stays as it is."""
        tags = self.get(path).tags
        tag = self.tag(path, name)
        if tag.value != current:
            raise RefusedError(HTTPStatus.CONFLICT, f"Tag '{name}' has another value by now")
        new_name, new_value = to[0] or tag.name, to[1] or tag.value
        if new_name != name and new_name in tags:
            raise RefusedError(HTTPStatus.CONFLICT, f"Tag '{new_name}' already exists")
        del tags[name]
        tags[new_name] = replace(tag, name=new_name, value=new_value, modified=datetime.now(UTC), editor=editor)
        return tags[new_name]

    def delete_tag(self, path: str, name: str) -> None:
        self.tag(path, name)
        del self.get(path).tags[name]


def refuse_errors(evaluated: Evaluated) -> None:
    if evaluated.failed:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Bad Request: invalid definition", diagnostics=evaluated.diagnostics)


def _split(path: str) -> tuple[str, str, str]:
    parts = path.split("/")
    if len(parts) != 3 or not all(_NAME.fullmatch(part) for part in parts):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Invalid environment name '{path}'")
    return parts[0], parts[1], parts[2]


def _number(environment: Environment, revision: int | None) -> int:
    found = environment.revision("" if revision is None else str(revision))
    if found is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"There is no revision {revision}")
    return found.number


def _keep_latest(name: str) -> None:
    if name == LATEST:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The tag '{LATEST}' can't be changed")
