"""Which tests may be skipped where something is missing, and which may not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[2]
NEEDS_DOCKER = "import pytest\n@pytest.mark.docker\ndef test_container():\n    raise AssertionError('was run')\n"
SKIPS_ITSELF = "import pytest\npytest.skip('no such library', allow_module_level=True)\n"
EXPECTED_TO_FAIL = "import pytest\n@pytest.mark.xfail\ndef test_known():\n    raise AssertionError\n"


def run_pytest(folder: Path, test: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under this suite's conftest, on a machine without a docker command."""
    suite = folder / "suite"
    suite.mkdir()
    (suite / "test_it.py").write_text(test)
    shutil.copy(ROOT / "tests" / "conftest.py", suite)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    docker: needs an engine\n")
    environment = {name: value for name, value in os.environ.items() if name != "REQUIRE_ALL"}
    environment |= {"PATH": str(folder), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--import-mode=importlib", "suite"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_without_an_engine_a_container_test_is_skipped_and_the_summary_says_why(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, NEEDS_DOCKER)
    assert run.returncode == 0
    assert "needs a Docker engine: there is no docker command" in run.stdout
    assert "1 skipped" in run.stdout


@pytest.mark.parametrize("test", [NEEDS_DOCKER, SKIPS_ITSELF])
def test_where_all_tests_are_required_a_skip_is_a_failure(tmp_path: Path, test: str) -> None:
    run = run_pytest(tmp_path, test, REQUIRE_ALL="1")
    assert run.returncode != 0
    assert "REQUIRE_ALL=1, but this test would be skipped" in run.stdout
    assert "skipped" not in run.stdout.splitlines()[-1]


def test_where_all_tests_are_required_a_known_failure_still_counts_as_known(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, EXPECTED_TO_FAIL, REQUIRE_ALL="1")
    assert run.returncode == 0
    assert "1 xfailed" in run.stdout
