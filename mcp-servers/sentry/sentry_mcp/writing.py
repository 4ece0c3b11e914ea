"""The tools that change something in Sentry. Each has a dry run and reads its change back.

For an added note or key, the answer shows Sentry's response instead.
"""

from __future__ import annotations

import re
from typing import Any

from sentry_mcp import arguments as args
from sentry_mcp import shown
from sentry_mcp.client import PROJECT
from sentry_mcp.errors import RefusedError
from sentry_mcp.outside import Marker, cost
from sentry_mcp.reading import Access, Answer, activity_row, answer, issue_path, object_of
from sentry_mcp.refusals import DONE, told_after_a_change
from sentry_mcp.shown import is_object


class Writing(Access):
    """The tools that write."""

    async def update_issue(
        self,
        issue_id: args.IssueId,
        status: args.IssueStatus | None = None,
        resolve_in: args.ResolveIn | None = None,
        archive_until: args.ArchiveUntil | None = None,
        priority: args.IssuePriority | None = None,
        assigned_to: args.AssignedTo | None = None,
        dry_run: args.DryRun = False,
    ) -> Answer:
        """Resolve, archive or reopen an issue, set its priority, assign it. What is left out stays."""
        sent = _status(status, resolve_in, archive_until)
        sent |= {"priority": priority} if priority else {}
        if assigned_to is not None:
            sent["assignedTo"] = await self._assignee(assigned_to)
        sent = _given(sent)
        before = await self.own_issue(issue_id)
        after: Answer | None = None
        if not dry_run:
            await self.client.put(issue_path(before["id"]), sent)
            with told_after_a_change(DONE):
                after = await self.own_issue(before["id"])
        marker = self.marker()
        return answer(
            marker,
            dryRun=dry_run,
            sent=sent,
            before=shown.ISSUE(marker, before),
            after=after and shown.ISSUE(marker, after),
        )

    async def add_issue_note(self, issue_id: args.IssueId, text: args.Note, dry_run: args.DryRun = False) -> Answer:
        """Add a note to an issue, which the members of the organization see there."""
        issue = await self.own_issue(issue_id)
        sent = {"text": text}
        marker = self.marker()
        marker.charge(cost(text))
        note = None
        if not dry_run:
            note = shown.ACTIVITY(marker, activity_row(await self.client.post(issue_path(issue["id"], "notes"), sent)))
        return answer(marker, dryRun=dry_run, sent=sent, issue=shown.ISSUE(marker, issue), note=note)

    async def create_client_key(
        self,
        name: args.KeyName,
        events: args.Events | None = None,
        window: args.Window | None = None,
        dry_run: args.DryRun = False,
    ) -> Answer:
        """Make a new client key, if wanted with a limit of events in a time; shows its public DSN."""
        if (events is None) != (window is None):
            raise RefusedError("A limit needs both `events` and `window`. Give both, or neither.")
        sent: dict[str, Any] = {"name": name}
        if events is not None:
            sent["rateLimit"] = {"count": events, "window": window}
        marker = self.marker()
        key = None
        if dry_run:
            await self.client.project_number()  # a dry run can only check that the project exists
        else:
            key = shown.CLIENT_KEY(marker, await self.client.post((*PROJECT, "keys"), sent))
        return answer(marker, dryRun=dry_run, sent=sent, key=key)

    async def update_project(
        self,
        name: args.Name | None = None,
        platform: args.Platform | None = None,
        subject_prefix: args.SubjectPrefix | None = None,
        resolve_age: args.ResolveAge | None = None,
        default_environment: args.Environment | None = None,
        dry_run: args.DryRun = False,
    ) -> Answer:
        """Change settings of the project, not its slug. What is left out stays."""
        values = {
            "name": name,
            "platform": platform,
            "subjectPrefix": subject_prefix,
            "resolveAge": resolve_age,
            "defaultEnvironment": default_environment,
        }
        sent = _given({key: value for key, value in values.items() if value is not None})
        marker = self.marker()
        before = await self._project(marker)
        after = None
        if not dry_run:
            await self.client.put(PROJECT, sent)
            with told_after_a_change(DONE):
                after = await self._project(marker)
        return answer(marker, dryRun=dry_run, sent=sent, before=before, after=after)

    async def _project(self, marker: Marker) -> Any:
        return shown.PROJECT(marker, object_of(await self.client.get(PROJECT)))

    async def _assignee(self, name: str) -> str:
        """Return the assignee in Sentry's form, which names teams by number only.

        Raises:
            RefusedError: The project has no such team.
        """
        team = re.fullmatch(r"(?:team:|#)(.+)", name)
        if name == "nobody" or team is None:
            return "" if name == "nobody" else name
        if team[1].isdigit():
            return f"team:{team[1]}"
        teams = [row for row in await self.client.teams() if is_object(row)]
        for row in teams:
            if str(row.get("slug")).lower() == team[1].lower():
                return f"team:{row.get('id')}"
        raise RefusedError(f"The project has no team `{team[1]}`. `get_project` shows those there are.")


def _status(status: str | None, resolve_in: str | None, archive_until: str | None) -> dict[str, Any]:
    """Return the fields to send for a status.

    Raises:
        RefusedError: The arguments contradict each other.
    """
    if resolve_in and archive_until:
        raise RefusedError("An issue is resolved or archived: give `resolve_in` or `archive_until`, not both.")
    status = status or ("resolved" if resolve_in else "archived" if archive_until else None)
    if status == "resolvedInNextRelease":
        status, resolve_in = "resolved", resolve_in or "next_release"
    if resolve_in and status != "resolved":
        raise RefusedError("`resolve_in` goes with the status `resolved`.")
    if archive_until and status not in ("archived", "ignored"):
        raise RefusedError("`archive_until` goes with the status `archived`.")
    match status:
        case None:
            return {}
        case "resolved" if resolve_in:
            return {"status": "resolved", "statusDetails": _resolution(resolve_in)}
        case "archived" | "ignored":
            return {"status": "ignored", **_archival(archive_until or "escalating")}
    return {"status": status}


def _resolution(where: str) -> dict[str, Any]:
    kind, _, value = where.partition(":")
    if kind == "commit":
        repository, _, commit = value.rpartition("@")
        return {"inCommit": {"repository": repository, "commit": commit}}
    return {"inRelease": value} if kind == "release" else {"inNextRelease": True}


def _archival(until: str) -> dict[str, Any]:
    kind, _, value = until.partition(":")
    if kind in ("escalating", "forever"):
        return {"substatus": "archived_forever" if kind == "forever" else "archived_until_escalating"}
    count, _, window = value.partition("/")
    names = {"minutes": ("ignoreDuration", ""), "events": ("ignoreCount", "ignoreWindow")}
    name, window_name = names.get(kind, ("ignoreUserCount", "ignoreUserWindow"))
    details = {name: int(count)} | ({window_name: int(window)} if window else {})
    return {"substatus": "archived_until_condition_met", "statusDetails": details}


def _given(sent: dict[str, Any]) -> dict[str, Any]:
    if not sent:
        raise RefusedError("Nothing is to be changed. Give at least one of the values to change.")
    return sent
