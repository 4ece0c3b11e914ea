"""Selects which parts of Sentry's responses a model sees, and in which form.

A `Show` takes a value of Sentry's JSON and returns what to show of it, or None for nothing. It marks text that others
wrote. It shows a value of an unexpected form marked too, so that one odd value hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeGuard

from sentry_mcp.outside import Marker, as_text, cost

Show: TypeAlias = Callable[[Marker, Any], Any]

MOST_TAGS = 60
_OF_A_MEMBER = 5
"""Tokens for the quotes, colon, comma and braces around a member of an object."""
_FILTERED = "[Filtered]"
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|auth|cookie|session|csrf|credential|api[-_]?key|private[-_]?key|dsn|signature"
    r"|card|cvv|cvc|iban|ssn|e-?mail|phone|^ip$|ip[-_]?address",
    re.IGNORECASE,
)


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value is a JSON object."""
    return isinstance(value, dict)


def line(marker: Marker, value: Any) -> str | None:
    """Show one marked line."""
    return None if value in (None, "", [], {}) else marker.line(as_text(value)) or None


def text(marker: Marker, value: Any) -> str | None:
    """Show a marked text with its line breaks."""
    return None if value in (None, "", [], {}) else marker.text(as_text(value)) or None


def number(marker: Marker, value: Any) -> int | float | str | None:
    """Show a number, also one that Sentry sends as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        found: int | float = marker.plain(value)
        return found
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(marker.plain(value))
    return line(marker, value)


def flag(marker: Marker, value: Any) -> bool | str | None:
    """Show a boolean."""
    return marker.plain(value) if isinstance(value, bool) else line(marker, value)


def matching(pattern: str) -> Show:
    """Make a `Show` for Sentry's own words, which match `pattern` and need no marks. It marks any other value."""
    known = re.compile(pattern)

    def show(marker: Marker, value: Any) -> str | None:
        found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        is_known = isinstance(found, str) and known.fullmatch(found)
        return marker.plain(found) if is_known else line(marker, found)

    return show


def record(**fields: Show) -> Show:
    """Make a `Show` for an object that shows only the members in `fields`, without empty ones."""
    names = {name: cost(name) + _OF_A_MEMBER for name in fields}

    def show(marker: Marker, value: Any) -> Any:
        if not is_object(value):
            return line(marker, value)
        pairs = ((name, show_one(marker, value.get(name))) for name, show_one in fields.items() if name in value)
        found = {name: shown for name, shown in pairs if shown is not None}
        marker.charge(sum(names[name] for name in found))
        return found or None

    return show


def rows(show_one: Show, marker: Marker, values: Iterable[Any], most: int = 1_000_000) -> list[Any]:
    """Show up to `most` values in order while the budget lasts. Set `marker.cut` if some are left out."""
    found: list[Any] = []
    for value in values:
        if len(found) >= most or marker.is_full:
            marker.cut = True
            break
        shown = show_one(marker, value)
        if shown is not None:
            found.append(shown)
    return found


def listed(show_one: Show, most: int = 50) -> Show:
    """Make a `Show` for a list."""

    def show(marker: Marker, value: Any) -> Any:
        if isinstance(value, list):
            return rows(show_one, marker, value, most) or None
        return line(marker, value)

    return show


