"""Issues change in every way that Sentry's own page offers. Further routes are read, such as attachments."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import asked, call, refused, unmarked

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("arguments", "sent", "after"),
    [
        (
            {"status": "ignored"},
            {"status": "ignored", "substatus": "archived_until_escalating"},
            ("ignored", "archived_until_escalating", None),
        ),
        (
            {"archive_until": "forever"},
            {"status": "ignored", "substatus": "archived_forever"},
            ("ignored", "archived_forever", None),
        ),
        (
            {"archive_until": "minutes:30"},
            {
                "status": "ignored",
                "substatus": "archived_until_condition_met",
                "statusDetails": {"ignoreDuration": 30},
            },
            ("ignored", "archived_until_condition_met", None),
        ),
        (
            {"archive_until": "users:10/60"},
            {
                "status": "ignored",
                "substatus": "archived_until_condition_met",
                "statusDetails": {"ignoreUserCount": 10, "ignoreUserWindow": 60},
            },
            ("ignored", "archived_until_condition_met", {"ignoreUserCount": 10, "ignoreUserWindow": 60}),
        ),
        (
            {"status": "resolvedInNextRelease"},
            {"status": "resolved", "statusDetails": {"inNextRelease": True}},
            ("resolved", None, {"inNextRelease": True}),
        ),
        (
            {"resolve_in": "release:shop@1.2"},
            {"status": "resolved", "statusDetails": {"inRelease": "shop@1.2"}},
            ("resolved", None, {"inRelease": "shop@1.2"}),
        ),
        (
            {"resolve_in": "commit:acme/shop@0123abc"},
            {"status": "resolved", "statusDetails": {"inCommit": {"repository": "acme/shop", "commit": "0123abc"}}},
            ("resolved", None, {"inCommit": "0123abc"}),
        ),
    ],
)
async def test_how_long_a_status_lasts(
    arguments: dict[str, str], sent: dict[str, Any], after: tuple[Any, ...], client: Client, issue: Issue
) -> None:
    changed = unmarked(await call(client, "update_issue", issue_id="PAY-READY-1", **arguments))
    assert changed["sent"] == sent
    told = changed["after"]
    assert (told["status"], told["substatus"], told["statusDetails"]) == after


@pytest.mark.parametrize(
    "arguments",
    [
        {"resolve_in": "next_release", "archive_until": "forever"},
        {"status": "unresolved", "resolve_in": "next_release"},
        {"status": "resolved", "archive_until": "forever"},
        {"archive_until": "events:0"},
        {"resolve_in": "someday"},
    ],
)
async def test_a_status_that_makes_no_sense(arguments: dict[str, str], client: Client, issue: Issue) -> None:
    await refused(client, "update_issue", issue_id="PAY-READY-1", **arguments)
    assert issue.status == "unresolved"


async def test_a_team_by_its_slug(client: Client, issue: Issue) -> None:
    for name in ("team:backend", "#Backend"):
        changed = await call(client, "update_issue", issue_id="PAY-READY-1", assigned_to=name)
        assert changed["sent"] == {"assignedTo": "team:3"}
    told = await refused(client, "update_issue", issue_id="PAY-READY-1", assigned_to="team:nobody")
    assert told == "The project has no team `nobody`. `get_project` shows those there are."


async def test_an_issue_with_what_belongs_to_it(client: Client, sentry: Sentry, issue: Issue) -> None:
    issue.extra = {
        "annotations": [{"displayName": "acme/shop#7", "url": "https://github.com/acme/shop/issues/7"}],
        "userReportCount": 2,
        "status": "pending_deletion",
        "level": "unknown",
    }
    told = unmarked(await call(client, "get_issue", issue_id="PAY-READY-1"))
    assert told["issue"]["permalink"] == f"{sentry.url}/organizations/pay-ready/issues/{issue.id}/"
    assert told["issue"]["annotations"] == issue.extra["annotations"]
    assert (told["issue"]["status"], told["issue"]["level"]) == ("pending_deletion", "unknown")
    assert (told["issue"]["userReportCount"], told["teams"][0]["slug"]) == (2, "backend")
    assert (told["issue"]["firstRelease"]["version"], told["issue"]["lastRelease"]["version"]) == ("shop@1.0",) * 2
    assert "jane@example.com" not in str(told)


async def test_events_of_the_project_by_query(client: Client, sentry: Sentry, issue: Issue, stranger: Issue) -> None:
    assert "needs org:read too" in await refused(client, "search_events", query="release:shop@1.0")
    sentry.scopes.add("org:read")
    found = unmarked(await call(client, "search_events", query="release:shop@1.0"))
    assert [row["id"] for row in found["events"]] == [issue.events[0].id]
    assert asked(sentry, "/organizations/pay-ready/events/")["project"] == str(sentry.project_id)
    theirs = {"data": [{"id": stranger.events[0].id, "project.id": 42, "title": "theirs"}]}
    sentry.fail("GET .*/organizations/pay-ready/events/", status=200, body=theirs)
    assert (await call(client, "search_events"))["events"] == []
    of_one = await call(client, "search_events", query="environment:staging", issue_id="PAY-READY-1")
    assert [row["id"] for row in of_one["events"]] == [issue.events[0].id]


async def test_attachments(client: Client, sentry: Sentry, issue: Issue, stranger: Issue) -> None:
    event = issue.events[-1]
    log = sentry.add_attachment(event, "app.log", b"started\nfailed: " + sentry.token.encode())
    picture = sentry.add_attachment(event, "screen.png", b"\x89PNG", "image/png")
    listed = unmarked(await call(client, "get_attachments", issue_id="PAY-READY-1"))
    assert [row["name"] for row in listed["attachments"]] == ["app.log", "screen.png"]
    told = unmarked(await call(client, "get_attachments", event_id=event.id, attachment_id=str(log.id)))
    assert told["text"] == "started\nfailed: ***"
    told = await refused(client, "get_attachments", event_id=event.id, attachment_id=str(picture.id))
    assert told == "That attachment isn't a text. Its page in Sentry shows it."
    large = sentry.add_attachment(event, "large.log", b" " * (5 * 2**20 + 1))
    told = await refused(client, "get_attachments", event_id=event.id, attachment_id=str(large.id))
    assert told == "That attachment is larger than 5 MiB. Its page in Sentry shows it."
    theirs = sentry.add_attachment(stranger.events[0], "theirs.log", b"theirs")
    await refused(client, "get_attachments", event_id=event.id, attachment_id=str(theirs.id))
    await refused(client, "get_attachments", event_id=stranger.events[0].id, attachment_id=str(theirs.id))


async def test_user_reports(client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.add_user_report(issue, "It broke")
    (report,) = unmarked(await call(client, "list_user_reports", issue_id="PAY-READY-1"))["reports"]
    assert (report["comments"], report["eventID"]) == ("It broke", issue.events[-1].id)
    assert "jane@example.com" not in str(report)


async def test_a_time_by_its_ends(client: Client, sentry: Sentry) -> None:
    await call(client, "search_issues", start="2026-11-01", end="2026-11-02T10:00:00Z", sort="recommended")
    sent = asked(sentry, "/issues/")
    assert (sent["start"], sent["end"], "statsPeriod" in sent) == ("2026-11-01", "2026-11-02T10:00:00Z", False)
    told = await refused(client, "search_issues", start="2026-11-01")
    assert told == "Give `start` and `end` together, or `period` alone."


async def test_releases_begin_with_the_prefix(client: Client, sentry: Sentry) -> None:
    for version in ("shop@1", "my-shop@1"):
        sentry.add_release(version)
    found = unmarked(await call(client, "list_releases", prefix="shop"))
    assert [row["version"] for row in found["releases"]] == ["shop@1"]


async def test_a_row_that_is_odd_hides_no_other(client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.add_activity(issue, "note", {"text": "Seen"})
    odd = [{"type": None, "id": 1}, {"type": "note", "data": {"text": "Seen"}}, 7]
    sentry.fail("GET .*/activities/", status=200, body={"activity": odd})
    shown = unmarked(await call(client, "get_issue_activity", issue_id="PAY-READY-1"))
    assert [row.get("text") for row in shown["activity"] if isinstance(row, dict)] == [None, "Seen"]
    issue.events[-1].extra = {
        "tags": [{"key": None, "value": "lost"}, {"key": "server", "value": None}, {"key": "a", "value": "b"}]
    }
    tags = unmarked(await call(client, "get_event", issue_id="PAY-READY-1"))["event"]["tags"]
    assert (tags["a"], list(tags)) == ("b", ["", "server", "a"])
    keys = [{"id": "x", "label": "odd"}, {"id": "0" * 32, "dsn": {"public": "https://a_b@host.example/1"}}]
    sentry.fail("GET .*/keys/", status=200, body=keys)
    shown = unmarked(await call(client, "list_client_keys"))
    assert [key["label"] for key in shown["keys"]] == ["odd", None]
    assert shown["keys"][1]["dsn"]["public"] == "https://a_b@host.example/1"
