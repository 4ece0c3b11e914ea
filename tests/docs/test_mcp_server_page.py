"""The code of docs/mcp-server.md, run as written, with the SDK's client, and with Docker where the page uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mcp import Client, StdioServerParameters

from tests.docs.machine import Machine
from tests.docs.pages import code_in, sections
from tests.mcp.support import call, tools
from tests.support.docker_engine import ROOT
from tests.support.readiness import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.pulumi, pytest.mark.anyio]

BLOCKS = code_in(sections("docs/mcp-server.md")["Start it"])


def block(words: str) -> str:
    """Return the one block that holds some words."""
    (found,) = [code for code in BLOCKS if words in code]
    return found


IN_A_CHECKOUT, FOR_A_HOST, IN_DOCKER = (
    block("pulumi login"),
    block("ghcr.io/ai-cherry/sentry-mcp"),
    block("docker build"),
)
BUILD, RUN = IN_DOCKER.split("docker run")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def under_way(machine: Machine, code: str, **environ: str) -> Iterator[None]:
    """Run shell code that starts a server, and wait until it is ready. Interrupt it at the end, as Ctrl-C does."""
    command = ["bash", "-euc", code]
    environment = {**machine.environ, **environ}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            wait_for(machine.host.url, "/readyz", lambda: _end(server))
            yield
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.communicate(timeout=60)


def _end(server: subprocess.Popen[str]) -> str | None:
    return None if server.poll() is None else f"it ended: {server.communicate()[1]}"


def sign_in(machine: Machine) -> tuple[dict[str, str], list[str]]:
    """Sign in as the page says. Return the exported variables, and the lines that start servers."""
    export, login, *starts = IN_A_CHECKOUT.splitlines()
    machine.shell(f"{export}\n{login}", environ={"PULUMI_ACCESS_TOKEN": machine.host.box.esc.token})
    return dict(pair.split("=") for pair in export.removeprefix("export ").split()), starts


async def test_in_a_checkout_over_stdio(machine: Machine) -> None:
    exported, [over_stdio, _] = sign_in(machine)
    environ = {**machine.environ, **exported}
    async with Client(StdioServerParameters(command="bash", args=["-c", over_stdio], env=environ, cwd=ROOT)) as client:
        assert (await call(client, "whoami"))["project"] == machine.host.box.sentry.project


def test_in_a_checkout_over_http(machine: Machine) -> None:
    exported, [_, over_http] = sign_in(machine)
    with under_way(machine, over_http, **exported, SENTRY_MCP_PORT=str(machine.host.port)):
        assert machine.host.ask().content["project"] == machine.host.box.sentry.project


async def test_by_a_host_that_starts_it_with_docker(machine: Machine) -> None:
    machine.shell(BUILD)
    server = json.loads(FOR_A_HOST)["mcpServers"]["sentry"]
    sentry = machine.host.box.sentry
    values = (sentry.token, sentry.organization, sentry.project)
    environ = {**machine.environ, **dict(zip(server["env"], values, strict=True))}
    arguments = [
        "sentry-mcp:dev" if argument == "ghcr.io/ai-cherry/sentry-mcp" else argument for argument in server["args"]
    ]
    parameters = StdioServerParameters(command=server["command"], args=arguments, env=environ)
    async with Client(parameters) as client:
        assert "search_issues" in await tools(client)
        assert (await call(client, "whoami"))["project"] == machine.host.box.sentry.project


def test_in_docker_over_http(machine: Machine) -> None:
    host = machine.host
    machine.shell(BUILD)
    with under_way(machine, f"docker run{RUN}", PULUMI_ACCESS_TOKEN=host.box.esc.token, SENTRY_MCP_TOKEN=host.token):
        assert host.ask().content["project"] == host.box.sentry.project


def test_no_other_section_has_code() -> None:
    assert [heading for heading, text in sections("docs/mcp-server.md").items() if code_in(text)] == [
        "Start it",
        "Over HTTP",
    ]
