"""The official conformance suite, the inspector and three generations of the TypeScript SDK, over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings
from sentry_mcp.web import application

from sandbox.sentry import Issue
from tests.mcp.support import Values
from tests.support.docker_engine import ROOT
from tests.support.web_server import serving
from tools import mcp_clients
from tools.mcp_clients import Clients

pytestmark = pytest.mark.full

TOKEN = "mcp-0123456789abcdef"
HEADER = f"Authorization: Bearer {TOKEN}"
SCRIPT = str(ROOT / "mcp-servers" / "sentry" / "sentry_mcp_server.py")
SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "resources-list",
    "dns-rebinding-protection",
)
"""The scenarios that apply. The others need tools, prompts and resources of a server made for the suite."""

SDKS = {
    "1.10": ("sdk-oldest/dist/esm/client/index.js", "sdk-oldest/dist/esm/client/streamableHttp.js"),
    "1.32": ("sdk-newest-v1/dist/esm/client/index.js", "sdk-newest-v1/dist/esm/client/streamableHttp.js"),
    "2.4": ("@modelcontextprotocol/client/dist/index.mjs", "@modelcontextprotocol/client/dist/index.mjs"),
}
"""The modules of client and transport by the SDK's version. 1.10 is the first with streamable HTTP."""


@pytest.fixture(scope="module")
def clients() -> Clients:
    try:
        return mcp_clients.ensure()
    except mcp_clients.NoClientsError as error:
        pytest.skip(str(error))


@pytest.fixture
def url(settings: Settings, values: Values) -> Iterator[str]:
    """The address of the server, which needs no token."""
    with serving(application(SentryServer(settings.model_copy(update={"transport": "http"}), values))) as url:
        yield f"{url}/mcp"


@pytest.fixture
def guarded(values: Values, url: str) -> str:
    """The address of the server, which needs `TOKEN`."""
    values.read["SENTRY_MCP_TOKEN"] = TOKEN
    return url


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_conformance_suite(scenario: str, clients: Clients, url: str, tmp_path: Path) -> None:
    suite = clients.file("@modelcontextprotocol/conformance/dist/index.js")
    command = [clients.node, suite, "server", "--url", url, "--scenario", scenario]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


@pytest.mark.parametrize("sdk", SDKS)
def test_the_typescript_sdk(sdk: str, clients: Clients, guarded: str, issue: Issue) -> None:
    script = str(Path(__file__).with_name("client.mjs"))
    command = [clients.node, script, *(clients.file(name) for name in SDKS[sdk]), guarded, TOKEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = subprocess.run([*command[:-1], "wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["tools"]) == 19
    assert str(issue.id) in told["good"]["content"][0]["text"]
    assert (told["bad"]["isError"], told["good"].get("isError", False)) == (True, False)
    assert "The token is wrong" in wrong.stderr


class Inspector:
    """The inspector's command line, with a home of its own."""

    def __init__(self, clients: Clients, home: Path) -> None:
        self._command = [clients.node, clients.file("@modelcontextprotocol/inspector/clients/launcher/build/index.js")]
        self._environ = {**os.environ, "HOME": str(home)}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A connection may take long on a busy machine.
        command = [*self._command, "--cli", *arguments, "--connect-timeout", "600000"]
        return subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)


@pytest.fixture
def inspect(clients: Clients, tmp_path: Path) -> Inspector:
    return Inspector(clients, tmp_path)


def test_the_inspector_lists_the_tools_and_calls_a_good_and_a_bad_one(
    inspect: Inspector, guarded: str, issue: Issue
) -> None:
    server = (guarded, "--transport", "http", "--header", HEADER)
    listed = inspect(*server, "--method", "tools/list")
    assert len(json.loads(listed.stdout)["tools"]) == 19
    call = (*server, "--method", "tools/call", "--tool-name", "get_issue", "--tool-arg")
    good = inspect(*call, "issue_id=PAY-READY-1")
    assert (good.returncode, str(issue.id) in good.stdout) == (0, True)
    bad = inspect(*call, "issue_id=PAY-READY-2")
    assert "There is no issue PAY-READY-2" in bad.stdout
    assert json.loads(bad.stderr)["error"]["code"] == "tool_is_error"


def test_the_inspector_is_told_that_its_token_is_wrong(inspect: Inspector, guarded: str) -> None:
    refused = inspect(guarded, "--transport", "http", "--header", "Authorization: Bearer x", "--method", "tools/list")
    assert "The token is wrong: send the header" in json.loads(refused.stderr)["error"]["message"]


def test_the_inspector_over_stdio(inspect: Inspector, values: Values, settings: Settings, issue: Issue) -> None:
    variables = {**values.read, "SENTRY_URL": settings.sentry_url}
    given = [option for name, value in variables.items() for option in ("-e", f"{name}={value}")]
    called = inspect(sys.executable, SCRIPT, *given, "--method", "tools/call", "--tool-name", "get_issue",
                     "--tool-arg", "issue_id=PAY-READY-1")  # fmt: skip
    assert (called.returncode, str(issue.id) in called.stdout) == (0, True), called.stderr
