"""`doctor`: check the Pulumi CLI, the token, the environments, and their keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sophia_sync.console.diagnosis import Check, Section, bad, good, none_of, not_checked, warning
from sophia_sync.console.doctor import ages, sentry
from sophia_sync.console.session import Session
from sophia_sync.console.times import ago, changed, counted, now
from sophia_sync.esc import approvals
from sophia_sync.esc.cli import SENDS_IF_MATCH, Pulumi
from sophia_sync.esc.definition import Held, HeldKind, Name
from sophia_sync.esc.opened import Opened
from sophia_sync.runtime.errors import EscError, TokenError, TransientError
from sophia_sync.runtime.tasks import side_by_side, task_group
from sophia_sync.sync.bundle import OPTIONAL_KEYS, SENTRY_KEYS
from sophia_sync.sync.environment import read
from sophia_sync.sync.history import LastChange, last_changes

PULUMI = "Pulumi"
CLI, TOKEN, ENVIRONMENT, APPROVALS = "CLI", "access token", "environment", "approvals"

_OTHERS = "Add it in the Pulumi console, or let the sync carry it, by `extra-secrets` or `extra-variables`."
_INSTALL_PAGE = "https://www.pulumi.com/docs/install/"
_SYNC = "`sophia-sync sync` writes it, or run the sync workflow."


@dataclass(frozen=True)
class _Holding:
    """Everything that was read from one environment."""

    held: Mapping[Name, Held]
    changes: Mapping[str, LastChange]
    opened: Mapping[str, Opened] | EscError
    ages: Sequence[Check] = ()


async def sections(
    session: Session, keys: Sequence[str], limit: int, max_age: timedelta | None = None
) -> list[Section]:
    """Return the checks of ESC and what it holds."""
    checks, usable = await pulumi(session)
    work = [partial(_environment, session, name, keys, limit, max_age, usable) for name in session.environments]
    found = await side_by_side(work)
    return [Section(PULUMI, tuple(checks)), *found]


async def pulumi(session: Session) -> tuple[list[Check], bool]:
    """Check the CLI and its token. Also return whether the token works."""
    first = session.environments[0]
    try:
        client = await session.pulumi(first)
    except EscError as error:
        return [*none_of([CLI], "Not started without an access token."), bad(TOKEN, error.what, error.todo)], False
    try:
        checks = [_of_version(await client.version() or "version unknown")]
    except EscError as error:
        slow = isinstance(error, TransientError)
        todo = "Run it again, with a larger --timeout." if slow else f"Install it: {_INSTALL_PAGE}, and put it on PATH."
        return [bad(CLI, error.what, todo), *none_of([TOKEN], "It takes the CLI to ask.")], False
    try:
        whose = await client.account()
    except EscError as error:
        return [*checks, bad(TOKEN, error.what, _anew(client) if isinstance(error, TokenError) else error.todo)], False
    return [*checks, good(TOKEN, f"works, and belongs to {whose} ({_source(session, client)})")], True


def _of_version(version: str) -> Check:
    """Judge the CLI by its version."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) >= SENDS_IF_MATCH:
        return good(CLI, version)
    newer = "v{}.{}".format(*SENDS_IF_MATCH)
    return warning(
        CLI,
        f"{version} is older than {newer}: its writes may not notice another writer",
        f"Install a newer one: {_INSTALL_PAGE}. The action's image has its own.",
    )


def _anew(client: Pulumi) -> str:
    """Return how to get a token that works."""
    if client.access_token is None:
        return "Sign in again: pulumi login"
    return "Make a new one in Pulumi Cloud → user menu → Personal access tokens, and set PULUMI_ACCESS_TOKEN to it."


def _source(session: Session, client: Pulumi) -> str:
    if client.access_token is None:
        return "from `pulumi login`"
    return "PULUMI_ACCESS_TOKEN" if session.access.pulumi_access_token else "GitHub's identity token"


async def _environment(
    session: Session, name: str, keys: Sequence[str], limit: int, max_age: timedelta | None, usable: bool
) -> Section:
    """Return the checks of one environment, its keys, and its values."""
    rest = [APPROVALS, *keys, *sentry.NAMES]
    if not usable:
        return Section(name, tuple(none_of([ENVIRONMENT, *rest], "Needs a CLI with a token that works.")))
    try:
        client = await session.pulumi(name)
        checks = [await _newest(client, name), await _approvals(client, name)]
    except EscError as error:
        found = await _missing(client, name) if "[404]" in error.what else bad(ENVIRONMENT, error.what, error.todo)
        return Section(name, (found, *none_of(rest, "The environment can't be read.")))
    try:
        holding = await _holding(client, name, keys, limit, max_age)
    except EscError as error:
        unread = bad(ENVIRONMENT, error.what, error.todo)
        return Section(name, (unread, checks[1], *none_of(rest[1:], "The environment can't be read.")))
    checks += [*(_key(key, holding) for key in keys), *holding.ages]
    return Section(name, (*checks, *await sentry.checks(session, holding.opened)))


