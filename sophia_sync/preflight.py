"""Ask Sentry about the new credentials before anything is written.

With `preflight: enforce`, a credential that Sentry refuses never replaces a working one. If Sentry can't be asked, the
sync goes on. Only Sentry's own error counts as a refusal: a proxy's sign-in page, for instance, doesn't.

Source: docs.sentry.io/api ("Auth Tokens", "Permissions & Scopes", "Retrieve a Project", "List a Project's Client
Keys") and github.com/getsentry/sentry: `src/sentry/api/authentication.py`, `src/sentry/api/bases/project.py`,
`src/sentry/core/endpoints/project_keys.py`. `sophia_sync.sentry` names the sources for scopes, pages and slugs.
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

from sophia_sync.runtime.errors import PreflightError
from sophia_sync.runtime.http import Answer, Client, UnansweredError, one_line
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.tasks import in_thread, time_left
from sophia_sync.sentry import NEEDED_SCOPES, allows, is_project_slug, next_cursor, scopes_of, withholds_scopes
from sophia_sync.settings.inputs import PreflightMode

LONGEST = 15.0
"""Time limit of the whole check, in seconds. The sync needs the rest of its time."""
PAGES_OF_KEYS = 10
"""Maximum number of pages of client keys to read."""

# Grace period in seconds, in which the thread can notice by itself that its time is over.
_GRACE = 0.5
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")

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
        "The token must be of that organization, and if it is a person's, that person in a team of the project. "
        f"{_RIGHT_SLUGS}, or replace the token: {_REPLACE_IT}",
    ),
    404: ("says there is none", f"{_RIGHT_SLUGS}, and that the token is of that organization."),
}


@dataclass(frozen=True)
class Refusal:
    """One thing that is wrong with the credentials. Neither text holds a secret's value.

    Attributes:
        what: What Sentry was asked, and what it said.
        todo: What to do about it.
    """

    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what} {self.todo}"


@dataclass(frozen=True)
class Verdict:
    """Sentry's answer about the new credentials.

    Attributes:
        refusals: What is wrong with them.
        unknown: Why something could not be checked. None if everything was.
        warnings: What looks wrong, but may be intended.
    """

    refusals: tuple[Refusal, ...] = ()
    unknown: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """The refusals as texts."""
        return tuple(map(str, self.refusals))

    @property
    def ok(self) -> bool:
        """Whether everything was checked and nothing is or looks wrong."""
        return self == Verdict()


async def check(url: str, token: SecretStr, dsn: SecretStr, organization: str, project: str) -> Verdict:
    """Ask Sentry about the new credentials, for `LONGEST` seconds at most.

    Args:
        url: Sentry's address, without a slash at its end.
        token: Sentry's API token, well-formed. It is sent to `url` only.
        dsn: A well-formed DSN.
        organization: The organization's slug.
        project: The project's slug.
    """
    examination = _Examination(url, token, dsn, organization, project)
    limit = time_left().part(LONGEST)
    # Abandon the thread when the time is over. Nothing else ends every wait: a name lookup has no time limit, and
    # neither has an answer that arrives byte by byte.
    with anyio.move_on_after(LONGEST + _GRACE) as scope:
        try:
            await in_thread(partial(examination.run, limit))
        except UnansweredError as error:
            examination.leave_open(str(error))
    if scope.cancelled_caught:
        examination.leave_open("takes too long")
    return examination.verdict


class _RefusedError(Exception):
    """Raised for a problem that rules out all further questions."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo


