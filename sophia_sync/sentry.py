"""Rules of Sentry's web API: scopes, pages and slugs. The preflight, `doctor` and the MCP server share it.

Source: docs.sentry.io/api ("Permissions & Scopes", "Paginating Results") and github.com/getsentry/sentry:
`src/sentry/api/endpoints/index.py`, `src/sentry/api/utils.py`, SENTRY_SCOPE_HIERARCHY_MAPPING in
`src/sentry/conf/server.py`, `src/sentry/slug/patterns.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NEEDED_SCOPES = ("project:read", "project:write", "event:read", "event:write")
"""The scopes that the backend and the MCP server need together."""

CURSOR = r"[0-9.-]{1,40}:-?[0-9]{1,20}:[01]"
"""Regular expression for a cursor."""

_ORGANIZATION_SLUG = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,99}")
_PROJECT_SLUG = re.compile(r"[a-z0-9_-]{1,100}")
_SCOPE = re.compile(r"[a-z]+:[a-z]+")
# A scope implies the scopes of its kind with the levels before its own.
_LEVELS = ("read", "write", "admin")
# Sentry has no `issue` scopes: some documents call the `event` scopes by that name.
_ALIASES = {"issue": "event"}
# An OAuth token for one organization works on that organization's routes. The index refuses it with these words.
_LIMITED = "limited to organization endpoints"


def is_organization_slug(value: str) -> bool:
    """Return whether `value` can be the slug of an organization."""
    return bool(_ORGANIZATION_SLUG.fullmatch(value))


def is_project_slug(value: str) -> bool:
    """Return whether `value` can be the slug of a project."""
    return bool(_PROJECT_SLUG.fullmatch(value))


def scope(name: str) -> str:
    """Return Sentry's own name of a scope, `event:read` for `issue:read`."""
    kind, colon, level = name.partition(":")
    return f"{_ALIASES.get(kind, kind)}{colon}{level}"


def allows(scopes: frozenset[str], needed: str) -> bool:
    """Return whether `scopes` hold the scope `needed`, or one that implies it."""
    kind, _, level = scope(needed).partition(":")
    return any(f"{kind}:{higher}" in scopes for higher in _LEVELS[_LEVELS.index(level) :])


def withholds_scopes(status: int, said: str) -> bool:
    """Return whether the index doesn't tell a token's scopes. That says nothing against the token.

    The addresses of regions, such as https://de.sentry.io, have no index: they answer 404 or 403.

    Args:
        status: The HTTP status of the index.
        said: Its body, or the text of its error.
    """
    return status in (403, 404) or (status == 401 and _LIMITED in said)


def scopes_of(index: Any) -> frozenset[str] | None:
    """Return the scopes in the JSON of the index. Return None if Sentry answered as if there were no token.

    Raises:
        ValueError: The JSON isn't that of Sentry's index.
    """
    if not isinstance(index, dict) or not {"version", "auth"} <= index.keys():
        raise ValueError("not Sentry's index")
    if index["auth"] is None:
        return None
    scopes = index["auth"].get("scopes") if isinstance(index["auth"], dict) else None
    if not isinstance(scopes, list) or not all(isinstance(each, str) for each in scopes):
        raise ValueError("no list of scopes")
    return frozenset(scope(each) for each in scopes if _SCOPE.fullmatch(each))


def next_cursor(links: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the cursor of the next page. Return None on the last page.

    The link itself isn't followed: it may name another host.

    Args:
        links: The parsed header `Link`, by `rel`: the `links` of an answer of requests or httpx.

    Raises:
        ValueError: There is a next page, but no cursor of Sentry's for it.
    """
    link = links.get("next", {})
    if link.get("results") != "true":
        return None
    cursor = link.get("cursor", "")
    if not re.fullmatch(CURSOR, cursor):
        raise ValueError("no cursor of Sentry's")
    return cursor
