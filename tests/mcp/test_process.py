"""The server as a process of its own: over stdio, with the real Pulumi CLI code, and how it starts and ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
import requests
from mcp import Client, StdioServerParameters
from sentry_mcp import esc
from sentry_mcp.offers import OFFERS

from sandbox import Sandbox
from sandbox.sentry import Issue, Sentry
from tests.mcp.support import INITIALIZE, call, call_every_tool, refused, tools
from tests.mcp.unanswered import ASKED, MISSING
from tests.support.remains import processes_with

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "mcp-servers" / "sentry" / "sentry_mcp_server.py"
ENVIRONMENT = "acme/default/production"


@pytest.fixture
def environ(sentry: Sentry, tmp_path: Path) -> dict[str, str]:
    """The environment variables of a machine without Pulumi. They hold all credentials."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "SENTRY_URL": sentry.url,
        "SENTRY_API_TOKEN": sentry.token,
        "SENTRY_ORGANIZATION_SLUG": sentry.organization,
        "SENTRY_PROJECT_SLUG": sentry.project,
    }


def parameters(environ: dict[str, str], *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[str(SCRIPT), *arguments], env=environ, cwd=ROOT)


@pytest.mark.anyio
async def test_over_stdio(environ: dict[str, str], issue: Issue) -> None:
    async with Client(parameters(environ)) as client:
        assert len(await tools(client)) == 18
        assert (await call(client, "get_issue", issue_id="PAY-READY-1"))["issue"]["id"] == str(issue.id)
        await call(client, "update_issue", issue_id="PAY-READY-1", status="resolved")
        assert issue.status == "resolved"
        assert (await refused(client, "get_issue", issue_id="..")).startswith("`issue_id` is neither an issue's number")


@pytest.mark.anyio
async def test_every_tool_over_stdio(environ: dict[str, str], sentry: Sentry, issue: Issue) -> None:
    sentry.add_release("shop")
    async with Client(parameters(environ)) as client:
        assert await call_every_tool(client) == set(OFFERS) - {"list_webhooks"}


@pytest.mark.anyio
async def test_over_stdio_read_only(environ: dict[str, str]) -> None:
    async with Client(parameters(environ, "--read-only")) as client:
        assert len(await tools(client)) == 14


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def of_esc(box: Sandbox, pulumi: Path, home: Path) -> dict[str, str]:
    """Return the environment variables of a machine with the Pulumi CLI and an access token."""
    return {
        "PATH": f"{pulumi.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "PULUMI_ACCESS_TOKEN": box.esc.token,
        "PULUMI_BACKEND_URL": box.esc.url,
        "PULUMI_ORG": "acme",
        "PULUMI_ENVIRONMENT": "production",
        "SENTRY_URL": box.sentry.url,
    }


@pytest.mark.anyio
@pytest.mark.pulumi
async def test_credentials_out_of_pulumi_esc_and_rotated_there(box: Sandbox, pulumi: Path, tmp_path: Path) -> None:
    definition = (
        "values:\n"
        "  SENTRY_API_TOKEN:\n    fn::secret: {token}\n"
        "  SENTRY_ORGANIZATION_SLUG: pay-ready\n"
        "  SENTRY_PROJECT_SLUG: pay-ready\n"
    )
    box.esc.create(ENVIRONMENT, definition.format(token=box.sentry.token))
    environ = of_esc(box, pulumi, tmp_path) | {"SENTRY_API_TOKEN": "sntrys_of_the_environment"}
    async with Client(parameters(environ)) as client:
        assert len(await tools(client)) == 18
        reads = len(_opened(box))
        await call(client, "get_project")
        assert (reads, len(_opened(box))) == (1, 1)
        del box.sentry.tokens[box.sentry.token]
        box.sentry.add_token("sntrys_rotated", ["project:read"])
        box.esc.save(ENVIRONMENT, definition.format(token="sntrys_rotated"))
        await call(client, "get_project")
        await call(client, "get_project")
        assert len(_opened(box)) == 2
        box.sentry.tokens.clear()
        assert "refuses the server's token (HTTP 401)" in await refused(client, "get_project")
        assert len(_opened(box)) == 3


@pytest.mark.anyio
@pytest.mark.pulumi
async def test_a_revision_of_the_environment_is_read(box: Sandbox, pulumi: Path, tmp_path: Path) -> None:
    box.esc.create(ENVIRONMENT, "values: {KEY: second}")
    box.esc.save(ENVIRONMENT, "values: {KEY: third}")
    opened = await esc.read(of_esc(box, pulumi, tmp_path) | {"PULUMI_ENVIRONMENT": "production@2"})
    assert opened["KEY"].text.get_secret_value() == "second"


def _opened(box: Sandbox) -> list[str]:
    """Return the requests that opened the environment."""
    lines = [f"{request.method} {request.path}" for request in box.esc.requests]
    return [line for line in lines if re.fullmatch(rf"POST /api/esc/environments/{ENVIRONMENT}/open", line)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_over_http_until_it_is_told_to_stop(number: signal.Signals, environ: dict[str, str], sentry: Sentry) -> None:
    command = [sys.executable, str(SCRIPT), "--transport", "http", "--port", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        try:
            lines = iter(process.stderr.readline, "")
            address = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            assert requests.get(f"{address}/readyz", timeout=60).status_code == 200
            process.send_signal(number)
            log = process.stderr.read()
        finally:
            process.kill()
        assert (process.wait(), process.stdout.read()) == (0, "")
    assert sentry.token not in log


@contextmanager
def reading_esc(
    box: Sandbox, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int, Callable[[], None]]]:
    """Start the server over HTTP and hold its read of Pulumi ESC. Yield it, its port, and what lets it go on."""
    asked, go_on = threading.Event(), threading.Event()
    box.esc.before(".*", asked.set)
    box.esc.before(".*", lambda: go_on.wait(60))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(SCRIPT), "--transport", "http", "--port", str(port)]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        try:
            assert asked.wait(60)
            yield process, port, go_on.set
        finally:
            go_on.set()
            process.kill()


