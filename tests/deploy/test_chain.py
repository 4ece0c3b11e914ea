"""The whole chain under act: from GitHub's secrets to an answer of the server.

act runs the sync workflow, which stores the secrets in ESC and dispatches the deploy. Then act runs the workflow that
calls the deploy, and a client asks the server. A second sync changes nothing, and its deploy restarts nothing.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.conftest import ENVIRONMENT, Host, new_host
from tests.deploy.gateway import HOST_ENTRY
from tests.support import docker_act, docker_leaks, standins
from tests.support.docker_act import Run

pytestmark = pytest.mark.docker

REPOSITORY = "ai-cherry/sentry-esc-sync"


@pytest.fixture(scope="module")
def checkout(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of this tree. The `image` fixture ensures that the action's base images are there."""
    folder = tmp_path_factory.mktemp("chain")
    docker_act.check_out(folder)
    docker_act.without_what_act_lacks(folder)
    return folder


def sync(host: Host, checkout: Path) -> Run:
    """Run the sync workflow on schedule, with the organization's GitHub secrets."""
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


def deploy(host: Host, checkout: Path, inputs: Mapping[str, object], image: str) -> Run:
    """Run the workflow that calls the deploy, dispatched with these inputs. A variable pins the image."""
    compose = Path(sys.executable).with_name("docker-compose")
    text = (checkout / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    [signing_in] = re.findall(r"docker/login-action@\w+", text)  # act looks for it although it isn't used
    written = standins.write(Path(tempfile.mkdtemp(dir=host.folder)), {})
    return docker_act.run(
        checkout,
        "deploy-sentry-mcp.yml",
        "workflow_dispatch",
        secrets={
            "PULUMI_ACCESS_TOKEN": host.box.esc.token,
            "PULUMI_BACKEND_URL": host.environ["PULUMI_BACKEND_URL"],
            "SENTRY_URL": host.environ["SENTRY_URL"],
            "SENTRY_MCP_TOKEN": host.token,
        },
        variables={"SENTRY_MCP_IMAGE": image, "SENTRY_MCP_PUBLISHED_PORT": str(host.port)},
        environment={"GITHUB_REPOSITORY": REPOSITORY, "RUNNER_ENVIRONMENT": "self-hosted"},
        inputs={name: str(value) for name, value in inputs.items()},
        repositories={f"{docker_act.OURS}@v1": checkout, signing_in: written["docker/login-action"]},
        image=docker_act.image_with_docker(),
        mounts=[f"{compose}:/usr/local/lib/docker/cli-plugins/docker-compose:ro"],
        timeout=500,
    )


def test_from_the_secrets_in_github_to_an_answer_of_the_server(checkout: Path, good: str) -> None:
    with new_host() as host:
        # A machine can have the container's name and the project only once, and `localhost` must lead here.
        file = checkout / "docker-compose.sentry.yml"
        text = file.read_text(encoding="utf-8")
        ours = f"    container_name: {host.project}\n    extra_hosts: ['{HOST_ENTRY}']\n"
        text, count = re.subn(r"    container_name: sentry-mcp\n", ours, text)
        assert count == 1
        file.write_text(text, encoding="utf-8")
        action = checkout / "actions" / "deploy" / "action.yml"
        text, count = re.subn(r' "\$COMMAND"$', f' "$COMMAND" --project {host.project}', action.read_text("utf-8"))
        assert count == 1
        action.write_text(text, encoding="utf-8")

        host.box.esc.save(ENVIRONMENT, "values: {}\n")
        host.box.github.add_repository(REPOSITORY)
        host.box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml", inputs=("environment", "revision"))
        synced = sync(host, checkout)
        assert synced.code == 0, synced.text
        [dispatch] = host.box.github.dispatches
        revision = str(host.box.esc.revision(ENVIRONMENT))
        assert dispatch.inputs == {"environment": ENVIRONMENT, "revision": revision}

        deployed = deploy(host, checkout, dispatch.inputs, good)
        assert deployed.code == 0, deployed.text[-6000:]
        assert deployed.outputs["image"] == good
        check_serves(host, good, revision)
        host.box.github.complete(dispatch.run_id)

        started = host.container("{{.Id}} {{.State.StartedAt}}")
        unchanged = sync(host, checkout)
        assert unchanged.outputs["result"] == "unchanged", unchanged.text
        again = host.box.github.dispatches[-1]
        assert (again.run_id != dispatch.run_id, again.inputs) == (True, dispatch.inputs)
        same = deploy(host, checkout, again.inputs, good)
        assert same.outputs["changed"] == "false", same.text[-6000:]
        assert host.container("{{.Id}} {{.State.StartedAt}}") == started

        told = synced.visible() + deployed.visible() + unchanged.visible() + same.visible()
        assert docker_leaks.held_by(told, [*host.secrets, host.box.github.token]) == []


def check_serves(host: Host, image: str, revision: str) -> None:
    """Check that the image runs for the revision and answers a client."""
    assert host.image == image
    assert host.container('{{index .Config.Labels "sentry-mcp.esc-revision"}}') == revision
    assert host.box.sentry.project in str(host.ask("get_project").content)
