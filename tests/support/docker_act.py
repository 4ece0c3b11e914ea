"""A workflow of this tree, run by act (github.com/nektos/act) in containers of this machine."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.docker_engine import ROOT, RUNNER_IMAGE

ACT = Path(sys.executable).with_name("act")


@dataclass(frozen=True)
class Run:
    """How a workflow's run ended. `entries` is act's log: what a person sees of each is its `msg`."""

    code: int
    entries: tuple[dict[str, Any], ...]
    stderr: str

    @property
    def text(self) -> str:
        return "\n".join(str(entry.get("msg", "")) for entry in self.entries)

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of all steps."""
        found = (entry for entry in self.entries if entry.get("command") == "set-output")
        return {entry["name"]: entry["arg"] for entry in found}

    @property
    def summary(self) -> str:
        return "\n".join(entry["content"] for entry in self.entries if entry.get("command") == "summary")

    @property
    def errors(self) -> list[str]:
        return [entry["arg"] for entry in self.entries if entry.get("command") == "error"]

    def visible(self) -> str:
        """Everything that act gives away, less what a runner is told to mask."""
        kept = [entry if entry.get("command") != "add-mask" else entry["msg"] for entry in self.entries]
        return json.dumps(kept, ensure_ascii=False) + self.stderr


def check_out(target: Path) -> None:
    """A checkout of this tree as it is now, changes that are not committed included: one commit on `main`."""
    listing = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listing.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    _git(target, "init", "--quiet", "--initial-branch=main")
    _git(target, "add", "--all")
    author = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false")
    _git(target, *author, "commit", "--quiet", "--message=The tree under test")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout


def run(
    checkout: Path,
    workflow: str,
    event: str,
    *,
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    inputs: Mapping[str, str] | None = None,
    leg: str | None = None,
    repositories: Mapping[str, Path] | None = None,
    timeout: float = 300,
) -> Run:
    """Run a workflow to its end; seconds are wall time.

    Args:
        checkout: The repository.
        workflow: The workflow's file name.
        event: What triggers it.
        secrets: The repository's and organisation's secrets.
        variables: Their variables.
        environment: What the runner sets in every job.
        inputs: Those of `workflow_dispatch`.
        leg: The only one of a matrix that is run, `KEY:VALUE`.
        repositories: Checkouts of other repositories by what workflows call them, `OWNER/NAME@REF`.
        timeout: Seconds that it may take.
    """
    with tempfile.TemporaryDirectory() as folder, _alone():
        files = {"--secret-file": secrets, "--var-file": variables, "--env-file": environment}
        options: list[str] = []
        for option, values in files.items():
            path = Path(folder, option.strip("-"))
            path.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()), encoding="utf-8")
            options += [option, str(path)]
        for name, value in (inputs or {}).items():
            options += ["--input", f"{name}={value}"]
        for name, folder_of in (repositories or {}).items():
            options += ["--local-repository", f"{name}={folder_of}"]
        options += ["--matrix", leg] if leg else []
        command = [str(ACT), event, "--workflows", f".github/workflows/{workflow}", *options]
        for system in ("ubuntu-24.04", "ubuntu-latest"):
            command += ["--platform", f"{system}={RUNNER_IMAGE}"]
        command += ["--pull=false", "--rm", "--no-cache-server", "--json"]
        return _ended(command, checkout, Path(folder), timeout)


def _ended(command: list[str], checkout: Path, folder: Path, timeout: float) -> Run:
    act = subprocess.run(
        command,
        cwd=checkout,
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Run(act.returncode, tuple(map(json.loads, act.stdout.splitlines())), act.stderr)


def _environment(folder: Path) -> dict[str, str]:
    """What act itself sees: nothing of this user's configuration, and none of its variables reaches the job."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("DOCKER_")}
    home = {name: str(folder) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    return {"DOCKER_CONFIG": str(Path.home() / ".docker"), **kept, **home}


@contextmanager
def _alone() -> Iterator[None]:
    """Act names its containers after the workflow: two runs at once would take each other's."""
    with Path(tempfile.gettempdir(), "sentry-esc-sync-act.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
