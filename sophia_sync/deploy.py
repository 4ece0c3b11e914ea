"""Whether a deploy is due, with which inputs, and the mark in ESC that tells what was last deployed.

`deploy: changed` must not lose a deploy whose dispatch failed after its write. So each dispatch is followed by a
revision tag in ESC; a later run compares what ESC held at that tag with what it should hold now. Where the mark can't
be read or set, the deploy runs once too often rather than once too few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sophia_sync.bundle import Bundle
from sophia_sync.environment import Environment, read, set_tag
from sophia_sync.errors import DeployError, EscError
from sophia_sync.inputs import DeployWhen, Settings
from sophia_sync.outcome import Result, Synced
from sophia_sync.plan import make_plan
from sophia_sync.runtime.tasks import side_by_side

# Number of environments that are asked at the same time.
AT_ONCE = 8


@dataclass(frozen=True)
class Target:
    """The workflow that deploys. `ref` None is the repository's default branch."""

    repository: str
    workflow: str
    ref: str | None

    @property
    def mark(self) -> str:
        """The name of the revision tag that says what this workflow last deployed."""
        digest = hashlib.sha256(f"{self.repository}/{self.workflow}@{self.ref or ''}".encode()).hexdigest()
        return f"sentry-esc-sync-deployed-{digest[:12]}"


def target_of(settings: Settings) -> Target:
    """The workflow that the settings name; only for settings that ask for a deploy."""
    assert settings.deploy_repository is not None  # noqa: S101 - `inputs.load` has seen to it
    return Target(settings.deploy_repository, settings.deploy_workflow, settings.deploy_ref)


async def is_due(
    settings: Settings,
    synced: Sequence[Synced],
    environments: Sequence[Environment],
    bundle: Bundle,
    tell: Callable[[str], None],
) -> bool:
    """Whether verified syncs of all environments are to be followed by a deploy.

    Args:
        settings: The inputs.
        synced: What was done to the environments.
        environments: The same environments.
        bundle: What they hold now.
        tell: Told why a deploy runs of which it isn't known whether it must.
    """
    if not settings.may_deploy:
        return False
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
    return any(await side_by_side(work, AT_ONCE))


async def mark(synced: Sequence[Synced], environments: Sequence[Environment], target: Target) -> list[EscError]:
    """Mark in each environment what the workflow deploys; returns what failed."""

    async def set_mark(one: Synced, environment: Environment) -> EscError | None:
        try:
            await set_tag(environment.pulumi, one.environment, target.mark, one.revision)
        except EscError as error:
            return error
        return None

    work = [partial(set_mark, *pair) for pair in zip(synced, environments, strict=True)]
    ends = await side_by_side(work, AT_ONCE)
    return [error for error in ends if error is not None]


def needs_revision(inputs: dict[str, Any]) -> bool:
    """Whether an input asks for the revision's number, which an unchanged sync has to look up."""
    return any("{revision}" in value for value in inputs.values() if isinstance(value, str))


def fill(inputs: dict[str, Any], revision: int | None, environment: str, run_url: str | None) -> dict[str, Any]:
    """The workflow's inputs with `{revision}`, `{environment}` and `{run_url}` filled in, empty where unknown."""
    values = {
        "{revision}": "" if revision is None else str(revision),
        "{environment}": environment,
        "{run_url}": run_url or "",
    }

    def filled(text: str) -> str:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    return {name: filled(value) if isinstance(value, str) else value for name, value in inputs.items()}


def check_conclusion(conclusion: str | None, run_url: str | None) -> None:
    """Fail for a deploy run that did not succeed.

    Raises:
        DeployError: With the link to the run.
    """
    if conclusion != "success":
        raise DeployError(
            f"The deploy run ended with {conclusion or 'no conclusion'}: {run_url}.",
            "The sync stands. Look at the run's log.",
        )
