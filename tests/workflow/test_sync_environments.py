"""`sync-environments.yml`, called by the workflow of docs/scale.md, with three environments of different secrets.

act knows no GitHub environments: its secrets are the same in all legs. So each environment's leg is a run of its own
(plan, this one leg, gather), which has the secrets of that environment and no others. Nor has act an API of jobs: the
local GitHub lists the jobs that act runs, with their annotations, as act's log tells of them, and a leg that is not run
keeps its last end, as with GitHub's "Re-run failed jobs".
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox import Annotation, Sandbox, Sentry
from tests.support import docker_act, docker_leaks
from tests.support.docker_act import Run
from tests.support.docker_engine import ROOT
from tests.workflow.conftest import DEFINITION

pytestmark = pytest.mark.docker

CALLER = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/scale.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)[0]
REPOSITORY = "acme/fleet"
LISTED = {
    "lab": ["acme/default/lab"],
    "staging": ["acme/default/staging"],
    "production": ["acme/default/production-eu", "acme/default/production-us"],
}


@dataclass
class Environment:
    """A GitHub environment: a Sentry of its own, and credentials that no other has."""

    name: str
    sentry: Sentry
    pulumi_token: str
    client_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(16)}")
    sentry_token: str = ""

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "SENTRY_DSN": self.sentry.dsn,
            "SENTRY_API_TOKEN": self.sentry_token or self.sentry.token,
            "SENTRY_CLIENT_SECRET": self.client_secret,
            "PULUMI_ACCESS_TOKEN": self.pulumi_token,
        }

    @property
    def variables(self) -> dict[str, str]:
        return {
            "SENTRY_ORGANIZATION_SLUG": self.sentry.organization,
            "SENTRY_PROJECT_SLUG": self.sentry.project,
            "SENTRY_URL": self.sentry.url,
        }

    @property
    def kept(self) -> dict[str, object]:
        """What ESC should hold of it."""
        everything = self.secrets | self.variables
        return {name: value for name, value in everything.items() if name.startswith("SENTRY_") and "URL" not in name}


class Fleet:
    """The repository that calls the workflow, and its environments."""

    def __init__(self, box: Sandbox, folder: Path, started: ExitStack) -> None:
        self.box = box
        self.folder = folder
        self.own = folder / "own"
        self.caller = folder / "caller"
        self.environments = {name: self._environment(name, started) for name in LISTED}
        for path in self.paths:
            box.esc.create(path, DEFINITION)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, "sync.yml")
        self.run_id = box.github.start_run(REPOSITORY, "sync.yml")
        self.jobs = {name: box.github.add_job(self.run_id, f"sync / {name}", None) for name in ("Plan", "Gather")}
        self._check_out()

    @property
    def paths(self) -> list[str]:
        return [path for paths in LISTED.values() for path in paths]

    def _environment(self, name: str, started: ExitStack) -> Environment:
        token = f"pul-{secrets.token_hex(20)}"
        self.box.esc.tokens[token] = name
        return Environment(name, started.enter_context(Sentry()), token)

    def _check_out(self) -> None:
        self.own.mkdir()
        docker_act.check_out(self.own)
        workflow = self.caller / ".github/workflows/sync.yml"
        workflow.parent.mkdir(parents=True)
        workflow.write_text(CALLER, encoding="utf-8")
        git = ["git", "-C", str(self.caller), "-c", "user.name=Nobody", "-c", "user.email=nobody@example.com"]
        for command in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"]):
            subprocess.run([*git, *command], check=True)
        subprocess.run([*git, "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=Call it"], check=True)

    def run(self, name: str) -> Run:
        """Run the workflow with the secrets of one environment and its leg alone."""
        environment = self.environments[name]
        told: list[Annotation] = []
        job_id = self.jobs.get(name) or self.box.github.add_job(self.run_id, f"sync / Sync {name}", None)
        self.jobs[name] = job_id

        def watch(entry: dict[str, Any]) -> None:
            if entry.get("jobID") != "sync" or entry.get("matrix", {}).get("environment") != name:
                return
            if entry.get("command") in ("notice", "error"):
                level = "failure" if entry["command"] == "error" else "notice"
                told.append(Annotation(level, entry["arg"]))
            if "jobResult" in entry:
                self.box.github.end_job(job_id, entry["jobResult"], told)

        return docker_act.run(
            self.caller,
            "sync.yml",
            "workflow_dispatch",
            secrets=environment.secrets | {"GITHUB_TOKEN": self.box.github.token},
            variables=environment.variables | {"PULUMI_BACKEND_URL": self.box.esc.url},
            environment={
                "GITHUB_API_URL": self.box.github.url,
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_RUN_ID": str(self.run_id),
            },
            leg=f"environment:{name}",
            repositories={"ai-cherry/sentry-esc-sync@v1": self.own},
            watch=watch,
        )


@dataclass(frozen=True)
class Runs:
    """The runs of all environments, and what their summaries were."""

    fleet: Fleet
    lab: Run
    refused: Run
    staging: Run
    production: Run

    @property
    def all(self) -> tuple[Run, ...]:
        return self.lab, self.refused, self.staging, self.production


@pytest.fixture(scope="module")
def runs(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """First lab; then production, with a token that its Sentry doesn't know; then staging; then production again."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no checkout of a repository")
    with ExitStack() as started:
        box = started.enter_context(Sandbox())
        fleet = Fleet(box, tmp_path_factory.mktemp("fleet"), started)
        lab = fleet.run("lab")
        fleet.environments["production"].sentry_token = f"sntrys_{secrets.token_hex(32)}"
        refused = fleet.run("production")
        assert box.esc.definition("acme/default/production-eu") == DEFINITION, "nothing is written by a refused token"
        fleet.environments["production"].sentry_token = ""
        yield Runs(fleet, lab, refused, fleet.run("staging"), fleet.run("production"))


