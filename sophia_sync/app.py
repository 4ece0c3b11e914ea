"""The whole run on one screen: inputs → settings → the secrets → ESC → plan → write → read back → deploy → report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import anyio

from sophia_sync import __version__, deploy, report
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.esc.sign_in import organization_of, sign_in
from sophia_sync.outcome import DISPATCHED, Deployed, Ended, Outcome, Result, Synced
from sophia_sync.runtime.context import RunContext, run_context
from sophia_sync.runtime.errors import DeployError, EscError, PreflightError, SeveralError, SignInError, SyncError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.output import BackgroundWriter
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.retries import retrying_async
from sophia_sync.runtime.run import Program, conduct
from sophia_sync.runtime.runner import Runner
from sophia_sync.runtime.tasks import Task, in_thread, side_by_side, task_group, time_left
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import ChangeRequestMode, DeployWhen, PreflightMode, Settings
from sophia_sync.sync.bundle import make_bundle
from sophia_sync.sync.environment import Environment, may_pass
from sophia_sync.sync.plan import make_plan
from sophia_sync.sync.proposal import Proposal

if TYPE_CHECKING:
    from sophia_sync.github.api import GitHubError
    from sophia_sync.github.dispatch import Dispatcher
    from sophia_sync.preflight import Verdict

# Maximum number of environments to list in one sentence.
_LISTED = 20
# Grace period after `deploy-timeout` for the last look at the deploy's run, in seconds.
_LAST_LOOK = 5.0
# Maximum wait for a slow reader of the log at the end of the run, in seconds.
_LAST_LINES = 1.0


class Run(Program):
    """One run. It carries the outcome from stage to stage, so that a failure can still be reported whole.

    Args:
        runner: Prints the log, and writes the summary and the outputs.
        redact: Hides secrets in everything that is printed.
        context: What the GitHub runner tells about the run.
    """

    name = "sentry-esc-sync"
    at_terminal = False
    """Whether a person runs it at a terminal. If so, an existing `pulumi login` counts."""

    def __init__(self, runner: Runner, redact: Redactor, context: RunContext) -> None:
        self.runner = runner
        self.redact = redact
        self.context = context
        self.outcome = Outcome()
        self.environments: list[Environment] = []
        self.revisions: list[int | EscError] = []
        self.deploy_state = ""

    async def work(self) -> None:
        """Run the pipeline."""
        await self.pipeline()

    async def pipeline(self, **override: object) -> None:  # noqa: C901 - all stages in one function
        """Carry the secrets from the inputs to their consumers. `report` is the last stage and always runs.

        Args:
            override: Settings that replace those of the inputs.

        Raises:
            SyncError: The run failed.
        """
        # Inputs → settings. In a thread, so that a signal needn't wait until all lines of a large secret are masked.
        settings = (await in_thread(self.read_inputs)).model_copy(update=override)
        self.outcome = Outcome(tuple(Ended(name) for name in settings.esc_environment))
        # Settings → the secrets
        bundle = make_bundle(settings)
        tag = self.context.tag if settings.tag_revision else None
        with private_folder() as home:
            with self.within(settings.timeout):
                async with task_group() as tasks:
                    preflight = tasks.start(partial(_ask_sentry, settings))
                    if settings.may_deploy and settings.deploy is DeployWhen.ALWAYS:
                        tasks.start(partial(in_thread, _load_github))
                    signed_in = await self.sign_in(settings, home)
                    names = [name for name in settings.esc_environment if organization_of(name) in signed_in]
                    self.environments = [Environment(signed_in[organization_of(name)], name, bundle) for name in names]

                    may_propose = settings.change_request is not ChangeRequestMode.NEVER

                    async def sync(environment: Environment) -> Synced:
                        proposal = Proposal(environment, bundle, settings.change_request)
                        async for attempt in retrying_async(may_pass):
                            with attempt:
                                # What ESC holds
                                holding = await environment.read()
                                # Plan
                                plan = make_plan(bundle, holding)
                                if settings.dry_run:
                                    proposes = bool(plan.changed) and await proposal.foresee()
                                    return Synced(environment.name, Result.PLANNED, plan, proposes=proposes)
                                if plan.changed:
                                    await _heed(preflight, settings)
                                    if await proposal.is_due():
                                        # Write as a change request, and read its draft back
                                        return await proposal.make(holding, plan)
                                    # Write
                                    sent = await environment.write(holding, plan, may_propose=may_propose)
                                    environment.start_tag(tasks, tag)
                                    # Read back
                                    await environment.read_back(sent)
                                return await environment.settled(plan)
                        raise AssertionError("the last attempt raises")

                    async def end(environment: Environment) -> None:
                        try:
                            done = await sync(environment)
                        except SyncError as error:
                            self.tell(await environment.failed(error))
                        else:
                            self.tell(await environment.ended(done, tasks, tag))

                    await side_by_side([partial(end, environment) for environment in self.environments])
                    error = _failure(self.outcome.environments, dry_run=settings.dry_run)
                    if error is None or self.outcome.synced:  # Sentry's warnings matter even if nothing was written
                        self.warn(await _heed(preflight, settings))
                    if error is not None:
                        raise error
                    # Deploy
                    is_due = await deploy.is_due(
                        settings, self.outcome.synced, self.environments, bundle, self.runner.line
                    )
                    if is_due:
                        dispatcher = await self.dispatch(settings)
                    elif settings.dry_run:
                        await self.check_deploy(settings)
            if is_due:
                await self.follow(dispatcher, settings)

    def read_inputs(self) -> Settings:
        """Read and check the inputs, and hide every secret among them before anything else is printed."""
        for secret in inputs.raw_secrets():
            self.runner.hide(secret)
        settings, warnings = inputs.load(at_terminal=self.at_terminal)
        for secret in settings.secrets:
            self.runner.hide(secret)
        self.warn(warnings)
        return settings

    async def sign_in(self, settings: Settings, home: Path) -> dict[str, Pulumi]:
        """Sign in to each organization. Report each organization that refuses.

        Raises:
            SignInError: All of them refuse.
        """
        signed_in: dict[str, Pulumi] = {}
        refused: dict[str, SignInError] = {}
        for organization in dict.fromkeys(map(organization_of, settings.esc_environment)):
            try:
                signed_in[organization] = await sign_in(
                    settings,
                    organization,
                    home,
                    self.context,
                    self.redact,
                    self.runner.hide,
                    at_terminal=self.at_terminal,
                )
            except SignInError as error:
                refused[organization] = error
        if not signed_in:
            raise next(iter(refused.values()))
        for name in settings.esc_environment:
            if organization_of(name) in refused:
                self.tell(Ended(name, error=refused[organization_of(name)]))
        return signed_in

    async def dispatch(self, settings: Settings) -> Dispatcher:
        """Dispatch the deploy workflow."""
        from sophia_sync.github.dispatch import Dispatcher

        target = deploy.target_of(settings)
        self.revisions = await deploy.numbers(self.outcome.synced, self.environments)
        names = ",".join(settings.esc_environment)
        given = deploy.fill(settings.deploy_inputs, self.revisions[0], names, self.context.run_url)
        dispatcher = Dispatcher(settings, target, self.context.api_url, time_left())
        self.deploy_state = "Whether the deploy was dispatched isn't known."
        deployed = await in_thread(partial(dispatcher.dispatch, given))
        if deployed.run_url is not None:
            deployed = replace(deployed, run_url=self.redact(deployed.run_url))
        self.deploy_state = "The deploy was dispatched."
        self.outcome = replace(self.outcome, deployed=deployed)
        where = deployed.run_url or f"{target.repository} on {deployed.ref}"
        self.runner.line(f"Deploy dispatched: {target.workflow}, {where}")
        return dispatcher

    async def check_deploy(self, settings: Settings) -> None:
        """Warn of anything that would keep the deploy from starting. For runs that dispatch nothing."""
        if settings.deploy is DeployWhen.NEVER:
            return
        if settings.deploy_repository is None or not settings.has_github_access:
            self.runner.line("The deploy's workflow was not checked: it takes `deploy-repository` and `github-token`.")
            return
        limit = time_left()

        def check() -> list[GitHubError]:
            from sophia_sync.github.dispatch import Dispatcher

            dispatcher = Dispatcher(settings, deploy.target_of(settings), self.context.api_url, limit)
            try:
                return dispatcher.check(settings.deploy_inputs)
            finally:
                dispatcher.close()

        for found in await in_thread(check):
            self.warn([f"A sync would succeed, but its deploy would not start: {found.what}. {found.todo}"])

    async def follow(self, dispatcher: Dispatcher, settings: Settings) -> None:
        """Wait for the deploy if the settings ask for it, and mark in ESC what it deployed.

        Raises:
            DeployError: The deploy failed, or did not end in time. Nothing is marked then.
        """
        deployed = self.outcome.deployed
        assert deployed is not None  # noqa: S101 - `dispatch` has set it
        if settings.deploy_wait:
            deployed = await self.wait(dispatcher, deployed, settings.deploy_timeout)
            self.outcome = replace(self.outcome, deployed=deployed)
            deploy.check_conclusion(deployed.conclusion, deployed.run_url)
        with self.within(settings.timeout):
            for failed in await deploy.mark(self.revisions, self.environments, deployed.target):
                self.warn([f"{failed} With `deploy: changed`, the next sync dispatches the deploy again, to be sure."])
        await in_thread(dispatcher.close)

    async def wait(self, dispatcher: Dispatcher, deployed: Deployed, seconds: int) -> Deployed:
        """Wait for the deploy's run to end."""
        with self.runner.group("Wait for the deploy"), anyio.move_on_after(seconds + _LAST_LOOK):
            return await in_thread(partial(dispatcher.wait, deployed, TimeLimit(seconds), self.runner.line))
        raise DeployError(
            f"The deploy run {deployed.run_id} did not end within the {seconds} seconds of `deploy-timeout`: GitHub "
            f"did not answer any more ({deployed.run_url}).",
            "Look at the run, or give a larger `deploy-timeout`.",
            DISPATCHED,
        )

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the time of a part of the run.

        Raises:
            EscError: The time ended before all environments were synced.
            DeployError: The time ended after that.
        """
        with anyio.move_on_after(seconds) as limit:
            yield
        if limit.cancelled_caught:
            kind = DeployError if self.outcome.is_synced else EscError
            raise kind(
                f"The run was not done within the {seconds:.0f} seconds of `timeout`.",
                "Run again, or give a larger `timeout`.",
                self.state(),
                title="The run took too long",
            )

    def tell(self, ended: Ended) -> None:
        """Record how the sync of an environment ended, and print it."""
        if ended.error is not None:
            ended.error.hide(self.redact)
        self.outcome = self.outcome.with_end(ended)
        self.show(ended)
        self.warn(ended.warnings)

    def show(self, ended: Ended) -> None:
        """Print how the sync of an environment ended."""
        if ended.synced is not None:
            with self.runner.group(f"Sync {ended.environment}"):
                for line in report.plan_lines(ended.synced.plan, dry_run=_is_to_come(ended.synced)):
                    self.runner.line(line)
            self.runner.line(report.headline(ended.synced))
        elif len(self.outcome.environments) > 1:
            self.runner.line(f"{ended.environment}: {ended.error}")

    def warn(self, warnings: Iterable[str]) -> None:
        """Print warnings."""
        for warning in warnings:
            self.runner.warning(warning)

    def trace(self, text: str) -> None:
        """Print the trace of a defect."""
        self.runner.line(text)

    def state(self) -> str:
        """Return what was done so far, in words for a person."""
        by_state: dict[str, list[str]] = {}
        for environment in self.environments:
            by_state.setdefault(environment.state, []).append(environment.name)
        if len(by_state) == 1:
            done = next(iter(by_state))
        else:
            done = " ".join(f"{_listed(names)}: {state}" for state, names in by_state.items())
        return " ".join(filter(None, (done or "Nothing was written.", self.deploy_state)))

    def report(self, error: SyncError | None) -> int:
        """Print and write how the run ended. Return the exit code."""
        if error is not None:
            error.changed = error.changed or self.state()
            self.note(error)
            self.runner.error(str(error), error.title)
        self.write_report()
        return error.exit_code if error else 0

    def note(self, error: SyncError) -> None:
        """Record the run's error, and what it had saved by then."""
        error.hide(self.redact)
        for environment in self.environments:  # environments whose sync was cut off
            self.outcome = self.outcome.with_state(
                environment.name, environment.revision, environment.state, environment.change_request
            )
        self.outcome = replace(self.outcome, error=error)

    def write_report(self) -> None:
        """Write the outputs, then the summary. If one can't be written, warn and write the others."""
        if self.outcome.error is None:
            self.runner.notice(report.notice(self.outcome))
        parts = {
            f"the output `{name}`": partial(self.runner.output, name, value)
            for name, value in report.outputs(self.outcome).items()
        }
        parts["the summary"] = partial(self.runner.summary, report.summary(self.outcome))
        lost: dict[str, list[str]] = {}
        for name, write in parts.items():
            try:
                write()
            except OSError as error:
                lost.setdefault(error.strerror or str(error), []).append(name)
        self.warn(f"Could not write {', '.join(names)}: {reason}." for reason, names in lost.items())


