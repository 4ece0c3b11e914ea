"""What happened → the step's summary and outputs. Pure, and never given a value."""

from __future__ import annotations

import json

from sophia_sync.esc.approvals import ChangeRequest
from sophia_sync.outcome import Ended, Outcome, Result, Synced
from sophia_sync.runtime.errors import SyncError
from sophia_sync.sync.plan import Action, Plan

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
    Result.PROPOSED: "📝 Sentry credentials proposed to Pulumi ESC: a change request waits for approval",
}
_ALL = "Sentry credentials in Pulumi ESC"
# The runner cuts an annotation after 4,096 characters (github.com/actions/runner, `ExecutionContext.AddIssue`).
_LONGEST_NOTICE = 4_000
_RESULTS = {
    Result.SYNCED: ("✅", "synced"),
    Result.UNCHANGED: ("✅", "up to date"),
    Result.PLANNED: ("🔎", "dry run"),
    Result.PROPOSED: ("📝", "proposed"),
}


def headline(synced: Synced) -> str:
    """One line for the log."""
    changed = len(synced.plan.changed_keys)
    if synced.result is Result.PLANNED:
        how = ", by a change request" if synced.proposes else ""
        return f"{synced.environment}: dry run, {changed} of {len(synced.plan.steps)} keys would change{how}"
    if synced.change_request is not None:
        return (
            f"{synced.environment}: {changed} of {len(synced.plan.steps)} keys are proposed in "
            f"{synced.change_request}; nothing is written before it is approved and applied"
        )
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


def notice(outcome: Outcome) -> str:
    """What was done, for the run's page: a line an environment, but one line for all that are up to date."""
    if len(outcome.synced) == 1:
        return headline(outcome.synced[0])
    lines = [headline(synced) for synced in outcome.synced if synced.result is not Result.UNCHANGED]
    unchanged = len(outcome.synced) - len(lines)
    shown: list[str] = []
    for line in lines:
        if sum(map(len, shown)) + len(shown) + len(line) > _LONGEST_NOTICE:
            shown.append(f"and {len(lines) - len(shown)} more")
            break
        shown.append(line)
    if unchanged:
        shown.append(f"{unchanged} of {len(outcome.synced)} environments are up to date, nothing was written there")
    return "\n".join(shown)


def plan_lines(plan: Plan, *, dry_run: bool) -> list[str]:
    """The plan for the log: one line a key."""
    width = max((len(str(step.name)) for step in plan.steps), default=0)
    word = 2 if dry_run else 1
    return [f"  {_WORDS[step.action][0]} {step.name!s:<{width}}  {_WORDS[step.action][word]}" for step in plan.steps]


def summary(outcome: Outcome) -> str:
    """The step's summary, in GitHub's Markdown."""
    parts = []
    if outcome.error is not None:
        parts.append(_error(outcome.error))
    if len(outcome.environments) > 1:
        parts.append(_overview(outcome))
    parts += [
        _environment(synced, heading=outcome.error is None and len(outcome.environments) == 1)
        for synced in outcome.synced
        if len(outcome.environments) == 1 or synced.result is not Result.UNCHANGED
    ]
    parts.append(_deploy(outcome))
    return "\n".join(part for part in parts if part)


def _error(error: SyncError) -> str:
    """The three parts of an error, each a paragraph of its own."""
    labelled = (("**What was changed:** ", error.changed), ("**What to do:** ", error.todo))
    parts = [f"## ❌ {error.title}", error.what, *(label + text for label, text in labelled if text)]
    return "\n\n".join(parts) + "\n"


def _overview(outcome: Outcome) -> str:
    """One line an environment; what changed in each follows."""
    rows = []
    for ended in outcome.environments:
        if ended.synced is None:
            how = "❌ failed" if ended.error else "not verified" if ended.revision else "not done"
            rows.append(f"| `{ended.environment}` | {how} | {_number(ended.revision)} |")
        else:
            icon, how = _RESULTS[ended.synced.result]
            rows.append(f"| `{ended.environment}` | {icon} {how} | {_number(ended.synced.revision)} |")
    heading = "" if outcome.error else f"## {_ALL}\n\n"
    return heading + "\n".join(["| Environment | Result | Revision |", "| --- | --- | --- |", *rows]) + "\n"


