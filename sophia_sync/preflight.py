"""Sentry's view of the new credentials, asked for before anything is written.

A working secret is never overwritten by one that Sentry refuses; a Sentry that can't be asked never stops a sync. Only
what Sentry itself says counts as a refusal: an answer that isn't understood, such as a proxy's sign-in page, is none.

Source: docs.sentry.io/api ("Auth Tokens", "Permissions & Scopes", "Retrieve a Project", "List a Project's Client
Keys", "Paginating Results") and github.com/getsentry/sentry: `src/sentry/api/endpoints/index.py`,
`src/sentry/api/authentication.py`, `src/sentry/api/bases/project.py`, `src/sentry/core/endpoints/project_keys.py`,
and SENTRY_SCOPE_HIERARCHY_MAPPING in `src/sentry/conf/server.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
from pydantic import SecretStr
from requests import Response

from sophia_sync.runtime.errors import PreflightError
from sophia_sync.runtime.http import Client, UnansweredError, json_of, one_line
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.tasks import in_thread, time_left
from sophia_sync.settings.inputs import PreflightMode

LONGEST = 15.0
"""Seconds for the whole check: it must not use up the time for the sync itself."""
PAGES_OF_KEYS = 10
NEEDED_SCOPES = ("project:read", "project:write", "event:read", "event:write")

# A scope implies those of its kind that stand before it.
_LEVELS = ("read", "write", "admin")
# An OAuth token for one organisation is good for that one's endpoints, but on the index it gets a 401 with these words.
_LIMITED = "limited to organization endpoints"
# A moment for the thread that asks to find by itself that the time is up.
_GRACE = 0.5

_REPLACE_IT = (
    "Create one in Sentry → Settings → Custom Integrations, an internal integration with Project: Read & Write and "
    "Issue & Event: Read & Write, and give it as `sentry-api-token`."
)
_RIGHT_SLUGS = "Check `sentry-organization-slug` and `sentry-project-slug`"
_RIGHT_DSN = "Copy the DSN from Sentry → Project Settings → Client Keys (DSN) of that project into `sentry-dsn`."
_DENIED = {
    401: ("refuses the new token for it", _REPLACE_IT),
    403: (
        "doesn't let the new token see it",
        "The token must be of that organisation, and if it is a person's, that person in a team of the project. "
        f"{_RIGHT_SLUGS}, or replace the token: {_REPLACE_IT}",
    ),
    404: ("says there is none", f"{_RIGHT_SLUGS}, and that the token is of that organisation."),
}


@dataclass(frozen=True)
class Refusal:
    """A fact that is wrong: what was asked and what Sentry said, and what to do; no secret's value."""

    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what} {self.todo}"


@dataclass(frozen=True)
class Verdict:
    """What Sentry says of the new credentials.

    Attributes:
        refusals: The facts that are wrong.
        unknown: Why Sentry could not be asked, or not about everything; None if it was.
    """

    refusals: tuple[Refusal, ...] = ()
    unknown: str | None = None

    @property
    def refused(self) -> tuple[str, ...]:
        """The refusals in words."""
        return tuple(map(str, self.refusals))

    @property
    def ok(self) -> bool:
        """Whether everything was asked and nothing is wrong."""
        return not self.refused and self.unknown is None


async def check(url: str, token: SecretStr, dsn: SecretStr, organization: str, project: str) -> Verdict:
    """Ask Sentry about the new credentials. This takes about `LONGEST` seconds at most.

    Args:
        url: Sentry's address, without a slash at its end.
        token: Sentry's API token; it is sent there and nowhere else.
        dsn: A well-formed DSN. Its host is not compared: events may go by way of a relay.
        organization: The organisation's slug.
        project: The project's slug.
    """
    examination = _Examination(url, token, dsn, organization, project)
    if not token.get_secret_value().isascii() or not token.get_secret_value().isprintable():
        examination.refuse("The new token was not shown to Sentry: it holds characters that no token has.", _REPLACE_IT)
        return examination.verdict
    limit = time_left().part(LONGEST)
    # The thread is left behind when the time is up. Nothing else ends every wait: the look-up of a name has no time
    # limit, and an answer that drips byte by byte has none that requests knows.
    with anyio.move_on_after(LONGEST + _GRACE) as scope:
        try:
            await in_thread(partial(examination.run, limit))
        except UnansweredError as error:
            examination.leave_open(str(error))
    if scope.cancelled_caught:
        examination.leave_open("takes too long")
    return examination.verdict


