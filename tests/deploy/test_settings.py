"""The deploy program's settings: what is refused before anything is contacted, and what reaches Docker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy import sentry_mcp, ssh
from deploy.program import InputError
from sophia_sync import deploy

DIGEST = f"registry.example:5000/ai-cherry/sentry-mcp@sha256:{'0' * 64}"
ENVIRON = {"SENTRY_MCP_TOKEN": "a-token-of-the-server", "PATH": "/bin"}


def problems(*arguments: str, environ: Mapping[str, str] = ENVIRON) -> str:
    with pytest.raises(InputError) as caught:
        sentry_mcp.load(arguments, environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "image",
    ["sentry-mcp", "sentry-mcp:latest", DIGEST[:-1], DIGEST.replace("sha256", "md5"), f"-v{DIGEST}", f"x {DIGEST}"],
)
def test_deploys_by_digest_only(image: str) -> None:
    assert "NAME@sha256:…" in problems("deploy", f"--image={image}")
    assert "NAME@sha256:…" in problems("deploy", environ={**ENVIRON, "SENTRY_MCP_IMAGE": image})


def test_the_variable_pins_the_image() -> None:
    assert sentry_mcp.load(["deploy"], {**ENVIRON, "SENTRY_MCP_IMAGE": DIGEST}).image == DIGEST
    assert sentry_mcp.load(["deploy"], ENVIRON).image == "", "the Compose file's"


def test_the_inputs_of_the_dispatch_are_read_from_the_event(tmp_path: Path) -> None:
    inputs = deploy.fill({"environment": "{environment}", "revision": "7"}, 7, "acme/default/a,acme/default/b", None)
    (tmp_path / "event").write_text(json.dumps({"inputs": {**inputs, "image": "theirs"}}), encoding="utf-8")
    environ = {**ENVIRON, "PULUMI_ORG": "acme", "SENTRY_DSN": "", "GITHUB_EVENT_PATH": str(tmp_path / "event")}
    loaded = sentry_mcp.load(["deploy"], environ)
    assert loaded.server == {
        "PULUMI_ENVIRONMENT": "acme/default/a",
        "PULUMI_ORG": "acme",
        "SENTRY_MCP_ESC_REVISION": "7",
        "SENTRY_MCP_TOKEN": "a-token-of-the-server",
    }
    assert loaded.image == "", "who may dispatch doesn't choose the image"


@pytest.mark.parametrize(
    "event", ["", "{}", "[]", '{"inputs": null}', '{"inputs": {"environment": "", "revision": ""}}']
)
def test_without_inputs_nothing_is_chosen(tmp_path: Path, event: str) -> None:
    (tmp_path / "event").write_text(event, encoding="utf-8")
    loaded = sentry_mcp.load(["deploy"], {**ENVIRON, "GITHUB_EVENT_PATH": str(tmp_path / "event")})
    assert "PULUMI_ENVIRONMENT" not in loaded.server
    assert loaded.server["SENTRY_MCP_ESC_REVISION"] == ""


def test_tells_all_problems_at_once() -> None:
    said = problems("deploy", "--image=x", "--environment=nowhere", "--revision=two", "--timeout=0", environ={})
    assert all(name in said for name in ("image", "environment", "revision", "--timeout", "SENTRY_MCP_TOKEN"))


@pytest.mark.parametrize(
    "environment", ["acme/default", "-x/default/production", "acme/default/prod uction", "a/b/c/d"]
)
def test_refuses_what_is_no_environment(environment: str) -> None:
    assert "organization/project/environment" in problems("deploy", f"--environment={environment}")


class TestTheEngine:
    @pytest.mark.parametrize(
        "address",
        [
            "unix:///run/user/1000/docker.sock",
            "ssh://production",
            "ssh://deploy@[2001:db8::5]:2222",
            "tcp://[::1]:2376",
            "npipe:////./pipe/docker_engine",
        ],
    )
    def test_whatever_dockers_command_line_takes_is_passed_on(self, address: str) -> None:
        environ = {**ENVIRON, "DOCKER_HOST": address, "DOCKER_CERT_PATH": "/certs", "SSH_AUTH_SOCK": "/agent"}
        loaded = sentry_mcp.load(["deploy"], environ).environ
        assert (loaded["DOCKER_HOST"], loaded["DOCKER_CERT_PATH"]) == (address, "/certs")
        assert loaded["SSH_AUTH_SOCK"] == "/agent"

    def test_one_of_the_jobs_own_comes_first_and_an_empty_one_changes_nothing(self) -> None:
        machine = {**ENVIRON, "DOCKER_HOST": "unix:///own.sock"}
        job = sentry_mcp.load(["deploy"], {**machine, "DEPLOY_DOCKER_HOST": "ssh://production"})
        assert job.environ["DOCKER_HOST"] == "ssh://production"
        assert sentry_mcp.load(["deploy"], {**machine, "DEPLOY_DOCKER_HOST": ""}).environ["DOCKER_HOST"] == (
            "unix:///own.sock"
        )
        assert "DOCKER_HOST" not in sentry_mcp.load(["deploy"], {**ENVIRON, "DOCKER_HOST": ""}).environ

    def test_what_is_the_servers_reaches_it_by_the_compose_file_alone(self) -> None:
        loaded = sentry_mcp.load(["deploy"], {**ENVIRON, "SENTRY_API_TOKEN": "x", "SENTRY_MCP_IMAGE": DIGEST})
        assert set(loaded.environ) == {"PATH"}

    def test_githubs_own_runner_is_no_server(self) -> None:
        hosted = {**ENVIRON, "RUNNER_ENVIRONMENT": "github-hosted"}
        for command in ("deploy", "recover"):
            assert "GitHub's own runner is deleted" in problems(command, environ=hosted)
            for elsewhere in ({"DEPLOY_DOCKER_HOST": "ssh://production"}, {"DOCKER_CONTEXT": "production"}):
                assert sentry_mcp.load([command], {**hosted, **elsewhere})

    @pytest.mark.parametrize(
        ("address", "host"),
        [
            ("ssh://deploy@production:22", "production"),
            ("unix:///x.sock", ""),
            ("tcp://127.0.0.1:1", ""),
            ("ssh://[", "ssh://["),
        ],
    )
    def test_its_host_is_not_shown(self, address: str, host: str) -> None:
        assert (sentry_mcp.load(["deploy"], {**ENVIRON, "DOCKER_HOST": address}).secrets[-1]) == host


class TestSsh:
    def test_without_credentials_the_machines_own_is_left_alone(self) -> None:
        with ssh.client({"PATH": "/bin", "DEPLOY_SSH_CONFIG": ""}) as environ:
            assert environ == {"PATH": "/bin"}

    def test_credentials_are_added_and_gone_afterwards(self) -> None:
        given = {
            "PATH": "/bin",
            "DEPLOY_SSH_PRIVATE_KEY": "-----BEGIN\r\nkey\r\n-----END",
            "DEPLOY_SSH_CONFIG": "Host x",
        }
        with ssh.client(given) as environ:
            folder = Path(environ["PATH"].partition(":")[0])
            assert set(environ) == {"PATH"}
            assert (folder / "key").read_text(encoding="utf-8") == "-----BEGIN\nkey\n-----END\n"
            assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
            config = (folder / "config").read_text(encoding="utf-8")
            assert config.index("IdentityFile") < config.index("Host x") < config.index("Include ~/.ssh/config")
        assert not folder.exists()


class TestAPublicRepository:
    def warned(self, tmp_path: Path, *, private: object, runner: str) -> bool:
        (tmp_path / "event").write_text(json.dumps({"repository": {"private": private}}), encoding="utf-8")
        environ = {"RUNNER_ENVIRONMENT": runner, "GITHUB_EVENT_PATH": str(tmp_path / "event")}

        class Told:
            said = False

            def warning(self, *_: str) -> None:
                self.said = True

        told = Told()
        sentry_mcp.warn_of_public_runner(told, environ)  # type: ignore[arg-type]
        return told.said

    @pytest.mark.parametrize(
        ("private", "runner", "warned"),
        [
            (False, "self-hosted", True),
            (True, "self-hosted", False),
            (False, "github-hosted", False),
            (None, "self-hosted", False),
        ],
    )
    def test_with_a_self_hosted_runner_gets_githubs_warning(
        self, tmp_path: Path, private: object, runner: str, warned: bool
    ) -> None:
        assert self.warned(tmp_path, private=private, runner=runner) is warned
