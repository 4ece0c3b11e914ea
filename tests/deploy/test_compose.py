"""The shipped Compose file, run by the real Compose against the local services."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml

from deploy.rollout import VARIABLES
from tests.deploy.conftest import ENVIRONMENT, SERVICE, Host, compose, new_host
from tests.support import docker_leaks
from tests.support.docker_engine import ROOT, docker
from tests.support.readiness import wait_for

pytestmark = pytest.mark.docker

FILE = ROOT / "docker-compose.sentry.yml"
# What the documentation says the container is given.
DOCUMENTED = {"PULUMI_ORG": "scoobyjava-org", "PULUMI_ENVIRONMENT": "sophia-ai-production"}


def start(host: Host, image: str, **environ: str) -> None:
    """Run `docker compose up`, and wait until the server is ready."""
    up = host.compose("up", "--detach", "--no-build", image=image, **environ)
    assert up.returncode == 0, up.stderr
    wait_until_ready(host)


def wait_until_ready(host: Host) -> None:
    def fate() -> str | None:
        return host.container("{{.State.Status}}") if host.container("{{.State.Running}}") != "true" else None

    wait_for(host.url, "/readyz", fate)


@pytest.fixture(scope="module")
def running(built: str) -> Iterator[Host]:
    with new_host() as host:
        start(host, built)
        yield host


def resolved(**environ: str) -> dict[str, Any]:
    """Return the service as Compose reads it from the shipped file."""
    done = compose("--file", str(FILE), "config", "--format", "json", **environ)
    assert done.returncode == 0, done.stderr
    service: dict[str, Any] = json.loads(done.stdout)["services"][SERVICE]
    return service


class TestTheFile:
    def test_it_is_compose_5(self) -> None:
        assert compose("version", "--short").stdout.startswith("5.")

    def test_service_and_container_have_the_documented_name(self) -> None:
        assert list(yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]) == ["sentry-mcp"]
        assert resolved(SENTRY_MCP_IMAGE="x")["container_name"] == "sentry-mcp"

    def test_the_environment_is_the_documented_one(self) -> None:
        environment = resolved(SENTRY_MCP_IMAGE="x", PULUMI_ACCESS_TOKEN="pul-0")["environment"]
        assert environment.items() >= {**DOCUMENTED, "PULUMI_ACCESS_TOKEN": "pul-0"}.items()

    def test_what_is_deployed_is_what_the_file_asks_for(self) -> None:
        values = {name: f"value-of-{name}" for name in VARIABLES}
        environment = resolved(SENTRY_MCP_IMAGE="x", **values)["environment"]
        fixed = {"SENTRY_MCP_TRANSPORT", "SENTRY_MCP_HOST", "SENTRY_MCP_PORT"}
        assert {name: value for name, value in environment.items() if name not in fixed} == values

    def test_on_main_it_names_a_local_image(self) -> None:
        assert resolved()["image"] == "sentry-mcp:dev"


class TestTheContainer:
    def test_it_can_do_no_more_than_it_must(self, running: Host) -> None:
        host = json.loads(running.container("{{json .HostConfig}}"))
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["CapAdd"] is None
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Privileged"] is False
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
        assert list(host["Tmpfs"]) == ["/tmp"]  # noqa: S108 - within the container
        assert 0 < host["Memory"] <= 2**30
        assert 0 < host["PidsLimit"] <= 256
        assert host["Binds"] is None

    def test_its_processes_hold_no_capability_and_are_not_roots(self, running: Host) -> None:
        show = "print(open('/proc/1/status').read())"
        status = docker("exec", running.project, "/usr/bin/python3.13", "-c", show).stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert fields["NoNewPrivs"] == "1"

    def test_only_this_machine_reaches_it(self, running: Host) -> None:
        ports = json.loads(running.container("{{json .NetworkSettings.Ports}}"))
        assert ports == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(running.port)}]}

    def test_its_health_check_passes(self, running: Host) -> None:
        [*command] = json.loads(running.container("{{json .Config.Healthcheck.Test}}"))
        assert command[0] == "CMD"
        assert docker("exec", running.project, *command[1:], check=False).returncode == 0

    def test_its_log_tells_no_secret(self, running: Host) -> None:
        running.ask()
        logs = docker("logs", running.project)
        assert docker_leaks.held_by(logs.stdout + logs.stderr, running.secrets) == []


class TestTheServer:
    def test_clients_without_its_token_are_refused(self, running: Host) -> None:
        with httpx2.Client(trust_env=False) as http:
            assert http.post(f"{running.url}/mcp", json={}).status_code == 401

    def test_a_client_calls_a_tool(self, running: Host) -> None:
        issue = running.box.sentry.add_issue("ValueError: no such card")
        answer = running.ask("get_issue", issue_id=str(issue.id))
        assert "no such card" in str(answer.content)

    def test_a_token_that_was_rotated_in_esc_needs_no_restart(self, running: Host) -> None:
        started = running.container("{{.Id}} {{.State.StartedAt}}")
        sentry = running.box.sentry
        before, after = sentry.token, f"sntrys_{secrets.token_hex(32)}"
        sentry.add_token(after, sentry.scopes)
        running.store_credentials(after)
        del sentry.tokens[before]
        try:
            assert running.ask("get_project").content
            assert [request.status for request in sentry.requests[-3:]].count(401) <= 1
            assert running.container("{{.Id}} {{.State.StartedAt}}") == started
        finally:
            sentry.add_token(before, sentry.scopes)

    def test_with_esc_gone_it_starts_from_its_fallback_variables(self, built: str) -> None:
        with new_host() as host:
            host.box.esc.down()
            sentry = host.box.sentry
            slugs = {"SENTRY_ORGANIZATION_SLUG": sentry.organization, "SENTRY_PROJECT_SLUG": sentry.project}
            start(host, built, SENTRY_API_TOKEN=sentry.token, **slugs)
            assert host.ask().content

    def test_without_any_credentials_it_is_alive_but_not_ready(self, built: str) -> None:
        with new_host() as host:
            host.box.esc.delete(ENVIRONMENT)
            up = host.compose("up", "--detach", "--no-build", image=built)
            assert up.returncode == 0, up.stderr
            wait_for(host.url, "/healthz")
            with httpx2.Client(trust_env=False, timeout=60) as http:
                assert http.get(f"{host.url}/readyz").status_code == 503

    def test_it_stops_cleanly(self, running: Host) -> None:
        stopped = running.compose("stop")
        assert stopped.returncode == 0, stopped.stderr
        assert running.container("{{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Error}}") == "0 false"
        # It can be started again.
        assert running.compose("start").returncode == 0
        wait_until_ready(running)
