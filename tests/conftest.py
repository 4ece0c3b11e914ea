"""What all tests share: the Pulumi CLI, the image, and when a test may be skipped.

With REQUIRE_ALL=1 none may be: a test that would be skipped fails.
"""

import functools
import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling, Scheduling  # type: ignore[import-untyped]

from sandbox import Sandbox
from tests.support import docker_engine
from tests.support.examples import EXAMPLES
from tools import pulumi_cli

# Machines are busy at times: an example may take as long as it takes.
settings.register_profile("suite", settings(), deadline=None, max_examples=EXAMPLES)
settings.load_profile("suite")

# For `make mutants`: few examples, the same for every mutant, run again and again in one process.
settings.register_profile(
    "mutants",
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)

# Each test in these folders starts a process or a server. The quick `make test` takes two cases of a table.
WITH_PROCESSES = ("cli", "console", "contract", "mcp")

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def pytest_report_header() -> str:
    if REQUIRE_ALL:
        return "all tests, and none may be skipped"
    return "REQUIRE_ALL=1 make test runs all tests; without it, make test leaves out those that are slow or take Docker"


@functools.cache
def _needs_docker(file: Path) -> bool:
    return "pytest.mark.docker" in file.read_text(encoding="utf-8")


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]
    """Run files side by side. Those that need the one Docker engine take turns: the deploys, and the others."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not _needs_docker(self.config.rootpath / file):
            return file
        return "docker-deploy" if file.startswith("tests/deploy/") else "docker"


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are processors: those that use Docker wait most of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return SideBySide(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark most cases of long tables `full`, and begin with what takes longest: the tests that take turns."""
    cases: Counter[tuple[Path, str]] = Counter()
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent.name in WITH_PROCESSES:
            cases[test := (item.path, f"{item.parent}.{item.originalname}")] += 1
            if cases[test] > 2:
                item.add_marker(pytest.mark.full)
    items.sort(key=lambda item: _needs_docker(item.path), reverse=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") is None:
        return
    reason = docker_engine.missing_engine()
    if reason is not None:
        pytest.skip(f"needs a Docker engine: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"REQUIRE_ALL=1, but this test would be skipped: {reason}"


@pytest.fixture(scope="session")
def pulumi() -> Path:
    """The real Pulumi CLI, or the same code compiled."""
    try:
        return pulumi_cli.ensure()
    except pulumi_cli.NoPulumiError as error:
        pytest.skip(f"no Pulumi CLI: {error}")


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image, built from this tree."""
    docker_engine.provide_base_images()
    return docker_engine.build_image()


@pytest.fixture(scope="session")
def services() -> Iterator[Sandbox]:
    """The local services, for all tests that can share them."""
    with Sandbox() as box:
        yield box


@pytest.fixture
def box(services: Sandbox) -> Iterator[Sandbox]:
    """The local services, as if nobody had asked them for anything yet."""
    for server in services.servers:
        server.requests.clear()
    services.github.dispatches.clear()
    services.github.organizations.clear()
    yield services
    for server in services.servers:
        server.reset_faults()
