"""Events of many kinds: what a person must be able to read in the answer, and what stays hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import call, unmarked

pytestmark = pytest.mark.anyio

EVENTS = sorted((Path(__file__).parent / "events").glob("*.json"))


@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
async def test_an_event_shows_what_debugging_needs(file: Path, client: Client, sentry: Sentry) -> None:
    kind = json.loads(file.read_text(encoding="utf-8"))
    issue = sentry.add_issue()
    sentry.add_whole_event(issue, kind["event"])
    shown = json.dumps(unmarked(await call(client, "get_event", issue_id=issue.short_id)), separators=(",", ":"))
    shown = json.dumps(json.loads(shown), ensure_ascii=False, separators=(",", ":"))
    plain = shown.replace('\\"', '"')
    assert [word for word in kind["wants"] if word not in plain] == []
    assert [word for word in kind["hides"] if word in plain] == []
    assert "null" not in plain


OURS = {"function": "f", "filename": "ours.py", "lineNo": 1, "inApp": True, "context": []}
LIBRARY = {"function": "g", "filename": "lib.py", "lineNo": 2, "inApp": False, "context": [[2, "raise X"]]}


@pytest.mark.parametrize(
    ("frames", "sources"),
    [
        ([LIBRARY], ["2 > raise X"]),
        ([OURS, LIBRARY], ["2 > raise X", None]),
        ([OURS | {"context": [[1, "g()"]]}, LIBRARY], [None, "1 > g()"]),
    ],
)
async def test_source_of_a_library_is_shown_where_no_frame_of_the_program_has_any(
    frames: list[dict[str, Any]], sources: list[str | None], client: Client, issue: Issue
) -> None:
    exception = issue.events[-1].entries[0]["data"]["values"][0]
    exception["stacktrace"]["frames"] = frames
    shown = unmarked(await call(client, "get_event", issue_id=issue.short_id))
    assert [frame["source"] for frame in shown["event"]["exceptions"][0]["frames"]] == sources
