"""Deploys of one host, one after the other, with clients that go on calling: what runs, what is said, what is lost."""

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
from tests.deploy.images import Derived, Gate
from tests.deploy.program import Result
from tests.support import docker_leaks
from tests.support.docker_registry import by_digest

pytestmark = pytest.mark.docker

RecordProperty: TypeAlias = Callable[[str, object], None]


@pytest.fixture(scope="module")
def served(pushed: Result) -> Iterator[tuple[Host, Result]]:
    """A host after its first deploy."""
    with new_host() as host:
        yield host, host.deploy(pushed.outputs["image"], "--environment", ENVIRONMENT, "--revision", "2")


@pytest.fixture
def host(served: tuple[Host, Result]) -> Host:
    return served[0]


@pytest.fixture(scope="module")
def good(pushed: Result) -> str:
    return pushed.outputs["image"]


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

    def test_no_secret_is_told(self, served: tuple[Host, Result]) -> None:
        host, result = served
        assert docker_leaks.held_by(result.visible(), host.secrets) == []


def test_the_same_again_restarts_nothing(host: Host, good: str) -> None:
    started = host.container("{{.Id}} {{.State.StartedAt}}")
    with Caller(host.url, host.token) as caller:
        again = host.deploy(good, "--environment", ENVIRONMENT, "--revision", "2")
    assert (again.code, again.outputs["changed"]) == (0, "false"), again.log
    assert host.container("{{.Id}} {{.State.StartedAt}}") == started
    assert caller.failures == []
    assert caller.done > 0


def test_an_image_that_does_not_start_never_takes_the_place(host: Host, good: str, derive: Derived) -> None:
    bad = derive('ENTRYPOINT ["python", "-c", "raise SystemExit(\'no such luck\')"]')
    started = host.container("{{.Id}} {{.State.StartedAt}}")
    with Caller(host.url, host.token) as caller:
        result = host.deploy(bad)
    assert result.code == 3, result.log
    assert "no such luck" in result.error
    assert (host.image, host.container("{{.Id}} {{.State.StartedAt}}")) == (good, started)
    assert (host.leftovers(), caller.failures) == ([], [])


def test_credentials_that_do_not_work_never_take_the_place(host: Host, good: str) -> None:
    result = host.deploy(good, "--timeout", "20", "--environment", "scoobyjava-org/default/nowhere")
    assert result.code == 3, result.log
    assert "/readyz" in result.error
    assert "nowhere" in result.error, "the log's last lines tell why"
    assert f"PULUMI_ENVIRONMENT={ENVIRONMENT}" in host.environment
    assert host.ask().content


def test_one_that_fails_in_its_place_makes_way_for_the_former_one(
    host: Host, good: str, derive: Derived, gate: Gate, record_property: RecordProperty
) -> None:
    bad = derive.behind(gate)
    gate.let_in = 1  # beside the running one, but not in its place
    with Caller(host.url, host.token) as caller:
        result = host.deploy(bad, "--revision", "3")
        during = caller.calls, len(caller.failures)
        host.ask()
    assert result.code == 6, result.log
    assert gate.asked >= 2
    assert bad in result.error
    assert f"{good}, is back and works" in result.error
    assert (host.image, host.container('{{index .Config.Labels "sentry-mcp.esc-revision"}}')) == (good, "2")
    assert host.leftovers() == []
    tell(record_property, "a deploy that fails in its place", during)
    assert caller.done > 0


def test_one_that_fails_for_its_environment_makes_way_for_the_former_environment(
    host: Host, good: str, derive: Derived, gate: Gate
) -> None:
    before = sorted(host.environment)
    gate.let_in = 1
    other = "f" * 32
    result = host.deploy(derive.behind(gate), SENTRY_MCP_TOKEN=other, SENTRY_MCP_READ_ONLY="true")
    assert result.code == 6, result.log
    assert sorted(host.environment) == before
    assert docker_leaks.held_by(result.visible(), [*host.secrets, other]) == []


