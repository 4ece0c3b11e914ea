"""The local services refuse every wrong request as the real ones do: with 4xx, never with 500."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from sandbox import Sandbox

VALUES: list[Any] = [5, "x", [], {}, None, True, -1, 10**30, [1]]
MEMBERS = [
    "name", "revision", "project", "value", "ref", "inputs", "permissions", "status", "assignedTo", "priority",
    "text", "label", "isActive", "rateLimit", "currentTag", "newTag", "description", "dest", "slug", "platform",
    "substatus", "statusDetails", "isPublic", "hasSeen", "repositories",
]  # fmt: skip
QUERIES = ["count=x", "per_page=x", "page=-1", "cursor=x", f"before={10**30}", "query=%00", "created=x", "branch=%ff"]


@pytest.mark.full
def test_no_request_breaks_a_service(box: Sandbox) -> None:
    box.esc.create("acme/web/production", "values:\n  a: 1\n")
    known = {"organization": "acme", "project": "web", "name": "production", "owner": "acme", "repo": "sophia"}
    bodies = [*VALUES, *({member: value} for member in MEMBERS for value in VALUES)]
    broken: list[tuple[str, object, int]] = []
    with requests.Session() as session:
        for server, scheme in ((box.esc, "token"), (box.github, "Bearer"), (box.sentry, "Bearer")):
            session.headers["Authorization"] = f"{scheme} {server.token}"
            for rule, _ in server.routes():
                method, path = rule.split(" ", 1)
                url = server.url + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known.get(found[1], "1"), path)
                calls: list[tuple[str, Any]] = [(f"{url}?{query}", None) for query in QUERIES]
                if method in ("POST", "PATCH", "PUT"):
                    calls += [(url, body) for body in bodies]
                for target, body in calls:
                    status = session.request(method, target, json=body, timeout=60).status_code
                    if status >= 500:
                        broken.append((rule, body, status))
    assert broken == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/acme?maxResults=x"),
        ("POST", "/acme/yaml/check?showSecrets=maybe"),
        ("POST", "/acme/yaml/open?duration=2"),
        ("POST", "/acme/web/production/open?duration=day"),
        ("GET", f"/acme/web/production/versions?count={2**63}"),
    ],
)
def test_a_value_out_of_range_is_refused_by_esc(box: Sandbox, method: str, path: str) -> None:
    box.esc.create("acme/web/production", "values:\n  a: 1\n")
    url = f"{box.esc.url}/api/esc/environments{path}"
    answer = requests.request(method, url, headers={"Authorization": f"token {box.esc.token}"}, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
