"""All tools, the scopes that each needs, and which of them are offered."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_types import ToolAnnotations

from sentry_mcp.settings import Settings
from sophia_sync.sentry import allows

_PROJECT = ("project:read",)
# project:read gives the project's number, which tells its issues from those of other projects.
_EVENTS = ("event:read", "project:read")


@dataclass(frozen=True)
class Offer:
    """A tool: its title, the scopes that it needs, and what it does to Sentry."""

    title: str
    scopes: tuple[str, ...]
    writes: bool = False
    destroys: bool = False
    """It replaces what was there."""
    repeatable: bool = True
    """A second call with the same arguments changes nothing more."""
    asks_sentry: bool = True
    http_only: bool = False

    @property
    def annotations(self) -> ToolAnnotations:
        return ToolAnnotations(
            title=self.title,
            read_only_hint=not self.writes,
            destructive_hint=self.destroys,
            idempotent_hint=self.repeatable,
            open_world_hint=self.asks_sentry,
        )


OFFERS = {
    "whoami": Offer("What this server may do", ()),
    "get_project": Offer("Show the project", _PROJECT),
    "list_client_keys": Offer("List client keys", _PROJECT),
    "search_issues": Offer("Search issues", _EVENTS),
    "get_issue": Offer("Show an issue", _EVENTS),
    "get_event": Offer("Show an event", _EVENTS),
    "search_events": Offer("Search events", _EVENTS),
    "list_issue_events": Offer("List an issue's events", _EVENTS),
    "get_attachments": Offer("Show an event's attachments", _EVENTS),
    "get_issue_tag_values": Offer("Show the values of an issue's tag", _EVENTS),
    "get_issue_activity": Offer("Show an issue's activity", _EVENTS),
    "list_user_reports": Offer("List an issue's user reports", _EVENTS),
    "list_releases": Offer("List releases", _PROJECT),
    "get_release": Offer("Show a release", _PROJECT),
    "update_issue": Offer("Change an issue", ("event:write", "project:read"), writes=True, destroys=True),
    "add_issue_note": Offer("Add a note to an issue", ("event:write", "project:read"), writes=True, repeatable=False),
    "create_client_key": Offer("Make a client key", ("project:write",), writes=True, repeatable=False),
    "update_project": Offer("Change the project's settings", ("project:write",), writes=True, destroys=True),
    "list_webhooks": Offer("List the last webhooks", (), asks_sentry=False, http_only=True),
}
"""The tools by name, in the order in which they are listed."""


def configured(settings: Settings) -> list[str]:
    """Return the names of the tools that the settings allow."""
    return [
        name
        for name, offer in OFFERS.items()
        if not (offer.writes and settings.read_only) and not (offer.http_only and settings.transport != "http")
    ]


def missing_scopes(name: str, scopes: frozenset[str]) -> list[str]:
    """Return the scopes that a tool needs and the token lacks."""
    return [needed for needed in OFFERS[name].scopes if not allows(scopes, needed)]
