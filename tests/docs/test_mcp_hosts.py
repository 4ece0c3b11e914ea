"""The configurations of MCP hosts in docs/mcp-server.md: each is read as its host reads it, and its server started.

`uvx` starts the wheel of this tree in place of the package on PyPI. The services are the local ones.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from markdown_it import MarkdownIt
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import Settings
from sentry_mcp.web import application

from sandbox import Sandbox
from tests.docs.pages import sections
from tests.mcp.support import Values, call, tools
from tests.support import wheel as wheels
from tests.support.web_server import serving
from tools import mcp_clients

pytestmark = pytest.mark.anyio

PACKAGE = "sentry-esc-sync[mcp]"
TOKEN = "mcp-0123456789abcdef"
DEFINITION = (
    "values:\n"
    "  SENTRY_API_TOKEN:\n    fn::secret: {token}\n"
    "  SENTRY_ORGANIZATION_SLUG: pay-ready\n"
    "  SENTRY_PROJECT_SLUG: pay-ready\n"
)


@dataclass(frozen=True)
class Entry:
    """A host's entry for a server: how to start it, or where it listens."""

    command: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def as_claude_code_reads(code: str) -> Entry:
    """Read `claude mcp add`: options, the name, and either the command after `--` or the address."""
    words = shlex.split(code.replace("\\\n", ""))
    end = words.index("--") if "--" in words else len(words)
    claude, mcp, add, *rest = words[:end]
    assert (claude, mcp, add) == ("claude", "mcp", "add")
    pairs: dict[str, list[str]] = {"--env": [], "--header": [], "--transport": []}
    plain = []
    given = iter(rest)
    for word in given:
        pairs[word].append(next(given)) if word in pairs else plain.append(word)
    env = dict(pair.split("=", 1) for pair in pairs["--env"])
    headers = dict(pair.split(": ", 1) for pair in pairs["--header"])
    name, url = [*plain, ""][:2]
    assert name == "sentry"
    assert pairs["--transport"] == (["http"] if url else [])
    return Entry(words[end + 1 :], env, url, headers)


def as_json(code: str, servers: str) -> Entry:
    document = json.loads(code)
    entry = document[servers]["sentry"]
    assert set(entry) <= {"type", "command", "args", "env", "url", "headers"}
    command = [entry["command"], *entry["args"]] if "command" in entry else []
    return Entry(command, entry.get("env", {}), entry.get("url", ""), entry.get("headers", {}))


def as_claude_desktop_reads(code: str) -> Entry:
    """Read `claude_desktop_config.json`, which has only servers that the host starts."""
    entry = as_json(code, "mcpServers")
    assert entry.command
    return entry


def as_cursor_reads(code: str) -> Entry:
    return as_json(code, "mcpServers")


def as_vs_code_reads(code: str) -> Entry:
    """Read `.vscode/mcp.json`. Fill in its inputs with the values of the page's other blocks."""
    document = json.loads(code)
    entry = document["servers"]["sentry"]
    assert entry["type"] == ("stdio" if "command" in entry else "http")
    typed = {"sentry-token": "sntryi_…", "pulumi-token": "pul-…", "mcp-token": "VALUE-OF-SENTRY_MCP_TOKEN"}
    for one in document["inputs"]:
        assert (one["type"], one["password"]) == ("promptString", True)
        code = code.replace(f"${{input:{one['id']}}}", typed[one["id"]])
    assert "${" not in code
    return as_json(code, "servers")


HOSTS = {
    "Claude Code": as_claude_code_reads,
    "Claude Desktop": as_claude_desktop_reads,
    "Cursor": as_cursor_reads,
    "VS Code": as_vs_code_reads,
}


def configurations() -> dict[tuple[str, str], Entry]:
    """Return the entries by heading and host. The sentence before a block names its hosts."""
    found: dict[tuple[str, str], Entry] = {}
    heading = said = ""
    inline = ""
    for token in MarkdownIt("commonmark").parse(sections("docs/mcp-server.md")["Start it"]):
        if token.type == "inline":
            inline = token.content
        elif token.type == "heading_close":
            heading = inline
        elif token.type == "paragraph_close":
            said = inline
        elif token.type == "fence":
            hosts = [host for host in HOSTS if re.search(rf"\b{host}\b", said)]
            found |= {(heading, host): HOSTS[host](token.content) for host in hosts}
            said = ""
    return found


CONFIGURATIONS = configurations()
PLAIN, WITH_ESC = "With three variables", "With Pulumi ESC"
DOCKER, OVER_HTTP = "With Docker", "Over HTTP, to the deployed server"
BRIDGED = (OVER_HTTP, "Claude Desktop")


