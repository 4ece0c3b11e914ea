"""The tools that read. Their docstrings are what a model knows of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sentry_mcp import arguments as args
from sentry_mcp import models
from sentry_mcp.client import ORGANIZATION, PROJECT, Path, Reply, SentryClient
from sentry_mcp.errors import MissingError, RefusedError
from sentry_mcp.models import answer
from sentry_mcp.outside import Marker
from sentry_mcp.refusals import not_understood

Parsed = TypeVar("Parsed", bound=BaseModel)

_NAMED_EVENTS = ("latest", "oldest", "recommended")


def parsed(model: type[Parsed], body: Any, marker: Marker) -> Parsed:
    """A part of an answer out of Sentry's JSON.

    Raises:
        UnavailableError: It isn't what Sentry sends.
    """
    try:
        return model.model_validate(body, context=marker)
    except ValidationError:
        raise not_understood() from None


def rows_of(reply: Reply) -> list[dict[str, Any]]:
    """The rows of a list.

    Raises:
        UnavailableError: It is none.
    """
    if not isinstance(reply.body, list) or not all(isinstance(row, dict) for row in reply.body):
        raise not_understood()
    return reply.body


class Access:
    """What all tools need: Sentry, and the check that an issue is the project's own."""

    def __init__(self, client: SentryClient) -> None:
        self.client = client

    def marker(self) -> Marker:
        return Marker(self.client.vault.redact)

    async def own_issue(self, issue_id: str, marker: Marker) -> models.Issue:
        """An issue of the project, by number or short id.

        Raises:
            MissingError: There is none; one of another project is none.
        """
        missing = MissingError(f"There is no issue {issue_id} in this project. `search_issues` finds those there are.")
        number = await self.client.project_number()
        try:
            reply = await self.client.get(issue_path(issue_id))
        except MissingError:
            raise missing from None
        # The routes of an organisation reach the issues of all its projects. Nothing of a foreign one is looked at.
        if not is_own(reply.body, number):
            raise missing
        return parsed(models.Issue, reply.body, marker)

    async def project(self, marker: Marker) -> models.Project:
        return parsed(models.Project, (await self.client.get(PROJECT)).body, marker)


def is_own(issue: Any, number: str) -> bool:
    """Whether an issue as Sentry shows it is of the project with this number."""
    project = issue.get("project") if isinstance(issue, dict) else None
    return isinstance(project, dict) and str(project.get("id")) == number


def issue_path(issue_id: str, *rest: str) -> Path:
    return (*ORGANIZATION, "issues", issue_id, *rest)


