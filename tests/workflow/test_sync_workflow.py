"""`sync-sentry-secrets.yml` from a checkout of this tree, triggered as GitHub triggers it."""

from collections.abc import Callable

import pytest

from tests.support import docker_leaks
from tests.support.docker_act import Run
from tests.workflow.conftest import DEFINITION, PRODUCTION, REPOSITORY, STAGING, Organization

pytestmark = pytest.mark.docker

Make = Callable[[], Organization]


@pytest.fixture(scope="module")
def scheduled(new_organization: Make) -> tuple[Organization, Run]:
    """Run a first sync on schedule."""
    made = new_organization()
    return made, made.run("schedule")


@pytest.fixture(scope="module")
def dry(new_organization: Make) -> tuple[Organization, Run]:
    """Start a dry run by hand."""
    made = new_organization()
    return made, made.run("workflow_dispatch", {"dry-run": "true"})


class TestOnSchedule:
    def test_the_secrets_arrive_in_the_production_environment(self, scheduled: tuple[Organization, Run]) -> None:
        organization, run = scheduled
        assert run.code == 0, run.text
        esc = organization.box.esc
        values = esc.values(PRODUCTION)
        assert {key: values[key] for key in organization.kept} == organization.kept
        encrypted = {key for key in organization.kept if esc.is_secret(PRODUCTION, key)}
        assert encrypted == {"SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET"}
        assert esc.definition(PRODUCTION).startswith(DEFINITION)
        assert esc.definition(STAGING) == DEFINITION

    def test_the_deploy_is_dispatched_in_this_repository(self, scheduled: tuple[Organization, Run]) -> None:
        organization, run = scheduled
        [dispatch] = organization.box.github.dispatches
        assert (dispatch.repository, dispatch.workflow) == (REPOSITORY, "deploy-sentry-mcp.yml")
        assert run.outputs["deploy-run-id"] == str(dispatch.run_id)

    def test_the_summary_lists_the_keys(self, scheduled: tuple[Organization, Run]) -> None:
        organization, run = scheduled
        assert run.summary.startswith("## ")
        assert [key for key in organization.kept if f"| `{key}` |" in run.summary] == list(organization.kept)

    def test_the_log_tells_no_secret(self, scheduled: tuple[Organization, Run]) -> None:
        organization, run = scheduled
        assert docker_leaks.held_by(run.visible(), organization.secrets.values()) == []


class TestDryRunByHand:
    def test_nothing_is_written_or_dispatched(self, dry: tuple[Organization, Run]) -> None:
        organization, run = dry
        assert run.code == 0, run.text
        assert organization.box.esc.definition(PRODUCTION) == DEFINITION
        assert organization.box.github.dispatches == []

    def test_the_plan_is_shown(self, dry: tuple[Organization, Run]) -> None:
        organization, run = dry
        assert run.outputs["result"] == "planned"
        assert all(key in run.outputs["changed-keys"] for key in organization.kept)
        assert "Dry run" in run.summary

    def test_the_log_tells_no_secret(self, dry: tuple[Organization, Run]) -> None:
        organization, run = dry
        assert docker_leaks.held_by(run.visible(), organization.secrets.values()) == []


def test_by_hand_the_environment_and_the_deploy_can_be_chosen(new_organization: Make) -> None:
    made = new_organization()
    run = made.run("workflow_dispatch", {"environment": STAGING, "deploy": "never"})
    assert run.code == 0, run.text
    values = made.box.esc.values(STAGING)
    assert {key: values[key] for key in made.kept} == made.kept
    assert made.box.esc.definition(PRODUCTION) == DEFINITION
    assert made.box.github.dispatches == []


def test_by_hand_without_choices_it_writes_and_deploys(new_organization: Make) -> None:
    made = new_organization()
    run = made.run("workflow_dispatch")
    assert run.code == 0, run.text
    assert run.outputs["result"] == "synced"
    assert made.box.esc.values(PRODUCTION)["SENTRY_DSN"] == made.box.sentry.dsn
    assert len(made.box.github.dispatches) == 1


def test_a_secret_that_the_organization_lacks_fails_the_run(new_organization: Make) -> None:
    made = new_organization()
    del made.secrets["SENTRY_API_TOKEN"]
    run = made.run("schedule")
    assert run.code != 0
    [error] = run.errors
    assert "sentry-api-token" in error
    assert [server.requests for server in made.box.servers] == [[], [], []]
