"""Run the action's pipeline for a person: `plan` and `sync` share it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sophia_sync import report
from sophia_sync.app import Run
from sophia_sync.console.screen import Mark, Row, Screen, error_json
from sophia_sync.console.times import counted
from sophia_sync.outcome import Ended, Outcome, Result
from sophia_sync.runtime.context import run_context
from sophia_sync.runtime.errors import SyncError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.tasks import in_thread
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import PreflightMode
from sophia_sync.sync.plan import Action, Plan

DECLINED = 1
"""The exit code of `sync` if the person answers no."""

_MARKS = {
    Action.ADD: Mark.ADD,
    Action.CHANGE: Mark.CHANGE,
    Action.ENCRYPT: Mark.CHANGE,
    Action.DECRYPT: Mark.CHANGE,
    Action.UNCHANGED: Mark.NONE,
}


class DeclinedError(SyncError):
    """The person declined the plan."""

    exit_code = DECLINED
    title = "Nothing was written"

    def __init__(self) -> None:
        super().__init__("You answered no.", "Run it again when you want it.", "Nothing was written.")


class ConsoleRun(Run):
    """A run of the pipeline for a person.

    Args:
        screen: Shows the plan, the outcome and the errors. The run's log goes to its standard error.
        agree: Asks the person a question after the plan is shown. If None, the run doesn't ask.
    """

    name = "sophia-sync"
    at_terminal = True

    def __init__(self, screen: Screen, agree: Callable[[str], bool] | None) -> None:
        super().__init__(screen.runner, screen.redact, run_context())
        self._screen = screen
        self._agree = agree
        self._shown: set[str] = set()

    async def work(self) -> None:
        """Run the pipeline. If a person is to be asked, plan first, and write only after a yes."""
        if self._agree is None:
            await self.pipeline()
            return
        settings, _ = inputs.load(at_terminal=True)
        limit, names = TimeLimit(settings.timeout), ", ".join(settings.esc_environment)
        self._screen.progress(f"Reading {names} …")
        await self.pipeline(dry_run=True)
        if self.changes:
            proposes = any(synced.proposes for synced in self.outcome.synced)
            question = "Propose this in a change request?" if proposes else "Write this?"
            with self.within(limit.remaining()):
                if not await in_thread(partial(self._agree, question)):
                    raise DeclinedError
            self._screen.progress(f"{'Proposing' if proposes else 'Writing'} {names} …")
        # Sentry was asked while planning.
        await self.pipeline(timeout=limit.remaining(), preflight=PreflightMode.OFF)

    @property
    def changes(self) -> int:
        """Number of keys that a sync would change."""
        plans = [synced.plan for synced in self.outcome.synced if synced.result is Result.PLANNED]
        return sum(len(plan.changed) for plan in plans)

    def show(self, ended: Ended) -> None:
        if ended.synced is not None and ended.environment not in self._shown:
            self._shown.add(ended.environment)
            self._screen.heading(ended.environment)
            self._screen.table(_rows(ended.synced.plan))
            self._screen.line()

    def report(self, error: SyncError | None) -> int:
        """Show how the run ended. Return the exit code."""
        if error is not None:
            self.note(error)
        if isinstance(error, DeclinedError):
            self._screen.progress(f"{error.what} {error.changed}")
        elif error is not None:
            self._screen.failure(error)
        elif self._is_plan:
            self._screen.line(_headline(self.outcome))
        else:
            for synced in self.outcome.synced:
                self._screen.line(report.headline(synced))
        self._screen.json(outcome_json(self.outcome), hidden=True)
        self.write_report()
        return error.exit_code if error else 0

    @property
    def _is_plan(self) -> bool:
        return any(synced.result is Result.PLANNED for synced in self.outcome.synced)


def _rows(plan: Plan) -> list[Row]:
    return [
        Row(
            _MARKS[step.action],
            (str(step.name), step.action.value, "encrypted" if step.secret else "plain text"),
        )
        for step in plan.steps
    ]


def _headline(outcome: Outcome) -> str:
    steps = [step for synced in outcome.synced for step in synced.plan.steps]
    changed = sum(step.action is not Action.UNCHANGED for step in steps)
    if not changed:
        return "Nothing to do: ESC holds all of it already."
    if any(synced.proposes for synced in outcome.synced):
        return (
            f"{changed} of {counted(len(steps), 'key')} would change, by a change request. "
            "`sophia-sync sync --change-request` proposes them."
        )
    return f"{changed} of {counted(len(steps), 'key')} would change. `sophia-sync sync` writes them."


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """Return what `plan` and `sync` print with `--json`."""
    result = report.outputs(outcome).get("result") if outcome.is_synced else None
    deployed = outcome.deployed
    return {
        "result": result,
        "environments": [_environment_json(ended) for ended in outcome.environments],
        "deploy": None
        if deployed is None
        else {
            "repository": deployed.target.repository,
            "workflow": deployed.target.workflow,
            "ref": deployed.ref,
            "run_id": deployed.run_id,
            "run_url": deployed.run_url,
            "conclusion": deployed.conclusion,
        },
        "error": error_json(outcome.error),
    }


def _environment_json(ended: Ended) -> dict[str, object]:
    synced = ended.synced
    steps = synced.plan.steps if synced else ()
    return {
        "environment": ended.environment,
        "result": synced.result.value if synced else None,
        "keys": [{"key": str(step.name), "action": step.action.value, "encrypted": step.secret} for step in steps],
        "revision": synced.revision if synced else ended.revision,
        "previous_revision": synced.previous_revision if synced else None,
        "proposes": synced.proposes if synced else False,
        "change_request": None
        if ended.change_request is None
        else {"id": ended.change_request.id, "url": ended.change_request.url},
        "error": error_json(ended.error),
    }
