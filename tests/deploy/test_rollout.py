"""Successive deploys to one host while clients call: what runs, what the log says, and which calls fail."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.deploy import engine, program
from tests.deploy.clients import Caller
from tests.deploy.conftest import ENVIRONMENT, Host, new_host
from tests.deploy.images import Derived
from tests.deploy.program import Result
from tests.support import docker_leaks
from tests.support.docker_engine import docker
from tests.support.docker_registry import by_digest

pytestmark = pytest.mark.docker

RecordProperty: TypeAlias = Callable[[str, object], None]


@pytest.fixture(scope="module")
def served(good: str) -> Iterator[tuple[Host, Result]]:
    """Yield a host and the result of its first deploy."""
    with new_host() as host:
        yield host, host.deploy(good, "--environment", ENVIRONMENT, "--revision", "2")


@pytest.fixture
def host(served: tuple[Host, Result]) -> Host:
    return served[0]


class TestTheFirst:
    def test_it_runs_by_its_digest(self, served: tuple[Host, Result], good: str) -> None:
        host, result = served
        assert result.code == 0, result.log
        assert host.image == good
        assert result.outputs == {"image": good, "former-image": "", "changed": "true"}
        assert "`whoami`" in result.summary

    def test_it_answers_its_clients(self, host: Host) -> None:
        answer = host.ask()
        assert host.box.sentry.project in str(answer.content)
        assert "search_issues" in answer.tools

    def test_nothing_else_is_left(self, host: Host) -> None:
        assert host.leftovers() == []

    def test_no_secret_and_no_environment_is_told(self, served: tuple[Host, Result]) -> None:
        host, result = served
        assert docker_leaks.held_by(result.visible(), [*host.secrets, ENVIRONMENT]) == []


def test_the_same_again_restarts_nothing(host: Host, good: str) -> None:
    started = host.container("{{.Id}} {{.State.StartedAt}}")
    with Caller(host.url, host.token) as caller:
        again = host.deploy(good, "--environment", ENVIRONMENT, "--revision", "2")
    assert (again.code, again.outputs["changed"]) == (0, "false"), again.log
    assert host.container("{{.Id}} {{.State.StartedAt}}") == started
    assert caller.failures == []
    assert caller.done > 0


def test_a_version_that_does_not_start_makes_way_for_the_former_one(
    host: Host, good: str, derive: Derived, record_property: RecordProperty
) -> None:
    bad = derive('ENTRYPOINT ["python3", "-c", "raise SystemExit(\'no such luck\')"]')
    with Caller(host.url, host.token) as caller:
        result = host.deploy(bad, "--revision", "3", "--timeout", "2")
        during = caller.calls, len(caller.failures)
        host.ask()
    assert result.code == 6, result.log
    assert bad in result.error
    assert "no such luck" in result.error
    assert f"{good}, runs again and answers" in result.error
    assert (host.image, host.container('{{index .Config.Labels "sentry-mcp.esc-revision"}}')) == (good, "2")
    assert host.leftovers() == []
    tell(record_property, "a deploy that fails", during)
    assert caller.done > 0


def test_a_version_that_can_not_sign_in_makes_way_for_the_former_environment(host: Host) -> None:
    before = sorted(host.environment)
    other = "f" * 32
    options = ("--timeout", "20", "--environment", "scoobyjava-org/default/nowhere")
    result = host.deploy(host.image, *options, SENTRY_MCP_TOKEN=other, SENTRY_MCP_READ_ONLY="true")
    assert result.code == 6, result.log
    assert "/readyz isn't good" in result.error
    assert "credentials" in result.error, "the server's own reason"
    assert sorted(host.environment) == before
    assert host.ask().content
    assert docker_leaks.held_by(result.visible(), [*host.secrets, other]) == []


def test_a_version_that_refuses_its_clients_is_not_left_in_place(good: str) -> None:
    with new_host() as host:
        host.store(SENTRY_MCP_TOKEN="e" * 32, SENTRY_API_TOKEN=host.box.sentry.token, **host.slugs)
        result = host.deploy(good)
        assert result.code == 7, result.log
        assert "It doesn't work" in result.error, "it was ready, but clients with the token of ESC alone are let in"
        assert host.image == ""


def test_a_port_that_is_taken_does_not_keep_the_former_one_from_its_own(host: Host, good: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = host.deploy(good, SENTRY_MCP_PUBLISHED_PORT=str(taken.getsockname()[1]))
    assert result.code == 6, result.log
    assert f"{good}, runs again and answers" in result.error
    assert host.ask().content


@pytest.mark.parametrize(("times", "code"), [(1, 6), (2, 7)])
def test_what_nobody_foresaw_does_not_leave_a_version_that_was_not_checked(
    host: Host, good: str, derive: Derived, tmp_path: Path, times: int, code: int
) -> None:
    nonsense = f'echo >>"$0.asked"; [ $(wc -l <"$0.asked") -gt {times} ] || {{ echo nonsense; exit 0; }}'
    path = engine.before(tmp_path, engine.ONCE_UP.format(pattern='"container inspect "*', does=nonsense))
    result = host.deploy(derive("LABEL version=unforeseen"), **path)
    assert result.code == code, result.log
    assert "A defect of the deploy program, JSONDecodeError" in result.error
    assert result.log.count("Traceback (most recent call last)") == times
    assert host.image == good
    assert host.ask().content
    assert host.start("recover").finish().code == 0


def test_a_new_version_takes_the_place(host: Host, good: str, derive: Derived, record_property: RecordProperty) -> None:
    new = derive("LABEL version=new")
    with Caller(host.url, host.token) as caller:
        result = host.deploy(new)
        during = caller.calls, len(caller.failures)
    assert result.code == 0, result.log
    assert (host.image, result.outputs["former-image"]) == (new, good)
    assert by_digest(new.partition("@")[0]) == {new, good}, "the machine keeps no others"
    tell(record_property, "a deploy of a new version", during)
    assert host.ask().content


def test_a_deploy_that_is_told_to_end_leaves_a_version_that_works(host: Host, derive: Derived) -> None:
    before = host.image
    deploy = host.begin(derive("LABEL version=ended"))
    deploy.wait_for("Start ")
    deploy.signal(signal.SIGTERM)
    result = deploy.finish()
    assert result.code == 143, result.log
    assert host.image == before
    assert host.ask().content
    assert host.leftovers() == []


def test_a_second_deploy_waits_for_the_first(host: Host, good: str) -> None:
    with held_lock(host, good):
        hurried = host.deploy(good, "--timeout", "1")
        assert hurried.code == 4, hurried.log
        assert hurried.errors[0].properties["title"] == "Another deploy is under way"
        patient = host.begin(good)
        patient.wait_for("Fetch")
    result = patient.finish()
    assert result.code == 0, result.log


class held_lock:  # noqa: N801 - used like a function
    """Another deploy's lock on the host's engine."""

    def __init__(self, host: Host, image: str) -> None:
        self.name = f"{host.project}-deploy"
        self.image = image

    def __enter__(self) -> None:
        code = "import signal; signal.pause()"
        docker("run", "--detach", "--name", self.name, "--entrypoint", "python3", self.image, "-c", code)

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", self.name)


def test_a_first_deploy_that_fails_leaves_nothing_running(derive: Derived) -> None:
    with new_host() as host:
        result = host.deploy(derive('ENTRYPOINT ["python3", "-c", "raise SystemExit(1)"]'), "--timeout", "2")
        assert result.code == 7, result.log
        assert "No version ran before" in result.error
        assert (host.image, host.leftovers()) == ("", [])


def test_a_first_one_that_can_not_be_taken_down_is_told(derive: Derived, tmp_path: Path) -> None:
    path = engine.before(tmp_path, 'case "$*" in *" down "*) echo no such luck >&2; exit 1;; esac')
    with new_host() as host:
        image = derive('ENTRYPOINT ["python3", "-c", "raise SystemExit(1)"]')
        result = host.deploy(image, "--timeout", "2", **path)
        assert result.code == 7, result.log
        assert f"{image} failed" in result.error
        assert "This one may still run" in result.error
        assert "no such luck" in result.error


def test_if_the_former_one_does_not_work_either_that_is_said(host: Host, derive: Derived, tmp_path: Path) -> None:
    former = host.image
    path = engine.before(tmp_path, engine.UP_ONCE)
    bad = derive('ENTRYPOINT ["python3", "-c", "raise SystemExit(1)"]')
    result = host.deploy(bad, "--timeout", "2", **path)
    assert result.code == 7, result.log
    assert f"{former}, doesn't work either" in result.error
    assert "stays recorded" in result.error
    assert (host.recover().code, host.image) == (0, former)


def test_an_image_that_is_nowhere_changes_nothing(host: Host, registry: str) -> None:
    before = host.image
    result = host.deploy(f"{registry}/ai-cherry/sentry-mcp@sha256:{'0' * 64}")
    assert result.code == 4, result.log
    assert "can't be pulled" in result.error
    assert host.image == before


@pytest.mark.parametrize(("place", "has"), [(0, "has only linux/s390x"), (1, "has no version")])
def test_an_image_for_another_platform_is_told_before_anything_is_touched(
    host: Host, foreign: tuple[str, str], place: int, has: str
) -> None:
    started = host.container("{{.Id}} {{.State.StartedAt}}")
    result = host.deploy(foreign[place])
    assert result.code == 4, result.log
    assert result.errors[0].properties["title"] == "The image doesn't fit the server"
    assert f"{foreign[place]} {has}" in result.error
    assert host.container("{{.Id}} {{.State.StartedAt}}") == started


def test_an_image_by_its_tag_is_refused() -> None:
    result = program.run("deploy", "--image", "sentry-mcp:latest", environ={"SENTRY_MCP_TOKEN": "x" * 16})
    assert result.code == 2
    assert "sha256" in result.error


def tell(record_property: RecordProperty, what: str, calls: tuple[int, int]) -> None:
    """Record and print how many calls were made during a deploy, and how many of them failed."""
    done, failed = calls
    record_property(what, f"{failed} of {done} calls failed")
    print(f"{what}: {failed} of {done} calls failed")
