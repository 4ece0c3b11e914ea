"""The arguments of the tools. They allow less than Sentry's paths and queries do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sophia_sync.sentry import CURSOR


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


IssueId = Annotated[
    str,
    Field(min_length=1, max_length=500, description="Its number, short id (PAY-READY-1A) or address"),
    BeforeValidator(_number_as_text),
]
EventId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="Its id or address; with `issue_id` also latest, oldest, recommended (default)",
    ),
]
TagKey = Annotated[str, Field(pattern=r"^[^/\\?#\x00-\x1f\x7f]{1,200}$", description="Such as environment")]
Version = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,250}$", description="Such as shop@1.2.3")]
Query = Annotated[
    str,
    Field(max_length=500, description="Sentry's search, such as `is:unresolved level:error pay`; a short id; `*`: all"),
]
EventQuery = Annotated[str, Field(max_length=500, description="Sentry's search for events, such as `release:1.2`")]
Prefix = Annotated[str, Field(max_length=100, description="Only versions that begin so")]
Sort = Annotated[
    Literal["date", "new", "freq", "user", "trends", "recommended"],
    Field(description="date: last seen; new: first seen; freq: events; user: users"),
]
Period = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}[mhdw]$", description="Such as 24h or 14d")]
Moment = Annotated[
    str,
    Field(
        pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?$",
        description="ISO 8601; `start` and `end` together replace `period`",
    ),
]
Environment = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,64}$")]
Section = Annotated[
    Literal[
        "exceptions",
        "stacktrace",
        "message",
        "evidence",
        "csp",
        "feedback",
        "threads",
        "errors",
        "request",
        "breadcrumbs",
        "tags",
        "contexts",
        "extra",
    ],
    Field(description="Show this part alone, and more of it"),
]
Limit = Annotated[int, Field(ge=1, le=50)]
Cursor = Annotated[str, Field(pattern=f"^{CURSOR}$", description="`nextCursor` of the page before")]
AttachmentId = Annotated[
    str, Field(pattern=r"^[0-9]{1,20}$", description="Show this one, a text"), BeforeValidator(_number_as_text)
]
DryRun = Annotated[bool, Field(description="Change nothing, show what would be sent")]
IssueStatus = Literal["resolved", "resolvedInNextRelease", "unresolved", "archived", "ignored"]
ResolveIn = Annotated[
    str,
    Field(
        pattern=r"^(next_release|release:.{1,250}|commit:[^@]{1,200}@[0-9a-fA-F]{7,64})$",
        description="next_release, release:VERSION, release:latest or commit:REPOSITORY@SHA",
    ),
]
ArchiveUntil = Annotated[
    str,
    Field(
        pattern=r"^(escalating|forever|minutes:[1-9][0-9]{0,6}|(events|users):[1-9][0-9]{0,8}(/[1-9][0-9]{0,4})?)$",
        description="escalating (default), forever, minutes:N, events:N, users:N; events:N/M: N within M minutes",
    ),
]
IssuePriority = Literal["high", "medium", "low"]
AssignedTo = Annotated[
    str,
    Field(
        pattern=r"^(nobody|user:[0-9]{1,20}|(team:|#)[A-Za-z0-9_-]{1,100}|[A-Za-z0-9._%+@-]{1,200})$",
        description="team:SLUG, user:ID, a user's name or e-mail address, or nobody",
    ),
]
Note = Annotated[str, Field(min_length=1, max_length=4000, description="Markdown")]
KeyName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
Events = Annotated[int, Field(ge=1, le=1_000_000, description="Most events in `window` seconds")]
Window = Annotated[int, Field(ge=1, le=86_400)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Platform = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$", description="Such as python-flask")]
SubjectPrefix = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$", description="Of e-mail subjects")]
ResolveAge = Annotated[int, Field(ge=0, le=720, description="Hours after which unseen issues are resolved; 0: never")]
