"""What the local Sentry's web API returns for issues, events and releases, and how it changes them."""

from typing import Any

import pytest
import requests

from sandbox import Sandbox
from sandbox.sentry import Issue

PROJECT = "/api/0/projects/pay-ready/pay-ready/"
ISSUES = "/api/0/organizations/pay-ready/issues/"


def ask(box: Sandbox, method: str, path: str, token: str = "", **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token or box.sentry.token}"}
    return requests.request(method, box.sentry.url + path, headers=headers, timeout=60, **options)


def found(box: Sandbox, **parameters: Any) -> list[str]:
    answer = ask(box, "GET", ISSUES, params=parameters)
    assert answer.status_code == 200, answer.text
    return [issue["shortId"] for issue in answer.json()]


@pytest.fixture
def issue(box: Sandbox) -> Issue:
    issue = box.sentry.add_issue()
    box.sentry.add_event(issue, "first", tags={"environment": "staging", "release": "shop@1.0"})
    box.sentry.add_event(issue, "second")
    return issue


@pytest.fixture
def stranger(box: Sandbox) -> Issue:
    """Return an issue of another project."""
    box.sentry.add_project("pay-ready", "other", 42)
    stranger = box.sentry.add_issue("TypeError: theirs", project="other")
    box.sentry.add_event(stranger)
    return stranger


def path(issue: Issue, rest: str = "") -> str:
    return f"{ISSUES}{issue.id}/{rest}"


def test_a_search_crosses_projects_unless_one_is_named(box: Sandbox, issue: Issue, stranger: Issue) -> None:
    assert found(box) == ["OTHER-1", "PAY-READY-1"]
    assert found(box, project="-1") == ["OTHER-1", "PAY-READY-1"]
    assert found(box, project=str(box.sentry.project_id)) == ["PAY-READY-1"]


def test_a_search_for_an_events_id_crosses_projects_although_one_is_named(
    box: Sandbox, issue: Issue, stranger: Issue
) -> None:
    assert found(box, project=str(box.sentry.project_id), query=stranger.events[0].id) == ["OTHER-1"]


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("", True), ("is:unresolved", True), ("is:resolved", False), ("!is:resolved", True), ("card", True),
        ("'no such card' level:error", True), ("invoice", False), ("release:shop@1.0", True), ("project:other", False),
    ],
)  # fmt: skip
def test_what_a_search_finds(query: str, hit: bool, box: Sandbox, issue: Issue) -> None:
    assert bool(found(box, query=query)) == hit


def test_a_search_is_sorted_and_paged(box: Sandbox) -> None:
    issues = [box.sentry.add_issue(f"Error: {number}") for number in range(3)]
    box.sentry.add_event(issues[0])
    ids = [issue.short_id for issue in issues]
    assert found(box, sort="date") == [ids[0], ids[2], ids[1]]
    assert found(box, sort="new") == ids[::-1]
    first = ask(box, "GET", ISSUES, params={"limit": 2, "sort": "new"})
    assert 'rel="next"; results="true"; cursor="0:2:0"' in first.headers["Link"]
    assert found(box, limit=2, sort="new", cursor="0:2:0") == [ids[0]]
    assert found(box, environment="staging") == []


@pytest.mark.parametrize(
    "wrong", [{"query": "'"}, {"sort": "x"}, {"statsPeriod": "x"}, {"limit": 101}, {"cursor": "x"}]
)
def test_a_wrong_search_is_refused(wrong: dict[str, Any], box: Sandbox) -> None:
    answer = ask(box, "GET", ISSUES, params=wrong)
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])


def test_an_issue_by_number_and_by_short_id(box: Sandbox, issue: Issue) -> None:
    body = ask(box, "GET", path(issue)).json()
    assert (body["shortId"], body["count"], body["project"]["id"]) == ("PAY-READY-1", "2", str(box.sentry.project_id))
    assert ask(box, "GET", f"{ISSUES}PAY-READY-1/").json()["id"] == body["id"]
    assert ask(box, "GET", "/api/0/organizations/other/issues/PAY-READY-1/").status_code == 404


def test_an_issue_is_changed(box: Sandbox, issue: Issue) -> None:
    changes = {"status": "resolvedInNextRelease", "priority": "low", "assignedTo": "team:3"}
    body = ask(box, "PUT", path(issue), json=changes).json()
    assert (body["status"], body["statusDetails"], body["priority"]) == ("resolved", {"inNextRelease": True}, "low")
    assert body["assignedTo"] == {"type": "team", "id": "3", "name": "team:3"}
    assert ask(box, "PUT", path(issue), json={"assignedTo": ""}).json()["assignedTo"] is None
    assert [entry["type"] for entry in ask(box, "GET", path(issue, "activities/")).json()["activity"]] == [
        "set_resolved"
    ]


