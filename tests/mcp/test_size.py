"""No answer is larger than hosts accept, as real tokenizers count, whatever Sentry holds. Answers tell what was cut."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from mcp import Client, MCPError
from sentry_mcp.arguments import Section
from sentry_mcp.outside import cost
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings

from sandbox.sentry import Issue, Sentry
from tests.mcp.support import CALLS, Values, answered, refused
from tools import mcp_clients

pytestmark = pytest.mark.anyio

MOST = 20_000
"""Maximum size of an answer, in tokens."""

_random = random.Random(20)  # noqa: S311 - no secret


def _of(first: int, last: int, count: int = 250) -> str:
    return "".join(chr(_random.randint(first, last)) for _ in range(count))


TEXTS = {
    "hexadecimal": _random.randbytes(150).hex(),
    "base64": base64.b64encode(_random.randbytes(200)).decode(),
    "letters": _of(ord("a"), ord("z")),
    "ASCII": _of(33, 126),
    "escapes": '"\n\\' * 40,
    "no two of a kind": "a1b2C3" * 45,
    "single words": "a b c " * 45,
    "JSON": json.dumps([[[{"a": [1, {"b": None}]}]]]) * 8,
    "stack trace": '  File "/usr/lib/python3.13/site-packages/shop/pay.py", line 40, in pay\n    return charge(card)\n'
    * 3,
    "Latin": _of(0xC0, 0x24F),
    "Japanese": "日本語の文章を書く。" * 25,
    "Chinese": _of(0x4E00, 0x9FFF),
    "Hangul": _of(0xAC00, 0xD7A3),
    "emoji": _of(0x1F300, 0x1F5FF, 120),
    "cuneiform": _of(0x12000, 0x12300, 120),
    "ligatures": "\ufdfa" * 250,
}

Count = Callable[[list[str]], list[int]]


@pytest.fixture(scope="module")
def count() -> Count:
    """Return a function that counts the tokens of texts, with the tokenizer that needs the most for each."""
    try:
        clients = mcp_clients.ensure()
    except mcp_clients.NoClientsError as error:
        pytest.skip(str(error))
    command = [clients.node, str(Path(__file__).with_name("tokens.mjs")), clients.file("")]

    def counted(texts: list[str]) -> list[int]:
        done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
        numbers: list[int] = json.loads(done.stdout)
        return numbers

    return counted


def test_tokens_are_never_counted_too_low(count: Count) -> None:
    texts = [text * 4 for text in TEXTS.values()]
    counted = zip(TEXTS, count([json.dumps(text, ensure_ascii=False)[1:-1] for text in texts]), texts, strict=True)
    assert {name: (tokens, cost(text)) for name, tokens, text in counted if tokens > cost(text)} == {}


def huge(text: str) -> dict[str, Any]:
    """Return an event that is far larger than any answer may be, made of one text."""
    frame = {"function": text, "filename": text, "absPath": text, "lineNo": 3, "inApp": True}
    frame |= {"context": [[3, text * 2]]}
    stack = {"frames": [dict(frame) for _ in range(12)]}
    values = [{"type": text, "value": text * 10, "stacktrace": stack} for _ in range(5)]
    crumbs = [{"message": text, "data": {"a": text}, "category": text} for _ in range(300)]
    return {
        "entries": [
            {"type": "exception", "data": {"values": values}},
            {"type": "threads", "data": {"values": [{"id": n, "name": text, "stacktrace": stack} for n in range(6)]}},
            {"type": "breadcrumbs", "data": {"values": crumbs}},
            {"type": "request", "data": {"method": "POST", "url": text, "data": {"x": text * 10}}},
        ],
        "tags": [{"key": f"t{number}", "value": text} for number in range(99)],
        "contexts": {f"c{number}": {"x": text} for number in range(99)},
        "context": {f"e{number}": text for number in range(99)},
        "errors": [{"type": text, "message": text} for _ in range(99)],
        "occurrence": {"evidenceDisplay": [{"name": text, "value": text} for _ in range(99)]},
    }


def fill(sentry: Sentry, text: str) -> Issue:
    """Fill a project with as much of one text as Sentry takes; return an issue with all of it."""
    for _ in range(50):
        sentry.add_issue(text, text)
        sentry.add_key(sentry.organization, sentry.project, label=text)
        sentry.add_release(f"shop {text[:200]}", ref=text, url=text)
    issue = sentry.add_issue(text, text)
    for _ in range(50):
        sentry.add_event(issue, text * 5, tags={f"tag{number}": text for number in range(20)})
        sentry.add_user_report(issue, text * 10)
        sentry.add_activity(issue, "note", {"text": text * 10})
    event = sentry.add_whole_event(issue, huge(text))
    for _ in range(50):
        sentry.add_attachment(event, text[:200], (text * 2000).encode())
    return issue


def calls(issue: Issue) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls with the largest answers, each with its largest limit."""
    one, most = {"issue_id": issue.short_id}, {"limit": 50}
    latest = one | {"event_id": "latest"}
    return [
        ("get_project", {}),
        ("list_client_keys", most),
        ("search_issues", most),
        ("get_issue", one),
        ("get_event", latest),
        *(("get_event", latest | {"section": section}) for section in get_args(get_args(Section)[0])),
        ("search_events", one | most),
        ("get_issue_tag_values", one | most | {"key": "tag1"}),
        ("get_issue_activity", one | most),
        ("list_user_reports", one | most),
        ("get_attachments", latest),
        ("get_attachments", latest | {"attachment_id": str(issue.events[-1].attachments[0].id)}),
        ("list_releases", most),
    ]


