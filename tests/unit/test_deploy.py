"""Whether a deploy is due, and with which inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from sophia_sync import deploy
from sophia_sync.deploy import fill, is_due
from sophia_sync.esc.cli import Pulumi
from sophia_sync.outcome import Result, Synced, Target
from sophia_sync.runtime.errors import DeployError, EscError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import Settings
from sophia_sync.sync.bundle import Bundle, Entry
from sophia_sync.sync.environment import Environment
from sophia_sync.sync.plan import Plan
from tests.support.inputs import REPOSITORY, VALID, as_runner, environment

BUNDLE = Bundle((Entry("SENTRY_DSN", SecretStr("canary"), secret=True),))


def settings_of(**changes: str) -> Settings:
    with environment(as_runner(VALID | {name.replace("_", "-"): value for name, value in changes.items()})):
        return inputs.load()[0]


@pytest.fixture
def no_cli(tmp_path: Path) -> list[Environment]:
    """Return one environment on a machine without the Pulumi CLI, where every question to ESC fails."""
    pulumi = Pulumi(
        home=tmp_path,
        cloud_url="http://127.0.0.1:1",
        access_token=SecretStr("pul-x"),
        environ={"PATH": str(tmp_path)},
        redact=Redactor(),
    )
    return [Environment(pulumi, "a/b/c", BUNDLE)]


class TestWhetherADeployIsDue:
    @pytest.mark.parametrize(
        ("when", "result", "due"),
        [
            ("always", Result.SYNCED, True),
            ("always", Result.UNCHANGED, True),
            ("always", Result.PLANNED, False),
            ("changed", Result.SYNCED, True),
            ("changed", Result.PLANNED, False),
            ("never", Result.SYNCED, False),
            ("never", Result.UNCHANGED, False),
        ],
    )
    @pytest.mark.anyio
    async def test_after_a_sync(self, no_cli: list[Environment], when: str, result: Result, due: bool) -> None:
        told: list[str] = []
        settings = settings_of(deploy=when, dry_run=str(result is Result.PLANNED))
        assert await is_due(settings, [Synced("a/b/c", result, Plan(()))], no_cli, BUNDLE, told.append) == due
        assert told == []

    @pytest.mark.anyio
    async def test_it_is_where_what_was_last_deployed_is_not_known(self, no_cli: list[Environment]) -> None:
        told: list[str] = []
        synced = [Synced("a/b/c", Result.UNCHANGED, Plan(()))]
        assert await is_due(settings_of(deploy="changed"), synced, no_cli, BUNDLE, told.append)
        assert len(told) == 1
        assert "isn't known, so the deploy runs" in told[0]

    @pytest.mark.anyio
    async def test_one_environment_that_was_written_is_enough(self, no_cli: list[Environment]) -> None:
        told: list[str] = []
        synced = [Synced("a/b/c", Result.UNCHANGED, Plan(())), Synced("a/b/d", Result.SYNCED, Plan(()))]
        assert await is_due(settings_of(deploy="changed"), synced, no_cli * 2, BUNDLE, told.append)
        assert told == []

    @pytest.mark.anyio
    async def test_a_mark_that_can_not_be_set_is_told(self, no_cli: list[Environment]) -> None:
        failed = await deploy.mark([8], no_cli, Target("a/b", "deploy.yml", None))
        assert ["no `pulumi` on PATH" in str(error) for error in failed] == [True]

    @pytest.mark.anyio
    async def test_a_number_that_can_not_be_read_is_not_marked(self, no_cli: list[Environment]) -> None:
        (number,) = await deploy.numbers([Synced("a/b/c", Result.UNCHANGED, Plan(()))], no_cli)
        assert isinstance(number, EscError)
        assert await deploy.mark([number], no_cli, Target("a/b", "deploy.yml", None)) == [number]

    @pytest.mark.anyio
    async def test_the_number_of_a_revision_that_was_saved_is_known(self, no_cli: list[Environment]) -> None:
        assert await deploy.numbers([Synced("a/b/c", Result.SYNCED, Plan(()), revision=7)], no_cli) == [7]


class TestMark:
    def test_each_workflow_has_its_own(self) -> None:
        targets = [
            Target("a/b", "deploy.yml", None),
            Target("a/c", "deploy.yml", None),
            Target("a/b", "other.yml", None),
            Target("a/b", "deploy.yml", "main"),
        ]
        marks = {target.mark for target in targets}
        assert len(marks) == len(targets)
        assert Target("a/b", "deploy.yml", None).mark in marks

    def test_its_name_is_one_that_a_revision_tag_may_have(self) -> None:
        assert Target("a/b", "deploy it.yml", "release/1").mark.replace("-", "").isalnum()

    def test_the_target_is_that_of_the_settings(self) -> None:
        target = deploy.target_of(settings_of(deploy_workflow="go.yml", deploy_ref="v1"))
        assert target == Target(REPOSITORY, "go.yml", "v1")


class TestInputsOfTheWorkflow:
    def test_are_filled_in(self) -> None:
        given = {
            "a": "{environment}@{revision}",
            "b": "see {run_url}",
            "c": "{other} {revision}{revision}",
            "d": True,
            "e": 3,
        }
        assert fill(given, 8, "x/y/z", "https://run") == {
            "a": "x/y/z@8",
            "b": "see https://run",
            "c": "{other} 88",
            "d": True,
            "e": 3,
        }

    def test_are_empty_where_no_run_is_known(self) -> None:
        assert fill({"b": "[{run_url}]"}, 1, "x/y/z", None) == {"b": "[]"}

    def test_need_the_number_of_the_revision_only_where_they_name_it(self) -> None:
        unknown = EscError("ESC is away.", "")
        assert fill({"a": "{environment}", "b": 3}, unknown, "x/y/z", None) == {"a": "x/y/z", "b": 3}
        with pytest.raises(DeployError, match="can't be read: ESC is away"):
            fill({"a": "at {revision}"}, unknown, "x/y/z", None)


class TestConclusion:
    def test_of_a_run_that_succeeded_is_fine(self) -> None:
        deploy.check_conclusion("success", "https://run")

    @pytest.mark.parametrize("conclusion", ["failure", "cancelled", "timed_out", "skipped", None])
    def test_of_any_other_fails_with_the_link(self, conclusion: str | None) -> None:
        with pytest.raises(DeployError, match=f"{conclusion or 'no conclusion'}: https://run"):
            deploy.check_conclusion(conclusion, "https://run")
