"""Turn the outcome of a run into the step's summary and outputs. Pure, and given no secret.

Errors and the deploy hold texts that a service sent. These are data: long ones are cut off, and the summary escapes
them.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterable, Sequence

from sophia_sync.esc.approvals import ChangeRequest
from sophia_sync.outcome import Ended, Outcome, Result, Synced
from sophia_sync.runtime.errors import SyncError
from sophia_sync.sync.plan import Action, Plan, Step

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
# A code point. All our symbols above it are emoji.
_LAST_NARROW = 0x2FFF
_ALL = "Sentry credentials in Pulumi ESC"
# The runner cuts an annotation after 4,096 characters (github.com/actions/runner, `ExecutionContext.AddIssue`).
_LONGEST_NOTICE = 4_000
# Maximum size of a summary (GitHub takes 1 MiB), of its table of environments, and of a table of keys, in bytes.
_LARGEST = 1_000_000
_LARGEST_OVERVIEW = 300_000
_LARGEST_TABLE = 200_000
# Maximum length of a part of an error, and of a name, in characters.
_LONGEST_TEXT = 20_000
_LONGEST_WORD = 300
# Maximum length of an error in the outputs, in characters.
_LONGEST_OUTPUT = 2_000
_LONGEST_URL = 2_000
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'*+,;=%\[\]-]+")
# GitHub's conclusions are words such as `timed_out`.
_CONCLUSION = re.compile(r"[a-z_]{1,50}")
_RESULTS = {
    Result.SYNCED: ("✅", "synced"),
    Result.UNCHANGED: ("✅", "up to date"),
    Result.PLANNED: ("🔎", ""),  # the table says how many keys would change
    Result.PROPOSED: ("📝", "proposed"),
}


def headline(synced: Synced) -> str:
    """Return one line for the log."""
    changed = len(synced.plan.changed_keys)
    if synced.result is Result.PLANNED:
        how = ", by a change request" if synced.proposes else ""
        would = f"{changed} of {len(synced.plan.steps)} keys would change{how}"
        return f"{synced.environment}: dry run, {would}, nothing was written"
    if synced.change_request is not None:
        request = synced.change_request
        return (
            f"{synced.environment}: {changed} of {len(synced.plan.steps)} keys are proposed in {request}"
            f"{'' if request.is_new else ', which is still open'}; nothing is written before it is approved and applied"
        )
    if synced.result is Result.UNCHANGED:
        return f"{synced.environment}: all {len(synced.plan.steps)} keys are up to date, nothing was written"
    number = "" if synced.revision is None else f" {_revisions(synced, str(synced.revision))},"
    return (
        f"{synced.environment}: {changed} of {len(synced.plan.steps)} keys changed in one revision,{number} "
        "verified by reading back"
    )


def _revisions(synced: Synced, revision: str) -> str:
    """Return the revision and the one before it, if known. It isn't if the response to the write was lost."""
    return revision if synced.previous_revision is None else f"{synced.previous_revision} → {revision}"


def notice(outcome: Outcome) -> str:
    """Return the notice for the run's page: a line for each changed environment, and one line for the others."""
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
    """Return the plan for the log: one line for each key."""
    width = max((len(str(step.name)) for step in plan.steps), default=0)
    word = 2 if dry_run else 1
    # An emoji is two columns wide, the dot is one.
    icons = {action: icon if ord(icon) > _LAST_NARROW else f"{icon} " for action, (icon, *_) in _WORDS.items()}
    return [f"  {icons[step.action]} {step.name!s:<{width}}  {_WORDS[step.action][word]}" for step in plan.steps]


def summary(outcome: Outcome) -> str:
    """Return the step's summary in GitHub's Markdown: what failed and what changed first.

    Leave out what has no room, and say so in the summary.
    """
    first = [_error(outcome.error)] if outcome.error is not None else []
    last = [_next(outcome), _deploy(outcome)]
    if len(outcome.environments) == 1:
        level = "##" if outcome.error is None else "###"
        for synced in outcome.synced:
            first += [f"{level} {_HEADINGS[synced.result]}\n", _environment(synced, f"`{synced.environment}`")]
        return _joined(first + last)
    ends = sorted(outcome.environments, key=_rank)
    if ends:
        first.append(_overview(ends, outcome.planned, has_heading=outcome.error is None))
    changes = [
        f"### `{ended.environment}`\n\n{_environment(ended.synced)}"
        for ended in ends
        if ended.synced and _rank(ended) == _CHANGED
    ]
    shown, left = _fitting(changes, _LARGEST - _size(_joined(first + last)))
    if left:
        shown.append(f"The changes in {left} more environments are left out: the output `environments` has all.\n")
    return _joined(first + shown + last)