class _Examination:
    """One check of the credentials: what was found so far, and the next question."""

    def __init__(self, url: str, token: SecretStr, dsn: SecretStr, organization: str, project: str) -> None:
        parts = urlsplit(dsn.get_secret_value())
        self._public_key = parts.username or ""
        self._host = parts.hostname
        self._number = parts.path.rpartition("/")[2].lstrip("0")
        self._token = token
        self._url = url
        self._slug = project
        self._project = f"{organization}/{project}"
        self._project_url = f"{url}/api/0/projects/{quote(organization, safe='')}/{quote(project, safe='')}/"
        # Sentry's own words could hold these.
        self._redact = Redactor([token, dsn, SecretStr(self._public_key)])
        self._refused: list[Refusal] = []
        self._open: list[str] = []
        self._warnings: list[str] = []

    @property
    def verdict(self) -> Verdict:
        """What was found so far."""
        unknown = None
        if self._open:
            unknown = self._redact(
                f"Sentry at {self._url} {' and '.join(self._open)}. So not all about the new credentials could be "
                "checked; that says nothing against them. If the address is not your Sentry's, set `sentry-url`."
            )
        return Verdict(tuple(self._refused), unknown, tuple(self._warnings))

    def refuse(self, what: str, todo: str) -> None:
        """Note something that is wrong."""
        self._refused.append(Refusal(self._redact(what), self._redact(todo)))

    def leave_open(self, why: str) -> None:
        """Note what could not be asked; `why` continues a sentence after Sentry's name."""
        self._open.append(why)

    def run(self, limit: TimeLimit) -> None:
        """Ask all questions.

        Raises:
            UnansweredError: Sentry gives no usable answer.
        """
        with Client(self._token, limit) as client:
            try:
                self._ask(client)
            except _RefusedError as error:
                self.refuse(error.what, error.todo)

    def _ask(self, client: Client) -> None:
        scopes = self._scopes(client)
        if scopes is None:
            self.leave_open("doesn't tell the scopes of the new token")
        elif not self._scopes_suffice(scopes):
            return
        self._check_project(client)
        self._find_key(client)

    def _scopes(self, client: Client) -> frozenset[str] | None:
        """Return the token's scopes. Return None if Sentry doesn't tell them."""
        answer = client.get(f"{self._url}/api/0/")
        said = self._said(answer)
        asked = f"Sentry at {self._url} was shown the new token"
        if withholds_scopes(answer.status, said or ""):
            return None
        if answer.status == 401 and said is not None:
            raise _RefusedError(f"{asked} and refused it (HTTP 401: {said}).", _REPLACE_IT)
        try:
            scopes = scopes_of(answer.body) if answer.status == 200 else None
        except ValueError:
            raise _not_understood(answer) from None
        if answer.status != 200:
            raise _not_understood(answer)
        if scopes is None:
            raise _RefusedError(f"{asked} and answered as if there were none: it doesn't know it.", _REPLACE_IT)
        return scopes

    def _scopes_suffice(self, scopes: frozenset[str]) -> bool:
        """Refuse scopes that don't suffice. Return whether they let us see the project."""
        missing = [scope for scope in NEEDED_SCOPES if not allows(scopes, scope)]
        can_read = allows(scopes, "project:read")
        if missing:
            has = ", ".join(sorted(scopes)) or "none"
            unseen = "" if can_read else " Without project:read it can't see the project, so the DSN was not checked."
            kind = " It is an organization token, which is for uploads from CI only." if scopes == {"org:ci"} else ""
            self.refuse(
                f"Sentry at {self._url} was asked for the new token's scopes: {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing (it has: {has}).{kind}{unseen}",
                f"Add the permissions to its integration, or replace it. {_REPLACE_IT}",
            )
        return can_read

    def _check_project(self, client: Client) -> None:
        """Compare the project's slug and number."""
        answer = self._get(client, self._project_url, f"the project {self._project}")
        body = answer.body if isinstance(answer.body, dict) else {}
        number, slug = str(body.get("id")), str(body.get("slug"))
        if not re.fullmatch(r"[0-9]+", number) or not is_project_slug(slug):
            raise _not_understood(answer)
        # Sentry takes a project's number in place of its slug, and redirects from a former slug.
        if self._slug not in (slug, number):
            self.refuse(
                f"Sentry was asked for the project {self._project}, and says that it was renamed to {slug}. Consumers "
                "that build addresses with the former slug fail.",
                f"Give `{slug}` as `sentry-project-slug`.",
            )
        if number.lstrip("0") != self._number:
            self.refuse(
                f"Sentry was asked for the number of the project {self._project}, and it isn't the one in the new DSN.",
                _RIGHT_DSN,
            )

    def _find_key(self, client: Client) -> None:
        """Look for the DSN's public key among the project's client keys."""
        what = f"the client keys of the project {self._project}"
        page = {"per_page": "100"}
        for _ in range(PAGES_OF_KEYS):
            answer = self._get(client, f"{self._project_url}keys/", what, page)
            key = _keys(answer).get(self._public_key)
            if key is not None:
                if not key.is_active:
                    raise _RefusedError(
                        f"Sentry was asked for {what}, and says that the new DSN's is disabled.",
                        f"Enable it there, or use another. {_RIGHT_DSN}",
                    )
                self._compare_host(key.host)
                return
            try:
                cursor = next_cursor(answer.links)
            except ValueError:
                raise _not_understood(answer) from None
            if cursor is None:
                raise _RefusedError(f"Sentry was asked for {what}, and the new DSN's is none of them.", _RIGHT_DSN)
            page["cursor"] = cursor
        raise UnansweredError(f"has more client keys for {self._project} than are looked through")

    def _compare_host(self, host: str | None) -> None:
        """Warn if the DSN's host isn't the one that Sentry gives. It may be a relay."""
        if host is not None and host != self._host:
            self._warnings.append(
                self._redact(
                    f"Sentry gives the host {host} for the client key of the new DSN, which has another host. Unless "
                    f"that is a relay of yours, all events are lost. {_RIGHT_DSN}"
                )
            )

    def _get(self, client: Client, url: str, what: str, parameters: Mapping[str, str] | None = None) -> Answer:
        answer = client.get(url, parameters)
        said = self._said(answer)
        if answer.status in _DENIED and said is not None:
            how, todo = _DENIED[answer.status]
            raise _RefusedError(
                f"Sentry at {self._url} was asked for {what} and {how} (HTTP {answer.status}: {said}).", todo
            )
        if answer.status != 200:
            raise _not_understood(answer)
        return answer

    def _said(self, answer: Answer) -> str | None:
        """Return Sentry's own words for an error. Return None if the answer is no error of Sentry's."""
        detail = answer.body.get("detail") if isinstance(answer.body, dict) else None
        if isinstance(detail, dict):
            detail = detail.get("message")
        return one_line(self._redact(detail)) if isinstance(detail, str) else None


