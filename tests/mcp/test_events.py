"""Events of ten kinds: what a person must be able to read in the answer, what stays hidden, and how large it may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import answered, call, unmarked

pytestmark = pytest.mark.anyio

EVENTS = sorted((Path(__file__).parent / "events").glob("*.json"))
LARGEST = 40_000
"""Bytes of an answer: 20,000 tokens of the densest text, hexadecimal digits, which has two bytes a token."""


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


def huge(text: str) -> dict[str, Any]:
    """Return an event that is far larger than any answer may be, made of one text."""
    frame = {"function": text, "filename": text, "absPath": text, "lineNo": 3, "inApp": True}
    frame |= {"context": [[3, text * 3]]}
    stack = {"frames": [dict(frame) for _ in range(50)]}
    values = [{"type": text, "value": text * 30, "stacktrace": stack} for _ in range(5)]
    crumbs = [{"message": text, "data": {"a": text}, "category": text} for _ in range(300)]
    return {
        "entries": [
            {"type": "exception", "data": {"values": values}},
            {"type": "threads", "data": {"values": [{"id": n, "name": text, "stacktrace": stack} for n in range(12)]}},
            {"type": "breadcrumbs", "data": {"values": crumbs}},
            {"type": "request", "data": {"method": "POST", "url": text, "data": {"x": text * 30}}},
        ],
        "tags": [{"key": f"t{number}", "value": text} for number in range(99)],
        "contexts": {f"c{number}": {"x": text} for number in range(99)},
        "context": {f"e{number}": text for number in range(99)},
        "errors": [{"type": text, "message": text} for _ in range(99)],
        "occurrence": {"evidenceDisplay": [{"name": text, "value": text} for _ in range(99)]},
    }


@pytest.mark.parametrize("text", ["0123456789abcdef" * 16, "日本語" * 25, '"\n\\' * 40])
@pytest.mark.parametrize("section", [None, "exceptions", "threads", "breadcrumbs"])
async def test_no_answer_is_too_large(text: str, section: str | None, client: Client, sentry: Sentry) -> None:
    issue = sentry.add_issue()
    sentry.add_whole_event(issue, huge(text))
    told = await answered(client, "get_event", issue_id=issue.short_id, section=section)
    assert len(told.encode()) <= LARGEST
    event = json.loads(told)["event"]
    assert ("call get_event again with `section`" in event["shortened"]) == (section is None)
    assert "outside" in json.loads(told)


async def test_a_page_of_long_rows_is_cut_and_says_so(client: Client, sentry: Sentry) -> None:
    for _ in range(50):
        sentry.add_issue("日" * 300, "本" * 300)
    told = await answered(client, "search_issues", limit=50)
    assert len(told.encode()) <= LARGEST
    assert json.loads(told)["shortened"].endswith("ask for fewer with `limit`, and use `nextCursor`.")


async def test_source_of_a_library_is_shown_where_no_frame_is_the_programs(client: Client, issue: Issue) -> None:
    frame = {"function": "f", "filename": "lib.py", "lineNo": 2, "inApp": False, "context": [[2, "raise X"]]}
    exception = issue.events[-1].entries[0]["data"]["values"][0]
    exception["stacktrace"]["frames"] = [frame]
    shown = unmarked(await call(client, "get_event", issue_id=issue.short_id))
    assert shown["event"]["exceptions"][0]["frames"][0]["source"] == "2 > raise X"