class _RefusedError(Exception):
    """A fact is wrong, and what comes after it can't be asked."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo


class _Examination:
    """One look at the credentials: what has been found so far, and the next question."""

    def __init__(self, url: str, token: SecretStr, dsn: SecretStr, organization: str, project: str) -> None:
        parts = urlsplit(dsn.get_secret_value())
        self._public_key = parts.username or ""
        self._number = parts.path.rpartition("/")[2]
        self._token = token
        self._url = url
        self._project = f"{organization}/{project}"
        self._project_url = f"{url}/api/0/projects/{quote(organization, safe='')}/{quote(project, safe='')}/"
        # The texts hold what Sentry says, and that could hold anything.
        self._redact = Redactor([token, dsn, SecretStr(self._public_key)])
        self._refused: list[Refusal] = []
        self._open: list[str] = []

    @property
    def verdict(self) -> Verdict:
        if not self._open:
            return Verdict(tuple(self._refused))
        unknown = (
            f"Sentry at {self._url} {' and '.join(self._open)}. So not all about the new credentials could be checked; "
            "that says nothing against them. If the address is not your Sentry's, set `sentry-url`."
        )
        return Verdict(tuple(self._refused), self._redact(unknown))

    def refuse(self, what: str, todo: str) -> None:
        self._refused.append(Refusal(self._redact(what), self._redact(todo)))

    def leave_open(self, why: str) -> None:
        """Note what could not be asked; `why` goes on from Sentry's name."""
        self._open.append(why)

    def run(self, limit: TimeLimit) -> None:
        """Ask all that can be asked.

        Raises:
            UnansweredError: Sentry could not be asked further.
        """
        with Client(self._token, limit) as client:
            try:
                self._ask(client)
            except _RefusedError as error:
                self.refuse(error.what, error.todo)

    def _ask(self, client: Client) -> None:
        scopes = self._scopes(client)
        if scopes is None:
            self.leave_open("doesn't tell the scopes of a token that is limited to one organisation")
        elif not self._scopes_suffice(scopes):
            return
        number = self._project_number(client)
        if number != self._number.lstrip("0"):
            self.refuse(
                f"Sentry was asked for the number of the project {self._project}, and it isn't the one in the new DSN.",
                _RIGHT_DSN,
            )
        self._find_key(client)

    def _scopes(self, client: Client) -> frozenset[str] | None:
        """What the token may do; None if Sentry doesn't tell."""
        response = client.get(f"{self._url}/api/0/")
        said = self._said(response)
        asked = f"Sentry at {self._url} was shown the new token"
        if response.status_code == 401 and said is not None:
            if _LIMITED in said:
                return None
            raise _RefusedError(f"{asked} and refused it (HTTP 401: {said}).", _REPLACE_IT)
        body = json_of(response)
        if response.status_code != 200 or not isinstance(body, dict) or not {"version", "auth"} <= body.keys():
            raise _not_understood(response)
        if body["auth"] is None:
            raise _RefusedError(f"{asked} and answered as if there were none: it doesn't know it.", _REPLACE_IT)
        scopes = body["auth"].get("scopes") if isinstance(body["auth"], dict) else None
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise _not_understood(response)
        return frozenset(scope.replace("issue:", "event:") for scope in scopes)

    def _scopes_suffice(self, scopes: frozenset[str]) -> bool:
        """Refuse scopes that don't; gives whether they are enough to go on."""
        missing = [scope for scope in NEEDED_SCOPES if not _holds(scopes, scope)]
        can_read = _holds(scopes, "project:read")
        if missing:
            has = ", ".join(sorted(scope for scope in scopes if re.fullmatch(r"[a-z]+:[a-z]+", scope))) or "none"
            unseen = "" if can_read else " Without project:read it can't see the project, so the DSN was not checked."
            kind = " It is an organization token, which is for uploads from CI only." if scopes == {"org:ci"} else ""
            self.refuse(
                f"Sentry at {self._url} was asked for the new token's scopes: {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing (it has: {has}).{kind}{unseen}",
                f"Add the permissions to its integration, or replace it. {_REPLACE_IT}",
            )
        return can_read

    def _project_number(self, client: Client) -> str:
        response = self._get(client, self._project_url, f"the project {self._project}")
        body = json_of(response)
        number = str(body.get("id")) if isinstance(body, dict) else ""
        if not re.fullmatch(r"[0-9]+", number):
            raise _not_understood(response)
        return number.lstrip("0")

    def _find_key(self, client: Client) -> None:
        """Look for the DSN's public key among the project's client keys."""
        what = f"the client keys of the project {self._project}"
        page = {"per_page": "100"}
        for _ in range(PAGES_OF_KEYS):
            response = self._get(client, f"{self._project_url}keys/", what, page)
            is_active = _activity(response).get(self._public_key)
            if is_active:
                return
            if is_active is not None:
                raise _RefusedError(
                    f"Sentry was asked for {what}, and says that the new DSN's is disabled.",
                    f"Enable it there, or use another. {_RIGHT_DSN}",
                )
            cursor = _next_cursor(response)
            if cursor is None:
                raise _RefusedError(f"Sentry was asked for {what}, and the new DSN's is none of them.", _RIGHT_DSN)
            page["cursor"] = cursor
        raise UnansweredError(f"has more client keys for {self._project} than are looked through")

    def _get(self, client: Client, url: str, what: str, parameters: Mapping[str, str] | None = None) -> Response:
        response = client.get(url, parameters)
        said = self._said(response)
        if response.status_code in _DENIED and said is not None:
            how, todo = _DENIED[response.status_code]
            raise _RefusedError(
                f"Sentry at {self._url} was asked for {what} and {how} (HTTP {response.status_code}: {said}).", todo
            )
        if response.status_code != 200:
            raise _not_understood(response)
        return response

    def _said(self, response: Response) -> str | None:
        """Sentry's own words for an error; None if the answer is no error of Sentry's."""
        body = json_of(response)
        detail = body.get("detail") if isinstance(body, dict) else None
        if isinstance(detail, dict):
            detail = detail.get("message")
        return one_line(self._redact(detail)) if isinstance(detail, str) else None