@dataclass(frozen=True)
class _Key:
    """A client key: whether it is active, and the host of its DSN."""

    is_active: bool
    host: str | None


def _keys(answer: Answer) -> dict[str, _Key]:
    """Return a page of client keys by their public parts. Their secrets are not read."""
    if not isinstance(answer.body, list):
        raise _not_understood(answer)
    found = {}
    for row in answer.body:
        if not isinstance(row, dict) or not isinstance(row.get("isActive"), bool):
            raise _not_understood(answer)
        public = row.get("public")
        if isinstance(public, str):
            found[public] = _Key(row["isActive"], _host(row.get("dsn")))
        elif public is not None or "public" not in row:
            raise _not_understood(answer)
    return found


def _host(dsn: Any) -> str | None:
    """Return the host of a client key's public DSN. Return None if Sentry gives none."""
    public = dsn.get("public") if isinstance(dsn, dict) else None
    try:
        host = urlsplit(public).hostname if isinstance(public, str) else None
    except ValueError:
        return None
    return host if host and _HOST.fullmatch(host) else None


def _not_understood(answer: Answer) -> UnansweredError:
    return UnansweredError(f"gives an answer that isn't Sentry's (HTTP {answer.status})")


def heed(verdict: Verdict, mode: PreflightMode) -> list[str]:
    """Return the warnings of a verdict, or refuse to go on.

    Raises:
        PreflightError: Sentry refused the credentials, and `mode` is `enforce`.
    """
    warnings = list(verdict.warnings)
    if verdict.unknown is not None:
        warnings.append(f"{verdict.unknown} The sync goes on.")
    if verdict.refusals and mode is PreflightMode.ENFORCE:
        facts = [refusal.what for refusal in verdict.refusals]
        listed = "\n".join(["Sentry doesn't accept the new credentials:", *(f"- {fact}" for fact in facts)])
        todo = dict.fromkeys(refusal.todo for refusal in verdict.refusals)
        raise PreflightError(
            listed if len(facts) > 1 else facts[0],
            " ".join([*todo, "`preflight: warn` would write the credentials all the same."]),
        )
    return [*warnings, *(f"{fact} `preflight: warn` lets the sync go on." for fact in verdict.refused)]