_FAILED, _CHANGED, _UP_TO_DATE = range(3)


def _rank(ended: Ended) -> int:
    """Return the place of an environment in the summary."""
    if ended.synced is None:
        return _FAILED
    return _UP_TO_DATE if ended.synced.result is Result.UNCHANGED else _CHANGED


def _joined(parts: Sequence[str]) -> str:
    return "\n".join(part for part in parts if part)


def _size(text: str) -> int:
    """Return the size of a part and the line break after it, in bytes."""
    return len(text.encode("utf-8", "backslashreplace")) + 1


def _fitting(parts: Sequence[str], room: int) -> tuple[list[str], int]:
    """Return as many of the first parts as fit together, and the number of the others."""
    sizes = itertools.accumulate(map(_size, parts))
    number = sum(1 for _ in itertools.takewhile(lambda size: size <= room, sizes))
    return list(parts[:number]), len(parts) - number


def _error(error: SyncError) -> str:
    """Return the three parts of an error, each in a paragraph of its own."""
    labelled = (("**What was changed:** ", error.changed), ("**What to do:** ", error.todo))
    parts = [f"## ❌ {error.title}", *(label + _data(text) for label, text in (("", error.what), *labelled) if text)]
    return "\n\n".join(parts) + "\n"


def _overview(ends: Sequence[Ended], planned: Sequence[Synced], *, has_heading: bool) -> str:
    """Return a table with one line for each environment. Of a dry run, return the total too."""
    rows = []
    for ended in ends:
        if ended.synced is None:
            how = "❌ failed" if ended.error else "not verified" if ended.revision else "not done"
            rows.append(f"| `{ended.environment}` | {how} | {_number(ended.revision)} |")
        else:
            icon, how = _RESULTS[ended.synced.result]
            how = how or _would_change([ended.synced])
            rows.append(f"| `{ended.environment}` | {icon} {how} | {_number(ended.synced.revision)} |")
    shown, left = _fitting(rows, _LARGEST_OVERVIEW)
    more = f"\nand {left} more environments: the output `environments` has all.\n" if left else ""
    heading = f"## {_HEADINGS[Result.PLANNED] if planned else _ALL}\n\n" if has_heading else ""
    where = f"in {len(planned)} environments · nothing was written"
    total = f"**{_would_change(planned)}**, {where}\n\n" if planned else ""
    table = "\n".join(["| Environment | Result | Revision |", "| --- | --- | --- |", *shown])
    return f"{heading}{total}{table}\n{more}"


def _would_change(planned: Sequence[Synced]) -> str:
    changed = sum(len(synced.plan.changed_keys) for synced in planned)
    return f"{changed} of {sum(len(synced.plan.steps) for synced in planned)} keys would change"


def _next(outcome: Outcome) -> str:
    """Return what to do after a dry run."""
    if not outcome.planned or outcome.error is not None:
        return ""
    changed = [synced for synced in outcome.planned if synced.plan.changed_keys]
    if not changed:
        return "**Next:** nothing. A sync would write nothing.\n"
    proposed = sum(synced.proposes for synced in changed)
    what = ["open the change request" if proposed == 1 else "open the change requests"] if proposed else []
    if proposed < len(changed):
        what.append("write the others" if proposed else "write this")
    return f"**Next:** run it again with `dry-run: false` to {' and '.join(what)}.\n"


def _environment(synced: Synced, *names: str) -> str:
    """Return what a sync did to one environment, key by key. If not all keys have room, changed ones come first."""
    facts = list(names)
    if synced.revision is not None:
        facts.append(f"revision {_revisions(synced, f'**{synced.revision}**')}")
    if synced.change_request is not None:
        how = "opened now" if synced.change_request.is_new else "still open, with the same values"
        facts += [_page(synced.change_request), how, "its draft is verified", "the environment is unchanged"]
    elif synced.proposes:
        facts.append("a sync would open a change request")
    elif synced.result is not Result.PLANNED:
        facts.append("verified by reading back" if synced.result is Result.SYNCED else "nothing was written")
    if synced.result is Result.PLANNED:
        facts += [f"**{_would_change([synced])}**", "nothing was written"]
    is_ahead = synced.result in (Result.PLANNED, Result.PROPOSED)

    def rows(steps: Iterable[Step]) -> list[str]:
        return [
            f"| `{step.name}` | {_WORDS[step.action][0]} {_WORDS[step.action][2 if is_ahead else 1]} "
            f"| {'🔒 encrypted' if step.secret else 'plain text'} |"
            for step in steps
        ]

    shown, left = _fitting(rows(synced.plan.steps), _LARGEST_TABLE)
    if left:
        steps = sorted(synced.plan.steps, key=lambda step: step.action is Action.UNCHANGED)
        shown, left = _fitting(rows(steps), _LARGEST_TABLE)
    happened = "What would change" if is_ahead else "What happened"
    table = [f"| Key | {happened} | Stored as |", "| --- | --- | --- |", *shown]
    more = f"\nand {left} more keys\n" if left else ""
    return f"{' · '.join(facts)}\n\n" + "\n".join(table) + "\n" + more