def gathered(run: Run) -> dict[str, tuple[str, str]]:
    """The one summary: the conclusion of each environment, and what it told."""
    [summary] = [
        entry["content"] for entry in run.entries if entry.get("command") == "summary" and entry["jobID"] == "gather"
    ]
    rows = re.findall(r"^\| \[?`(.+?)`.* \| \S+ (\S+) \| (.*) \|$", summary, re.MULTILINE)
    return {name: (conclusion, text) for name, conclusion, text in rows}


def error_of_gather(run: Run) -> str:
    [error] = [entry["arg"] for entry in run.entries if entry.get("command") == "error" and entry["jobID"] == "gather"]
    return str(error)


def test_each_environment_holds_its_own_secrets_and_none_of_another(runs: Runs) -> None:
    fleet = runs.fleet
    for name, environment in fleet.environments.items():
        foreign = {
            str(value)
            for other in fleet.environments.values()
            if other is not environment
            for value in other.secrets.values()
        }
        for path in LISTED[name]:
            values = fleet.box.esc.values(path)
            assert {key: values[key] for key in environment.kept} == environment.kept, path
            assert not docker_leaks.held_by(fleet.box.esc.decrypted(path), foreign), path
            assert fleet.box.esc.is_secret(path, "SENTRY_API_TOKEN")
            assert not fleet.box.esc.is_secret(path, "SENTRY_PROJECT_SLUG")
            assert fleet.box.esc.revision(path) == 3, "made, saved, synced once"


def test_each_leg_writes_with_the_pulumi_token_of_its_environment(runs: Runs) -> None:
    esc = runs.fleet.box.esc
    for name, paths in LISTED.items():
        for path in paths:
            assert esc.revisions(path)[-1].author == name


def test_when_all_are_synced_the_summary_has_them_all_and_the_run_succeeds(runs: Runs) -> None:
    assert runs.production.code == 0, runs.production.text
    rows = gathered(runs.production)
    assert {name: conclusion for name, (conclusion, _) in rows.items()} == dict.fromkeys(LISTED, "success")
    for name, paths in LISTED.items():
        for path in paths:
            assert f"{path}: 5 of 5 keys changed in one revision, 2 → 3, verified" in rows[name][1].replace("\\_", "_")


def test_the_results_are_an_output(runs: Runs) -> None:
    [results] = [
        json.loads(entry["arg"])
        for entry in runs.production.entries
        if entry.get("command") == "set-output" and entry["name"] == "results"
    ]
    assert {row["environment"]: row["conclusion"] for row in results} == dict.fromkeys(LISTED, "success")
    assert all(row["url"].endswith(f"/job/{runs.fleet.jobs[row['environment']]}") for row in results)


def test_a_leg_that_failed_fails_the_run_and_tells_why_in_the_summary(runs: Runs) -> None:
    assert runs.refused.code != 0
    conclusion, text = gathered(runs.refused)["production"]
    assert conclusion == "failure"
    assert "sentry-api-token" in text
    assert "production: failure" in error_of_gather(runs.refused)
    assert "lab: " not in error_of_gather(runs.refused), "an environment in order is named as failed"


def test_one_that_failed_stays_failed_until_it_is_run_again(runs: Runs) -> None:
    assert runs.staging.code != 0
    assert error_of_gather(runs.staging).startswith("1 of 3 environments failed:\n- production: failure\n")


def test_legs_that_never_started_fail_the_run_too(runs: Runs) -> None:
    assert runs.lab.code != 0
    assert gathered(runs.lab)["lab"][0] == "success"
    assert error_of_gather(runs.lab).startswith(
        "2 of 3 environments failed:\n- staging: missing\n- production: missing\n"
    )


def test_no_leg_dispatches_a_deploy(runs: Runs) -> None:
    assert runs.fleet.box.github.dispatches == []


def test_no_log_or_summary_tells_a_secret(runs: Runs) -> None:
    known = [value for environment in runs.fleet.environments.values() for value in environment.secrets.values()]
    for run in runs.all:
        assert docker_leaks.held_by(run.visible(), [*known, runs.fleet.box.github.token]) == []
