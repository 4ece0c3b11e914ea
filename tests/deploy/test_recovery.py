"""Deploys that are killed after the new version's start and before its check, and how the former one returns."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import engine
from tests.deploy.conftest import ENVIRONMENT, Host, new_host
from tests.deploy.images import Derived
from tests.support import docker_leaks
from tests.support.docker_engine import docker

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def served(good: str) -> Iterator[Host]:
    """Yield a host after its first deploy."""
    with new_host() as host:
        result = host.deploy(good, "--environment", ENVIRONMENT, "--revision", "2")
        assert result.code == 0, result.log
        yield host


@pytest.fixture
def host(served: Host, good: str) -> Host:
    assert served.image == good, "each test leaves it as it found it"
    return served


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Return the file that records the Docker commands of a deploy that is killed."""
    return tmp_path / "commands"


@pytest.fixture
def cutting(tmp_path: Path, commands: Path) -> dict[str, str]:
    """Return a PATH that kills a deploy when it first inspects the container that it has started."""
    kill = engine.ONCE_UP.format(pattern='"container inspect "*', does="kill -KILL $PPID")
    return engine.before(tmp_path, f'echo "$*" >>{commands}; {kill}')


def cut_off(host: Host, image: str, cutting: dict[str, str], **environ: str) -> None:
    """Deploy an image. The deploy is killed once the image runs."""
    cut = host.begin(image, "--revision", "3", **cutting, **environ).finish()
    assert cut.code == -signal.SIGKILL, cut.log
    assert host.image == image


def record(host: Host) -> str:
    return f"{host.project}-former"


def of_record(host: Host, template: str) -> str:
    return docker("container", "inspect", "--format", template, record(host)).stdout.strip()


def test_the_former_version_is_brought_back(
    host: Host, good: str, derive: Derived, cutting: dict[str, str], commands: Path
) -> None:
    before, other = sorted(host.environment), "f" * 32
    cut_off(host, derive("LABEL version=cut"), cutting, SENTRY_MCP_TOKEN=other, SENTRY_MCP_READ_ONLY="true")
    assert of_record(host, "{{.Config.Image}} {{.State.Status}}") == f"{good} created"
    given = commands.read_text(encoding="utf-8")
    assert f"create --name {record(host)}" in given
    assert docker_leaks.held_by(given, [*host.secrets, other]) == []

    recovered = host.recover(SENTRY_MCP_TOKEN=other, SENTRY_MCP_PUBLISHED_PORT="1")
    assert recovered.code == 0, recovered.log
    assert recovered.outputs == {"image": good}
    assert (host.image, host.container('{{index .Config.Labels "sentry-mcp.esc-revision"}}')) == (good, "2")
    assert sorted(host.environment) == before
    assert host.ask().content
    assert host.leftovers() == []
    assert docker_leaks.held_by(recovered.visible(), [*host.secrets, other]) == []


def test_a_next_deploy_that_fails_brings_back_what_was_recorded(
    host: Host, good: str, derive: Derived, cutting: dict[str, str]
) -> None:
    cut_off(host, unchecked := derive("LABEL version=cut"), cutting)
    result = host.deploy(derive('ENTRYPOINT ["python3", "-c", "raise SystemExit(1)"]'), "--timeout", "2")
    assert result.code == 6, result.log
    assert f"Now runs: {unchecked}" in result.log
    assert f"Before it ran: {good}" in result.log
    assert f"{good}, runs again and answers" in result.error
    assert (host.image, host.leftovers()) == (good, [])


def test_a_next_deploy_that_works_ends_it(host: Host, good: str, derive: Derived, cutting: dict[str, str]) -> None:
    cut_off(host, derive("LABEL version=cut"), cutting)
    result = host.deploy(good, "--environment", ENVIRONMENT, "--revision", "2")
    assert (result.code, result.outputs) == (0, {"image": good, "former-image": good, "changed": "true"}), result.log
    assert host.leftovers() == []


def test_a_former_version_that_does_not_work_stays_recorded(
    host: Host, good: str, derive: Derived, cutting: dict[str, str], tmp_path: Path
) -> None:
    cut_off(host, derive("LABEL version=cut"), cutting)
    recorded = json.loads(of_record(host, "{{json .HostConfig}}"))
    could_do = (recorded["NetworkMode"], recorded["ReadonlyRootfs"], recorded["CapDrop"])
    assert could_do == ("none", True, ["ALL"]), "it could do no harm if it were started"
    broken = engine.before(tmp_path, 'case "$*" in *" up "*) echo no such luck >&2; exit 1;; esac')
    failed = host.recover(**broken)
    assert failed.code == 7, failed.log
    assert f"{good}, doesn't work" in failed.error
    assert of_record(host, "{{.Config.Image}}") == good
    assert (recovered := host.recover()).code == 0, recovered.log
    assert (host.image, host.leftovers()) == (good, [])


def test_where_no_deploy_was_cut_off_nothing_is_touched(host: Host) -> None:
    started = host.container("{{.Id}} {{.State.StartedAt}}")
    result = host.recover()
    assert (result.code, result.outputs) == (0, {}), result.log
    assert "Nothing was changed" in result.log
    assert host.container("{{.Id}} {{.State.StartedAt}}") == started


def test_a_first_deploy_has_nothing_to_record(good: str, cutting: dict[str, str]) -> None:
    with new_host() as host:
        cut_off(host, good, cutting)
        assert record(host) not in host.leftovers()
        assert host.recover().code == 0
        assert host.image == good