@pytest.mark.pulumi
def test_clients_that_come_before_it_is_ready_wait_and_are_not_refused(
    box: Sandbox, pulumi: Path, tmp_path: Path
) -> None:
    with (
        reading_esc(box, of_esc(box, pulumi, tmp_path)) as (_, port, go_on),
        socket.create_connection(("127.0.0.1", port)) as early,
    ):
        early.sendall(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        go_on()
        assert early.recv(64).startswith(b"HTTP/1.1 200 ")


@pytest.mark.pulumi
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_it_is_ready_ends_it_and_leaves_nothing(
    number: signal.Signals, box: Sandbox, pulumi: Path, tmp_path: Path
) -> None:
    with reading_esc(box, of_esc(box, pulumi, tmp_path)) as (process, _, go_on):
        process.send_signal(number)
        go_on()
        assert process.wait(60) == 0
    for folder in (Path("/dev/shm"), Path(tempfile.gettempdir())):  # noqa: S108 - where the CLI's home is made
        for file in folder.glob("sentry-esc-sync-*/credentials.json"):
            with contextlib.suppress(OSError):  # another test's file may be gone meanwhile
                assert box.esc.token not in file.read_text(encoding="utf-8")


# What remains after a stop while Pulumi ESC doesn't answer.


class HangingPulumi:
    """A CLI that writes its access token into its home, as the real one does, and then waits for ever."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self._homes = folder / "homes"
        os.mkfifo(self._homes)
        script = self.folder / "pulumi"
        script.write_text(
            f'#!/bin/sh\necho "$PULUMI_ACCESS_TOKEN" > "$PULUMI_HOME/credentials.json"\n'
            f"echo \"$PULUMI_HOME\" > '{self._homes}'\nexec sleep 86400\n",
            encoding="utf-8",
        )
        script.chmod(0o755)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "PULUMI_ACCESS_TOKEN": "pul-0123456789abcdef",
            "PULUMI_ENVIRONMENT": ENVIRONMENT,
        }

    def home(self) -> Path:
        """Wait until the CLI runs, and return its home."""
        return Path(self._homes.read_text(encoding="utf-8").strip())

    def left(self, home: Path) -> list[Path]:
        """Return what remains of the CLI: its home and processes."""
        return [path for path in (home,) if path.exists()] + processes_with(str(self.folder))


@pytest.fixture
def hanging(tmp_path: Path) -> HangingPulumi:
    return HangingPulumi(tmp_path)


@contextmanager
def asked_over_stdio(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the server over stdio, and ask it for its tools."""
    messages = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, str(SCRIPT)], env=environ, stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
            process.stdin.flush()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_over_stdio_ends_it_and_leaves_nothing(
    number: signal.Signals, environ: dict[str, str], hanging: HangingPulumi
) -> None:
    with asked_over_stdio(environ | hanging.environ) as process:
        home = hanging.home()
        assert (home / "credentials.json").exists()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert hanging.left(home) == []


def test_the_end_of_standard_input_ends_it_and_leaves_nothing(environ: dict[str, str], hanging: HangingPulumi) -> None:
    with asked_over_stdio(environ | hanging.environ) as process:
        home = hanging.home()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
        assert hanging.left(home) == []


@pytest.mark.anyio
async def test_a_client_that_goes_during_a_read_leaves_nothing(environ: dict[str, str], hanging: HangingPulumi) -> None:
    async with Client(parameters(environ | hanging.environ)) as client, anyio.create_task_group() as group:
        group.start_soon(client.list_tools)
        home = await anyio.to_thread.run_sync(hanging.home)
        group.cancel_scope.cancel()
    assert hanging.left(home) == []


@contextmanager
def without_credentials(environ: dict[str, str], missing: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the server over HTTP with credentials that don't arrive. Yield it and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    search = {"PYTHONPATH": f"{ROOT}:{SCRIPT.parent}", MISSING: missing}
    command = [sys.executable, "-m", "tests.mcp.unanswered", "--transport", "http", "--port", str(port)]
    with subprocess.Popen(command, env=environ | search, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, port
        finally:
            process.kill()


def logged(process: subprocess.Popen[str], text: str) -> bool:
    """Wait for a text in the log. Return whether it came before the log ended."""
    assert process.stderr is not None
    return any(text in line for line in iter(process.stderr.readline, ""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_at_the_start_waits_for_no_credentials(number: signal.Signals, environ: dict[str, str]) -> None:
    with without_credentials(environ) as (process, _):
        assert logged(process, ASKED)
        process.send_signal(number)
        assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_a_request_waits_for_no_credentials(number: signal.Signals, environ: dict[str, str]) -> None:
    with without_credentials(environ, missing="SENTRY_MCP_TOKEN") as (process, port):
        assert logged(process, "serves http://")
        with socket.create_connection(("127.0.0.1", port)) as asking:
            asking.sendall(f"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert logged(process, ASKED)
            process.send_signal(number)
            assert process.wait(60) == 0
