"""Parse ids of issues and events in the forms that people use, such as an address copied from Sentry's page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sentry_mcp.errors import RefusedError

NAMED_EVENTS = ("latest", "oldest", "recommended")
_SHORT_ID = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,80}-[A-Z0-9]{1,20}")
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Place:
    """The project that addresses must belong to.

    Args:
        url: The address of Sentry.
        organization: The slug of the configured organization.
        project: The slug of the configured project.
    """

    url: str
    organization: str
    project: str


@dataclass(frozen=True)
class Address:
    """The issue and event that an address names."""

    issue: str | None
    event: str | None


def issue(value: str, place: Place) -> Address:
    """Return the issue that `value` names: a number, a short id or an address, which may name an event too.

    Raises:
        RefusedError: `value` names no issue, or is an address elsewhere.
    """
    value = value.strip()
    if "/" in value:
        found = _address(value, place)
        if found.issue is None:
            raise RefusedError("That address names no issue. Give the issue's number or short id.")
        return found
    plain = value.removeprefix("#").strip()
    if re.fullmatch(r"[0-9]{1,20}", plain):
        return Address(plain, None)
    return Address(_short_id(plain), None)


def _short_id(value: str) -> str:
    if not _SHORT_ID.fullmatch(value.upper()):
        raise RefusedError(
            "`issue_id` is neither an issue's number, such as 6100000001, nor a short id, such as PAY-READY-1A, nor an "
            "issue's address. Correct it and call again."
        )
    return value.upper()


def short_id_in(query: str) -> str | None:
    """Return the short id if the query is nothing else; otherwise None."""
    plain = query.strip().removeprefix("#").strip().upper()
    return plain if _SHORT_ID.fullmatch(plain) else None


def event(value: str, place: Place) -> Address:
    """Return the event that `value` names: 32 hexadecimal digits, also with dashes, a word or an address.

    Raises:
        RefusedError: `value` names no event, or is an address elsewhere.
    """
    value = value.strip()
    if "/" in value:
        found = _address(value, place)
        if found.event is None:
            raise RefusedError("That address names no event. Give the event's id, or the issue with `latest`.")
        return found
    if value.lower() in NAMED_EVENTS:
        return Address(None, value.lower())
    return Address(None, _event_id(value))


def _event_id(value: str) -> str:
    plain = value.removeprefix("#").replace("-", "").strip().lower()
    if not _HEX.fullmatch(plain):
        raise RefusedError("`event_id` is no event's id: 32 hexadecimal digits. Correct it and call again.")
    return plain


def _address(value: str, place: Place) -> Address:
    """Parse the address of a Sentry page: `/organizations/ORG/issues/ID/events/EVENT/`, or `ORG.sentry.io/…`."""
    elsewhere = RefusedError(
        "That address isn't one of an issue or event of the organization and project that this server is for."
    )
    try:
        parts = urlsplit(value if "://" in value else f"https://{value}")
        own = urlsplit(place.url)
        host, own_host = parts.netloc.lower(), own.netloc.lower()
    except ValueError:
        raise elsewhere from None
    if parts.scheme not in ("https", "http"):
        raise elsewhere
    path = [part for part in parts.path.split("/") if part]
    prefix = [part for part in own.path.split("/") if part]
    if path[: len(prefix)] == prefix:
        path = path[len(prefix) :]
    # sentry.io is one service: its pages name the organization in the host or path, its regions serve the API.
    base = "sentry.io" if own_host.endswith(".sentry.io") or own_host == "sentry.io" else own_host
    if host == f"{place.organization}.{base}".lower() or (host in (base, own_host) and path[:1] == ["issues"]):
        organization = place.organization
    elif host in (base, own_host) and path[:1] == ["organizations"] and len(path) > 1:
        organization, path = path[1], path[2:]
    elif host in (base, own_host) and len(path) > 2 and path[2] in ("issues", "events"):
        # The older form: /ORG/PROJECT/issues/ID/ or /ORG/PROJECT/events/ID/.
        if path[1].lower() != place.project.lower():
            raise elsewhere
        organization, path = path[0], path[2:]
    else:
        raise elsewhere
    if path[:1] == ["organizations"] and len(path) > 1:
        organization, path = path[1], path[2:]
    if organization.lower() != place.organization.lower():
        raise elsewhere
    return _issue_and_event(path, place, elsewhere)


def _issue_and_event(path: list[str], place: Place, elsewhere: RefusedError) -> Address:
    match path:
        case ["issues", found, "events", event_id, *_] if event_id in NAMED_EVENTS:
            return Address(_number_or_short(found), event_id)
        case ["issues", found, "events", event_id, *_]:
            return Address(_number_or_short(found), _event_id(event_id))
        case ["issues", found, *_]:
            return Address(_number_or_short(found), None)
        case ["projects", project, "events", event_id, *_] if project.lower() == place.project.lower():
            return Address(None, _event_id(event_id))
        case ["events", event_id, *_]:
            return Address(None, _event_id(event_id))
    raise elsewhere


def _number_or_short(value: str) -> str:
    return value if re.fullmatch(r"[0-9]{1,20}", value) else _short_id(value)
