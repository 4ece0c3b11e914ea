"""The server in its own image, as it should be run: read-only, without capabilities, unprivileged."""

from __future__ import annotations

import json
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import requests
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from sentry_mcp.offers import OFFERS

from release import strangers
from sandbox import Sandbox
from tests.mcp.support import call, call_every_tool, refused, tools
from tests.support import docker_sizes as sizes
from tests.support.docker_engine import ROOT, docker, provide_base_images
from tests.support.docker_imports import files, from_source, never_imported
from tests.support.docker_sizes import BASE
from tests.support.readiness import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.anyio]

ENVIRONMENT = "acme/default/production"
TOKEN = "mcp-0123456789abcdef"
DEFINITION = (
    "values:\n"
    "  SENTRY_API_TOKEN:\n    fn::secret: {token}\n"
    "  SENTRY_MCP_TOKEN:\n    fn::secret: " + TOKEN + "\n"
    "  SENTRY_ORGANIZATION_SLUG: pay-ready\n"
    "  SENTRY_PROJECT_SLUG: pay-ready\n"
)
OVER_HTTP = ("--transport", "http")
LOCKED_DOWN = (
    "--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=256",
)  # fmt: skip


@pytest.fixture(scope="module")
def image() -> str:
    """The image's id, built from this tree."""
    provide_base_images()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "id")
        dockerfile = str(ROOT / "mcp-servers" / "sentry" / "Dockerfile")
        built = docker("build", "--file", dockerfile, "--iidfile", str(written), str(ROOT), check=False)
        assert built.returncode == 0, f"docker build failed:\n{(built.stdout + built.stderr)[-4000:]}"
        return written.read_text()


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        box.esc.create(ENVIRONMENT, DEFINITION.format(token=box.sentry.token))
        yield box


def options(variables: dict[str, str]) -> list[str]:
    return [*LOCKED_DOWN, *(option for name, value in variables.items() for option in ("--env", f"{name}={value}"))]


def of_esc(box: Sandbox) -> dict[str, str]:
    return {
        "PULUMI_ACCESS_TOKEN": box.esc.token,
        "PULUMI_BACKEND_URL": box.esc.url,
        "PULUMI_ORG": "acme",
        "PULUMI_ENVIRONMENT": "production",
        "SENTRY_URL": box.sentry.url,
    }


def ended(name: str) -> str | None:
    """Return the log of a container if it has ended; otherwise None."""
    state = docker("inspect", "--format", "{{.State.Running}}", name).stdout.strip()
    return None if state == "true" else docker("logs", name).stderr


@contextmanager
def running(image: str, variables: dict[str, str], *command: str) -> Iterator[tuple[str, str]]:
    """Run a container. Yield its name and address when it listens.

    Args:
        image: Its image.
        variables: Its environment variables.
        command: A program and its arguments, which replace the image's own.
    """
    name = f"sentry-mcp-test-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    entrypoint = [f"--entrypoint={command[0]}"] if command else []
    of_all = [*options({"SENTRY_MCP_TRANSPORT": "http"} | variables | {"SENTRY_MCP_PORT": port}), *entrypoint]
    docker("run", "--detach", "--name", name, *of_all, image, *command[1:])
    try:
        wait_for(url, "/healthz", lambda: ended(name))
        yield name, url
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


async def test_over_http_with_credentials_out_of_pulumi_esc(image: str, box: Sandbox) -> None:
    issue = box.sentry.add_issue()
    box.sentry.add_event(issue, tags={"environment": "staging"})
    box.sentry.add_release("shop")
    with running(image, of_esc(box)) as (name, url):
        assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
        assert requests.get(f"{url}/readyz", timeout=30).json() == {"status": "ready", "reason": "ready"}
        assert requests.post(f"{url}/mcp", json={}, timeout=30).status_code == 401
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            assert await call_every_tool(client) == set(OFFERS)
            assert (await call(client, "get_event", issue_id=issue.short_id))["event"]["id"] == issue.events[0].id
            del box.sentry.tokens[box.sentry.token]
            box.sentry.add_token("sntrys_rotated", ["project:read", "event:read"])
            box.esc.save(ENVIRONMENT, DEFINITION.format(token="sntrys_rotated"))
            assert (await call(client, "get_issue", issue_id=issue.short_id))["issue"]["id"] == str(issue.id)
        assert docker("top", name, "-o", "pid,uid").stdout.split()[-1] == "10001"
        assert docker("diff", name).stdout.strip() in ("", "C /tmp")
        stopped = time.monotonic()
        docker("stop", "--time", "60", name)
        assert time.monotonic() - stopped < 60
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "0"
        kept = docker("logs", name)
        for secret in (box.sentry.token, "sntrys_rotated", TOKEN, box.esc.token):
            assert secret not in kept.stdout + kept.stderr