async def _holding(client: Pulumi, name: str, keys: Sequence[str], limit: int, max_age: timedelta | None) -> _Holding:
    """Read an environment: its definition, its history, and what its consumers get."""

    async def opened() -> Mapping[str, Opened] | EscError:
        try:
            return await client.open_values(name)
        except EscError as error:
            return error

    async with task_group() as tasks:
        values = tasks.start(opened)
        held = (await read(client, name, keys)).entries
        # Don't search the whole history for an optional key.
        wanted = [key for key in keys if key in held or key not in OPTIONAL_KEYS]
        changes = await last_changes(client, name, wanted, limit)
        of_secrets = await ages.checks(client, name, keys, held, limit, max_age) if max_age else []
        return _Holding(held, changes, await values.result(), of_secrets)


async def _newest(client: Pulumi, name: str) -> Check:
    revisions = await client.revisions(name)
    if not revisions:
        return warning(ENVIRONMENT, "exists, but its revisions aren't listed", "See it in the Pulumi console.")
    newest = revisions[0]
    return good(
        ENVIRONMENT,
        f"exists, {counted(len(revisions), 'revision')}; the newest is {newest.number}, saved "
        f"{ago(newest.created, now())} by {newest.author}",
    )


async def _approvals(client: Pulumi, name: str) -> Check:
    """Check whether updates need an approval, and whether a change request is open."""
    try:
        asked = await approvals.ask(client, name)
    except EscError as error:
        return not_checked(APPROVALS, error.what, error.todo)
    needed = "updates need an approval" if approvals.UPDATE in asked.actions else "updates need none"
    if approvals.OPEN in asked.actions:
        needed += ", opening needs one"
    if asked.open is None:
        return good(APPROVALS, f"{needed}; no change request is open")
    request = asked.open
    since = f", opened {ago(request.created, now())}" if request.created else ""
    by = f" by {request.author}" if request.author else ""
    if request.status == approvals.DRAFT:
        todo = f"It was never submitted, and nobody can open another: submit it or close it. {request.url}"
    else:
        todo = f"Nobody can open another: apply it or close it. {request.url}"
    what = f"{needed}; change request {request.id} is {request.status}{since}{by}"
    return warning(APPROVALS, what, todo.strip())


async def _missing(client: Pulumi, name: str) -> Check:
    """Return which part of an environment's path doesn't exist."""
    organization, project, _ = name.split("/")
    try:
        there = await client.environments(organization)
    except EscError:
        return bad(
            ENVIRONMENT,
            f"The token sees no organization {organization}.",
            "Check its name in Pulumi Cloud, and that the token's owner is a member of it.",
        )
    create = f"`pulumi env init {name}` makes it; then sync."
    if not any(path.startswith(f"{organization}/{project}/") for path in there):
        have = ", ".join(sorted({path.split("/")[1] for path in there})) or "none"
        what = f"The token sees no environments of a project {project} in {organization} (projects: {have})."
        return bad(ENVIRONMENT, what, f"Check the project's name. {create}")
    have = ", ".join(path.split("/")[2] for path in there if path.startswith(f"{organization}/{project}/"))
    return bad(ENVIRONMENT, f"There is no such environment in {organization}/{project} (there: {have}).", create)


def _key(key: str, holding: _Holding) -> Check:
    """Check one key: whether it exists, is encrypted as it should be, and when it changed."""
    held = holding.held.get(key)
    change = holding.changes.get(key)
    when = f", {changed(change, now())}" if change else ""
    if held is None:
        if key in OPTIONAL_KEYS:
            return good(key, "not held, and needed for webhooks only")
        return bad(key, f"not held{when}", _SYNC if key in SENTRY_KEYS else _OTHERS)
    secret = SENTRY_KEYS.get(key)
    form = "encrypted" if held.encrypted else "plain text"
    if held.kind in (HeldKind.OTHER, HeldKind.REFERENCES):
        todo = "Is that wanted? A sync would put the value itself there."
        return warning(key, f"an expression, not a value of its own{when}", todo)
    if secret and not held.encrypted:
        return bad(
            key,
            f"in plain text{when}",
            "`sophia-sync sync` encrypts it. Then replace the credential: older revisions still show it.",
        )
    if secret is False and held.encrypted:
        return warning(key, f"encrypted, and need not be{when}", f"{_SYNC} Until then consumers mask it.")
    return good(key, when.removeprefix(", ") if when.startswith(f", {form} ") else form + when)