def _page(request: ChangeRequest) -> str:
    name = f"**change request {_data(request.id, _LONGEST_WORD)}**"
    url = _address(request.url)
    return f"[{name}]({url})" if url else name


def _deploy(outcome: Outcome) -> str:
    deployed = outcome.deployed
    if deployed is not None:
        name = f"{_code(deployed.target.workflow)} in {_code(deployed.target.repository)}"
        url = _address(deployed.run_url)
        link = f": [run {deployed.run_id}]({url})" if url else ""
        how = f", ended with **{_data(deployed.conclusion, _LONGEST_WORD)}**" if deployed.conclusion else ""
        return f"🚀 **Deploy** dispatched: {name} on {_code(deployed.ref)}{link}{how}\n"
    if not outcome.is_synced or outcome.error is not None or outcome.synced[0].result is Result.PLANNED:
        return ""
    if outcome.waits_for_approval:
        return "Deploy: due with the first sync after the change request is applied.\n"
    return "Deploy: not due.\n"


_MARKUP = re.compile(r"(?P<code>`[^`\n]+`)|[&<>]|[\\`*_\[\]|~#$]|^[ \t]+|(?<=^)(?:[+=]|-(?! ))", re.MULTILINE)


def _data(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return text as Markdown that shows it literally, because a service may have sent part of it.

    Text between backticks is shown as code, where no other markup counts.
    """
    return _MARKUP.sub(_escaped, _cut(text, longest))


def _escaped(found: re.Match[str]) -> str:
    if found["code"] or found[0] in "&<>":
        return found["code"] or html.escape(found[0])
    return f"\\{found[0]}" if found[0].strip() else ""


def _code(text: str) -> str:
    """Return a name as code; escape one that has a backtick."""
    return _data(text, _LONGEST_WORD) if "`" in text else f"`{_cut(text, _LONGEST_WORD)}`"


def _address(text: str | None) -> str:
    """Return the address if it can be linked to, else an empty text."""
    return text if text and len(text) <= _LONGEST_URL and _URL.fullmatch(text) else ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def outputs(outcome: Outcome) -> dict[str, str]:
    """Return the step's outputs, as far as they are known.

    They hold no secret's value and must not be redacted: a secret can be a word such as `synced`.
    """
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
        values["change-request-url"] = _address(outcome.change_requests[0].url)
    if deployed is not None:
        values["deploy-run-id"] = _number(deployed.run_id)
        values["deploy-run-url"] = _address(deployed.run_url)
        if deployed.conclusion is not None and _CONCLUSION.fullmatch(deployed.conclusion):
            values["deploy-conclusion"] = deployed.conclusion
    return values


def _result(outcome: Outcome) -> Result:
    """Return `proposed` if an environment waits for an approval, else `synced` if anything was written."""
    results = [synced.result for synced in outcome.synced]
    return next((result for result in (Result.PROPOSED, Result.SYNCED) if result in results), results[0])


def _of_environment(ended: Ended, error: SyncError | None) -> dict[str, object]:
    """Return one object of the output `environments`. If the sync was cut off, it has the run's error."""
    synced = ended.synced
    return {
        "environment": ended.environment,
        "result": synced.result.value if synced else None,
        "changed_keys": list(synced.plan.changed_keys) if synced else [],
        "revision": synced.revision if synced else ended.revision,
        "previous_revision": synced.previous_revision if synced else None,
        "change_request_id": ended.change_request.id if ended.change_request else None,
        "change_request_url": ended.change_request.url if ended.change_request else None,
        "error": None if (why := _why(ended, error)) is None else _cut(why, _LONGEST_OUTPUT),
    }


def _why(ended: Ended, error: SyncError | None) -> str | None:
    """Return why an environment isn't synced: its own error, or the run's with what was done by then."""
    if ended.synced is not None:
        return None
    if ended.error is not None:
        return ended.error.what
    if error is not None and ended.state:
        return f"{error.title}. {ended.state}"
    return error.what if error is not None else None


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