async def test_over_stdio_without_pulumi(image: str, box: Sandbox) -> None:
    variables = {
        "SENTRY_URL": box.sentry.url,
        "SENTRY_API_TOKEN": box.sentry.token,
        "SENTRY_ORGANIZATION_SLUG": "pay-ready",
        "SENTRY_PROJECT_SLUG": "pay-ready",
    }
    arguments = ["run", "--interactive", "--rm", *options(variables), image, "--read-only"]
    async with Client(StdioServerParameters(command="docker", args=arguments)) as client:
        assert len(await tools(client)) == 14
        assert (await call(client, "whoami"))["project"] == "pay-ready"
        assert (await refused(client, "get_issue", issue_id="X-1")).startswith("There is no issue X-1")


async def test_a_signal_ends_it_over_stdio_too(image: str, box: Sandbox) -> None:
    """A container's first process ends only at signals that it handles."""
    name = f"sentry-mcp-test-{secrets.token_hex(4)}"
    variables = {"SENTRY_URL": box.sentry.url, "SENTRY_API_TOKEN": box.sentry.token}
    arguments = ["run", "--interactive", "--name", name, *options(variables), image]
    try:
        async with Client(StdioServerParameters(command="docker", args=arguments)):
            docker("stop", "--time", "60", name)
            assert docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "143"
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def test_it_doesnt_start_where_anybody_could_come_in(image: str) -> None:
    variables = {"SENTRY_API_TOKEN": "sntrys_x", "SENTRY_MCP_PORT": "0"}
    done = docker("run", "--rm", *options(variables), image, *OVER_HTTP, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no SENTRY_MCP_TOKEN that its clients must show" in done.stderr
    assert "sntrys_x" not in done.stderr


def test_it_is_at_most_71_mb_on_the_wire_and_no_part_grows_unseen(image: str) -> None:
    """The base has 22.7 MB, the CLI 36.1 MB. The packages, our code and all bytecode have 11.4 MB."""
    size = sizes.compressed(image, BASE)
    assert size.total <= strangers.SERVER_SIZE_LIMIT, size
    assert size.ours <= 11_700_000, size


# Files that only other runs import. Packages load them by name, so a build can't tell that they are needed.
OTHER_RUNS = {
    "anyio/*": "anyio loads a part of itself at the first use",
    "click/*": "for a terminal; uvicorn imports click",
    "cryptography/*": "its compiled module loads the Python part of an algorithm at the first use",
    "httpx2/websockets/*": "httpx2 loads them at the first use",
    "idna/*": "for a host name that isn't ASCII",
    "mcp/*": "the SDK's client, parts of which its server imports",
    "opentelemetry*": "its parts look each other up by entry points",
    "pydantic/*": "pydantic loads a part of itself at the first use, and has its old names in modules of their own",
    "starlette/*": "one module for each kind of response and middleware",
    "uvicorn/*": "one module for each event loop and protocol, loaded by name",
    "yaml/*": "for a value that has to be hidden as YAML writes it",
}


async def test_a_full_run_loads_bytecode_imports_all_that_is_there_and_asks_for_no_more(
    image: str, box: Sandbox
) -> None:
    issue = box.sentry.add_issue()
    box.sentry.add_event(issue, tags={"environment": "staging"})
    box.sentry.add_release("shop")
    [details] = json.loads(docker("image", "inspect", image).stdout)
    python, *arguments = details["Config"]["Entrypoint"]
    with running(image, of_esc(box), python, "-v", *arguments) as (name, url):
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            await call_every_tool(client)
        log = docker("logs", name).stderr
    requests_to = {"Pulumi ESC": len(box.esc.requests), "Sentry": len(box.sentry.requests)}
    assert requests_to == {"Pulumi ESC": 4, "Sentry": 33}
    assert "# code object from '/opt/sentry-mcp/sentry_mcp/__pycache__/main.cpython-313.pyc'" in log
    assert from_source(log) == []
    assert never_imported(files(image), log, OTHER_RUNS) == set()


def test_what_is_in_the_image(image: str) -> None:
    (config,) = json.loads(docker("image", "inspect", image).stdout)
    assert config["Config"]["User"] == "10001:10001"
    pinned = re.search(r"^FROM pulumi/pulumi-base:(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    version = docker("run", "--rm", "--entrypoint", "pulumi", *LOCKED_DOWN, image, "version").stdout
    assert version.startswith(f"v{pinned[1]}")
    look = (
        "import importlib.util, json, os\n"
        "found = [os.path.join(folder, name) for folder, folders, files in os.walk('/') for name in folders + files\n"
        "         if not folder.startswith(('/proc', '/dev', '/sys'))]\n"
        "there = [path for path in found if not os.path.islink(path) and path not in ('/proc', '/dev', '/sys')]\n"
        "print(json.dumps({'pip': importlib.util.find_spec('pip') is not None, 'files': len(there),\n"
        "                  'writable': [path for path in there if os.access(path, os.W_OK, follow_symlinks=False)],\n"
        "                  'setuid': [path for path in there if os.stat(path).st_mode & 0o4000]}))"
    )
    shown = docker("run", "--rm", "--entrypoint", "python", image, "-B", "-c", look).stdout
    found = json.loads(shown)
    assert found.pop("files") > 3000
    assert found == {"pip": False, "writable": ["/tmp", "/var/lock", "/var/tmp"], "setuid": []}  # noqa: S108 - not used