class Reading(Access):
    """The tools."""

    async def get_project(self) -> models.ProjectAnswer:
        """Show the project that this server is for: its number, platform, settings."""
        marker = self.marker()
        return answer(models.ProjectAnswer, marker, project=await self.project(marker))

    async def list_client_keys(self, limit: args.Limit = 20, cursor: args.Cursor = None) -> models.ClientKeys:
        """List the project's client keys with their public DSNs, which programs send events with."""
        marker = self.marker()
        reply = await self.client.get((*PROJECT, "keys"), per_page=limit, cursor=cursor)
        keys = [parsed(models.ClientKey, row, marker) for row in rows_of(reply)[:limit]]
        return answer(models.ClientKeys, marker, keys=keys, next_cursor=reply.next_cursor)

    async def search_issues(
        self,
        query: args.Query = "is:unresolved",
        sort: args.Sort = "date",
        period: args.Period = "14d",
        environment: args.Environment = None,
        limit: args.Limit = 20,
        cursor: args.Cursor = None,
    ) -> models.Issues:
        """Find issues of the project: groups of events with one cause. The id of an event finds its issue."""
        marker = self.marker()
        number = await self.client.project_number()
        reply = await self.client.get(
            (*ORGANIZATION, "issues"),
            project=number,
            query=query,
            sort=sort,
            statsPeriod=period,
            environment=environment,
            limit=limit,
            cursor=cursor,
        )
        # Sentry answers the id of an event, or a short id, with an issue of any project.
        own = [row for row in rows_of(reply)[:limit] if is_own(row, number)]
        issues = [parsed(models.Issue, row, marker) for row in own]
        return answer(models.Issues, marker, issues=issues, next_cursor=reply.next_cursor)

    async def get_issue(self, issue_id: args.IssueId) -> models.IssueAnswer:
        """Show an issue: what it is, its status, how often and when it was seen, who has it."""
        marker = self.marker()
        return answer(models.IssueAnswer, marker, issue=await self.own_issue(issue_id, marker))

    async def get_event(
        self, event_id: args.EventId = "recommended", issue_id: args.IssueId | None = None
    ) -> models.EventAnswer:
        """Show an event: exceptions with stack traces and source lines, breadcrumbs, tags. By its id, or of an issue
        the latest, the oldest or the one that Sentry recommends.
        """
        marker = self.marker()
        path: Path = (*PROJECT, "events", event_id)
        if issue_id is not None:
            issue = await self.own_issue(issue_id, marker)
            path = issue_path(issue.id, "events", event_id)
        elif event_id in _NAMED_EVENTS:
            raise RefusedError(f"`{event_id}` is an event of an issue: give `issue_id` too, or the event's id instead.")
        try:
            reply = await self.client.get(path)
        except MissingError:
            raise MissingError(
                f"There is no event {event_id} there. `list_issue_events` shows those there are."
            ) from None
        return answer(models.EventAnswer, marker, event=await self._event(reply.body, marker))

    async def list_issue_events(
        self, issue_id: args.IssueId, limit: args.Limit = 20, cursor: args.Cursor = None
    ) -> models.Events:
        """List the events of an issue, the latest first."""
        marker = self.marker()
        issue = await self.own_issue(issue_id, marker)
        reply = await self.client.get(issue_path(issue.id, "events"), per_page=limit, cursor=cursor)
        events = [parsed(models.EventSummary, row, marker) for row in rows_of(reply)[:limit]]
        return answer(models.Events, marker, issue_id=issue.id, events=events, next_cursor=reply.next_cursor)

    async def get_issue_tag_values(
        self, issue_id: args.IssueId, key: args.TagKey, limit: args.Limit = 20, cursor: args.Cursor = None
    ) -> models.TagValues:
        """Show how the events of an issue spread over the values of a tag: which releases, browsers, servers."""
        if models.is_of_a_user(key):
            raise RefusedError("Who the users are isn't shown. `get_issue` tells how many there are: `userCount`.")
        marker = self.marker()
        issue = await self.own_issue(issue_id, marker)
        try:
            reply = await self.client.get(issue_path(issue.id, "tags", key, "values"), per_page=limit, cursor=cursor)
        except MissingError:
            raise MissingError(f"No event of the issue {issue_id} has the tag {key}. `get_event` shows tags.") from None
        values = [parsed(models.TagValue, row, marker) for row in rows_of(reply)[:limit]]
        cursor = reply.next_cursor
        return answer(models.TagValues, marker, issue_id=issue.id, key=key, values=values, next_cursor=cursor)

    async def get_issue_activity(self, issue_id: args.IssueId, limit: args.Limit = 20) -> models.Activities:
        """Show what was done with an issue: notes, assignments, resolutions; the latest first."""
        marker = self.marker()
        issue = await self.own_issue(issue_id, marker)
        reply = await self.client.get(issue_path(issue.id, "activities"))
        entries = reply.body.get("activity") if isinstance(reply.body, dict) else None
        rows = rows_of(replace(reply, body=entries))[:limit]
        activity = [parsed(models.Activity, activity_row(row), marker) for row in rows]
        return answer(models.Activities, marker, issue_id=issue.id, activity=activity)

    async def list_releases(
        self, prefix: args.Prefix = "", limit: args.Limit = 20, cursor: args.Cursor = None
    ) -> models.Releases:
        """List the project's releases, the latest first."""
        marker = self.marker()
        reply = await self.client.get((*PROJECT, "releases"), query=prefix or None, per_page=limit, cursor=cursor)
        releases = [parsed(models.Release, row, marker) for row in rows_of(reply)[:limit]]
        return answer(models.Releases, marker, releases=releases, next_cursor=reply.next_cursor)

    async def get_release(self, version: args.Version) -> models.ReleaseAnswer:
        """Show a release: when it came, how many commits and new issues it has."""
        marker = self.marker()
        try:
            reply = await self.client.get((*PROJECT, "releases", version))
        except MissingError:
            raise MissingError(
                "The project has no release of that version. `list_releases` shows those there are."
            ) from None
        return answer(models.ReleaseAnswer, marker, release=parsed(models.Release, reply.body, marker))

    async def _event(self, body: Any, marker: Marker) -> models.Event:
        if not isinstance(body, dict):
            raise not_understood()
        if str(body.get("projectID")) != await self.client.project_number():
            raise MissingError("That event is of another project.")
        try:
            return models.event_of(body, marker)
        except ValidationError:
            raise not_understood() from None


def activity_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of an issue's activity with its text, and the name of who it is of."""
    data = row.get("data")
    note = data.get("text") if isinstance(data, dict) else None
    return {
        **row,
        "text": note or (json.dumps(data, ensure_ascii=False) if data else None),
        "user": name_of(row.get("user")),
    }


def name_of(user: Any, names: Iterable[str] = ("name", "username", "email", "id")) -> str | None:
    """What a user is called."""
    found = (user.get(name) for name in names) if isinstance(user, dict) else iter(())
    return next((str(name) for name in found if name), None)