async def _ask_sentry(settings: Settings) -> Verdict | None:
    """Ask Sentry about the new credentials. Return None if preflight is off."""
    if settings.preflight is PreflightMode.OFF:
        return None
    await in_thread(_load_preflight)
    from sophia_sync import preflight

    return await preflight.check(
        settings.sentry_url,
        settings.sentry_api_token,
        settings.sentry_dsn,
        settings.sentry_organization_slug,
        settings.sentry_project_slug,
    )


def _load_preflight() -> None:
    """Load `requests`, which takes 0.2 seconds, while the CLI reads."""
    import sophia_sync.preflight  # noqa: F401


async def _heed(asked: Task[Verdict | None], settings: Settings) -> list[str]:
    """Wait for Sentry's answer. Return it as warnings, or refuse to go on."""
    verdict = await asked.result()
    if verdict is None:
        return []
    from sophia_sync import preflight

    return preflight.heed(verdict, settings.preflight)


def _load_github() -> None:
    """Load PyGithub, which takes half a second, while the CLI reads."""
    from sophia_sync.github import dispatch

    dispatch.load()


def _failure(ends: Sequence[Ended], *, dry_run: bool = False) -> SyncError | None:
    """Return the run's error, or None. With several environments, it names all that failed."""
    failed = [(ended.environment, ended.error) for ended in ends if ended.error is not None]
    if not failed:
        return None
    errors = [error for _, error in failed]
    if len(ends) == 1:
        return errors[0]
    # The preflight checks the credentials, which are the same for all environments.
    refused = next((error for error in errors if isinstance(error, PreflightError)), None)
    others = "The other environments are synced. Nothing was deployed."
    if any(ended.synced is not None and ended.synced.proposes for ended in ends):
        others = "The other environments are synced, or their change is proposed. Nothing was deployed."
    return refused or SeveralError(failed, len(ends), others="No environment was written." if dry_run else others)


