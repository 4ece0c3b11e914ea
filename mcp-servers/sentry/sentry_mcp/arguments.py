"""The arguments of the tools: what they may be, which is less than what a path or a query of Sentry's may hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

CURSOR = r"[0-9.-]{1,40}:-?[0-9]{1,20}:[01]"
"""A cursor of Sentry's, as a regular expression."""


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


IssueId = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{1,20}|[A-Za-z0-9][A-Za-z0-9_-]{0,80}-[A-Za-z0-9]{1,20})$",
        description="The issue's number, such as 6100000001, or its short id, such as PAY-READY-1A",
    ),
    BeforeValidator(_number_as_text),
]
EventId = Annotated[
    str,
    Field(
        pattern=r"^([0-9a-f]{32}|latest|oldest|recommended)$",
        description="32 hexadecimal digits, or, with an issue, `latest`, `oldest` or `recommended`",
    ),
]
TagKey = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$",
        description="The tag's key, such as `environment`, `release` or `browser.name`",
    ),
]
Version = Annotated[
    str,
    Field(
        pattern=r"^[^/\\\x00-\x1f\x7f]{1,250}$",
        description="The release's version as Sentry has it, such as shop@1.2.3",
    ),
]
Query = Annotated[
    str,
    Field(
        max_length=500,
        description="In Sentry's search language, such as `is:unresolved level:error checkout`; empty: every issue",
    ),
]
Prefix = Annotated[str, Field(max_length=100, description="Only versions that begin so")]
Sort = Annotated[
    Literal["date", "new", "freq", "user", "trends"],
    Field(description="`date`: last seen; `new`: first seen; `freq`: events; `user`: users concerned; `trends`"),
]
Period = Annotated[
    str, Field(pattern=r"^[1-9][0-9]{0,2}[hdw]$", description="How far back, such as `24h`, `14d` or `4w`")
]
Environment = Annotated[
    str | None, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,64}$", description="Only events of this environment")
]
Limit = Annotated[int, Field(ge=1, le=50, description="How many a page has at most")]
Cursor = Annotated[
    str | None,
    Field(pattern=f"^{CURSOR}$", description="`nextCursor` of the page before"),
]
DryRun = Annotated[bool, Field(description="True: show what would be sent, and change nothing")]
IssueStatus = Annotated[
    Literal["resolved", "resolvedInNextRelease", "unresolved", "ignored"] | None,
    Field(description="`ignored` is what Sentry's pages call archived"),
]
IssuePriority = Annotated[Literal["high", "medium", "low"] | None, Field(description="The new priority")]
AssignedTo = Annotated[
    str | None,
    Field(
        pattern=r"^(|user:[0-9]{1,20}|team:[0-9]{1,20}|[A-Za-z0-9._%+@-]{1,200})$",
        description="`user:ID`, `team:ID`, a user's name or e-mail address; empty: nobody",
    ),
]
Note = Annotated[str, Field(min_length=1, max_length=4000, description="The note, in Markdown")]
KeyName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$", description="What the key is called")]
Events = Annotated[int | None, Field(ge=1, le=1_000_000, description="Events that the key takes in `window` seconds")]
Window = Annotated[int | None, Field(ge=1, le=86_400, description="Seconds")]
Name = Annotated[str | None, Field(pattern=r"^[^\x00-\x1f\x7f]{1,50}$", description="The project's new display name")]
Platform = Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$", description="Such as `python-flask`")]
SubjectPrefix = Annotated[
    str | None, Field(pattern=r"^[^\x00-\x1f\x7f]{0,200}$", description="What e-mail subjects begin with")
]
ResolveAge = Annotated[
    int | None, Field(ge=0, le=720, description="Hours after which an unseen issue is resolved; 0: never")
]
