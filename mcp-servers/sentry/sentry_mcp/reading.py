"""The tools that read. A model sees their docstrings as descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from sentry_mcp import arguments as args
from sentry_mcp import event, ids, shown
from sentry_mcp.client import LARGEST_ANSWER, ORGANIZATION, PROJECT, Path, Reply, SentryClient
from sentry_mcp.errors import ForbiddenError, MissingError, RefusedError
from sentry_mcp.ids import Address, Place
from sentry_mcp.outside import Marker, as_text
from sentry_mcp.refusals import not_understood
from sentry_mcp.shown import Show, is_object

Answer: TypeAlias = dict[str, Any]

_EVENT_FIELDS = ["id", "timestamp", "title", "issue", "issue.id", "project.id", "release", "environment", "level"]

LONGEST_ATTACHMENT = 24_000
"""Maximum length of an attachment's text that is shown, in characters."""
_MOST_PAGES = 5
"""Maximum number of pages to read to find releases that begin with a prefix."""
_TEXT_TYPES = re.compile(
    r"text/.*|application/(json|xml|x-yaml|yaml|javascript|x-ndjson|logfmt|toml)|.*\+(json|xml)", re.IGNORECASE
)
_TEXT_NAMES = re.compile(r".*\.(txt|log|json|xml|ya?ml|csv|md|ini|toml|out|err|trace)", re.IGNORECASE)


def rows_of(reply: Reply) -> list[Any]:
    """Return the rows of a response.

    Raises:
        UnavailableError: The response isn't a list.
    """
    if not isinstance(reply.body, list):
        raise not_understood()
    return reply.body


def object_of(reply: Reply) -> Answer:
    """Return the object in a response.

    Raises:
        UnavailableError: The response isn't an object.
    """
    if not is_object(reply.body):
        raise not_understood()
    return reply.body


def answer(marker: Marker, **members: Any) -> Answer:
    """Return an answer without empty members, and with the notice that explains its marks."""
    kept = {name: value for name, value in members.items() if value is not None}
    return {"outside": marker.notice, **kept}


class Access:
    """The base of all tools: the client for Sentry, and the check that an issue belongs to the project."""

    def __init__(self, client: SentryClient) -> None:
        self.client = client

    def marker(self, **limits: int) -> Marker:
        return Marker(self.client.vault.redact, **limits)

    async def place(self) -> Place:
        """Return the project that addresses of issues and events must belong to."""
        credentials = await self.client.vault.credentials()
        return Place(self.client.url, credentials.organization, credentials.project)

    async def own_issue(self, issue_id: str) -> Answer:
        """Return an issue of the project as Sentry sends it.

        Raises:
            MissingError: There is no such issue, or it belongs to another project.
        """
        return await self._own_issue(ids.issue(issue_id, await self.place()))

    async def _own_issue(self, address: Address) -> Answer:
        found = address.issue or ""
        missing = MissingError(f"There is no issue {found} in this project. `search_issues` finds those there are.")
        number = await self.client.project_number()
        try:
            reply = await self.client.get(issue_path(found))
        except MissingError:
            raise missing from None
        # An organization's routes reach the issues of all its projects. Read nothing else of a foreign one.
        if not is_own(reply.body, number):
            raise missing
        issue = object_of(reply)
        if not re.fullmatch(r"[0-9]{1,20}", str(issue.get("id"))):
            raise not_understood()
        return {**issue, "id": str(issue["id"])}

    def page(self, marker: Marker, name: str, show: Show, reply: Reply, limit: int, **members: Any) -> Answer:
        """Return a page of rows. If the budget cuts rows or texts, the page says so."""
        given = rows_of(reply)[:limit]
        found = shown.rows(show, marker, given)
        return answer(
            marker,
            **members,
            **{name: found},
            nextCursor=reply.next_cursor,
            shortened=_shortened(len(given) - len(found), marker),
        )


def _shortened(missing: int, marker: Marker) -> str | None:
    if missing:
        return f"{missing} rows didn't fit: ask for fewer with `limit`, and use `nextCursor`."
    return "Long texts were cut: ask for one row alone to see more." if marker.cut else None


