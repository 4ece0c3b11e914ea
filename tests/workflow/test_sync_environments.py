"""`sync-environments.yml`, called by docs/environments.md's workflow, for three environments with different secrets.

act doesn't know GitHub environments: all legs would get the same secrets. So each environment's leg is a run of its
own, with the secrets of that environment only.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox import Sandbox, Sentry
from tests.support import docker_act, docker_leaks
from tests.support.docker_act import Run
from tests.support.docker_engine import ROOT
from tests.workflow.conftest import DEFINITION

pytestmark = pytest.mark.docker

PAGE = (ROOT / "docs/environments.md").read_text("utf-8")
CALLER = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
REPOSITORY = "acme/fleet"
LISTED = {
    "lab": ["acme/default/lab"],
    "staging": ["acme/default/staging"],
    "production": ["acme/default/production-eu", "acme/default/production-us"],
}


@dataclass
class Environment:
    """A GitHub environment with its own Sentry and unique credentials."""

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
        """The values that ESC should hold for this environment."""
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
        docker_act.without_what_act_lacks(self.own)
        workflow = self.caller / ".github/workflows/sync.yml"
        workflow.parent.mkdir(parents=True)
        workflow.write_text(CALLER, encoding="utf-8")
        git = ["git", "-C", str(self.caller), "-c", "user.name=Nobody", "-c", "user.email=nobody@example.com"]
        for command in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"]):
            subprocess.run([*git, *command], check=True)
        subprocess.run([*git, "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=Call it"], check=True)

    def run(self, name: str) -> Run:
        """Run only one environment's leg of the workflow, with that environment's secrets."""
        environment = self.environments[name]
        return docker_act.run(
            self.caller,
            "sync.yml",
            "workflow_dispatch",
            secrets=environment.secrets | {"GITHUB_TOKEN": self.box.github.token},
            variables=environment.variables | {"PULUMI_BACKEND_URL": self.box.esc.url},
            environment={
                "GITHUB_API_URL": self.box.github.url,
                "GITHUB_REPOSITORY": REPOSITORY,
            },
            leg=f"environment:{name}",
            repositories={"ai-cherry/sentry-esc-sync@v1": self.own},
        )


@dataclass(frozen=True)
class Runs:
    """A run of each environment. `refused` is production's, with a token that its Sentry doesn't know."""

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
    """Run lab, production with a token that its Sentry doesn't know, staging, and production again."""
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


def test_each_leg_writes_its_own_summary(runs: Runs) -> None:
    for name, run in {"lab": runs.lab, "staging": runs.staging, "production": runs.production}.items():
        assert run.code == 0, run.text
        assert all(path in run.summary for path in LISTED[name])
        assert not [path for path in runs.fleet.paths if path not in LISTED[name] and path in run.summary]


def test_a_leg_that_failed_fails_the_call_and_says_why_in_its_summary(runs: Runs) -> None:
    assert runs.refused.code != 0
    assert "sentry-api-token" in runs.refused.summary


def test_no_leg_dispatches_a_deploy(runs: Runs) -> None:
    assert runs.fleet.box.github.dispatches == []


def test_no_log_or_summary_tells_a_secret(runs: Runs) -> None:
    known = [value for environment in runs.fleet.environments.values() for value in environment.secrets.values()]
    for run in runs.all:
        assert docker_leaks.held_by(run.visible(), [*known, runs.fleet.box.github.token]) == []
