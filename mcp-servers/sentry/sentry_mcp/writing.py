"""The tools that change something in Sentry. Each can be tried in a dry run; what it changed is read back.

Of what it added, a note or a key, it shows what Sentry answered.
"""

from __future__ import annotations

from typing import Any

from sentry_mcp import arguments as args
from sentry_mcp import models
from sentry_mcp.client import PROJECT
from sentry_mcp.errors import RefusedError
from sentry_mcp.models import answer
from sentry_mcp.reading import Access, activity_row, issue_path, parsed
from sentry_mcp.refusals import DONE, MAYBE_DONE, not_understood, told_after_a_change


class Writing(Access):
    """The tools."""

    async def update_issue(
        self,
        issue_id: args.IssueId,
        status: args.IssueStatus = None,
        priority: args.IssuePriority = None,
        assigned_to: args.AssignedTo = None,
        dry_run: args.DryRun = False,
    ) -> models.IssueChange:
        """Change an issue: resolve, archive or reopen it, set its priority, assign it. What is left out stays."""
        sent = _given(status=status, priority=priority, assignedTo=assigned_to)
        marker = self.marker()
        before = await self.own_issue(issue_id, marker)
        after = None
        if not dry_run:
            await self.client.put(issue_path(before.id), sent)
            with told_after_a_change(DONE):
                after = await self.own_issue(before.id, marker)
        return answer(models.IssueChange, marker, dry_run=dry_run, sent=sent, before=before, after=after)

    async def add_issue_note(
        self, issue_id: args.IssueId, text: args.Note, dry_run: args.DryRun = False
    ) -> models.NoteAdded:
        """Add a note to an issue, which the members of the organisation see there."""
        marker = self.marker()
        issue = await self.own_issue(issue_id, marker)
        sent = {"text": text}
        note = None
        if not dry_run:
            reply = await self.client.post(issue_path(issue.id, "notes"), sent)
            with told_after_a_change(MAYBE_DONE):
                if not isinstance(reply.body, dict):
                    raise not_understood()
                note = parsed(models.Activity, activity_row(reply.body), marker)
        return answer(models.NoteAdded, marker, dry_run=dry_run, sent=sent, issue=issue, note=note)

    async def create_client_key(
        self,
        name: args.KeyName,
        events: args.Events = None,
        window: args.Window = None,
        dry_run: args.DryRun = False,
    ) -> models.KeyCreated:
        """Make a new client key for the project, if wanted with a limit of events in a time; shows its public DSN."""
        if (events is None) != (window is None):
            raise RefusedError("A limit needs both `events` and `window`. Give both, or neither.")
        sent: dict[str, Any] = {"name": name}
        if events is not None:
            sent["rateLimit"] = {"count": events, "window": window}
        marker = self.marker()
        key = None
        if dry_run:
            await self.client.project_number()  # that the project is there is all there is to try
        else:
            reply = await self.client.post((*PROJECT, "keys"), sent)
            with told_after_a_change(MAYBE_DONE):
                key = parsed(models.ClientKey, reply.body, marker)
        return answer(models.KeyCreated, marker, dry_run=dry_run, sent=sent, key=key)

    async def update_project(
        self,
        name: args.Name = None,
        platform: args.Platform = None,
        subject_prefix: args.SubjectPrefix = None,
        resolve_age: args.ResolveAge = None,
        default_environment: args.Environment = None,
        dry_run: args.DryRun = False,
    ) -> models.ProjectChange:
        """Change settings of the project; its slug can't be changed here. What is left out stays."""
        sent = _given(
            name=name,
            platform=platform,
            subjectPrefix=subject_prefix,
            resolveAge=resolve_age,
            defaultEnvironment=default_environment,
        )
        marker = self.marker()
        before = await self.project(marker)
        after = None
        if not dry_run:
            await self.client.put(PROJECT, sent)
            with told_after_a_change(DONE):
                after = await self.project(marker)
        return answer(models.ProjectChange, marker, dry_run=dry_run, sent=sent, before=before, after=after)


def _given(**values: Any) -> dict[str, Any]:
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise RefusedError("Nothing is to be changed. Give at least one of the values to change.")
    return given