@pytest.mark.parametrize("wrong", [{"status": "gone"}, {"priority": "x"}, {"assignedTo": "team:x"}, []])
def test_a_wrong_change_is_refused(wrong: Any, box: Sandbox, issue: Issue) -> None:
    assert ask(box, "PUT", path(issue), json=wrong).status_code == 400
    assert (issue.status, issue.assigned_to) == ("unresolved", None)


def test_a_note_is_taken_once(box: Sandbox, issue: Issue) -> None:
    first = ask(box, "POST", path(issue, "notes/"), json={"text": "seen"})
    assert (first.status_code, first.json()["type"], first.json()["data"]) == (201, "note", {"text": "seen"})
    again = ask(box, "POST", path(issue, "notes/"), json={"text": "seen"})
    assert (again.status_code, again.json()) == (400, {"detail": "You have already posted that comment."})
    assert ask(box, "POST", path(issue, "notes/"), json={"text": " "}).status_code == 400
    assert len(issue.activity) == 1


def test_events_newest_first_and_one_by_its_place(box: Sandbox, issue: Issue) -> None:
    ids = [event.id for event in issue.events]
    assert [event["id"] for event in ask(box, "GET", path(issue, "events/")).json()] == ids[::-1]
    for place, expected in {"latest": ids[1], "recommended": ids[1], "oldest": ids[0], ids[0]: ids[0]}.items():
        assert ask(box, "GET", path(issue, f"events/{place}/")).json()["id"] == expected
    event = ask(box, "GET", f"{PROJECT}events/{ids[0]}/").json()
    assert [entry["type"] for entry in event["entries"]] == ["exception", "breadcrumbs", "request"]
    assert (event["nextEventID"], event["previousEventID"]) == (ids[1], None)


def test_a_projects_route_shows_no_event_of_another(box: Sandbox, stranger: Issue) -> None:
    answer = ask(box, "GET", f"{PROJECT}events/{stranger.events[0].id}/")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Event not found"})


def test_the_values_of_a_tag(box: Sandbox, issue: Issue) -> None:
    rows = ask(box, "GET", path(issue, "tags/environment/values/")).json()
    assert [(row["value"], row["count"]) for row in rows] == [("staging", 1), ("production", 1)]
    assert ask(box, "GET", path(issue, "tags/browser/values/")).status_code == 404


def test_releases(box: Sandbox) -> None:
    for version in ("shop@1.0", "shop@1.1+a", "web@2"):
        box.sentry.add_release(version)
    assert [row["version"] for row in ask(box, "GET", f"{PROJECT}releases/").json()] == [
        "web@2",
        "shop@1.1+a",
        "shop@1.0",
    ]
    assert len(ask(box, "GET", f"{PROJECT}releases/?query=shop").json()) == 2
    assert ask(box, "GET", f"{PROJECT}releases/shop%401.1%2Ba/").json()["version"] == "shop@1.1+a"
    assert ask(box, "GET", f"{PROJECT}releases/none/").status_code == 404


def test_a_client_key_is_made(box: Sandbox) -> None:
    made = ask(box, "POST", f"{PROJECT}keys/", json={"name": "CI", "rateLimit": {"count": 5, "window": 60}})
    assert (made.status_code, made.json()["label"], made.json()["rateLimit"]["count"]) == (201, "CI", 5)
    assert len(ask(box, "GET", f"{PROJECT}keys/").json()) == 2
    assert ask(box, "POST", f"{PROJECT}keys/", json={"name": "x" * 65}).status_code == 400


def test_a_project_is_changed(box: Sandbox) -> None:
    body = ask(box, "PUT", PROJECT, json={"name": "Pay Ready", "resolveAge": 24, "slug": "ignored"}).json()
    assert (body["name"], body["resolveAge"], body["slug"]) == ("Pay Ready", 24, "pay-ready")
    assert ask(box, "PUT", PROJECT, json={"name": ""}).status_code == 400
    assert ask(box, "PUT", PROJECT, json={"resolveAge": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "rest", "scope"),
    [
        ("GET", "", "event:read"), ("GET", "events/", "event:read"), ("GET", "activities/", "event:read"),
        ("GET", "tags/environment/values/", "event:read"), ("PUT", "", "event:write"),
        ("POST", "notes/", "event:write"),
    ],
)  # fmt: skip
def test_an_issue_needs_its_scope(method: str, rest: str, scope: str, box: Sandbox, issue: Issue) -> None:
    others = {"project:admin", "event:read"} - {scope}
    box.sentry.add_token("too-little", others)
    box.sentry.add_token("enough", [scope])
    assert ask(box, method, path(issue, rest), "too-little", json={"text": "x"}).status_code == 403
    assert ask(box, method, path(issue, rest), "enough", json={"text": "x"}).status_code in (200, 201)


@pytest.mark.parametrize(("method", "rest"), [("PUT", ""), ("POST", "keys/")])
def test_a_project_is_changed_with_its_scope_only(method: str, rest: str, box: Sandbox) -> None:
    box.sentry.add_token("reads", ["project:read", "event:admin"])
    assert ask(box, method, PROJECT + rest, "reads", json={}).status_code == 403