@pytest.mark.parametrize("name", TEXTS)
async def test_no_answer_is_too_large(name: str, client: Client, sentry: Sentry, count: Count) -> None:
    issue = fill(sentry, TEXTS[name])
    made = calls(issue)
    answers = [await answered(client, tool, **arguments) for tool, arguments in made]
    large = {f"{call}": tokens for call, tokens in zip(made, count(answers), strict=True) if tokens > MOST}
    assert large == {}


@pytest.mark.full
async def test_the_answer_to_a_long_note_isnt_either(client: Client, issue: Issue, count: Count) -> None:
    note = _of(0x1F300, 0x1F5FF, 4000)
    [tokens] = count([await answered(client, "add_issue_note", issue_id=issue.short_id, text=note)])
    assert tokens <= MOST


async def test_no_error_repeats_a_long_argument(settings: Settings, values: Values) -> None:
    long = "日" * 100_000
    async with Client(SentryServer(settings.model_copy(update={"transport": "http"}), values)) as client:
        for tool in (await client.list_tools()).tools:
            for name in [*tool.input_schema["properties"], long]:
                told = await refused(client, tool.name, **CALLS.get(tool.name, {}) | {name: long})
                assert len(told) < 1000, (tool.name, name[:50])
        with pytest.raises(MCPError) as caught:
            await client.read_resource(f"sentry://{long}")
        assert len(str(caught.value.error)) < 1000


async def test_what_is_cut_of_an_event_is_said_with_how_to_see_it(client: Client, sentry: Sentry) -> None:
    issue = sentry.add_issue()
    sentry.add_whole_event(issue, huge("word " * 50))
    told = json.loads(await answered(client, "get_event", issue_id=issue.short_id))
    assert "outside" in told
    assert told["event"]["shortened"].endswith("call get_event again with `section` set to one of these to see more.")
    part = json.loads(await answered(client, "get_event", issue_id=issue.short_id, section="exceptions"))
    assert part["event"]["shortened"].startswith("exceptions is longer than an answer may be.")
    assert len(json.dumps(part["event"]["exceptions"])) > len(json.dumps(told["event"]["exceptions"]))


async def test_a_page_of_long_rows_is_cut_and_says_so(client: Client, sentry: Sentry) -> None:
    for _ in range(50):
        sentry.add_issue("日" * 300, "本" * 300)
    told = json.loads(await answered(client, "search_issues", limit=50))
    assert 0 < len(told["issues"]) < 50
    assert told["shortened"].endswith("ask for fewer with `limit`, and use `nextCursor`.")


async def test_a_page_of_ordinary_rows_fits(client: Client, sentry: Sentry) -> None:
    for number in range(50):
        sentry.add_issue(
            f"IntegrityError: duplicate key value violates unique constraint pay_{number}", "shop.pay in charge"
        )
    told = json.loads(await answered(client, "search_issues", limit=50))
    assert (len(told["issues"]), told.get("shortened")) == (50, None)