def _is_to_come(synced: Synced) -> bool:
    """Return whether the plan is still to be carried out."""
    return synced.result in (Result.PLANNED, Result.PROPOSED)


def _listed(names: Sequence[str]) -> str:
    """Return the environments' names for a sentence. The output `environments` has the state of each."""
    more = len(names) - _LISTED
    return f"{', '.join(names[:_LISTED])} and {more} more" if more > 0 else ", ".join(names)


def _answer(arguments: Sequence[str]) -> None:
    """Answer --help and --version, and refuse any other argument. End the program."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="sentry-esc-sync",
        description="Carries Sentry credentials from the environment into a Pulumi ESC environment, and proves "
        "that they arrived. All inputs are environment variables; see docs/reference.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args(arguments)


def main(
    argv: Sequence[str] | None = None,
    stream: TextIO | None = None,
    leave: Callable[[int], object] = lambda _: None,
) -> int:
    """Run the action once, with the inputs in the environment. Return the exit code.

    Args:
        argv: No argument, `--help` or `--version`; the arguments of the process by default.
        stream: Where the log goes; standard output by default.
        leave: Called with the exit code when everything is written, while signals are still ignored.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments:
        _answer(arguments)
    context = run_context()
    redact = Redactor()
    writer = None if stream else BackgroundWriter(sys.stdout)
    run = Run(Runner.of(context, redact, stream or writer), redact, context)

    def end(code: int) -> None:
        if writer is not None:
            writer.drain(_LAST_LINES)
        leave(code)

    return conduct(run, end)