def _holds(scopes: frozenset[str], needed: str) -> bool:
    kind, _, level = needed.partition(":")
    return any(f"{kind}:{higher}" in scopes for higher in _LEVELS[_LEVELS.index(level) :])


def _activity(response: Response) -> dict[str, bool]:
    """A page of client keys: their public parts, and whether they are active. Their secrets are not looked at."""
    rows: Any = json_of(response)
    if not isinstance(rows, list):
        raise _not_understood(response)
    found = {}
    for row in rows:
        public, is_active = (row.get("public"), row.get("isActive")) if isinstance(row, dict) else (None, None)
        if not isinstance(public, str) or not isinstance(is_active, bool):
            raise _not_understood(response)
        found[public] = is_active
    return found


def _next_cursor(response: Response) -> str | None:
    """Where the next page begins; None on the last. The link itself isn't followed: it may name another host."""
    link = response.links.get("next", {})
    if link.get("results") != "true":
        return None
    cursor = link.get("cursor")
    if not cursor:
        raise _not_understood(response)
    return str(cursor)


def _not_understood(response: Response) -> UnansweredError:
    return UnansweredError(f"gives an answer that isn't Sentry's (HTTP {response.status_code})")


def heed(verdict: Verdict, mode: PreflightMode) -> list[str]:
    """What a verdict means for the sync; returns warnings.

    Raises:
        PreflightError: Sentry refused the credentials, and `mode` is `enforce`.
    """
    warnings = []
    if verdict.unknown is not None:
        warnings.append(f"{verdict.unknown} The sync goes on.")
    if verdict.refused and mode is PreflightMode.ENFORCE:
        facts = "\n".join(f"- {fact}" for fact in verdict.refused)
        raise PreflightError(
            f"Sentry doesn't accept the new credentials:\n{facts}" if len(verdict.refused) > 1 else verdict.refused[0],
            "Nothing was written: ESC keeps what it holds. `preflight: warn` would write them all the same.",
        )
    return [*warnings, *(f"{fact} `preflight: warn` lets the sync go on." for fact in verdict.refused)]