def scrubbed(value: Any) -> Any:
    """Return JSON data without values whose names suggest a secret or a user's identity."""
    if isinstance(value, dict):
        return {
            name: _FILTERED if inner not in (None, "") and _SECRET_NAME.search(str(name)) else scrubbed(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        # Query strings, headers and forms are lists of pairs.
        if len(value) == 2 and isinstance(value[0], str) and _SECRET_NAME.search(value[0]):
            return [value[0], _FILTERED]
        return [scrubbed(inner) for inner in value]
    if isinstance(value, str):
        return _scrubbed_text(value)
    return value


def _scrubbed_text(value: str) -> str:
    """Hide the values of `name=value` and `"name": "value"` in a query, a form or a cut-off JSON body."""

    def replace(found: re.Match[str]) -> str:
        hidden = _SECRET_NAME.search(found["name"])
        return f"{found['name']}{found['sign']}{_FILTERED}" if hidden else found[0]

    value = re.sub(r"(?P<name>[A-Za-z0-9_.\[\]%-]{1,60})(?P<sign>=)[^&\s;]*", replace, value)
    return re.sub(r'(?P<name>"[^"]{1,60}")(?P<sign>\s*:\s*)("(?:[^"\\]|\\.)*"?|[0-9.]+)', replace, value)


def is_of_a_user(key: Any) -> bool:
    """Tell whether a tag identifies a user: `user`, which holds an id, a name or an address, or `user.email`."""
    return isinstance(key, str) and key.lower().removeprefix("sentry:").partition(".")[0] == "user"


def tags(marker: Marker, value: Any) -> dict[str, Any] | str | None:
    """Show tags as one object with marked keys and values, without those that identify a user."""
    if not isinstance(value, list):
        return line(marker, value)
    pairs = [(row.get("key"), row.get("value")) if is_object(row) else (row, None) for row in value]
    shown = rows(
        lambda _, pair: [line(marker, pair[0]), line(marker, pair[1])],
        marker,
        [pair for pair in pairs if not is_of_a_user(pair[0])],
        MOST_TAGS,
    )
    return {key or "": inner for key, inner in shown} or None


def name_of(marker: Marker, user: Any) -> str | None:
    """Show the name of a member of the organization."""
    if not is_object(user):
        return line(marker, user)
    found = (user.get(name) for name in ("name", "username", "email", "id"))
    return line(marker, next((value for value in found if value), None))


ID = matching(r"[0-9]{1,20}")
HEX = matching(r"[0-9a-f]{32}")
SLUG = matching(r"[a-z0-9_-]{1,100}")
SHORT_ID = matching(r"[A-Za-z0-9_-]{1,80}-[A-Z0-9]{1,20}")
TIME = matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9:]{4,6})?")
LEVEL = matching("fatal|error|warning|info|debug|sample|unknown|log")
STATUS = matching("resolved|unresolved|ignored|reprocessing|pending_deletion|pending_merge|deletion_in_progress")
SUBSTATUS = matching(
    "ongoing|escalating|regressed|new|archived_until_escalating|archived_until_condition_met|archived_forever"
)
PRIORITY = matching("high|medium|low")
DSN = matching(r"https?://[A-Za-z0-9_-]{1,64}@[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9_.-]+)*/[0-9]+")

TEAM = record(id=ID, slug=SLUG, name=line)
_RELEASE_NAME = record(version=line, dateCreated=TIME)

PROJECT = record(
    id=ID, slug=SLUG, name=line, platform=line, status=matching("active|disabled|pending_deletion"), dateCreated=TIME,
    firstEvent=TIME, subjectPrefix=line, resolveAge=number, defaultEnvironment=line, teams=listed(TEAM),
)  # fmt: skip
CLIENT_KEY = record(
    id=HEX, label=line, public=HEX, isActive=flag, rateLimit=record(count=number, window=number),
    dsn=record(public=DSN), dateCreated=TIME,
)  # fmt: skip
_ISSUE = {
    "id": ID,
    "shortId": SHORT_ID,
    "title": line,
    "culprit": line,
    "type": matching("default|error|csp|nel|hpkp|expectct|expectstaple|transaction|generic|feedback"),
    "issueCategory": matching("error|performance|outage|metric|frontend|feedback|cron|uptime|replay|profile|db_query"),
    "level": LEVEL,
    "status": STATUS,
    "substatus": SUBSTATUS,
    "statusDetails": record(
        inNextRelease=flag, inRelease=line, inCommit=line, ignoreUntil=TIME, ignoreCount=number, ignoreWindow=number,
        ignoreUserCount=number, ignoreUserWindow=number,
    ),
    "priority": PRIORITY,
    "assignedTo": record(type=matching("user|team"), id=ID, name=line),
    "count": number,
    "userCount": number,
    "isUnhandled": flag,
    "firstSeen": TIME,
    "lastSeen": TIME,
}  # fmt: skip
ISSUE = record(**_ISSUE)
WHOLE_ISSUE = record(
    **_ISSUE,
    permalink=line,
    annotations=listed(record(displayName=line, url=line)),
    firstRelease=_RELEASE_NAME,
    lastRelease=_RELEASE_NAME,
    userReportCount=number,
    numComments=number,
)
EVENT_ROW = record(
    id=HEX, groupID=ID, title=line, message=text, culprit=line, platform=line, dateCreated=TIME, tags=tags
)
FOUND_EVENT = record(
    **{"id": HEX, "timestamp": TIME, "title": line, "issue": SHORT_ID, "issue.id": ID, "release": line,
       "environment": line, "level": LEVEL}
)  # fmt: skip
TAG_VALUE = record(value=line, count=number, firstSeen=TIME, lastSeen=TIME)
ACTIVITY = record(id=matching(r"[0-9A-Za-z_-]{1,40}"), type=line, user=name_of, text=text, dateCreated=TIME)
RELEASE = record(
    version=line, shortVersion=line, ref=line, url=line, dateCreated=TIME, dateReleased=TIME, firstEvent=TIME,
    lastEvent=TIME, newGroups=number, commitCount=number, deployCount=number,
)  # fmt: skip
ATTACHMENT = record(id=ID, name=line, type=line, mimetype=line, size=number, dateCreated=TIME)
USER_REPORT = record(id=ID, eventID=HEX, comments=text, dateCreated=TIME)
WEBHOOK = record(received=TIME, resource=line, action=line, issue_id=ID, event_id=HEX, title=line, actor=line)
