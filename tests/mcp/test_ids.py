"""Issues and events are found by the forms of ids that people use, and only within the project."""

from __future__ import annotations

import pytest
from mcp import Client
from sentry_mcp import ids
from sentry_mcp.errors import RefusedError
from sentry_mcp.ids import Address, Place

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import asked, call, refused

pytestmark = pytest.mark.anyio

PLACE = Place("https://sentry.io", "acme", "shop")
OWN = Place("https://sentry.example.com/root", "acme", "shop")
EVENT = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("6100000001", Address("6100000001", None)),
        (" #shop-1a2 ", Address("SHOP-1A2", None)),
        ("https://acme.sentry.io/issues/61/?project=4&query=is%3Aunresolved", Address("61", None)),
        ("acme.sentry.io/issues/SHOP-1A2", Address("SHOP-1A2", None)),
        (f"https://acme.sentry.io/issues/61/events/{EVENT}/", Address("61", EVENT)),
        ("https://sentry.io/organizations/acme/issues/61/events/latest/", Address("61", "latest")),
        ("https://sentry.io/acme/shop/issues/61/", Address("61", None)),
    ],
)
def test_an_issue(value: str, found: Address) -> None:
    assert ids.issue(value, PLACE) == found


@pytest.mark.parametrize(
    "value",
    [
        "https://evil.sentry.io/issues/61/",
        "https://sentry.io/organizations/evil/issues/61/",
        "https://sentry.io/acme/other/issues/61/",
        "https://acme.sentry.io.evil.example/issues/61/",
        "https://evil.example/organizations/acme/issues/61/",
        "https://acme.sentry.io@evil.example/issues/61/",
        "ftp://acme.sentry.io/issues/61/",
        "https://acme.sentry.io/issues/../../x/",
        "https://acme.sentry.io/settings/",
        "https://[/issues/61",
        "",
        "..",
        "1?project=42",
    ],
)
def test_what_is_elsewhere_or_no_issue(value: str) -> None:
    with pytest.raises(RefusedError):
        ids.issue(value, PLACE)


def test_the_address_of_a_sentry_of_your_own() -> None:
    assert ids.issue("https://sentry.example.com/root/organizations/acme/issues/61/", OWN) == Address("61", None)
    with pytest.raises(RefusedError):
        ids.issue("https://acme.sentry.io/issues/61/", OWN)


@pytest.mark.parametrize("value", [EVENT.upper(), "01234567-89ab-cdef-0123-456789abcdef", f" {EVENT} "])
def test_an_event(value: str) -> None:
    assert ids.event(value, PLACE) == Address(None, EVENT)


async def test_a_search_finds_a_short_id_however_it_is_written(client: Client, issue: Issue, stranger: Issue) -> None:
    for query in ("#pay-ready-1", "PAY-READY-1", " pay-ready-1 "):
        assert [row["id"] for row in (await call(client, "search_issues", query=query))["issues"]] == [str(issue.id)]
    assert (await call(client, "search_issues", query=stranger.short_id))["issues"] == []


async def test_null_and_nothing_count_as_unset(client: Client, sentry: Sentry, issue: Issue) -> None:
    found = await call(client, "search_issues", query="", sort=None, environment="", limit=None, cursor="")
    assert [row["id"] for row in found["issues"]] == [str(issue.id)]
    sent = asked(sentry, "/issues/")
    assert (sent["query"], sent["sort"], "environment" in sent) == ("is:unresolved", "date", False)
    assert (await refused(client, "get_issue", issue_id="")).startswith("Wrong arguments for get_issue")


async def test_the_address_of_an_event_shows_it(client: Client, sentry: Sentry, issue: Issue) -> None:
    first = issue.events[0]
    address = f"{sentry.url}/organizations/pay-ready/issues/{issue.id}/events/{first.id}/"
    assert (await call(client, "get_event", issue_id=address))["event"]["id"] == first.id
    assert (await call(client, "get_event", event_id=address))["event"]["id"] == first.id
    told = await refused(client, "get_event", event_id=address.replace("organizations/pay-ready", "organizations/evil"))
    assert told.startswith("That address isn't one of an issue or event of the organization and project")
