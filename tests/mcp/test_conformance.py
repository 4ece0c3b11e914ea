"""The official conformance suite, and the TypeScript SDK in its oldest and newest supported generation, over HTTP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings
from sentry_mcp.web import application

from sandbox.sentry import Issue
from tests.mcp.support import Values
from tests.support.web_server import serving
from tools import mcp_clients

TOKEN = "mcp-0123456789abcdef"
SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "resources-list",
    "dns-rebinding-protection",
)
"""Those that apply: the others need tools, prompts and resources of a server made for the suite."""


@pytest.fixture(scope="module")
def clients() -> Path:
    try:
        return mcp_clients.ensure()
    except mcp_clients.NoClientsError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_conformance_suite(
    scenario: str, clients: Path, settings: Settings, values: Values, tmp_path: Path
) -> None:
    suite = clients / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    with serving(application(SentryServer(settings.model_copy(update={"transport": "http"}), values))) as url:
        command = [mcp_clients.node(clients), str(suite), "server", "--url", f"{url}/mcp", "--scenario", scenario]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


@pytest.mark.parametrize("sdk", ["sdk-oldest", "sdk-newest"])
def test_the_typescript_sdk(sdk: str, clients: Path, settings: Settings, values: Values, issue: Issue) -> None:
    values.read["SENTRY_MCP_TOKEN"] = TOKEN
    script = str(Path(__file__).with_name("client.mjs"))
    with serving(application(SentryServer(settings.model_copy(update={"transport": "http"}), values))) as url:
        command = [mcp_clients.node(clients), script, str(clients / "node_modules" / sdk), f"{url}/mcp", TOKEN]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wrong = subprocess.run([*command[:-1], "wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["tools"]) == 19
    assert str(issue.id) in told["good"]["content"][0]["text"]
    assert (told["bad"]["isError"], told["good"].get("isError", False)) == (True, False)
    assert "The token is wrong" in wrong.stderr
