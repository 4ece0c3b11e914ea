"""What a step leaves to later steps, and what earlier steps can do to it."""

import json

import pytest

from sandbox import Sandbox
from tests.container.conftest import ENVIRONMENT, Caller
from tests.support import docker_leaks
from tests.support.docker_step import Job

pytestmark = pytest.mark.docker

# A useless module that leaves a file in the workspace when it is imported or run.
TRAP = "open('/github/workspace/caught', 'a').write(__name__ + ' ' + __file__ + '\\n')\n"
MODULES = ("sitecustomize", "usercustomize", "sophia_sync", "yaml", "json", "github", "requests", "pydantic")


def test_the_log_the_summary_and_the_outputs_hold_no_secret(caller: Caller, job: Job) -> None:
    step = job.run(caller.inputs)
    assert step.code == 0, step.log
    assert docker_leaks.held_by(step.visible(), caller.secrets) == []


@pytest.mark.parametrize("inputs", [{"pulumi-access-token": "pul-refused"}, {"deploy-workflow": "gone.yml"}])
def test_a_failure_tells_no_secret(caller: Caller, job: Job, inputs: dict[str, str]) -> None:
    step = job.run(caller.inputs | inputs)
    assert step.code != 0
    assert docker_leaks.held_by(step.visible(), caller.secrets) == []


def test_every_secret_is_masked_before_anything_else_is_said(caller: Caller, job: Job) -> None:
    lines = job.run(caller.inputs).log.splitlines()
    masks = [line.removeprefix("::add-mask::") for line in lines if line.startswith("::add-mask::")]
    assert set(caller.secrets) <= set(masks)
    assert all(line.startswith("::add-mask::") for line in lines[: len(set(masks))])


def test_later_steps_of_the_job_find_nothing(caller: Caller, job: Job) -> None:
    (job.workspace / "README.md").write_text("Of the caller.\n", encoding="utf-8")
    step = job.run(caller.inputs)
    assert step.code == 0, step.log
    assert list(job.left_behind()) == [job.workspace / "README.md"]
    files = [path for path in job.file_commands.iterdir() if path.read_bytes()]
    assert docker_leaks.held_by_files(files, caller.secrets) == []


def test_nothing_is_written_to_the_container(caller: Caller, job: Job) -> None:
    assert job.run(caller.inputs).written == ()


def test_the_workspace_and_home_bring_in_no_module(box: Sandbox, caller: Caller, job: Job) -> None:
    site = job.home / ".local" / "lib" / "python3.13" / "site-packages"
    site.mkdir(parents=True)
    for folder in (job.workspace, site):
        for module in MODULES:
            (folder / f"{module}.py").write_text(TRAP, encoding="utf-8")
    (site / "trap.pth").write_text("import sophia_sync\n", encoding="utf-8")
    variables = {"PYTHONPATH": "/github/workspace", "PYTHONSTARTUP": "/github/workspace/yaml.py"}
    step = job.run(caller.inputs, variables | {"PYTHONHOME": "/github/workspace", "PYTHONUSERBASE": "/github/home"})
    assert step.code == 0, step.log + step.stderr
    assert not (job.workspace / "caught").exists()
    assert box.esc.values(ENVIRONMENT)["SENTRY_DSN"] == box.sentry.dsn


def test_the_trap_works(job: Job) -> None:
    (job.workspace / "yaml.py").write_text(TRAP, encoding="utf-8")
    variables = {"PYTHONPATH": "/github/workspace"}
    job.run({}, variables, entrypoint=["/usr/bin/python3.13", "-c", "import yaml"])
    assert (job.workspace / "caught").read_text(encoding="utf-8").startswith("yaml ")


def test_sign_ins_that_an_earlier_step_left_in_home_are_not_used(box: Sandbox, caller: Caller, job: Job) -> None:
    (job.home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n", encoding="utf-8")
    (job.home / ".netrc").chmod(0o600)
    (job.workspace / ".env").write_text("SENTRY_DSN=https://key@elsewhere.example/1\n", encoding="utf-8")
    elsewhere = {"current": "https://elsewhere.example", "accounts": {"https://elsewhere.example": {}}}
    (job.home / ".pulumi").mkdir()
    (job.home / ".pulumi" / "credentials.json").write_text(json.dumps(elsewhere), encoding="utf-8")
    step = job.run(caller.inputs)
    assert step.code == 0, step.log
    assert box.esc.values(ENVIRONMENT)["SENTRY_DSN"] == box.sentry.dsn
    assert len(box.github.dispatches) == 1
