"""The whole pipeline on one screen, and the one place where errors end."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sophia_sync import __version__, interrupts
from sophia_sync.commands import Runner
from sophia_sync.errors import DeployError, EndedBySignalError, EscError, SignInError, SyncError
from sophia_sync.esc.cli import Pulumi, private_folder
from sophia_sync.inputs import (
    DeployWhen,
    PreflightMode,
    RunContext,
    Settings,
    child_environment,
    load,
    raw_secrets,
    run_context,
)
from sophia_sync.interrupts import Interrupted
from sophia_sync.outcome import Ended, Outcome
from sophia_sync.process import Beside, Deadline
from sophia_sync.redact import Redactor

# What is needed only once ESC is read is imported where it is used: it is loaded while the CLI reads.
if TYPE_CHECKING:
    from sophia_sync import preflight
    from sophia_sync.bundle import Bundle
    from sophia_sync.environments import Environment


# So many environments are named in a sentence.
_MANY = 20


class Run:
    """One run: carries the outcome from stage to stage, so that a failure can still be reported whole."""

    def __init__(self, runner: Runner, redact: Redactor, context: RunContext) -> None:
        self.runner = runner
        self.redact = redact
        self.context = context
        self.outcome = Outcome()
        self.deadline = Deadline(math.inf)
        """Of everything: what has an earlier one is cut with it."""
        self.is_ended = False
        """Whether a signal or the time limit ended it."""
        self.refused: dict[str, SignInError] = {}
        """The organisations, of several, that could not be signed in to."""
        self.environments: list[Environment] = []
        self.deploy_state = ""  # for a person, as `Sync.state`

    def failure(self, home: Path) -> SyncError | None:
        """Run the pipeline to its end; returns what it failed with. `home` is a private folder."""
        try:
            for secret in raw_secrets():
                self.runner.hide(secret)
            self.pipeline(home)
        except SyncError as error:
            return error
        except Exception:  # a defect of ours: told as one, with a trace that passes the redactor
            if self.is_ended:
                raise  # what was cut may end anyhow: the signal is told
            import traceback

            self.runner.line(traceback.format_exc())
            what = f"A defect of sentry-esc-sync stopped the run. {self.state}"
            return SyncError(what, "Please report it with its trace.")
        return None

    def pipeline(self, home: Path) -> None:
        """Inputs → settings → the secrets → what ESC holds → plan → write → read back → deploy."""
        settings, warnings = load()
        for secret in settings.secrets:
            self.runner.hide(secret)
        for warning in warnings:
            self.runner.warning(warning)
        self.outcome = Outcome(tuple(Ended(name) for name in settings.esc_environment))
        deadline = self.deadline.part(settings.timeout)
        interrupts.limit(settings.timeout + 1)  # what has its own limit ends before and tells more
        heed_preflight = self.preflight(settings, deadline)
        signed_in = self.sign_in(settings, home, deadline)
        begun = self.begin_to_read(settings, signed_in)
        from sophia_sync import deploy, environments, report  # noqa: F401 - loaded while the CLI reads
        from sophia_sync.bundle import make_bundle

        bundle = make_bundle(settings)
        self.synchronise(settings, bundle, signed_in, heed_preflight, begun)
        if deploy.is_due(settings, self.outcome.synced, self.environments, bundle, self.runner.line):
            self.deploy(settings, deadline)
        elif settings.dry_run:
            self.check_deploy(settings, deadline)

    def preflight(self, settings: Settings, deadline: Deadline) -> Callable[[], list[str]]:
        """Ask Sentry about the new credentials while ESC is read; what is returned waits for the answer, heeds it."""
        if settings.preflight is PreflightMode.OFF:
            return list

        def ask() -> preflight.Verdict:
            from sophia_sync import preflight  # it brings `requests`: 0.2 s that pass beside the CLI

            return preflight.check(
                settings.sentry_url,
                settings.sentry_api_token,
                settings.sentry_dsn,
                settings.sentry_organization_slug,
                settings.sentry_project_slug,
                deadline,
            )

        verdict = Beside(ask)

        def heed() -> list[str]:
            try:
                found = verdict.result(deadline, grace=deadline.seconds)
            except TimeoutError:
                raise EscError("The run was ended before Sentry answered.", "Run again.") from None
            from sophia_sync import preflight

            return preflight.heed(found, settings.preflight)

        return heed

    def sign_in(self, settings: Settings, home: Path, deadline: Deadline) -> dict[str, Pulumi]:
        """The Pulumi CLI, signed in for this run alone, for each organisation that lets us.

        Raises:
            SignInError: None of them does.
        """
        signed_in = {}
        for organization in dict.fromkeys(map(_organization, settings.esc_environment)):
            folder = home / organization
            folder.mkdir(mode=0o700)
            try:
                pulumi = self.pulumi(settings, organization, folder, deadline)
            except SignInError as error:
                self.refused[organization] = error
                continue
            pulumi.prepare(organization)
            signed_in[organization] = pulumi
        if not signed_in:
            raise next(iter(self.refused.values()))
        return signed_in

    def load_what_deploys(self, settings: Settings, before_write: Callable[[], object]) -> Callable[[], object]:
        """Load PyGithub beside the CLI: at once where a deploy is due in any case, else when a write makes it due.

        Returns:
            What is to be called before a write.
        """
        if not settings.may_deploy:
            return before_write
        from sophia_sync import dispatch

        if settings.deploy is DeployWhen.ALWAYS:
            Beside(dispatch.load)
            return before_write

        def load_then_call() -> object:
            Beside(dispatch.load)
            return before_write()

        return load_then_call

    def begin_to_read(self, settings: Settings, signed_in: Mapping[str, Pulumi]) -> Beside[str]:
        """Let the CLI read the first environment: it takes as long as it takes to load what comes after it."""
        first = next(name for name in settings.esc_environment if _organization(name) in signed_in)
        return Beside(partial(signed_in[_organization(first)].read, first))

    def pulumi(self, settings: Settings, organization: str, folder: Path, deadline: Deadline) -> Pulumi:
        """The Pulumi CLI for one organisation: with the stored access token, else with one that is exchanged."""
        access_token = settings.pulumi_access_token
        if access_token is None:
            from sophia_sync import signin  # it brings `requests`, which costs 0.2 s

            access_token = signin.access_token(settings, organization, self.context, deadline, self.runner.hide)
        return Pulumi(
            home=folder,
            cloud_url=settings.pulumi_cloud_url,
            access_token=access_token,
            environ=child_environment(),
            deadline=deadline,
            redact=self.redact,
        )

    def synchronise(
        self,
        settings: Settings,
        bundle: Bundle,
        signed_in: Mapping[str, Pulumi],
        heed_preflight: Callable[[], list[str]],
        begun: Beside[str] | None = None,
    ) -> None:
        """Read, plan, write, read back, in each environment."""
        from sophia_sync import environments

        before_write = self.load_what_deploys(settings, heed_preflight)
        tag = self.context.tag if settings.tag_revision else None
        first, *others = (name for name in settings.esc_environment if _organization(name) in signed_in)
        reads = {first: begun} | dict.fromkeys(others)
        self.environments = [
            environments.Environment(signed_in[_organization(name)], name, bundle, before_write, tag, read)
            for name, read in reads.items()
        ]
        for name in settings.esc_environment:
            if name not in reads:
                self.tell(Ended(name, error=self.refused[_organization(name)]))
        deadline = self.environments[0].pulumi.deadline
        work = [partial(environment.run, dry_run=settings.dry_run) for environment in self.environments]
        environments.side_by_side(deadline, work, self.tell)
        error = environments.failure(self.outcome.environments)
        if error is None or self.outcome.synced:  # also where nothing was written: what is broken should be known
            for warning in heed_preflight():
                self.runner.warning(warning)
        if error is not None:
            raise error

    def tell(self, ended: Ended) -> None:
        """Keep how the sync of an environment ended, and print it."""
        if ended.error is not None and self.is_ended:
            return  # that is no failure of its own: the end of the run is its end
        self.outcome = self.outcome.with_end(ended)
        self.show(ended)
        for warning in ended.warnings:
            self.runner.warning(warning)

    def show(self, ended: Ended) -> None:
        """Print how the sync of an environment ended."""
        from sophia_sync import report
        from sophia_sync.sync import Result

        if ended.synced is not None:
            with self.runner.group(f"Sync {ended.environment}"):
                for line in report.plan_lines(ended.synced.plan, dry_run=ended.synced.result is Result.PLANNED):
                    self.runner.line(line)
            self.runner.line(report.headline(ended.synced))
        elif len(self.outcome.environments) > 1:
            self.runner.line(f"{ended.environment}: {ended.error}")

    def deploy(self, settings: Settings, deadline: Deadline) -> None:
        """Dispatch the deploy, wait for it if asked to, and mark in ESC what it deployed."""
        from sophia_sync import deploy
        from sophia_sync.dispatch import Dispatcher

        target = deploy.target_of(settings)
        revisions = deploy.numbers(self.outcome.synced, self.environments)
        names = ",".join(settings.esc_environment)
        inputs = deploy.fill(settings.deploy_inputs, revisions[0], names, self.context.run_url)
        dispatcher = Dispatcher(settings, target, self.context.api_url, deadline)
        self.deploy_state = "Whether the deploy was dispatched isn't known."
        try:
            deployed = dispatcher.dispatch(inputs)
            self.deploy_state = "The deploy was dispatched."
            self.outcome = replace(self.outcome, deployed=deployed)
            where = deployed.run_url or f"{target.repository} on {deployed.ref}"
            self.runner.line(f"Deploy dispatched: {target.workflow}, {where}")
            if settings.deploy_wait:
                interrupts.limit(0)
                with self.runner.group("Wait for the deploy"):
                    deployed = dispatcher.wait(deployed, self.deadline.part(settings.deploy_timeout), self.runner.line)
                self.outcome = replace(self.outcome, deployed=deployed)
                deploy.check_conclusion(deployed.conclusion, deployed.run_url)
            for failed in deploy.mark(revisions, self.environments, target):
                self.runner.warning(f"{failed} With `deploy: changed`, the next sync deploys once more, to be sure.")
        finally:
            dispatcher.close()

    def check_deploy(self, settings: Settings, deadline: Deadline) -> None:
        """Warn of what would keep the deploy from starting, in a run that dispatches nothing."""
        if settings.deploy is DeployWhen.NEVER:
            return
        if settings.deploy_repository is None or not settings.has_github_access:
            self.runner.line("The deploy's workflow was not checked: it takes `deploy-repository` and `github-token`.")
            return
        from sophia_sync import deploy
        from sophia_sync.dispatch import Dispatcher

        dispatcher = Dispatcher(settings, deploy.target_of(settings), self.context.api_url, deadline)
        try:
            for found in dispatcher.check(settings.deploy_inputs):
                self.runner.warning(f"A sync would succeed, but its deploy would not start: {found.what}. {found.todo}")
        finally:
            dispatcher.close()

    def end(self, grace: float) -> None:
        """Let everything end now, a write that is under way within `grace` seconds."""
        self.is_ended = True
        self.deadline.cut(grace)

    def interrupted(self, by: Interrupted) -> SyncError:
        """A signal or the time limit, as an error that says what was done by then."""
        done = " ".join(filter(None, (self.state, self.deploy_state)))
        if by.signal_number == signal.SIGALRM:
            kind = DeployError if self.outcome.is_synced else EscError
            return kind(f"The run was not done within `timeout`. {done}", "Run again, or give a larger `timeout`.")
        return EndedBySignalError(f"{by} ended the run. {done}", "Run again.", by.signal_number)

    @property
    def state(self) -> str:
        """What has been done to ESC, for a person."""
        by_state: dict[str, list[str]] = {}
        for environment in self.environments:
            by_state.setdefault(environment.sync.state, []).append(environment.name)
        if len(by_state) == 1:
            return next(iter(by_state))
        return " ".join(f"{_listed(names)}: {state}" for state, names in by_state.items()) or "Nothing was written."

    def report(self, error: SyncError | None) -> int:
        """Report how the run ended, with everything that is known of it; returns the exit code."""
        if error is not None:
            self.note(error)
            self.runner.error(str(error), error.title)
        self.write_report()
        return error.exit_code if error else 0

    def note(self, error: SyncError) -> None:
        """Keep what the run failed with, and what it had saved by then."""
        for environment in self.environments:  # those that were ended by the run's own end
            self.outcome = self.outcome.with_state(environment.name, environment.sync.revision, environment.sync.state)
        self.outcome = replace(self.outcome, error=error)

    def write_report(self) -> None:
        """Write the summary and the outputs; what was done stands, also where they can't be written."""
        from sophia_sync import report

        if self.outcome.error is None:
            self.runner.notice(report.notice(self.outcome))
        try:
            self.runner.summary(report.summary(self.outcome))
            for name, value in report.outputs(self.outcome).items():
                self.runner.output(name, value)
        except OSError as error:
            self.runner.warning(f"The summary or the outputs could not be written: {error.strerror}.")


def _organization(environment: str) -> str:
    return environment.partition("/")[0]


def _listed(names: Sequence[str]) -> str:
    """The names of environments; of very many some: the output `environments` has what is true of each."""
    more = len(names) - _MANY
    return f"{', '.join(names[:_MANY])} and {more} more" if more > 0 else ", ".join(names)


def _answer(arguments: Sequence[str]) -> None:
    """Answer --help and --version, and refuse any other argument; ends the program."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="sentry-esc-sync",
        description="Carries Sentry credentials from the environment into a Pulumi ESC environment, and proves "
        "that they arrived. All inputs are environment variables; see docs/reference.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args(arguments)


def main(argv: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run the action once; returns the exit code. All input comes from the environment."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments:
        _answer(arguments)
    context = run_context()
    redact = Redactor()
    return conduct(Run(Runner.of(context, redact, stream), redact, context))


def conduct(run: Run) -> int:
    """Conduct a run to its end, whatever that is, and report it; returns the exit code."""
    with interrupts.Watch() as watch:
        try:
            with private_folder(run.deadline) as home:
                error = watch.over(partial(run.failure, home), run.end)
        except Interrupted as by:
            error = run.interrupted(by)
        return run.report(error)
