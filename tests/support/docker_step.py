"""Run a step that uses a container action with `docker run`, as GitHub's runner does.

Source: github.com/actions/runner, `src/Runner.Worker/Handlers/ContainerActionHandler.cs` (the mounts and variables),
`Container/DockerCommandManager.cs` (the command line), `ActionRunner.cs` and `ActionManifestManager.cs` (inputs and
their defaults). Two things differ. The container shares this machine's network, where the local services are. It is
removed only after its log and its files have been read.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.docker_engine import ROOT, docker
from tests.support.runner import Command, commands, parse_outputs


def action() -> dict[str, Any]:
    """Return the content of `action.yml`."""
    metadata: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return metadata


@dataclass(frozen=True)
class Result:
    """How a step ended, and what the runner keeps of it."""

    code: int
    """The exit code of `docker run`."""
    log: str
    stderr: str
    logs: str
    """The output of `docker logs`, both streams."""
    output_file: str
    summary: str
    written: tuple[str, ...]
    """The lines of `docker diff`, such as `A /path`, except those of mounts."""
    ended: float
    """When it ended, in seconds of the monotonic clock."""

    @property
    def outputs(self) -> dict[str, str]:
        return parse_outputs(self.output_file)

    @property
    def errors(self) -> list[Command]:
        """The annotations that the runner would show as errors."""
        return commands(self.log, "error")

    def visible(self) -> str:
        """Return everything that is kept of the step, without the `add-mask` lines."""
        lines = (self.log + self.stderr + self.logs).splitlines()
        shown = [line for line in lines if not line.startswith("::add-mask::")]
        return "\n".join([*shown, self.output_file, self.summary])


class Job:
    """A job on a runner: its folders, which all its steps share, and the variables that the runner sets.

    Args:
        folder: An empty folder.
        image: The action's image.
        token: The job's own token, `${{ github.token }}`.
        variables: Further environment variables of every step.
    """

    def __init__(self, folder: Path, image: str, token: str, variables: Mapping[str, str]) -> None:
        self.image = image
        self.token = token
        self.variables = dict(variables)
        self.workspace = folder / "workspace"
        self.home = folder / "home"
        self.workflow = folder / "workflow"
        self.file_commands = folder / "file_commands"
        for mount in self.mounts:
            mount.mkdir()
        (self.workflow / "event.json").write_text("{}", encoding="utf-8")

    @property
    def mounts(self) -> dict[Path, str]:
        """Each folder of this machine, and its path in the container."""
        folders = (self.workspace, self.home, self.workflow, self.file_commands)
        return {folder: f"/github/{folder.name}" for folder in folders}

    def left_behind(self) -> Iterator[Path]:
        """Yield every file that later steps of the job can see, except the runner's own."""
        for folder in (self.workspace, self.home, self.workflow):
            yield from (path for path in folder.rglob("*") if path.is_file() and path.name != "event.json")

    def run(
        self,
        inputs: Mapping[str, str],
        variables: Mapping[str, str] | None = None,
        entrypoint: Sequence[str] = (),
        timeout: float = 120,
    ) -> Result:
        """Run one step to its end.

        Args:
            inputs: The step's `with:`. An input that is missing here has its default.
            variables: The step's `env:`.
            entrypoint: A command instead of the image's own.
            timeout: The limit, in seconds.
        """
        step = self.start(inputs, variables, entrypoint)
        return step.finish(timeout)

    def start(
        self, inputs: Mapping[str, str], variables: Mapping[str, str] | None = None, entrypoint: Sequence[str] = ()
    ) -> "Step":
        """Begin one step; see `run`."""
        name = f"step-{secrets.token_hex(8)}"
        files = {
            variable: self.file_commands / f"{kind}_{name}"
            for variable, kind in (
                ("GITHUB_ENV", "set_env"),
                ("GITHUB_OUTPUT", "set_output"),
                ("GITHUB_PATH", "add_path"),
                ("GITHUB_STATE", "save_state"),
                ("GITHUB_STEP_SUMMARY", "step_summary"),
            )
        }
        for path in files.values():
            path.touch()
        environment = (
            self._runner_variables()
            | {variable: f"/github/file_commands/{path.name}" for variable, path in files.items()}
            | self.variables
            | dict(variables or {})
            | self._input_variables(inputs)
        )
        command = ["docker", "run", "--name", name, "--workdir", "/github/workspace", "--network", "host"]
        command += [f"--env={variable}" for variable in environment]
        command += [f"--volume={folder}:{inside}" for folder, inside in self.mounts.items()]
        command += [f"--entrypoint={entrypoint[0]}"] if entrypoint else []
        return Step(name, [*command, self.image, *entrypoint[1:]], environment, files)

    def _input_variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return a variable for each input: the given value, even if empty; else its default; else empty."""
        declared = action()["inputs"]
        assert not set(given) - set(declared), f"not in action.yml: {set(given) - set(declared)}"
        values = {name: given.get(name, str(declared[name].get("default", ""))) for name in declared}
        values = {name: value.replace("${{ github.token }}", self.token) for name, value in values.items()}
        assert not any("${{" in value for value in values.values()), "a default with an expression unknown here"
        return {f"INPUT_{name.upper()}": value for name, value in values.items()}

    def _runner_variables(self) -> dict[str, str]:
        return {
            "CI": "true",
            "GITHUB_ACTION": "__self",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "octocat",
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_EVENT_PATH": "/github/workflow/event.json",
            "GITHUB_JOB": "sync",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REF_NAME": "main",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "1658821493",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "ffac537e6cbbf934b08745a378932722df287a53",
            "GITHUB_WORKFLOW": "Sync Sentry Secrets to Pulumi ESC",
            "GITHUB_WORKSPACE": "/github/workspace",
            "HOME": "/github/home",
            "RUNNER_ARCH": "X64",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": "/home/runner/work/_temp",
        }


class Step:
    """A running step. Its values are in the environment of `docker run`, not in its arguments."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], files: Mapping[str, Path]
    ) -> None:
        self.name = name
        self._files = files
        values = {**_client_variables(), **environment}
        self._process = subprocess.Popen(command, env=values, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def signal(self, name: str) -> None:
        """Send a signal to the action, as a runner does when its job is cancelled."""
        docker("kill", f"--signal={name}", self.name)

    def finish(self, timeout: float) -> Result:
        """Wait for the step to end, collect its result, and remove the container."""
        try:
            log, stderr = self._process.communicate(timeout=timeout)
            ended = time.monotonic()
            kept = docker("logs", self.name, check=False)
            written = docker("diff", self.name, check=False).stdout.splitlines()
        finally:
            docker("rm", "--force", "--volumes", self.name, check=False)
            self._process.kill()
            self._process.wait()
        return Result(
            code=self._process.returncode,
            log=log,
            stderr=stderr,
            logs=kept.stdout + kept.stderr,
            output_file=self._files["GITHUB_OUTPUT"].read_text(encoding="utf-8"),
            summary=self._files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"),
            # "A /path" means added. The mount points don't come from the action.
            written=tuple(line for line in written if not line.split(" ", 1)[1].startswith("/github")),
            ended=ended,
        )


def _client_variables() -> dict[str, str]:
    """Return what the docker command itself needs. HOME is the container's here."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("DOCKER_")}
    return {"DOCKER_CONFIG": str(Path.home() / ".docker"), **kept}
