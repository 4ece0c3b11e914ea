"""Decide whether a deploy is due, fill in its inputs, and mark in ESC what was deployed.

`deploy: changed` must not lose a deploy whose dispatch failed after its write. So a revision tag in ESC marks what
was deployed: after the run's success if we wait for it, else after its dispatch. A later run compares what ESC held
at that tag with what it should hold now. If the mark can't be read, the deploy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sophia_sync.outcome import DISPATCHED, NOT_STARTED, Result, Synced, Target
from sophia_sync.runtime.errors import DeployError, EscError
from sophia_sync.runtime.tasks import side_by_side
from sophia_sync.settings.inputs import Access, DeployWhen, Settings
from sophia_sync.sync.bundle import Bundle
from sophia_sync.sync.environment import Environment, read, set_tag
from sophia_sync.sync.plan import make_plan


def target_of(settings: Access) -> Target:
    """Return the workflow that the settings name. They must name a repository."""
    assert settings.deploy_repository is not None  # noqa: S101 - `inputs.load` has seen to it
    return Target(settings.deploy_repository, settings.deploy_workflow, settings.deploy_ref)


async def is_due(
    settings: Settings,
    synced: Sequence[Synced],
    environments: Sequence[Environment],
    bundle: Bundle,
    tell: Callable[[str], None],
) -> bool:
    """Return whether a deploy is due after verified syncs of all environments.

    Args:
        settings: The inputs.
        synced: What was done to the environments.
        environments: The same environments.
        bundle: What they hold now.
        tell: Called with the reason for a deploy that may not be needed.
    """
    if not settings.may_deploy or any(one.result is Result.PROPOSED for one in synced):
        return False  # one deploy serves all environments: it waits until every proposal is applied
    if settings.deploy is DeployWhen.ALWAYS or any(one.result is Result.SYNCED for one in synced):
        return True
    mark = target_of(settings).mark

    async def differs(environment: Environment) -> bool:
        try:
            deployed = await read(environment.pulumi, environment.name, bundle.names, mark)
        except EscError as error:
            tell(f"What was last deployed isn't known, so the deploy runs: {error.what}")
            return True
        return bool(make_plan(bundle, deployed).changed)

    work = [partial(differs, environment) for environment in environments]
    return any(await side_by_side(work))


async def numbers(synced: Sequence[Synced], environments: Sequence[Environment]) -> list[int | EscError]:
    """Return the number of the revision to deploy for each environment, or the error if it can't be read.

    Read them before the dispatch, and mark the same numbers: a revision that somebody saves in between isn't deployed.
    """

    async def number(one: Synced, environment: Environment) -> int | EscError:
        if one.revision is not None:
            return one.revision
        if one.result is Result.SYNCED:  # its number could not be read a moment ago
            return EscError(f"The number of the new revision of {one.environment} isn't known.", "")
        try:
            return await environment.pulumi.latest_revision(one.environment)
        except EscError as error:
            return error

    work = [partial(number, *pair) for pair in zip(synced, environments, strict=True)]
    return await side_by_side(work)


async def mark(
    revisions: Sequence[int | EscError], environments: Sequence[Environment], target: Target
) -> list[EscError]:
    """Mark in each environment the revision that the workflow deploys. Return the errors."""

    async def set_mark(revision: int | EscError, environment: Environment) -> EscError | None:
        if isinstance(revision, EscError):
            return revision
        try:
            await set_tag(environment.pulumi, environment.name, target.mark, revision)
        except EscError as error:
            return error
        return None

    work = [partial(set_mark, *pair) for pair in zip(revisions, environments, strict=True)]
    return [error for error in await side_by_side(work) if error is not None]


def fill(inputs: dict[str, Any], revision: int | EscError, environment: str, run_url: str | None) -> dict[str, Any]:
    """Return the workflow's inputs with `{revision}`, `{environment}` and `{run_url}` filled in.

    Raises:
        DeployError: An input needs the revision's number, and it can't be read.
    """
    if isinstance(revision, EscError):
        if any("{revision}" in value for value in inputs.values() if isinstance(value, str)):
            raise DeployError(
                f"`deploy-inputs` has {{revision}}, and the revision's number can't be read: {revision.what}",
                "Run again.",
                NOT_STARTED,
            )
        revision = 0  # no input uses it
    values = {
        "{revision}": str(revision),
        "{environment}": environment,
        "{run_url}": run_url or "",
    }

    def filled(text: str) -> str:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    return {name: filled(value) if isinstance(value, str) else value for name, value in inputs.items()}


def check_conclusion(conclusion: str | None, run_url: str | None) -> None:
    """Check that the deploy run succeeded.

    Raises:
        DeployError: It did not. The text links to the run.
    """
    if conclusion != "success":
        raise DeployError(
            f"The deploy run ended with {conclusion or 'no conclusion'}: {run_url}.",
            "Look at the run's log. With `deploy: changed`, the next sync dispatches the deploy again.",
            DISPATCHED,
        )