def _environment(synced: Synced, *, heading: bool) -> str:
    level = "##" if heading else "###"
    facts = [f"`{synced.environment}`"]
    if synced.revision is not None:
        facts.append(f"revision {_revisions(synced, f'**{synced.revision}**')}")
    if synced.change_request is not None:
        facts += [_page(synced.change_request), "its draft is verified", "the environment is unchanged"]
    elif synced.proposes:
        facts.append("a sync would open a change request")
    elif synced.result is not Result.PLANNED:
        facts.append("verified by reading back" if synced.result is Result.SYNCED else "nothing was written")
    word = 2 if synced.result in (Result.PLANNED, Result.PROPOSED) else 1
    rows = [
        f"| `{step.name}` | {_WORDS[step.action][0]} {_WORDS[step.action][word]} "
        f"| {'🔒 encrypted' if step.secret else 'plain text'} |"
        for step in synced.plan.steps
    ]
    table = ["| Key | What happened | In ESC |", "| --- | --- | --- |", *rows]
    return f"{level} {_HEADINGS[synced.result]}\n\n{' · '.join(facts)}\n\n" + "\n".join(table) + "\n"


def _page(request: ChangeRequest) -> str:
    name = f"**change request {request.id}**"
    return f"[{name}]({request.url})" if request.url else name


def _deploy(outcome: Outcome) -> str:
    if outcome.deployed is not None:
        name = f"`{outcome.deployed.target.workflow}` in `{outcome.deployed.target.repository}`"
        link = f": [run {outcome.deployed.run_id}]({outcome.deployed.run_url})" if outcome.deployed.run_url else ""
        ended = outcome.deployed.conclusion
        how = f", ended with **{ended}**" if ended else ""
        return f"🚀 **Deploy** dispatched: {name} on `{outcome.deployed.ref}`{link}{how}\n"
    if not outcome.is_synced or outcome.error is not None or outcome.synced[0].result is Result.PLANNED:
        return ""
    if outcome.waits_for_approval:
        return "Deploy: due with the first sync after the change request is applied.\n"
    return "Deploy: not due.\n"


def outputs(outcome: Outcome) -> dict[str, str]:
    """The step's outputs, as far as they are known."""
    values: dict[str, str] = {}
    ends, deployed = outcome.environments, outcome.deployed
    if outcome.is_synced:
        values["result"] = _result(outcome).value
    if outcome.synced:
        changed = (key for synced in outcome.synced for key in synced.plan.changed_keys)
        values["changed-keys"] = json.dumps(list(dict.fromkeys(changed)))
    if ends and ends[0].synced is not None:
        values["previous-revision"] = _number(ends[0].synced.previous_revision)
    if ends and (ends[0].synced is not None or ends[0].revision is not None):
        values["revision"] = _number(ends[0].synced.revision if ends[0].synced else ends[0].revision)
    if ends:
        values["environments"] = json.dumps([_of_environment(ended, outcome.error) for ended in ends])
    if outcome.change_requests:
        values["change-request-id"] = outcome.change_requests[0].id
        values["change-request-url"] = outcome.change_requests[0].url
    if deployed is not None:
        values["deploy-run-id"] = _number(deployed.run_id)
        values["deploy-run-url"] = deployed.run_url or ""
        if deployed.conclusion is not None:
            values["deploy-conclusion"] = deployed.conclusion
    return values


def _result(outcome: Outcome) -> Result:
    """`proposed` where anything waits for an approval, else `synced` where anything was written."""
    results = [synced.result for synced in outcome.synced]
    return next((result for result in (Result.PROPOSED, Result.SYNCED) if result in results), results[0])


def _of_environment(ended: Ended, error: SyncError | None) -> dict[str, object]:
    """One object of the output `environments`; where a sync has no end of its own, that of the run is its."""
    synced = ended.synced
    return {
        "environment": ended.environment,
        "result": synced.result.value if synced else None,
        "changed_keys": list(synced.plan.changed_keys) if synced else [],
        "revision": synced.revision if synced else ended.revision,
        "previous_revision": synced.previous_revision if synced else None,
        "change_request_id": ended.change_request.id if ended.change_request else None,
        "change_request_url": ended.change_request.url if ended.change_request else None,
        "error": _why(ended, error),
    }


def _why(ended: Ended, error: SyncError | None) -> str | None:
    """What kept an environment from being synced: its own error, or the end of the run with what was done by then."""
    if ended.synced is not None:
        return None
    if ended.error is not None:
        return ended.error.what
    if error is not None and ended.state:
        return f"{error.title}. {ended.state}"
    return error.what if error is not None else None


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