def is_own(issue: Any, number: str) -> bool:
    """Tell whether an issue, as Sentry sends it, belongs to the project with this number."""
    project = issue.get("project") if is_object(issue) else None
    return is_object(project) and str(project.get("id")) == number


def issue_path(issue_id: str, *rest: str) -> Path:
    return (*ORGANIZATION, "issues", issue_id, *rest)


def times(period: str | None, start: str | None, end: str | None, default: str | None = None) -> dict[str, str | None]:
    """Return Sentry's parameters for a range of time.

    Raises:
        RefusedError: They contradict each other.
    """
    if (start is None) != (end is None) or (start and period):
        raise RefusedError("Give `start` and `end` together, or `period` alone.")
    return {"start": start, "end": end} if start else {"statsPeriod": period or default}


class Reading(Access):
    """The tools that read."""

    async def get_project(self) -> Answer:
        """Show the project that this server is for: number, platform, settings, teams."""
        marker = self.marker()
        return answer(marker, project=shown.PROJECT(marker, object_of(await self.client.get(PROJECT))))

    async def list_client_keys(self, limit: args.Limit = 20, cursor: args.Cursor | None = None) -> Answer:
        """List the client keys with their public DSNs, which programs send events with."""
        reply = await self.client.get((*PROJECT, "keys"), per_page=limit, cursor=cursor)
        return self.page(self.marker(), "keys", shown.CLIENT_KEY, reply, limit)

    async def search_issues(  # noqa: PLR0913, PLR0917 - the arguments of a tool
        self,
        query: args.Query = "is:unresolved",
        sort: args.Sort = "date",
        period: args.Period | None = None,
        start: args.Moment | None = None,
        end: args.Moment | None = None,
        environment: args.Environment | None = None,
        limit: args.Limit = 20,
        cursor: args.Cursor | None = None,
    ) -> Answer:
        """Find issues: groups of events with one cause. The id of an event, or a short id, finds its issue."""
        number = await self.client.project_number()
        reply = await self.client.get(
            (*ORGANIZATION, "issues"),
            project=number,
            query="" if query.strip() == "*" else ids.short_id_in(query) or query,
            shortIdLookup=1,
            sort=sort,
            environment=environment,
            limit=limit,
            cursor=cursor,
            **times(period, start, end, "14d"),
        )
        # For the id of an event, or a short id, Sentry returns an issue of any project.
        own = [row for row in rows_of(reply)[:limit] if is_own(row, number)]
        return self.page(self.marker(), "issues", shown.ISSUE, replace(reply, body=own), limit)

    async def get_issue(self, issue_id: args.IssueId) -> Answer:
        """Show an issue: status, how often and when it was seen, who has it, its address, linked GitHub or Jira issues,
        first and last release; and the project's teams.
        """
        issue = await self.own_issue(issue_id)
        marker = self.marker()
        teams = shown.rows(shown.TEAM, marker, await self.client.teams(), 20)
        return answer(marker, issue=shown.WHOLE_ISSUE(marker, issue), teams=teams or None)

    async def get_event(
        self,
        event_id: args.EventId | None = None,
        issue_id: args.IssueId | None = None,
        section: args.Section | None = None,
    ) -> Answer:
        """Show an event, by its id or of an issue: exceptions and threads with stack traces (the innermost frame
        first), evidence, request, breadcrumbs (the latest first), tags, contexts.
        """
        body = await self._event(event_id, issue_id)
        marker = self.marker(longest=20_000) if section else self.marker()
        return answer(marker, event=event.show(marker, body, section))

    async def search_events(  # noqa: PLR0913, PLR0917 - the arguments of a tool
        self,
        query: args.EventQuery | None = None,
        issue_id: args.IssueId | None = None,
        period: args.Period | None = None,
        start: args.Moment | None = None,
        end: args.Moment | None = None,
        environment: args.Environment | None = None,
        limit: args.Limit = 20,
        cursor: args.Cursor | None = None,
    ) -> Answer:
        """List the events that a query finds, the latest first: of one issue, or of the whole project."""
        when = times(period, start, end)
        marker = self.marker()
        if issue_id is None:
            reply = await self._events_of_project(query, when | {"environment": environment}, limit, cursor)
            return self.page(marker, "events", shown.FOUND_EVENT, reply, limit)
        issue = await self.own_issue(issue_id)
        reply = await self.client.get(
            issue_path(issue["id"], "events"),
            query=query,
            environment=environment,
            per_page=limit,
            cursor=cursor,
            **when,
        )
        return self.page(marker, "events", shown.EVENT_ROW, reply, limit, issueId=issue["id"])

    async def _events_of_project(
        self, query: str | None, parameters: Mapping[str, str | None], limit: int, cursor: str | None
    ) -> Reply:
        """Search the events of all the project's issues.

        Raises:
            RefusedError: The token's scopes don't suffice, or the query is wrong.
        """
        number = await self.client.project_number()
        try:
            reply = await self.client.get(
                (*ORGANIZATION, "events"),
                project=number,
                field=_EVENT_FIELDS,
                dataset="errors",
                sort="-timestamp",
                query=query,
                per_page=limit,
                cursor=cursor,
                **parameters,
            )
        except ForbiddenError as error:
            raise RefusedError(
                f"{error} A search of all events needs org:read too; with `issue_id` it doesn't."
            ) from None
        rows = rows_of(replace(reply, body=object_of(reply).get("data")))
        # The request names the project. A row of another one is dropped all the same.
        return replace(reply, body=[row for row in rows if is_object(row) and str(row.get("project.id")) == number])

    async def list_issue_events(
        self, issue_id: args.IssueId, limit: args.Limit = 20, cursor: args.Cursor | None = None
    ) -> Answer:
        """List the events of an issue, the latest first."""
        return await self.search_events(None, issue_id, limit=limit, cursor=cursor)

    async def get_issue_tag_values(
        self, issue_id: args.IssueId, key: args.TagKey, limit: args.Limit = 20, cursor: args.Cursor | None = None
    ) -> Answer:
        """Show how the events of an issue spread over the values of a tag: which releases, browsers, servers."""
        if shown.is_of_a_user(key):
            raise RefusedError("Who the users are isn't shown. `get_issue` tells how many there are: `userCount`.")
        issue = await self.own_issue(issue_id)
        try:
            reply = await self.client.get(issue_path(issue["id"], "tags", key, "values"), per_page=limit, cursor=cursor)
        except MissingError:
            raise MissingError(f"No event of the issue {issue_id} has the tag {key}. `get_event` shows tags.") from None
        return self.page(self.marker(), "values", shown.TAG_VALUE, reply, limit, issueId=issue["id"])

    async def get_issue_activity(self, issue_id: args.IssueId, limit: args.Limit = 20) -> Answer:
        """Show what was done with an issue: notes, assignments, resolutions; the latest first, of the last 100."""
        issue = await self.own_issue(issue_id)
        reply = await self.client.get(issue_path(issue["id"], "activities"))
        rows = rows_of(replace(reply, body=object_of(reply).get("activity")))
        reply = replace(reply, body=[activity_row(row) for row in rows])
        return self.page(self.marker(), "activity", shown.ACTIVITY, reply, limit, issueId=issue["id"])

    async def list_user_reports(
        self, issue_id: args.IssueId, limit: args.Limit = 20, cursor: args.Cursor | None = None
    ) -> Answer:
        """List what users reported about an issue: their words, not who they are."""
        issue = await self.own_issue(issue_id)
        reply = await self.client.get(issue_path(issue["id"], "user-reports"), per_page=limit, cursor=cursor)
        return self.page(self.marker(), "reports", shown.USER_REPORT, reply, limit, issueId=issue["id"])

    async def get_attachments(
        self,
        event_id: args.EventId | None = None,
        issue_id: args.IssueId | None = None,
        attachment_id: args.AttachmentId | None = None,
    ) -> Answer:
        """List the attachments of an event, such as logs and screenshots; with `attachment_id` show a text one."""
        found = str((await self._event(event_id, issue_id)).get("id"))
        if not re.fullmatch(r"[0-9a-f]{32}", found):
            raise not_understood()
        path: Path = (*PROJECT, "events", found, "attachments")
        reply = await self.client.get(path)
        if attachment_id is None:
            return self.page(self.marker(), "attachments", shown.ATTACHMENT, reply, 50, eventId=found)
        rows = [row for row in rows_of(reply) if is_object(row) and str(row.get("id")) == attachment_id]
        if not rows:
            raise MissingError(f"The event has no attachment {attachment_id}. Call without `attachment_id` for a list.")
        row = rows[0]
        if not _is_text(row):
            raise RefusedError("That attachment isn't a text. Its page in Sentry shows it.")
        if isinstance(row.get("size"), int) and row["size"] > LARGEST_ANSWER:
            raise RefusedError("That attachment is larger than 5 MiB. Its page in Sentry shows it.")
        content = await self.client.download((*path, attachment_id))
        marker = self.marker(longest=LONGEST_ATTACHMENT)
        shown_row = shown.ATTACHMENT(marker, row)
        words = marker.text(content.decode("utf-8", "replace"))
        return answer(
            marker,
            attachment=shown_row,
            text=words,
            shortened="The attachment is longer: its page in Sentry shows the rest." if marker.cut else None,
        )

    async def list_releases(
        self, prefix: args.Prefix = "", limit: args.Limit = 20, cursor: args.Cursor | None = None
    ) -> Answer:
        """List the project's releases, the latest first."""
        path: Path = (*PROJECT, "releases")
        reply = await self.client.get(path, query=prefix or None, per_page=limit, cursor=cursor)
        found = _beginning(prefix, rows_of(reply))
        # Sentry's query matches anywhere in a version, so a page may hold no version that begins with the prefix.
        for _ in range(_MOST_PAGES - 1):
            if found or not prefix or reply.next_cursor is None:
                break
            reply = await self.client.get(path, query=prefix, per_page=limit, cursor=reply.next_cursor)
            found = _beginning(prefix, rows_of(reply))
        return self.page(self.marker(), "releases", shown.RELEASE, replace(reply, body=found), limit)

    async def get_release(self, version: args.Version) -> Answer:
        """Show a release: when it came, how many commits and new issues it has."""
        try:
            reply = await self.client.get((*PROJECT, "releases", version))
        except MissingError:
            raise MissingError(
                "The project has no release of that version. `list_releases` shows those there are."
            ) from None
        marker = self.marker()
        return answer(marker, release=shown.RELEASE(marker, object_of(reply)))

    async def _event(self, event_id: str | None, issue_id: str | None) -> Answer:
        """Return an event of the project as Sentry sends it.

        Raises:
            MissingError: There is no such event, or it belongs to another project.
        """
        place = await self.place()
        named = ids.event(event_id, place) if event_id else Address(None, None)
        owner = ids.issue(issue_id, place) if issue_id else named
        wanted = named.event or owner.event or "recommended"
        path: Path = (*PROJECT, "events", wanted)
        if owner.issue is not None:
            path = issue_path((await self._own_issue(owner))["id"], "events", wanted)
        elif wanted in ids.NAMED_EVENTS:
            raise RefusedError(f"`{wanted}` is an event of an issue: give `issue_id` too, or the event's id instead.")
        try:
            reply = await self.client.get(path)
        except MissingError:
            raise MissingError(f"There is no event {wanted} there. `search_events` shows those there are.") from None
        body = object_of(reply)
        if str(body.get("projectID")) != await self.client.project_number():
            raise MissingError("That event is of another project.")
        return body


def _beginning(prefix: str, rows: Iterable[Any]) -> list[Any]:
    begins = prefix.lower()
    return [
        row for row in rows if not begins or (is_object(row) and str(row.get("version")).lower().startswith(begins))
    ]


def _is_text(row: Answer) -> bool:
    kind, name = str(row.get("mimetype") or ""), str(row.get("name") or "")
    kind = kind.partition(";")[0].strip()
    return bool(
        _TEXT_TYPES.fullmatch(kind) or (kind in ("", "application/octet-stream") and _TEXT_NAMES.fullmatch(name))
    )


def activity_row(row: Any) -> Any:
    """Return an entry of an issue's activity with its text."""
    if not is_object(row):
        return row
    data = row.get("data")
    note = data.get("text") if is_object(data) else None
    return {**row, "text": note or (as_text(data) if data else None)}
