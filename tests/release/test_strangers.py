"""An image as a stranger gets it: pulled by its digest without credentials, and started."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

from release import strangers
from release.errors import ImageError, OutsideError
from tests.support import docker_engine, docker_registry, docker_sizes
from tests.support.docker_engine import RUNNER_IMAGE, docker

pytestmark = pytest.mark.docker

NAME = "ai-cherry/sentry-esc-sync"


@dataclass
class Front:
    """A server in front of a real registry. Like GitHub's, it asks for credentials, redirects and limits requests.

    Source: distribution.github.io/distribution/spec, "Pulling an image" and "Determine support"; RFC 6585 for 429.
    """

    behind: str
    """The address of the registry."""
    private: bool = False
    limited: int = 0
    """How many more requests for a manifest to answer with 429."""
    redirected: list[str] = field(default_factory=list)
    """The paths of the blob requests that were redirected to the registry."""
    authorizations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            default_request_version = "HTTP/1.1"  # a client that begins with TLS learns that this is HTTP

            def do_GET(self) -> None:
                front.authorizations += filter(None, [self.headers.get("Authorization")])
                if front.private:
                    realm = f'Bearer realm="http://{front.address}/token",service="front"'
                    refused = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
                    self.answer(401, refused, {"WWW-Authenticate": realm, "Content-Type": "application/json"})
                elif "/manifests/" in self.path and front.limited > 0:
                    front.limited -= 1
                    limited = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
                    self.answer(429, limited, {"Content-Type": "application/json"})
                elif "/blobs/" in self.path:
                    front.redirected.append(self.path)
                    self.answer(307, b"", {"Location": f"http://{front.behind}{self.path}"})
                else:
                    self.pass_on()

            do_HEAD = do_GET  # noqa: N815 - the name is http.server's

            def pass_on(self) -> None:
                connection = http.client.HTTPConnection(front.behind)
                accept = {"Accept": ", ".join(self.headers.get_all("Accept") or [])}
                connection.request(self.command, self.path, headers=accept)
                got = connection.getresponse()
                kept = {name: value for name, value in got.getheaders() if name.lower() in _KEPT}
                self.answer(got.status, got.read(), kept)
                connection.close()

            def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_KEPT = {"content-type", "docker-content-digest", "docker-distribution-api-version"}


@pytest.fixture(scope="module")
def platform() -> str:
    return docker("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}").stdout.strip()


def push(registry: str, code: str, base: str = docker_sizes.BASE) -> str:
    """Push a small image that runs Python code. Return its digest."""
    docker_engine.provide_base_images()
    name = "sentry-esc-sync:stranger"
    text = f"FROM {base}\nENTRYPOINT {json.dumps(['python3', '-c', code])}\n"
    command = ["docker", "build", "--quiet", "--tag", name, "-"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=120)
    digest = docker_registry.push(name, f"{registry}/{NAME}:1").partition("@")[2]
    docker_registry.drop_images(registry)
    docker("image", "rm", name)  # Docker doesn't pull what it has
    return digest


@pytest.fixture(scope="module")
def digest(registry: str) -> str:
    return push(registry, "")


@pytest.fixture
def front(registry: str) -> Iterator[Front]:
    with Front(registry) as made:
        yield made
        docker_registry.drop_images(made.address)


def test_a_public_image_is_pulled_from_where_the_registry_sends_to(front: Front, digest: str, platform: str) -> None:
    strangers.use(f"{front.address}/{NAME}@{digest}", platform)
    assert front.redirected
    assert front.authorizations == []


def test_a_private_image_stops_the_release_and_tells_the_setting(front: Front, digest: str, platform: str) -> None:
    front.private = True
    with pytest.raises(ImageError) as told:
        strangers.use(f"{front.address}/{NAME}@{digest}", platform)
    assert "can't be pulled without credentials" in told.value.what
    assert "https://github.com/orgs/ai-cherry/packages/container/sentry-esc-sync/settings" in told.value.todo


def test_the_runners_own_credentials_are_not_shown(
    front: Front, digest: str, platform: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f'{{"auths": {{"{front.address}": {{"auth": "b3duZXI6c2VjcmV0"}}}}}}'
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    front.private = True
    with pytest.raises(ImageError):
        strangers.use(f"{front.address}/{NAME}@{digest}", platform)
    assert not [shown for shown in front.authorizations if shown.startswith("Basic")]


def test_a_registry_that_limits_requests_is_asked_again(front: Front, digest: str, platform: str) -> None:
    front.limited = 2
    strangers.use(f"{front.address}/{NAME}@{digest}", platform, pauses=(0.0,) * 8)
    assert front.limited == 0


def test_one_that_goes_on_limiting_them_is_told(front: Front, digest: str, platform: str) -> None:
    front.limited = 1000
    with pytest.raises(OutsideError, match="can't be pulled"):
        strangers.use(f"{front.address}/{NAME}@{digest}", platform, pauses=(0.0,))


@pytest.mark.parametrize(
    ("code", "base", "limit", "what"),
    [
        ("raise SystemExit('no such luck')", docker_sizes.BASE, strangers.SIZE_LIMIT, "doesn't start.*no such luck"),
        ("", RUNNER_IMAGE, strangers.SIZE_LIMIT, "has /bin/sh"),
        ("", docker_sizes.BASE, 1_000_000, "The limit is 1,000,000"),
    ],
)
def test_an_image_that_is_not_fit_for_users_stops_the_release(
    registry: str, front: Front, platform: str, code: str, base: str, limit: int, what: str
) -> None:
    image = f"{front.address}/{NAME}@{push(registry, code, base)}"
    with pytest.raises(ImageError) as told:
        strangers.use(image, platform, pauses=(), limit=limit)
    assert re.search(what, told.value.what, re.DOTALL)
    assert told.value.changed == "No tag was changed."


def test_the_layers_of_the_platforms_own_image_are_counted(
    registry: str, front: Front, digest: str, platform: str
) -> None:
    alone = strangers.use(f"{front.address}/{NAME}@{digest}", platform, pauses=())
    _, index = docker_registry.push_as(f"{registry}/{NAME}@{digest}", platform)
    assert strangers.use(index.replace(registry, front.address), platform, pauses=()) == alone
