"""Every tool, with the SDK's own client in memory: what it answers, what it changes, and when it is offered."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from sentry_mcp.offers import OFFERS
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import Values, call, plain, refused, tools, unmarked

pytestmark = pytest.mark.anyio

WRITING = {"update_issue", "add_issue_note", "create_client_key", "update_project"}
ABOUT_ISSUES = {
    "search_issues", "get_issue", "get_event", "search_events", "list_issue_events", "get_attachments",
    "get_issue_tag_values", "get_issue_activity", "list_user_reports",
}  # fmt: skip
ABOUT_THE_PROJECT = {"get_project", "list_client_keys", "list_releases", "get_release"}


# What is offered.


async def test_all_tools_are_listed_with_what_a_host_must_know_of_them(client: Client) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == {"whoami"} | ABOUT_THE_PROJECT | ABOUT_ISSUES | WRITING
    for name, tool in listed.items():
        assert tool.title
        assert tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (name not in WRITING)
        assert tool.annotations.open_world_hint is True
        assert tool.input_schema["additionalProperties"] is False
        assert ("dry_run" in tool.input_schema["properties"]) == (name in WRITING)
    destructive = {name for name, tool in listed.items() if tool.annotations and tool.annotations.destructive_hint}
    repeatable = {name for name, tool in listed.items() if tool.annotations and tool.annotations.idempotent_hint}
    assert destructive == {"update_issue", "update_project"}
    assert set(listed) - repeatable == {"add_issue_note", "create_client_key"}


async def test_the_list_of_tools_is_small(client: Client) -> None:
    assert len((await client.list_tools()).model_dump_json(by_alias=True, exclude_none=True).encode()) < 20_000


@pytest.mark.parametrize(
    ("scopes", "offered"),
    [
        (set(), set()),
        ({"event:read"}, set()),
        ({"project:read"}, ABOUT_THE_PROJECT),
        ({"project:read", "event:read"}, ABOUT_THE_PROJECT | ABOUT_ISSUES),
        ({"project:write"}, ABOUT_THE_PROJECT | {"create_client_key", "update_project"}),
        ({"project:read", "event:admin"}, ABOUT_THE_PROJECT | ABOUT_ISSUES | {"update_issue", "add_issue_note"}),
        ({"project:admin", "event:write"}, ABOUT_THE_PROJECT | ABOUT_ISSUES | WRITING),
        ({"org:admin", "team:read"}, set()),
    ],
)
async def test_only_what_the_scopes_allow_is_offered(
    scopes: set[str], offered: set[str], client: Client, sentry: Sentry
) -> None:
    sentry.tokens[sentry.token] = scopes
    assert await tools(client) == {"whoami"} | offered
    told = await call(client, "whoami")
    assert (set(told["scopes"]), set(told["tools"])) == (scopes, {"whoami"} | offered)


async def test_what_isnt_offered_is_refused_without_asking_sentry(client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.tokens[sentry.token] = {"project:read", "event:read"}
    await tools(client)
    told = await refused(client, "update_issue", issue_id=str(issue.id), status="resolved")
    assert told == (
        "update_issue is not offered: the server's token lacks event:write. A person must widen its scopes in Sentry."
    )
    assert "PUT" not in {request.method for request in sentry.requests}


async def test_scopes_that_were_widened_count_at_once(client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.tokens[sentry.token] = {"project:read", "event:read"}
    await tools(client)
    sentry.tokens[sentry.token] = {"project:read", "event:write"}
    await call(client, "update_issue", issue_id=str(issue.id), status="resolved")
    assert issue.status == "resolved"


async def test_a_read_only_server_has_no_tool_that_writes(settings: Settings, values: Values, issue: Issue) -> None:
    server = SentryServer(settings.model_copy(update={"read_only": True}), values)
    async with Client(server) as client:
        assert await tools(client) == {"whoami"} | ABOUT_THE_PROJECT | ABOUT_ISSUES
        told = await refused(client, "update_issue", issue_id=str(issue.id), status="resolved")
        assert told == "The server is read-only: update_issue."
        assert (await call(client, "whoami"))["readOnly"] is True


@pytest.mark.parametrize("status", [401, 404])
async def test_a_token_whose_scopes_arent_told_is_offered_everything(
    status: int, client: Client, sentry: Sentry
) -> None:
    """Sentry doesn't tell them for an OAuth token of one organization, or in a region such as https://de.sentry.io."""
    sentry.fail("GET /api/0/", status=status, body={"detail": "limited to organization endpoints"}, times=None)
    assert await tools(client) == set(OFFERS) - {"list_webhooks"}
    assert (await call(client, "whoami"))["scopes"] == "Sentry doesn't tell"


