"""The whole chain, once: from GitHub's secrets to an answer of the server.

act runs the sync workflow, which stores the secrets in ESC and dispatches the deploy; the deploy program does with that
dispatch what the deploy workflow's steps do; a client asks the server. A second sync, which changes nothing, dispatches
again, and nothing is restarted. A third deploy fails, and the first is back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy import program
from tests.deploy.clients import Caller
from tests.deploy.conftest import ENVIRONMENT, Built, Host, new_host
from tests.deploy.images import Derived, Gate
from tests.support import docker_act, docker_leaks

pytestmark = pytest.mark.docker

REPOSITORY = "ai-cherry/sentry-esc-sync"


@pytest.fixture(scope="module")
def checkout(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of this tree; that the action's image could be built shows that its base images are there."""
    folder = tmp_path_factory.mktemp("chain")
    docker_act.check_out(folder)
    return folder


def sync(host: Host, checkout: Path) -> docker_act.Run:
    """The sync workflow on schedule, with the secrets that the organisation keeps in GitHub."""
    box = host.box
    secrets = {
        "SENTRY_DSN": box.sentry.dsn,
        "SENTRY_API_TOKEN": box.sentry.token,
        "PULUMI_ACCESS_TOKEN": box.esc.token,
        "GITHUB_TOKEN": box.github.token,
    }
    variables = {
        "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
        "SENTRY_PROJECT_SLUG": box.sentry.project,
        "PULUMI_BACKEND_URL": box.esc.url,
        "SENTRY_URL": box.sentry.url,
    }
    environment = {"GITHUB_API_URL": box.github.url, "GITHUB_REPOSITORY": REPOSITORY}
    return docker_act.run(
        checkout,
        "sync-sentry-secrets.yml",
        "schedule",
        secrets=secrets,
        variables=variables,
        environment=environment,
    )


def test_from_the_secrets_in_github_to_an_answer_of_the_server(
    checkout: Path,
    built: Built,
    registry: str,
    derive: Derived,
    gate: Gate,
    record_property: Callable[[str, object], None],
) -> None:
    with new_host() as host:
        host.box.esc.save(ENVIRONMENT, "values: {}\n")
        host.box.github.add_repository(REPOSITORY)
        names = ("environment", "revision", "image")
        host.box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml", inputs=names)

        synced = sync(host, checkout)
        assert synced.code == 0, synced.text
        [dispatch] = host.box.github.dispatches
        revision = str(host.box.esc.revision(ENVIRONMENT))
        assert dispatch.workflow == "deploy-sentry-mcp.yml"
        assert dispatch.inputs == {"environment": ENVIRONMENT, "revision": revision}

        asked = [f"--{name}={value}" for name, value in dispatch.inputs.items()]
        name = f"{registry}/ai-cherry/chain"
        assert program.run("find", "--to", name).outputs == {}
        first = program.run("push", "--image", built.image, "--to", name).outputs["image"]
        deployed = host.deploy(first, *asked)
        assert deployed.code == 0, deployed.log
        check_serves(host, first, revision)
        host.box.github.complete(dispatch.run_id)

        started = host.container("{{.Id}} {{.State.StartedAt}}")
        unchanged = sync(host, checkout)
        assert unchanged.outputs["result"] == "unchanged", unchanged.text
        again = host.box.github.dispatches[-1]
        assert (again.run_id != dispatch.run_id, again.inputs) == (True, dispatch.inputs)
        found = program.run("find", "--to", name)
        with Caller(host.url, host.token) as caller:
            same = host.deploy(found.outputs["image"], *asked)
        assert (same.code, same.outputs["changed"], caller.failures) == (0, "false", []), same.log
        assert host.container("{{.Id}} {{.State.StartedAt}}") == started
        host.box.github.complete(again.run_id)

        gate.let_in = 1  # beside the running version, but not in its place
        with Caller(host.url, host.token) as caller:
            failed = host.deploy(derive.behind(gate), *asked)
            during = f"{len(caller.failures)} of {caller.calls} calls failed"
            check_serves(host, first, revision)
        assert failed.code == 6, failed.log
        assert f"{first}, is back and works" in failed.error
        assert caller.done > 0
        record_property("a second deploy that fails", during)
        print(f"a second deploy that fails: {during}")

        told = synced.visible() + deployed.visible() + unchanged.visible() + same.visible() + failed.visible()
        assert docker_leaks.held_by(told, [*host.secrets, host.box.github.token]) == []


def check_serves(host: Host, image: str, revision: str) -> None:
    """That image runs for that revision, and answers a client."""
    assert host.image == image
    assert host.container('{{index .Config.Labels "sentry-mcp.esc-revision"}}') == revision
    assert host.box.sentry.project in str(host.ask("get_project").content)
