"""The deploy program's inputs: what is refused before anything is contacted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from deploy import settings
from deploy.attestation import Origin
from sophia_sync import deploy
from sophia_sync.errors import InputError

DIGEST = f"registry.example:5000/ai-cherry/sentry-mcp@sha256:{'0' * 64}"
NAME = DIGEST.partition("@")[0]
HOST_KEY = "host.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPXDtLSg1ubtJ0hC2QcZ1gJt0b2O0bYwUQm2yM0D0w3C"
ENVIRON = {"SENTRY_MCP_TOKEN": "a-token-of-the-server", "PATH": "/bin"}


def problems(*arguments: str, environ: Mapping[str, str] = ENVIRON) -> str:
    with pytest.raises(InputError) as caught:
        settings.load(arguments, environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "image",
    ["sentry-mcp", "sentry-mcp:latest", DIGEST[:-1], DIGEST.replace("sha256", "md5"), DIGEST.upper(), f"-v{DIGEST} x"],
)
def test_deploys_by_digest_only(image: str) -> None:
    assert "`--image` isn't of the form REGISTRY/NAME@sha256:…" in problems("deploy", f"--image={image}")


def test_deploys_what_is_of_the_wanted_name() -> None:
    assert settings.load(("deploy", "--image", DIGEST, "--from", NAME), ENVIRON).image == DIGEST


@pytest.mark.parametrize("wanted", ["", f"{NAME}-2", NAME.rpartition("/")[0], NAME.partition("/")[2], DIGEST])
def test_deploys_no_image_of_another_name(wanted: str) -> None:
    assert "`--image` isn't one of `--from`" in problems("deploy", "--image", DIGEST, f"--from={wanted}")


def test_reads_what_a_deploy_needs() -> None:
    arguments = ("deploy", "--image", DIGEST, "--environment", "acme/default/production", "--revision", "7")
    loaded = settings.load(arguments, {**ENVIRON, "PULUMI_ORG": "acme", "SENTRY_DSN": "", "OTHER": "x"})
    assert loaded.variables(DIGEST) == {
        "PULUMI_ENVIRONMENT": "acme/default/production",
        "PULUMI_ORG": "acme",
        "SENTRY_MCP_ESC_REVISION": "7",
        "SENTRY_MCP_IMAGE": DIGEST,
        "SENTRY_MCP_TOKEN": "a-token-of-the-server",
    }


def test_of_the_environments_of_a_sync_the_server_reads_the_first() -> None:
    inputs = deploy.fill({"environment": "{environment}"}, 1, "acme/default/a,acme/default/b", None)
    loaded = settings.load(("deploy", "--image", DIGEST, "--environment", inputs["environment"]), ENVIRON)
    assert loaded.server["PULUMI_ENVIRONMENT"] == "acme/default/a"


def test_what_a_dispatch_leaves_empty_counts_as_unset() -> None:
    loaded = settings.load(("deploy", "--image", DIGEST, "--environment", "", "--revision", ""), ENVIRON)
    assert "PULUMI_ENVIRONMENT" not in loaded.server
    assert loaded.revision == ""


def test_tells_all_problems_at_once() -> None:
    said = problems("deploy", "--image=x", "--environment=nowhere", "--revision=two", "--timeout=0", environ={})
    assert all(name in said for name in ("--image", "--environment", "--revision", "--timeout", "SENTRY_MCP_TOKEN"))


@pytest.mark.parametrize("image", ["Upper:case", "-v", "a b", "name:tag:tag", "x@sha256:0"])
def test_refuses_names_that_are_no_images(image: str) -> None:
    assert "`--image`" in problems("build", f"--image={image}")


class TestFinding:
    arguments = ("find", "--to", "ghcr.io/acme/sentry-mcp")
    workflow = "acme/app/.github/workflows/deploy.yml"

    def test_may_ask_for_an_origin(self) -> None:
        origin = ("--signer-workflow", self.workflow, "--source-ref", "refs/heads/main")
        loaded = settings.load((*self.arguments, *origin), {**ENVIRON, "GH_TOKEN": "ghs_0123456789"})
        assert loaded.origin == Origin(self.workflow, "refs/heads/main", SecretStr("ghs_0123456789"))
        assert SecretStr("ghs_0123456789") in loaded.secrets

    def test_needs_none_where_a_person_knows_it(self) -> None:
        assert settings.load(self.arguments, ENVIRON).origin is None

    @pytest.mark.parametrize(
        ("workflow", "ref", "named"),
        [
            (workflow, "", "--source-ref"),
            ("", "refs/heads/main", "--signer-workflow"),
            ("acme/app", "refs/heads/main", "--signer-workflow"),
            (workflow, "main", "--source-ref"),
        ],
    )
    def test_takes_half_an_origin_for_a_mistake(self, workflow: str, ref: str, named: str) -> None:
        assert f"`{named}` isn't of the form" in problems(
            *self.arguments, f"--signer-workflow={workflow}", f"--source-ref={ref}"
        )

    @pytest.mark.parametrize("target", ["ghcr.io/acme/sentry-mcp:tag", DIGEST, "-v"])
    def test_looks_for_no_tag_of_ones_own(self, target: str) -> None:
        assert "`--to` isn't of the form REGISTRY/NAME" in problems("find", f"--to={target}")


class TestSsh:
    environ: Mapping[str, str] = {**ENVIRON, "DOCKER_HOST": "ssh://deploy@host.example:2222"}

    def test_host_keys_must_be_given(self) -> None:
        said = problems("deploy", "--image", DIGEST, environ=self.environ)
        assert "`DEPLOY_SSH_KNOWN_HOSTS` holds no host key" in said
        assert "ssh-keyscan" in said

    @pytest.mark.parametrize("hosts", ["host.example", "* ssh-ed25519 short", f"{HOST_KEY}\nStrictHostKeyChecking no"])
    def test_they_must_be_host_keys(self, hosts: str) -> None:
        environ = {**self.environ, "DEPLOY_SSH_KNOWN_HOSTS": hosts}
        assert "is no host key" in problems("deploy", "--image", DIGEST, environ=environ)

    @pytest.mark.parametrize("host", ["ssh://-oProxyCommand=x", "ssh://host/path", "ssh://user@host name", "ssh://"])
    def test_the_host_must_be_one(self, host: str) -> None:
        environ = {**self.environ, "DEPLOY_SSH_KNOWN_HOSTS": HOST_KEY, "DOCKER_HOST": host}
        assert "`DOCKER_HOST` isn't of the form" in problems("deploy", "--image", DIGEST, environ=environ)

    def test_the_key_must_be_one(self) -> None:
        environ = {**self.environ, "DEPLOY_SSH_KNOWN_HOSTS": HOST_KEY, "DEPLOY_SSH_PRIVATE_KEY": "not-a-key-at-all"}
        said = problems("deploy", "--image", DIGEST, environ=environ)
        assert "`DEPLOY_SSH_PRIVATE_KEY` isn't a private key" in said
        assert "not-a-key-at-all" not in said

    def test_comments_among_the_host_keys_are_left_out(self) -> None:
        environ = {**self.environ, "DEPLOY_SSH_KNOWN_HOSTS": f"# of the host\n\n{HOST_KEY}\r\n"}
        loaded = settings.load(("deploy", "--image", DIGEST), environ)
        assert (loaded.known_hosts, loaded.docker_host) == (f"{HOST_KEY}\n", self.environ["DOCKER_HOST"])


class TestTheEngine:
    hosted: Mapping[str, str] = {**ENVIRON, "GITHUB_ACTIONS": "true", "RUNNER_ENVIRONMENT": "github-hosted"}
    by_ssh: Mapping[str, str] = {"DOCKER_HOST": "ssh://host.example", "DEPLOY_SSH_KNOWN_HOSTS": HOST_KEY}

    @pytest.mark.parametrize("host", ["", "unix:///var/run/docker.sock"])
    def test_must_not_be_one_that_ends_with_the_job(self, host: str) -> None:
        said = problems("deploy", "--image", DIGEST, environ={**self.hosted, "DOCKER_HOST": host})
        assert "`SENTRY_MCP_RUNNER`" in said
        assert "`SENTRY_MCP_DOCKER_HOST`" in said

    @pytest.mark.parametrize("environ", [{**hosted, **by_ssh}, {**hosted, "RUNNER_ENVIRONMENT": "self-hosted"}])
    def test_may_be_reached_from_there_or_be_ones_own(self, environ: Mapping[str, str]) -> None:
        assert settings.load(("deploy", "--image", DIGEST), environ).image == DIGEST

    def test_of_the_job_builds(self) -> None:
        assert settings.load(("build",), self.hosted).command == "build"

    @pytest.mark.parametrize("host", ["tcp://host.example:2376", "http://host.example", "host.example", "npipe://x"])
    def test_must_be_one_whose_ports_can_be_reached(self, host: str) -> None:
        said = problems("deploy", "--image", DIGEST, environ={**ENVIRON, "DOCKER_HOST": host})
        assert "`DOCKER_HOST` is neither ssh://USER@HOST:PORT nor" in said

    def test_may_be_a_socket_of_this_machine(self) -> None:
        environ = {**ENVIRON, "DOCKER_HOST": "unix:///run/user/1000/docker.sock"}
        loaded = settings.load(("deploy", "--image", DIGEST), environ)
        assert (loaded.docker["DOCKER_HOST"], loaded.docker_host) == (environ["DOCKER_HOST"], "")


def test_docker_sees_none_of_our_secrets() -> None:
    environ = {**ENVIRON, "PULUMI_ACCESS_TOKEN": "pul-0", "DOCKER_CONFIG": "/d", "HOME": "/h", "GITHUB_TOKEN": "g"}
    loaded = settings.load(("deploy", "--image", DIGEST), environ)
    assert loaded.docker == {"PATH": "/bin", "DOCKER_CONFIG": "/d", "HOME": "/h"}
    assert "a-token-of-the-server" not in repr(loaded)
