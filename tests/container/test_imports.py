"""The image holds what a run of the action imports, and little else."""

import json
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.container.conftest import REPOSITORY, Caller
from tests.support.docker_engine import docker
from tests.support.docker_imports import files, from_source, never_imported
from tests.support.docker_step import Job

pytestmark = pytest.mark.docker

# Files that only other runs import. Their package loads them by name, so the build can't find out which.
OTHER_RUNS = {
    "anyio/*": "anyio loads a part of itself at the first use",
    "cryptography/*": "its compiled module loads the Python part of an algorithm at the first use",
    "idna/*": "for a host name that isn't ASCII",
    "pydantic/*": "pydantic loads a part of itself at the first use, and has its old names in modules of their own",
}


@pytest.fixture
def log(box: Sandbox, caller: Caller, image: str, job: Job) -> str:
    """Run a sync that does everything (OIDC, preflight, tag, GitHub App, deploy). Return what `python -v` printed."""
    app = box.github.add_app([REPOSITORY])
    inputs = {
        "pulumi-access-token": "",
        "extra-variables": "REGION=eu",
        "github-token": "",
        "github-app-id": str(app.id),
        "github-app-private-key": app.private_key,
    }
    identity = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": box.github.id_token_url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": box.github.id_token_request_token,
    }
    [details] = json.loads(docker("image", "inspect", image).stdout)
    python, *arguments = details["Config"]["Entrypoint"]
    step = job.run(caller.inputs | inputs, identity, entrypoint=[python, "-v", *arguments])
    assert step.code == 0, step.log
    assert len(box.github.dispatches) == 1
    return step.stderr


def test_a_full_run_loads_the_bytecode_of_the_image_and_imports_all_that_is_in_it(image: str, log: str) -> None:
    app = Path("/opt/sentry-esc-sync/sophia_sync/__pycache__/app.cpython-313.pyc")
    assert f"# code object from '{app}'" in log
    assert from_source(log) == []
    assert never_imported(files(image), log, OTHER_RUNS) == set()
