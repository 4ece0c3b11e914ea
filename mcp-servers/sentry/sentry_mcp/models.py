"""What the tools answer, and what of Sentry's answers gets into it: nothing that isn't a field here.

The names are those of Sentry's API. Each model is validated straight from Sentry's JSON, with the answer's `Marker` as
its context: a field is either a number, a time, one of some known words, an id of a fixed form, or text that others
wrote (`Line`, `Text`), which comes out marked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from sentry_mcp.outside import Line, Marker, Notice, Text, notice_of

MOST_EXCEPTIONS = 5
MOST_FRAMES = 30
MOST_BREADCRUMBS = 40
MOST_TAGS = 50
_CONTEXT_LINES = 2


def _lenient(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def is_of_a_user(key: Any) -> bool:
    """Whether a tag tells who used the program: `user`, made of an id, a name or an address, or `user.email`."""
    return isinstance(key, str) and key.lower().removeprefix("sentry:").partition(".")[0] == "user"


def _shown_tags(rows: Any) -> list[dict[str, Any]]:
    found = [row for row in rows if _is_object(row)] if isinstance(rows, list) else []
    return [row for row in found if not is_of_a_user(row.get("key"))][:MOST_TAGS]


_OR_NONE = WrapValidator(_lenient)

Number = Annotated[str, Field(pattern=r"^[0-9]{1,20}$"), BeforeValidator(_number_as_text)]
"""An id."""
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ShortId = Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$"), _OR_NONE]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,100}$")]
Time = Annotated[datetime | None, _OR_NONE]
Count = Annotated[int | None, _OR_NONE]
Flag = Annotated[bool | None, _OR_NONE]
Level = Annotated[Literal["fatal", "error", "warning", "info", "debug", "sample"] | None, _OR_NONE]
Status = Annotated[Literal["resolved", "unresolved", "ignored", "reprocessing"] | None, _OR_NONE]
Priority = Annotated[Literal["high", "medium", "low"] | None, _OR_NONE]


class Part(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Answer(Part):
    """The answer of a tool."""

    outside: Notice | None = Field(None, description="How to tell text that others wrote; null where there is none")


Answered = TypeVar("Answered", bound=Answer)


class Page(Answer):
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the next page; null on the last")


class WhoAmI(Answer):
    sentry: str = Field(description="The address of Sentry")
    organization: str
    project: str
    scopes: list[str] | None = Field(description="Those of the server's token; null if Sentry doesn't tell")
    tools: list[str] = Field(description="The tools that are offered with these scopes")
    read_only: bool


class Project(Part):
    id: Number
    slug: Slug
    name: Line
    platform: Line | None = None
    status: Annotated[Literal["active", "disabled", "pending_deletion"] | None, _OR_NONE] = None
    date_created: Time = None
    first_event: Time = None
    subject_prefix: Line | None = None
    resolve_age: Annotated[Count, Field(description="Hours after which an unseen issue is resolved; 0: never")] = None
    default_environment: Line | None = None


class ProjectAnswer(Answer):
    project: Project


class RateLimit(Part):
    count: int
    window: int = Field(description="Seconds")


class PublicDsn(Part):
    public: Annotated[str, Field(pattern=r"^https?://[0-9a-f]{32}@[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9_.-]+)*/[0-9]+$")]


class ClientKey(Part):
    """The public part of a client key."""

    id: Hex
    label: Line | None = None
    public: Hex
    is_active: bool
    rate_limit: Annotated[RateLimit | None, _OR_NONE] = None
    dsn: PublicDsn
    date_created: Time = None


class ClientKeys(Page):
    keys: list[ClientKey]


class ProjectReference(Part):
    id: Number
    slug: Slug


class Assignee(Part):
    type: Annotated[Literal["user", "team"] | None, _OR_NONE] = None
    id: Annotated[Number | None, _OR_NONE] = None
    name: Line | None = None


class Issue(Part):
    id: Number
    short_id: ShortId = None
    project: ProjectReference
    title: Line
    culprit: Line | None = None
    level: Level = None
    status: Status = None
    substatus: Annotated[
        Literal["ongoing", "escalating", "regressed", "new", "archived_until_escalating",
                "archived_until_condition_met", "archived_forever"] | None,
        _OR_NONE,
    ] = None  # fmt: skip
    priority: Priority = None
    assigned_to: Annotated[Assignee | None, _OR_NONE] = None
    count: Count = None
    user_count: Count = None
    is_unhandled: Flag = None
    first_seen: Time = None
    last_seen: Time = None


class Issues(Page):
    issues: list[Issue]


class IssueAnswer(Answer):
    issue: Issue


class Tag(Part):
    key: Line
    value: Line | None = None


class Frame(Part):
    """A frame of a stack trace, with the source line that it is at and those around it."""

    filename: Line | None = None
    function: Line | None = None
    module: Line | None = None
    line_no: Count = None
    in_app: Flag = None
    source: Text | None = None


class Stack(Part):
    frames: list[Frame] = Field([], description="The innermost last")
    frames_left_out: int = 0


class ExceptionInfo(Stack):
    type: Line | None = None
    value: Text | None = None
    handled: Flag = None


class ThreadInfo(Stack):
    name: Line | None = None
    crashed: Flag = None


class Breadcrumb(Part):
    timestamp: Time = None
    category: Line | None = None
    level: Level = None
    message: Text | None = Field(None, description="Where there is none: method, address and status of a request")


class EventSummary(Part):
    id: Hex
    title: Line | None = None
    message: Text | None = None
    date_created: Time = None
    tags: Annotated[list[Tag], BeforeValidator(_shown_tags)] = []


class Event(EventSummary):
    group_id: Annotated[Number | None, Field(alias="groupID"), _OR_NONE] = None
    previous_event_id: Annotated[Hex | None, Field(alias="previousEventID"), _OR_NONE] = None
    next_event_id: Annotated[Hex | None, Field(alias="nextEventID"), _OR_NONE] = None
    culprit: Line | None = None
    platform: Line | None = None
    release: Line | None = None
    request: Line | None = Field(None, description="Method and address; no body, no headers")
    exceptions: list[ExceptionInfo] = Field([], description="The outermost last")
    thread: ThreadInfo | None = Field(
        None, description="The one that crashed, or else was current; only where no exception has a stack trace"
    )
    breadcrumbs: list[Breadcrumb] = Field([], description="The latest last")


class EventAnswer(Answer):
    event: Event


class Events(Page):
    issue_id: Number
    events: list[EventSummary]


class TagValue(Part):
    value: Line | None = None
    count: Count = None
    first_seen: Time = None
    last_seen: Time = None


class TagValues(Page):
    issue_id: Number
    key: Line
    values: list[TagValue]


class Activity(Part):
    id: Annotated[str | None, BeforeValidator(_number_as_text), Field(pattern=r"^[0-9A-Za-z_-]{1,40}$"), _OR_NONE] = (
        None
    )
    type: Line
    user: Line | None = None
    text: Text | None = Field(None, description="A note's text; of others what Sentry keeps of it, as JSON")
    date_created: Time = None


class Activities(Answer):
    issue_id: Number
    activity: list[Activity] = Field(description="The latest first; Sentry gives the last 100")


class Release(Part):
    version: Line
    short_version: Line | None = None
    ref: Line | None = None
    url: Line | None = None
    date_created: Time = None
    date_released: Time = None
    first_event: Time = None
    last_event: Time = None
    new_groups: Annotated[Count, Field(description="Issues that were first seen in it")] = None
    commit_count: Count = None
    deploy_count: Count = None


class Releases(Page):
    releases: list[Release]


class ReleaseAnswer(Answer):
    release: Release


class Change(Answer):
    """What a writing tool did, or in a dry run would do."""

    dry_run: bool = Field(description="True: nothing was changed")
    sent: dict[str, Any] = Field(description="What was sent to Sentry, or would be")


class IssueChange(Change):
    before: Issue
    after: Issue | None = Field(None, description="Read back from Sentry; null in a dry run")


class ProjectChange(Change):
    before: Project
    after: Project | None = Field(None, description="Read back from Sentry; null in a dry run")


class NoteAdded(Change):
    issue: Issue
    note: Activity | None = None


class KeyCreated(Change):
    key: ClientKey | None = None


class Webhook(Part):
    """A webhook that was received, its signature verified."""

    received: datetime
    resource: Line
    action: Line | None = None
    issue_id: Annotated[Number | None, _OR_NONE] = None
    event_id: Annotated[Hex | None, _OR_NONE] = None
    title: Line | None = None
    actor: Line | None = None


class Webhooks(Answer):
    webhooks: list[Webhook] = Field(description="The latest first")
    dropped: int = Field(description="Received but of other projects, since the server started")


def event_of(body: dict[str, Any], marker: Marker) -> Event:
    """An event out of Sentry's JSON: of its `entries` exceptions or a thread, breadcrumbs, the request's address."""
    given = body.get("entries")
    rows = [row for row in given if _is_object(row)] if isinstance(given, list) else []
    entries = {row["type"]: row.get("data") for row in rows if isinstance(row.get("type"), str)}
    exceptions = [_exception(one) for one in _objects(entries, "exception")[-MOST_EXCEPTIONS:]]
    release = body.get("release")
    flat = {
        **body,
        "release": release.get("version") if _is_object(release) else release,
        "request": _request(entries.get("request")),
        "exceptions": exceptions,
        "thread": None if any(one["frames"] for one in exceptions) else _thread(_objects(entries, "threads")),
        "breadcrumbs": [_breadcrumb(one) for one in _objects(entries, "breadcrumbs")[-MOST_BREADCRUMBS:]],
    }
    return Event.model_validate(flat, context=marker)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _objects(entries: dict[Any, Any], name: str, rows: str = "values") -> list[dict[str, Any]]:
    data = entries.get(name)
    values = data.get(rows) if _is_object(data) else None
    return [value for value in values if _is_object(value)] if isinstance(values, list) else []


def _request(data: Any) -> str | None:
    if not _is_object(data) or not data.get("url"):
        return None
    return f"{data.get('method') or 'GET'} {data['url']}"


def _exception(value: dict[str, Any]) -> dict[str, Any]:
    mechanism = value.get("mechanism")
    return {**value, "handled": mechanism.get("handled") if _is_object(mechanism) else None, **_stack(value)}


def _thread(threads: list[dict[str, Any]]) -> dict[str, Any] | None:
    found = (thread for name in ("crashed", "current") for thread in threads if thread.get(name) is True)
    thread = next(found, None)
    return thread and {**thread, **_stack(thread)}


def _stack(owner: dict[str, Any]) -> dict[str, Any]:
    frames = _objects(owner, "stacktrace", "frames")
    return {
        "frames": [_frame(frame) for frame in frames[-MOST_FRAMES:]],
        "framesLeftOut": max(0, len(frames) - MOST_FRAMES),
    }


def _breadcrumb(crumb: dict[str, Any]) -> dict[str, Any]:
    """A breadcrumb. That of a request that was sent has no message, but data, in the names of one SDK or another."""
    data = crumb.get("data")
    if crumb.get("message") or not _is_object(data):
        return crumb
    names = (("method", "http.method", "http.request.method"), ("url",), ("status_code", "http.response.status_code"))
    values = (next((data[name] for name in spelled if data.get(name)), None) for spelled in names)
    return {**crumb, "message": " ".join(str(value) for value in values if isinstance(value, str | int)) or None}


def _frame(frame: dict[str, Any]) -> dict[str, Any]:
    """A frame without its variables; of the source only what is near, and only in the program's own code."""
    at = frame.get("lineNo")
    context = frame.get("context") if frame.get("inApp") else None
    near = [
        f"{row[0]}{' >' if row[0] == at else '  '} {row[1]}"
        for row in (context if isinstance(context, list) else [])
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], int) and isinstance(at, int)
        if abs(row[0] - at) <= _CONTEXT_LINES
    ]
    return {**frame, "source": "\n".join(near) or None}


def answer(model: type[Answered], marker: Marker, **fields: Any) -> Answered:
    """An answer of these fields, with the notice of how to tell others' text in it."""
    made = model.model_validate(fields, context=marker)
    return made.model_copy(update={"outside": notice_of(marker)})