def of(heading: str) -> pytest.MarkDecorator:
    hosts = [host for host in HOSTS if (heading, host) in CONFIGURATIONS and (heading, host) != BRIDGED]
    entries = [CONFIGURATIONS[heading, host] for host in hosts]
    return pytest.mark.parametrize("entry", entries, ids=hosts)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Desk:
    """The machine of a person whose host starts the server."""

    box: Sandbox
    wheel: Path
    home: Path
    folders: tuple[Path, ...] = ()

    def start(self, entry: Entry, values: Mapping[str, str]) -> AbstractAsyncContextManager[Client]:
        """Start a server as a host does, with the entry's command and the person's values for its variables.

        Args:
            entry: The host's entry.
            values: The values by variable. They must be exactly the variables of the entry.
        """
        assert set(entry.env) == set(values)
        command = [word.replace(PACKAGE, f"{self.wheel}[mcp]") for word in entry.command]
        assert command != entry.command
        path = os.pathsep.join(map(str, [Path(sys.executable).parent, *self.folders, "/usr/bin", "/bin"]))
        local = {"SENTRY_URL": self.box.sentry.url, "PULUMI_BACKEND_URL": self.box.esc.url}
        ours = {"PATH": path, "HOME": str(self.home), "UV_PYTHON": sys.executable, "UV_CACHE_DIR": _uv_cache()}
        environ = {**_settings_of_registries(), **ours, **local, **values}
        return Client(StdioServerParameters(command=command[0], args=command[1:], env=environ, cwd=self.home))


def _uv_cache() -> str:
    return os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")


def _settings_of_registries() -> dict[str, str]:
    """Return this machine's variables for package registries and proxies."""
    names = re.compile(r"(UV|PIP)_.*INDEX.*|(UV|PIP)_CONFIG_FILE|SSL_CERT_.*|.*_PROXY|.*_proxy")
    return {name: value for name, value in os.environ.items() if names.fullmatch(name)}


@pytest.fixture
def desk(box: Sandbox, wheel: Path, tmp_path: Path) -> Desk:
    return Desk(box, wheel, tmp_path)


def test_there_is_one_for_every_host_and_way() -> None:
    every = {(heading, host) for heading in (PLAIN, WITH_ESC, OVER_HTTP) for host in HOSTS}
    assert set(CONFIGURATIONS) == every | {(DOCKER, "Claude Desktop"), (DOCKER, "Cursor")}


@of(PLAIN)
async def test_three_plain_variables_are_enough(entry: Entry, desk: Desk) -> None:
    sentry = desk.box.sentry
    issue = sentry.add_issue()
    values = {
        "SENTRY_API_TOKEN": sentry.token,
        "SENTRY_ORGANIZATION_SLUG": sentry.organization,
        "SENTRY_PROJECT_SLUG": sentry.project,
    }
    async with desk.start(entry, values) as client:
        assert "search_issues" in await tools(client)
        assert (await call(client, "get_issue", issue_id=issue.short_id))["issue"]["id"] == str(issue.id)
    assert desk.box.esc.requests == []


@pytest.mark.pulumi
@of(WITH_ESC)
async def test_with_pulumi_esc(entry: Entry, desk: Desk, pulumi: Path) -> None:
    desk.box.esc.create("acme/default/production", DEFINITION.format(token=desk.box.sentry.token))
    desk = Desk(desk.box, desk.wheel, desk.home, (pulumi.parent,))
    async with desk.start(entry, {**entry.env, "PULUMI_ACCESS_TOKEN": desk.box.esc.token}) as client:
        assert (await call(client, "whoami"))["project"] == desk.box.sentry.project


@pytest.fixture
def deployed(box: Sandbox) -> Iterator[str]:
    """Run a server over HTTP. Yield its address."""
    sentry = box.sentry
    values = Values(
        SENTRY_API_TOKEN=sentry.token,
        SENTRY_ORGANIZATION_SLUG=sentry.organization,
        SENTRY_PROJECT_SLUG=sentry.project,
        SENTRY_MCP_TOKEN=TOKEN,
    )
    with serving(application(SentryServer(Settings(sentry_url=sentry.url, transport="http"), values))) as url:
        yield url


def _there(text: str, deployed: str) -> str:
    """Replace the page's address and token in a text with those of the server."""
    return text.replace("http://127.0.0.1:8000", deployed).replace("VALUE-OF-SENTRY_MCP_TOKEN", TOKEN)


@asynccontextmanager
async def connected(url: str, headers: dict[str, str]) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


@of(OVER_HTTP)
async def test_over_http_with_the_header(entry: Entry, deployed: str) -> None:
    headers = {name: _there(value, deployed) for name, value in entry.headers.items()}
    assert headers == {"Authorization": f"Bearer {TOKEN}"}
    async with connected(_there(entry.url, deployed), headers) as client:
        assert (await call(client, "whoami"))["project"] == "pay-ready"


async def test_claude_desktop_over_http_by_the_bridge(deployed: str, tmp_path: Path) -> None:
    entry = CONFIGURATIONS[BRIDGED]
    try:
        clients = mcp_clients.ensure()
    except mcp_clients.NoClientsError as error:
        pytest.skip(str(error))
    locked: dict[str, Any] = json.loads((mcp_clients.LISTS / "package.json").read_text(encoding="utf-8"))
    npx, yes, package, *arguments = entry.command
    assert (npx, yes, package) == ("npx", "-y", f"mcp-remote@{locked['dependencies']['mcp-remote']}")
    environ = {name: _there(value, deployed) for name, value in entry.env.items()}
    environ |= {"HOME": str(tmp_path), "PATH": os.defpath}
    command = [clients.file("mcp-remote/dist/proxy.js"), *(_there(word, deployed) for word in arguments)]
    async with Client(StdioServerParameters(command=clients.node, args=command, env=environ)) as client:
        assert (await call(client, "whoami"))["project"] == "pay-ready"
