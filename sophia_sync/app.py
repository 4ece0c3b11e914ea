"""The whole pipeline on one screen, and the one place where errors end."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sophia_sync import __version__, deploy, interrupts, report
from sophia_sync.bundle import Bundle, make_bundle
from sophia_sync.commands import Runner
from sophia_sync.dispatch import Dispatcher
from sophia_sync.errors import DeployError, EndedBySignalError, EscError, SyncError
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
from sophia_sync.process import Beside, Deadline
from sophia_sync.redact import Redactor
from sophia_sync.report import Outcome
from sophia_sync.sync import Sync, Synced, set_tag

if TYPE_CHECKING:
    from sophia_sync import preflight


class Run:
    """One run: carries the outcome from stage to stage, so that a failure can still be reported whole."""

    def __init__(self, runner: Runner, redact: Redactor, context: RunContext) -> None:
        self.runner = runner
        self.redact = redact
        self.context = context
        self.outcome = Outcome()
        self.sync: Sync | None = None
        self.deploy_state = ""  # for a person, as `Sync.state`

    def failure(self) -> SyncError | None:
        """Run the pipeline to its end; returns what it failed with."""
        try:
            for secret in raw_secrets():
                self.runner.hide(secret)
            self.pipeline()
        except SyncError as error:
            return error
        except Exception:  # noqa: BLE001 - a defect of ours: told as one, with a trace that passes the redactor
            self.runner.line(traceback.format_exc())
            return SyncError("A defect of sentry-esc-sync stopped the run.", "Please report it with its trace.")
        return None

    def pipeline(self) -> None:
        """Inputs → settings → the secrets → what ESC holds → plan → write → read back → deploy."""
        settings, warnings = load()
        for secret in settings.secrets:
            self.runner.hide(secret)
        for warning in warnings:
            self.runner.warning(warning)
        self.outcome = replace(self.outcome, environment=settings.esc_environment)
        bundle = make_bundle(settings)
        deadline = Deadline(settings.timeout)
        interrupts.limit(settings.timeout + 1)  # what has its own limit ends before and tells more
        check_credentials = self.preflight(settings, deadline)
        with private_folder() as home:
            pulumi = self.sign_in(settings, home, deadline)
            synced = self.synchronise(settings, bundle, pulumi, check_credentials)
            self.tag(settings, synced, pulumi)
            if deploy.is_due(settings, synced, bundle, pulumi, self.runner.line):
                self.deploy(settings, synced, pulumi)

    def preflight(self, settings: Settings, deadline: Deadline) -> Callable[[], None]:
        """Ask Sentry about the new credentials while ESC is read; what is returned waits for the answer, heeds it."""
        if settings.preflight is PreflightMode.OFF:
            return lambda: None

        def ask() -> preflight.Verdict:
            from sophia_sync import preflight  # noqa: PLC0415 - it brings `requests`: 0.2 s that pass beside the CLI

            return preflight.check(
                settings.sentry_url,
                settings.sentry_api_token,
                settings.sentry_dsn,
                settings.sentry_organization_slug,
                settings.sentry_project_slug,
                deadline,
            )

        verdict = Beside(ask)

        @cache
        def check_credentials() -> None:
            from sophia_sync import preflight  # noqa: PLC0415

            for warning in preflight.heed(verdict.result(), settings.preflight):
                self.runner.warning(warning)

        return check_credentials

    def sign_in(self, settings: Settings, home: Path, deadline: Deadline) -> Pulumi:
        """The Pulumi CLI, signed in for this run alone."""
        access_token = settings.pulumi_access_token
        if access_token is None:
            from sophia_sync import signin  # noqa: PLC0415 - it brings `requests`, which costs 0.2 s

            access_token = signin.access_token(settings, self.context, deadline, self.runner.hide)
        pulumi = Pulumi(
            home=home,
            cloud_url=settings.pulumi_cloud_url,
            access_token=access_token,
            environ=child_environment(),
            deadline=deadline,
            redact=self.redact,
        )
        pulumi.prepare(settings.esc_environment.partition("/")[0])
        return pulumi

    def synchronise(
        self, settings: Settings, bundle: Bundle, pulumi: Pulumi, check_credentials: Callable[[], None]
    ) -> Synced:
        """Read, plan, write, read back."""
        self.sync = Sync(pulumi, settings.esc_environment, bundle, check_credentials)
        with self.runner.group(f"Sync {settings.esc_environment}"):
            synced = self.sync.run(dry_run=settings.dry_run)
            check_credentials()  # also where nothing was to be written: a credential that is broken should be known
            self.outcome = replace(self.outcome, synced=synced)
            for line in report.plan_lines(synced.plan, dry_run=settings.dry_run):
                self.runner.line(line)
        self.runner.line(report.headline(synced))
        return synced

    def tag(self, settings: Settings, synced: Synced, pulumi: Pulumi) -> None:
        """Tag a new revision with this run; a sync that is verified doesn't fail for its tag."""
        if not settings.tag_revision or synced.revision is None or self.context.run_id is None:
            return
        name = f"github-run-{self.context.run_id}-{self.context.run_attempt or 1}"
        try:
            set_tag(pulumi, synced.environment, name, synced.revision)
        except EscError as error:
            self.runner.warning(f"{error} The sync itself is complete.")

    def deploy(self, settings: Settings, synced: Synced, pulumi: Pulumi) -> None:
        """Dispatch the deploy, mark in ESC what it deploys (for `deploy: changed`), and wait for it if asked to."""
        target = deploy.target_of(settings)
        revision = synced.revision
        if revision is None and deploy.needs_revision(settings.deploy_inputs):
            revision = pulumi.latest_revision(synced.environment)
        inputs = deploy.fill(settings.deploy_inputs, revision, synced.environment, self.context.run_url)
        dispatcher = Dispatcher(settings, target, self.context.api_url, pulumi.deadline)
        self.deploy_state = "Whether the deploy was dispatched isn't known."
        try:
            deployed = dispatcher.dispatch(inputs)
            self.deploy_state = "The deploy was dispatched."
            self.outcome = replace(self.outcome, deployed=deployed)
            where = deployed.run_url or f"{target.repository} on {deployed.ref}"
            self.runner.line(f"Deploy dispatched: {target.workflow}, {where}")
            if settings.deploy is DeployWhen.CHANGED:
                self.mark(synced, pulumi, target.mark)
            if settings.deploy_wait:
                interrupts.limit(0)
                with self.runner.group("Wait for the deploy"):
                    deployed = dispatcher.wait(deployed, Deadline(settings.deploy_timeout), self.runner.line)
                self.outcome = replace(self.outcome, deployed=deployed)
                deploy.check_conclusion(deployed.conclusion, deployed.run_url)
        finally:
            dispatcher.close()

    def mark(self, synced: Synced, pulumi: Pulumi, name: str) -> None:
        try:
            set_tag(pulumi, synced.environment, name, synced.revision)
        except EscError as error:
            self.runner.warning(f"{error} The next sync will deploy once more, to be sure.")

    def interrupted(self, by: Interrupted) -> SyncError:
        """A signal or the time limit, as an error that says what was done by then."""
        done = " ".join(filter(None, (self.sync.state if self.sync else "Nothing was written.", self.deploy_state)))
        if by.signal_number == signal.SIGALRM:
            kind = DeployError if self.outcome.synced else EscError
            return kind(f"The run was not done within `timeout`. {done}", "Run again, or give a larger `timeout`.")
        return EndedBySignalError(f"{by} ended the run. {done}", "Run again.", by.signal_number)

    def report(self, error: SyncError | None) -> int:
        """Report how the run ended, with everything that is known of it; returns the exit code."""
        if error is not None:
            revision = self.sync.revision if self.sync else None
            self.outcome = replace(self.outcome, error=error, unverified_revision=revision)
            self.runner.error(str(error), error.title)
        self.write_report()
        return error.exit_code if error else 0

    def write_report(self) -> None:
        """Write the summary and the outputs; what was done stands, also where they can't be written."""
        try:
            self.runner.summary(report.summary(self.outcome))
            for name, value in report.outputs(self.outcome).items():
                self.runner.output(name, value)
        except OSError as error:
            self.runner.warning(f"The summary or the outputs could not be written: {error.strerror}.")


def main(argv: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run the action once; returns the exit code. All input comes from the environment."""
    parser = argparse.ArgumentParser(
        prog="sentry-esc-sync",
        description="Carries Sentry credentials from the environment into a Pulumi ESC environment, and proves "
        "that they arrived. All inputs are environment variables; see the README.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args(argv)
    context = run_context()
    redact = Redactor()
    runner = Runner(
        stream or sys.stdout,
        redact,
        on_runner=context.on_runner,
        output_path=context.output_path,
        summary_path=context.summary_path,
    )
    run = Run(runner, redact, context)
    with interrupts.raised():
        try:
            error = run.failure()
            interrupts.ignore()
        except Interrupted as by:
            error = run.interrupted(by)
        return run.report(error)