def test_a_port_that_is_taken_does_not_keep_the_former_one_from_its_own(host: Host, good: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = host.deploy(good, SENTRY_MCP_PUBLISHED_PORT=str(taken.getsockname()[1]))
    assert result.code == 6, result.log
    assert f"{good}, is back and works" in result.error
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
    deploy.wait_for("Checking")
    deploy.signal(signal.SIGTERM)
    result = deploy.finish()
    assert result.code == 143, result.log
    assert host.image == before
    assert host.ask().content


def test_there_is_one_deploy_at_a_time(host: Host, good: str) -> None:
    first = host.begin(good)
    first.wait_for("Trying the new version")
    second = host.deploy(good)
    assert second.code == 4, second.log
    assert second.errors[0].properties["title"] == "Another deploy is under way"
    assert first.finish().code == 0


def test_a_deploy_that_was_killed_does_not_stand_in_the_way(host: Host, good: str) -> None:
    killed = host.begin(good)
    killed.wait_for("Trying the new version")
    killed.signal(signal.SIGKILL)
    killed.finish()
    host.wait_for_lock()
    assert host.deploy(good).code == 0
    assert host.leftovers() == []


def test_a_first_deploy_that_fails_leaves_nothing_running(good: str, derive: Derived, gate: Gate) -> None:
    gate.let_in = 1
    with new_host() as host:
        result = host.deploy(derive.behind(gate))
        assert result.code == 7, result.log
        assert "There was no version before" in result.error
        assert (host.image, host.leftovers()) == ("", [])


def test_a_signal_meanwhile_does_not_hide_that_nothing_runs(derive: Derived, gate: Gate) -> None:
    gate.let_in = 1
    with new_host() as host:
        deploy = host.begin(derive.behind(gate))
        deploy.wait_for("Taking it down")
        deploy.signal(signal.SIGTERM)
        result = deploy.finish()
        assert result.code == 7, result.log
        assert "nothing runs now" in result.error
        assert host.image == ""


def test_a_first_one_that_can_not_be_taken_down_is_told(derive: Derived, gate: Gate, tmp_path: Path) -> None:
    gate.let_in = 1
    path = engine.before(tmp_path, 'case "$*" in *" down "*) echo no such luck >&2; exit 1;; esac')
    with new_host() as host:
        result = host.deploy(image := derive.behind(gate), **path)
        assert result.code == 7, result.log
        assert f"{image} failed in operation" in result.error
        assert "it isn't known whether this one is down" in result.error
        assert "no such luck" in result.error


def test_if_the_former_one_does_not_work_either_that_is_said(good: str, derive: Derived, gate: Gate) -> None:
    with new_host() as host:
        gate.let_in = 2
        assert host.deploy(former := derive.behind(gate)).code == 0
        gate.let_in = 1
        result = host.deploy(derive.behind(gate, "LABEL version=2"))
        assert result.code == 7, result.log
        assert f"{former}, is back, but doesn't work" in result.error


def test_an_image_that_is_nowhere_changes_nothing(host: Host, registry: str) -> None:
    before = host.image
    result = host.deploy(f"{registry}/ai-cherry/sentry-mcp@sha256:{'0' * 64}")
    assert result.code == 4, result.log
    assert "docker pull" in result.error
    assert host.image == before


def test_an_image_by_its_tag_is_refused() -> None:
    result = program.run("deploy", "--image", "sentry-mcp:latest", environ={"SENTRY_MCP_TOKEN": "x" * 16})
    assert result.code == 2
    assert "sha256" in result.error


def tell(record_property: RecordProperty, what: str, calls: tuple[int, int]) -> None:
    """Keep and show how many calls there were in the time of a deploy, and how many of them failed."""
    done, failed = calls
    record_property(what, f"{failed} of {done} calls failed")
    print(f"{what}: {failed} of {done} calls failed")
