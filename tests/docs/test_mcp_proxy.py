"""The Caddyfile in docs/mcp-server.md, run by the real Caddy, with a certificate of Caddy's own authority."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from sentry_mcp.server import SentryServer
from sentry_mcp.settings import from_command_line
from sentry_mcp.web import application

from sandbox.sentry import Sentry
from tests.docs.pages import code_in, sections
from tests.mcp.support import INITIALIZE, Values, call
from tests.support.docker_registry import free_port
from tests.support.web_server import serving

pytestmark = pytest.mark.anyio

SECTION = sections("docs/mcp-server.md")["Over HTTP"]
[CADDYFILE] = code_in(SECTION)
NAME = CADDYFILE.split()[0]
JSON = {"Accept": "application/json, text/event-stream"}
TOKEN = "mcp-0123456789abcdef"
SECRET = "client-secret-0123456789"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Proxy:
    """Caddy in front of the server. Requests by IP address need `extensions` to name the site in TLS."""

    url: str
    authority: Path

    @property
    def extensions(self) -> dict[str, str]:
        return {"sni_hostname": NAME}

    def headers(self, token: str = TOKEN) -> dict[str, str]:
        return {"Host": NAME, "Authorization": f"Bearer {token}"}

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    executable = shutil.which("caddy")
    if executable is None:
        pytest.skip("there is no caddy")
    option = re.search(rf"`(--allowed-hosts {re.escape(NAME)})`", SECTION)
    assert option is not None
    with Sentry() as sentry:
        settings = from_command_line(["--transport", "http", "--sentry-url", sentry.url, *option[1].split()])
        values = Values(
            SENTRY_API_TOKEN=sentry.token,
            SENTRY_ORGANIZATION_SLUG=sentry.organization,
            SENTRY_PROJECT_SLUG=sentry.project,
            SENTRY_MCP_TOKEN=TOKEN,
            SENTRY_CLIENT_SECRET=SECRET,
        )
        with serving(application(SentryServer(settings, values))) as url:
            yield from caddy(executable, url.removeprefix("http://"), tmp_path)


def caddy(executable: str, server: str, home: Path) -> Iterator[Proxy]:
    """Run the page's Caddyfile on free ports, with a certificate of Caddy's own authority."""
    port = free_port()
    options = f"admin off\n local_certs\n skip_install_trust\n http_port {free_port()}\n https_port {port}"
    assert "127.0.0.1:8000" in CADDYFILE
    file = home / "Caddyfile"
    file.write_text(f"{{\n {options}\n}}\n{CADDYFILE.replace('127.0.0.1:8000', server)}", encoding="utf-8")
    environ = {"HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home), "PATH": os.defpath}
    command = [executable, "run", "--config", str(file), "--adapter", "caddyfile"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            log = []
            for line in process.stderr:
                log.append(line)
                if "certificate obtained successfully" in line:
                    break
            else:
                raise AssertionError("".join(log))
            proxy = Proxy(f"https://127.0.0.1:{port}", home / "caddy" / "pki" / "authorities" / "local" / "root.crt")
            # Caddy starts to present the certificate a moment after it has logged this.
            with httpx2.Client(transport=httpx2.HTTPTransport(verify=proxy.trust, retries=8)) as http:
                http.get(f"{proxy.url}/healthz", headers=proxy.headers(), extensions=proxy.extensions)
            yield proxy
        finally:
            process.terminate()


async def test_a_client_calls_tools_through_it(proxy: Proxy) -> None:
    async def lead(request: httpx2.Request) -> None:
        request.extensions |= proxy.extensions

    hooks = {"request": [lead]}
    async with (
        httpx2.AsyncClient(headers=proxy.headers(), verify=proxy.trust, event_hooks=hooks, timeout=60) as http,
        Client(streamable_http_client(f"{proxy.url}/mcp", http_client=http)) as client,
    ):
        assert (await call(client, "whoami"))["project"] == "pay-ready"


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_no_slash_and_no_method_leads_elsewhere(path: str, proxy: Proxy) -> None:
    with httpx2.Client(base_url=proxy.url, verify=proxy.trust, headers=proxy.headers() | JSON) as http:
        made = http.post(path, json=INITIALIZE, extensions=proxy.extensions)
        assert (made.status_code, made.json()["result"]["serverInfo"]["name"]) == (200, "sentry")
        stream = http.get(path, extensions=proxy.extensions)
        assert (stream.status_code, stream.headers["Allow"]) == (405, "POST")


def test_a_wrong_token_is_refused_behind_it_too(proxy: Proxy) -> None:
    with httpx2.Client(base_url=proxy.url, verify=proxy.trust, headers=proxy.headers("wrong") | JSON) as http:
        assert http.post("/mcp", json=INITIALIZE, extensions=proxy.extensions).status_code == 403
        well_known = http.get("/.well-known/oauth-protected-resource", extensions=proxy.extensions)
        assert well_known.status_code == 404


def test_sentrys_webhooks_come_through_byte_by_byte(proxy: Proxy) -> None:
    body = json.dumps({"action": "created", "data": {"issue": {"id": "7", "project": {"id": "42"}}}}, indent=3).encode()
    signed = {
        "Sentry-Hook-Resource": "issue",
        "Sentry-Hook-Timestamp": str(int(time.time())),
        "Sentry-Hook-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }
    with httpx2.Client(base_url=proxy.url, verify=proxy.trust, headers={"Host": NAME}) as http:
        taken = http.post("/webhooks/sentry", content=body, headers=signed, extensions=proxy.extensions)
    assert (taken.status_code, taken.json()) == (200, {"status": "of another project"})