async def test_while_sentry_is_away_the_offer_is_what_was_known_or_everything(
    client: Client, sentry: Sentry, server: SentryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_mcp.client.KEPT_SCOPES", 0.0)
    monkeypatch.setattr(server.client, "_longest", 0.2)
    sentry.fail("GET /api/0/", status=503, times=None)
    assert await tools(client) == set(OFFERS) - {"list_webhooks"}
    told = await call(client, "whoami")
    assert (told["organization"], told["project"], told["scopes"]) == ("pay-ready", "pay-ready", None)
    assert "Sentry fails (HTTP 503)" in told["problem"]
    sentry.reset_faults()
    sentry.scopes.discard("event:write")
    known = await tools(client)
    sentry.fail("GET /api/0/", status=503, times=None)
    assert await tools(client) == known


# Arguments.


async def test_an_unknown_tool_and_an_unknown_argument(client: Client) -> None:
    assert await refused(client, "delete_issue") == "There is no such tool: see the list of tools."
    told = await refused(client, "get_project", organization="evil", project="other")
    assert told == (
        "get_project has no argument 'organization', 'project'; it has: none. The organization and the project are "
        "the server's, and can't be chosen."
    )


async def test_wrong_arguments_are_told_by_their_names(client: Client) -> None:
    told = await refused(client, "search_issues", limit=51, sort="oldest")
    assert told.startswith("Wrong arguments for search_issues: `sort`: Input should be 'date', 'new'")
    assert "`limit`: Input should be less than or equal to 50" in told
    assert told.endswith("Correct them and call again.")


async def test_an_issues_number_may_come_as_one(client: Client, issue: Issue) -> None:
    assert (await call(client, "get_issue", issue_id=issue.id))["issue"]["id"] == str(issue.id)


# Reading.


async def test_whoami(client: Client, sentry: Sentry) -> None:
    told = await call(client, "whoami")
    assert (told["sentry"], told["organization"], told["project"]) == (sentry.url, "pay-ready", "pay-ready")
    assert told["scopes"] == ["event:read", "event:write", "project:read", "project:write"]
    assert told["outside"] is None


async def test_get_project(client: Client, sentry: Sentry) -> None:
    project = (await call(client, "get_project"))["project"]
    assert (project["id"], project["slug"]) == (str(sentry.project_id), "pay-ready")
    assert plain(project["name"]) == "pay-ready"
    assert sentry.projects["pay-ready", "pay-ready"].security_token not in str(project)


async def test_list_client_keys_shows_their_public_part_alone(client: Client, sentry: Sentry) -> None:
    for number in range(3):
        sentry.add_key("pay-ready", "pay-ready", label=f"Key {number}", active=number != 1)
    first = await call(client, "list_client_keys", limit=3)
    second = await call(client, "list_client_keys", limit=3, cursor=first["nextCursor"])
    assert first["keys"][0]["dsn"] == {"public": sentry.dsn}
    assert [plain(key["label"]) for key in first["keys"] + second["keys"]] == ["Default", "Key 0", "Key 1", "Key 2"]
    assert [key["isActive"] for key in first["keys"] + second["keys"]] == [True, True, False, True]
    assert second["nextCursor"] is None
    secrets = [key.secret for key in sentry.projects["pay-ready", "pay-ready"].keys]
    assert not [secret for secret in secrets if secret in f"{first}{second}"]


async def test_a_client_key_without_a_public_part_hides_no_other(client: Client, sentry: Sentry) -> None:
    sentry.add_key("pay-ready", "pay-ready", label="Other")
    sentry.projects["pay-ready", "pay-ready"].keys[0].extra = {"public": None, "secret": None, "dateCreated": None}
    shown = (await call(client, "list_client_keys"))["keys"]
    assert [plain(key["label"]) for key in shown] == ["Default", "Other"]
    assert [key["public"] is None for key in shown] == [True, False]


async def test_search_issues(client: Client, sentry: Sentry, issue: Issue) -> None:
    other = sentry.add_issue("KeyError: 'sum'", level="warning")
    found = await call(client, "search_issues", query="is:unresolved card", sort="freq", period="24h")
    (row,) = found["issues"]
    assert (row["id"], row["shortId"], row["level"], row["count"]) == (str(issue.id), "PAY-READY-1", "error", 2)
    assert plain(row["title"]) == "ValueError: no such card"
    assert [row["id"] for row in (await call(client, "search_issues", query=""))["issues"]] == [
        str(other.id), str(issue.id),
    ]  # fmt: skip
    assert (await call(client, "search_issues", environment="nowhere"))["issues"] == []


async def test_a_search_goes_on_page_by_page(client: Client, sentry: Sentry) -> None:
    for number in range(5):
        sentry.add_issue(f"Error: {number}")
    titles, cursor = [], None
    while True:
        page = await call(client, "search_issues", limit=2, cursor=cursor)
        assert len(page["issues"]) <= 2
        titles += [plain(row["title"]) for row in page["issues"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert titles == [f"Error: {number}" for number in (4, 3, 2, 1, 0)]


async def test_get_issue(client: Client, issue: Issue) -> None:
    issue.assigned_to = {"type": "user", "id": "7", "name": "Jane"}
    found = (await call(client, "get_issue", issue_id="PAY-READY-1"))["issue"]
    assert (found["status"], found["priority"], found["isUnhandled"]) == ("unresolved", "high", True)
    assert found["assignedTo"]["id"] == "7"
    assert plain(found["assignedTo"]["name"]) == "Jane"


async def test_get_event_of_an_issue(client: Client, issue: Issue) -> None:
    first, second = issue.events
    event = (await call(client, "get_event", issue_id=str(issue.id)))["event"]
    assert (event["id"], event["previousEventID"], event["groupID"]) == (second.id, first.id, str(issue.id))
    (exception,) = event["exceptions"]
    assert (plain(exception["type"]), plain(exception["value"])) == ("ValueError", "second")
    assert exception["handled"] is False
    own, library = exception["frames"]
    assert (plain(library["filename"]), library["source"], library["inApp"]) == ("flask/app.py", None, False)
    assert (plain(own["function"]), own["lineNo"], own["inApp"]) == ("pay", 40, True)
    assert plain(own["source"]) == "39   def pay(card):\n40 >     return charge(card)\n41   "
    assert [plain(crumb["message"]) for crumb in event["breadcrumbs"]] == ["pay clicked", "cart opened"]
    assert unmarked(event["tags"]) == {
        "environment": "production",
        "level": "error",
    }
    assert unmarked(event["request"]) == {"method": "POST", "url": "https://shop.example/pay"}
    assert "jane@example.com" not in str(event)


async def test_a_breadcrumb_of_a_request_is_told_by_its_data(client: Client, sentry: Sentry, issue: Issue) -> None:
    data: list[Any] = [
        {"method": "POST", "url": f"https://pay.example/{sentry.token}", "status_code": 502},
        {"http.method": "GET", "url": "https://pay.example", "http.response.status_code": 200, "reason": "OK"},
        {"url": ["https://pay.example"]},
        {"from": "/a", "to": "/b"},
        "x",
        None,
    ]
    rows = [{"type": "http", "category": "httplib", "message": None, "data": one} for one in data]
    rows.append({"message": "said", "data": data[0]})
    issue.events[-1].entries[:] = [{"type": "breadcrumbs", "data": {"values": rows}}]
    event = (await call(client, "get_event", issue_id="PAY-READY-1"))["event"]
    told = [crumb["message"] and plain(crumb["message"]) for crumb in event["breadcrumbs"]]
    assert told == [
        "said POST https://pay.example/*** 502",
        None,
        "x",
        "/a → /b",
        '{"url":["https://pay.example"]}',
        "GET https://pay.example 200",
        "POST https://pay.example/*** 502",
    ]


async def test_all_threads_with_a_stack_the_crashed_one_first(client: Client, issue: Issue) -> None:
    stack = {"frames": [{"function": "wait", "filename": "a.c", "lineNo": 3}]}
    threads: list[Any] = [
        {"id": 1, "name": "main", "current": True, "stacktrace": stack},
        {"id": 2, "name": "idle", "stacktrace": None},
        None,
        {"id": 3, "name": "worker", "crashed": True, "stacktrace": stack},
        {"id": 4, "name": "pool", "stacktrace": stack},
    ]
    issue.events[-1].entries.append({"type": "threads", "data": {"values": threads}})
    event = unmarked((await call(client, "get_event", issue_id="PAY-READY-1"))["event"])
    assert [thread["name"] for thread in event["threads"]] == ["worker", "main", "pool"]
    assert event["threads"][0]["frames"] == [{"function": "wait", "filename": "a.c", "lineNo": 3}]


async def test_get_event_by_its_place_and_by_its_id(client: Client, issue: Issue) -> None:
    first, second = issue.events
    oldest = (await call(client, "get_event", issue_id="PAY-READY-1", event_id="oldest"))["event"]
    assert (oldest["id"], plain(oldest["release"])) == (first.id, "shop@1.0")
    assert (await call(client, "get_event", event_id=second.id))["event"]["id"] == second.id
    assert (await call(client, "get_event", event_id=second.id, issue_id="PAY-READY-1"))["event"]["id"] == second.id
    told = await refused(client, "get_event", event_id="latest")
    assert told == "`latest` is an event of an issue: give `issue_id` too, or the event's id instead."
    told = await refused(client, "get_event", event_id="0" * 32)
    assert told == f"There is no event {'0' * 32} there. `search_events` shows those there are."


async def test_list_issue_events(client: Client, issue: Issue) -> None:
    first = await call(client, "list_issue_events", issue_id="PAY-READY-1", limit=1)
    second = await call(client, "list_issue_events", issue_id="PAY-READY-1", limit=1, cursor=first["nextCursor"])
    assert [plain(page["events"][0]["message"]) for page in (first, second)] == ["second", "first"]
    assert (first["issueId"], second["nextCursor"]) == (str(issue.id), None)


async def test_get_issue_tag_values(client: Client, issue: Issue) -> None:
    found = await call(client, "get_issue_tag_values", issue_id="PAY-READY-1", key="environment")
    assert [(plain(row["value"]), row["count"]) for row in found["values"]] == [("staging", 1), ("production", 1)]
    told = await refused(client, "get_issue_tag_values", issue_id="PAY-READY-1", key="browser.name")
    assert told == "No event of the issue PAY-READY-1 has the tag browser.name. `get_event` shows tags."


async def test_who_the_users_are_isnt_shown(client: Client, sentry: Sentry) -> None:
    users = {"user": "email:jane@example.com", "user.email": "jane@example.com", "User.ip": "192.0.2.7"}
    tags = users | {"sentry:user": "id:7", "user_agent": "curl", "server": "a"}
    issue = sentry.add_issue()
    sentry.add_event(issue, tags=tags)
    event = (await call(client, "get_event", issue_id=issue.short_id))["event"]
    (row,) = (await call(client, "list_issue_events", issue_id=issue.short_id))["events"]
    assert list(unmarked(event["tags"])) == ["user_agent", "server"]
    assert list(unmarked(row["tags"])) == ["user_agent", "server"]
    for key in (*users, "sentry:user"):
        told = await refused(client, "get_issue_tag_values", issue_id=issue.short_id, key=key)
        assert told.startswith("Who the users are isn't shown.")


async def test_get_issue_activity(client: Client, sentry: Sentry, issue: Issue) -> None:
    sentry.add_activity(issue, "note", {"text": "Looks\nbad"}, {"id": "7", "name": "Jane", "email": "j@example.com"})
    sentry.add_activity(issue, "assigned", {"assignee": "7"}, {"id": "8", "name": "", "username": "bob"})
    sentry.add_activity(issue, "set_regression", {})
    found = (await call(client, "get_issue_activity", issue_id="PAY-READY-1"))["activity"]
    assert [plain(entry["type"]) for entry in found] == ["set_regression", "assigned", "note"]
    assert [entry["user"] and plain(entry["user"]) for entry in found] == [None, "bob", "Jane"]
    assert [entry["text"] and plain(entry["text"]) for entry in found] == [None, '{"assignee":"7"}', "Looks\nbad"]
    assert len((await call(client, "get_issue_activity", issue_id="PAY-READY-1", limit=1))["activity"]) == 1


async def test_releases(client: Client, sentry: Sentry) -> None:
    for version in ("shop@1.0", "shop@1.1+a b%2", "web@2"):
        sentry.add_release(version, ref="0123abc")
    first = await call(client, "list_releases", limit=2)
    assert [plain(row["version"]) for row in first["releases"]] == ["web@2", "shop@1.1+a b%2"]
    second = await call(client, "list_releases", limit=2, cursor=first["nextCursor"])
    assert [plain(row["version"]) for row in second["releases"]] == ["shop@1.0"]
    assert len((await call(client, "list_releases", prefix="shop"))["releases"]) == 2
    release = (await call(client, "get_release", version="shop@1.1+a b%2"))["release"]
    assert (plain(release["ref"]), release["commitCount"], release["newGroups"]) == ("0123abc", 3, 2)
    told = await refused(client, "get_release", version="shop@9")
    assert told == "The project has no release of that version. `list_releases` shows those there are."


# Writing.


async def test_update_issue(client: Client, issue: Issue) -> None:
    changed = await call(
        client, "update_issue", issue_id="PAY-READY-1", status="resolved", priority="low", assigned_to="team:3"
    )
    assert (issue.status, issue.priority, issue.assigned_to and issue.assigned_to["id"]) == ("resolved", "low", "3")
    assert changed["sent"] == {"status": "resolved", "priority": "low", "assignedTo": "team:3"}
    assert (changed["before"]["status"], changed["after"]["status"]) == ("unresolved", "resolved")
    assert (changed["before"]["assignedTo"], changed["after"]["assignedTo"]["type"]) == (None, "team")
    await call(client, "update_issue", issue_id="PAY-READY-1", assigned_to="nobody")
    assert issue.assigned_to is None


async def test_add_issue_note(client: Client, issue: Issue) -> None:
    added = await call(client, "add_issue_note", issue_id="PAY-READY-1", text="Seen\n**twice**")
    assert [entry.data for entry in issue.activity] == [{"text": "Seen\n**twice**"}]
    assert (added["note"]["id"], plain(added["note"]["text"])) == (str(issue.activity[0].id), "Seen\n**twice**")
    told = await refused(client, "add_issue_note", issue_id="PAY-READY-1", text="Seen\n**twice**")
    assert "You have already posted that comment." in told
    assert len(issue.activity) == 1


async def test_create_client_key(client: Client, sentry: Sentry) -> None:
    made = await call(client, "create_client_key", name="CI", events=100, window=60)
    key = sentry.projects["pay-ready", "pay-ready"].keys[-1]
    assert (key.label, key.rate_limit) == ("CI", {"count": 100, "window": 60})
    assert (made["key"]["public"], made["key"]["rateLimit"]["count"]) == (key.public, 100)
    assert key.secret not in str(made)
    told = await refused(client, "create_client_key", name="CI", events=100)
    assert told == "A limit needs both `events` and `window`. Give both, or neither."


async def test_update_project(client: Client, sentry: Sentry) -> None:
    changed = await call(
        client, "update_project", name="Pay Ready", platform="python-flask", subject_prefix="[pay] ", resolve_age=24,
        default_environment="production",
    )  # fmt: skip
    settings = sentry.projects["pay-ready", "pay-ready"].settings
    assert settings["name"] == "Pay Ready"
    assert (settings["resolveAge"], settings["defaultEnvironment"]) == (24, "production")
    assert (plain(changed["before"]["name"]), plain(changed["after"]["name"])) == ("pay-ready", "Pay Ready")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("update_issue", {"issue_id": "PAY-READY-1", "status": "resolved"}),
        ("add_issue_note", {"issue_id": "PAY-READY-1", "text": "Seen"}),
        ("create_client_key", {"name": "CI"}),
        ("update_project", {"name": "Pay Ready"}),
    ],
)
async def test_a_dry_run_changes_nothing(
    tool: str, arguments: dict[str, Any], client: Client, sentry: Sentry, issue: Issue
) -> None:
    told = await call(client, tool, **arguments, dry_run=True)
    assert told["dryRun"] is True
    assert told["sent"] == {name: value for name, value in arguments.items() if name != "issue_id"}
    assert {request.method for request in sentry.requests} == {"GET"}
    assert not told.get("after")
    assert (await call(client, tool, **arguments))["dryRun"] is False
    assert {request.method for request in sentry.requests} > {"GET"}


@pytest.mark.parametrize(("tool", "arguments"), [("update_issue", {"issue_id": "1"}), ("update_project", {})])
async def test_a_change_of_nothing_is_refused(tool: str, arguments: dict[str, Any], client: Client) -> None:
    assert (await refused(client, tool, **arguments)).startswith("Nothing is to be changed.")
