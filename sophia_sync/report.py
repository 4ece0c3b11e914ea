"""What happened → the step's summary and outputs. Pure, and never given a value."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sophia_sync.dispatch import Deployed
from sophia_sync.errors import SyncError
from sophia_sync.plan import Action, Plan
from sophia_sync.sync import Result, Synced


@dataclass(frozen=True)
class Outcome:
    """Everything that a run knows at its end, however far it came."""

    environment: str | None = None
    synced: Synced | None = None
    deployed: Deployed | None = None
    error: SyncError | None = None
    unverified_revision: int | None = None  # saved, but the run failed before it was verified


_WORDS = {
    Action.ADD: ("🆕", "added", "would be added"),
    Action.CHANGE: ("🔄", "changed", "would be changed"),
    Action.ENCRYPT: ("🔐", "encrypted now (was in plain text)", "would be encrypted (is in plain text)"),
    Action.DECRYPT: ("🔓", "in plain text now (was encrypted)", "would be in plain text (is encrypted)"),
    Action.UNCHANGED: ("·", "unchanged", "unchanged"),
}
_HEADINGS = {
    Result.SYNCED: "✅ Sentry credentials synced to Pulumi ESC",
    Result.UNCHANGED: "✅ Sentry credentials in Pulumi ESC are up to date",
    Result.PLANNED: "🔎 Dry run: what a sync would change in Pulumi ESC",
}


def headline(synced: Synced) -> str:
    """One line for the log."""
    changed = len(synced.plan.changed_keys)
    if synced.result is Result.PLANNED:
        return f"{synced.environment}: dry run, {changed} of {len(synced.plan.steps)} keys would change"
    if synced.result is Result.UNCHANGED:
        return f"{synced.environment}: all {len(synced.plan.steps)} keys are up to date, nothing was written"
    number = "" if synced.revision is None else f" {_revisions(synced, str(synced.revision))},"
    return (
        f"{synced.environment}: {changed} of {len(synced.plan.steps)} keys changed in one revision,{number} "
        "verified by reading back"
    )


def _revisions(synced: Synced, revision: str) -> str:
    """The one before is not known where the answer to the write was lost."""
    return revision if synced.previous_revision is None else f"{synced.previous_revision} → {revision}"


def plan_lines(plan: Plan, *, dry_run: bool) -> list[str]:
    """The plan for the log: one line a key."""
    width = max((len(step.key) for step in plan.steps), default=0)
    word = 2 if dry_run else 1
    return [f"  {_WORDS[step.action][0]} {step.key:<{width}}  {_WORDS[step.action][word]}" for step in plan.steps]


def summary(outcome: Outcome) -> str:
    """The step's summary, in GitHub's Markdown."""
    parts = []
    if outcome.error is not None:
        parts.append(f"## ❌ {outcome.error.title}\n\n{outcome.error.what}\n\n**What to do:** {outcome.error.todo}\n")
    if outcome.synced is not None:
        parts.append(_environment(outcome.synced, failed=outcome.error is not None))
    parts.append(_deploy(outcome))
    return "\n".join(part for part in parts if part)


def _environment(synced: Synced, *, failed: bool) -> str:
    heading = f"### {_HEADINGS[synced.result]}" if failed else f"## {_HEADINGS[synced.result]}"
    facts = [f"`{synced.environment}`"]
    if synced.revision is not None:
        facts.append(f"revision {_revisions(synced, f'**{synced.revision}**')}")
    if synced.result is not Result.PLANNED:
        facts.append("verified by reading back" if synced.result is Result.SYNCED else "nothing was written")
    word = 2 if synced.result is Result.PLANNED else 1
    rows = [
        f"| `{step.key}` | {_WORDS[step.action][0]} {_WORDS[step.action][word]} "
        f"| {'🔒 encrypted' if step.secret else 'plain text'} |"
        for step in synced.plan.steps
    ]
    table = ["| Key | What happened | In ESC |", "| --- | --- | --- |", *rows]
    return f"{heading}\n\n{' · '.join(facts)}\n\n" + "\n".join(table) + "\n"


def _deploy(outcome: Outcome) -> str:
    if outcome.deployed is not None:
        name = f"`{outcome.deployed.target.workflow}` in `{outcome.deployed.target.repository}`"
        link = f": [run {outcome.deployed.run_id}]({outcome.deployed.run_url})" if outcome.deployed.run_url else ""
        ended = outcome.deployed.conclusion
        how = f", ended with **{ended}**" if ended else ""
        return f"🚀 **Deploy** dispatched: {name} on `{outcome.deployed.ref}`{link}{how}\n"
    if outcome.synced is None or outcome.error is not None or outcome.synced.result is Result.PLANNED:
        return ""
    return "Deploy: not due.\n"


def outputs(outcome: Outcome) -> dict[str, str]:
    """The step's outputs, as far as they are known."""
    values: dict[str, str] = {}
    environment: dict[str, object] = {"environment": outcome.environment, "result": None, "changed_keys": []}
    synced, deployed = outcome.synced, outcome.deployed
    if synced is not None:
        changed = list(synced.plan.changed_keys)
        values["result"] = synced.result.value
        values["changed-keys"] = json.dumps(changed)
        values["previous-revision"] = _number(synced.previous_revision)
        environment |= {"result": synced.result.value, "changed_keys": changed}
    revision = synced.revision if synced else outcome.unverified_revision
    if synced is not None or revision is not None:
        values["revision"] = _number(revision)
    environment["revision"] = revision
    environment["previous_revision"] = synced.previous_revision if synced else None
    environment["error"] = outcome.error.what if outcome.error and synced is None else None
    if outcome.environment is not None:
        values["environments"] = json.dumps([environment])
    if deployed is not None:
        values["deploy-run-id"] = _number(deployed.run_id)
        values["deploy-run-url"] = deployed.run_url or ""
        if deployed.conclusion is not None:
            values["deploy-conclusion"] = deployed.conclusion
    return values


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
