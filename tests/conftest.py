"""Fixtures and hooks for all tests: the Pulumi CLI, the image, the local services, and the rules for skips.

With REQUIRE_ALL=1, a test that would be skipped fails.
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

# For `make mutants`: few examples, the same for every mutant, run again and again in one process.
settings.register_profile(
    "mutants",
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)

# Folders in which each test starts a process or a server. The quick `make test` runs two cases of each table there.
WITH_PROCESSES = ("cli", "console", "contract", "mcp")

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"

# Examples have no deadline, because the machine may be busy. CI takes the same examples in every run, so that a failure
# comes from the change that it tests; `make test` looks for new ones.
settings.register_profile("suite", settings(), deadline=None, max_examples=EXAMPLES, derandomize=REQUIRE_ALL)
settings.load_profile("suite")


def pytest_report_header() -> str:
    if REQUIRE_ALL:
        return "all tests, and none may be skipped"
    return "REQUIRE_ALL=1 make test runs all tests; without it, make test leaves out those that are slow or take Docker"


@functools.cache
def _needs_docker(file: Path) -> bool:
    return "pytest.mark.docker" in file.read_text(encoding="utf-8")


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]
    """A scheduler that runs files in parallel. Docker tests form two sequences: the deploys and the others."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not _needs_docker(self.config.rootpath / file):
            return file
        return "docker-deploy" if file.startswith("tests/deploy/") else "docker"


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processors plus one: workers that use Docker mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return SideBySide(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all but two cases of a table `full`, and put the Docker tests first: they take longest."""
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
    """Return the path of the real Pulumi CLI, or of one compiled from the same code."""
    try:
        return pulumi_cli.ensure()
    except pulumi_cli.NoPulumiError as error:
        pytest.skip(f"no Pulumi CLI: {error}")


@pytest.fixture(scope="session")
def image() -> str:
    """Build the image from this tree. Return its name."""
    docker_engine.provide_base_images()
    return docker_engine.build_image()


@pytest.fixture(scope="session")
def services() -> Iterator[Sandbox]:
    """Run the local services, for all tests that can share them."""
    with Sandbox() as box:
        yield box


@pytest.fixture
def box(services: Sandbox) -> Iterator[Sandbox]:
    """Yield the shared services without recorded requests. Remove injected faults afterwards."""
    for server in services.servers:
        server.requests.clear()
    services.github.dispatches.clear()
    services.github.organizations.clear()
    yield services
    for server in services.servers:
        server.reset_faults()
