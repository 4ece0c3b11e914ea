"""Run a workflow of this tree with act (github.com/nektos/act), in containers of this machine."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.docker_engine import ROOT, RUNNER_IMAGE, provide_base_images

OURS = "ai-cherry/sentry-esc-sync"
ACT = Path(sys.executable).with_name("act")


@dataclass(frozen=True)
class Run:
    """How a workflow's run ended. `entries` is act's log; a person sees the `msg` of each."""

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
        """Return everything that act shows, without the values that a runner is told to mask."""
        kept = [entry if entry.get("command") != "add-mask" else entry["msg"] for entry in self.entries]
        return json.dumps(kept, ensure_ascii=False) + self.stderr


def image_with_docker() -> str:
    """Use this machine's engine to build an image for jobs that run Docker and Git. Return its name."""
    provide_base_images()
    text = f"FROM {RUNNER_IMAGE}\nRUN apt-get update -qq && apt-get install -qq --yes docker-cli git openssh-client\n"
    command = ["docker", "build", "--quiet", "--tag", "sentry-esc-sync:job", "-"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=600)
    return "sentry-esc-sync:job"


def without_what_act_lacks(checkout: Path) -> None:
    """Rewrite the workflows for act: remove `queue`, and replace `$` by our repository's name."""
    for path in (checkout / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\n +queue: max\n", "\n", text)
        text = re.sub(r"uses: \$/(\S+)", rf"uses: {OURS}/\1@v1", text)
        path.write_text(text, encoding="utf-8")


def check_out(target: Path) -> None:
    """Copy this tree to `target` as one commit on `main`, with all uncommitted changes."""
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
    payload: Mapping[str, Any] | None = None,
    image: str = RUNNER_IMAGE,
    mounts: Sequence[str] = (),
    watch: Callable[[dict[str, Any]], None] = lambda _: None,
    timeout: float = 300,
) -> Run:
    """Run a workflow to its end.

    Args:
        checkout: The repository.
        workflow: The workflow's file name.
        event: What triggers it.
        secrets: The repository's and organization's secrets.
        variables: Their variables.
        environment: What the runner sets in every job.
        inputs: The inputs of `workflow_dispatch`.
        leg: The only leg of a matrix to run, `KEY:VALUE`.
        repositories: Checkouts of other repositories by their names in workflows, `OWNER/NAME@REF`.
        payload: The event, as GitHub describes it.
        image: The image that the jobs run in.
        mounts: Files and folders of this machine to mount in the jobs, `HERE:THERE`.
        watch: Gets each entry of act's log at once.
        timeout: The limit, in seconds of wall time.
    """
    with tempfile.TemporaryDirectory() as folder, _alone():
        # Jobs that install packages share a cache, and compile only what they import.
        installing = {"PIP_CACHE_DIR": "/var/cache/pip", "PIP_COMPILE": "0"}
        files = {"--secret-file": secrets, "--var-file": variables, "--env-file": {**environment, **installing}}
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
        if payload is not None:
            Path(folder, "event.json").write_text(json.dumps(payload), encoding="utf-8")
            options += ["--eventpath", str(Path(folder, "event.json"))]
        if mounts:
            cache = Path(tempfile.gettempdir(), "sentry-esc-sync-act-pip")  # the jobs write to it as root
            cache.mkdir(exist_ok=True)
            volumes = [*mounts, f"{cache}:/var/cache/pip"]
            options += ["--container-options", " ".join(f"--volume {mount}" for mount in volumes)]
        command = [str(ACT), event, "--workflows", f".github/workflows/{workflow}", *options]
        for system in ("ubuntu-24.04", "ubuntu-latest"):
            command += ["--platform", f"{system}={image}"]
        command += ["--pull=false", "--rm", "--no-cache-server", "--json"]
        return _watched(command, checkout, Path(folder), watch, timeout)


def _watched(
    command: list[str], checkout: Path, folder: Path, watch: Callable[[dict[str, Any]], None], timeout: float
) -> Run:
    entries = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
        subprocess.Popen(
            command, cwd=checkout, env=_environment(folder), stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as act,
    ):
        limit = threading.Timer(timeout, act.kill)
        limit.start()
        try:
            assert act.stdout is not None
            for line in act.stdout:
                entries.append(json.loads(line))
                watch(entries[-1])
            code = act.wait()
        finally:
            limit.cancel()
            act.kill()
        stderr.seek(0)
        return Run(code, tuple(entries), stderr.read())


def _environment(folder: Path) -> dict[str, str]:
    """Return act's own environment, without this user's configuration. None of its variables reaches the job."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("DOCKER_")}
    home = {name: str(folder) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    return {"DOCKER_CONFIG": str(Path.home() / ".docker"), **kept, **home}


@contextmanager
def _alone() -> Iterator[None]:
    """Allow one run at a time: act names its containers after the workflow, so two runs would take each other's."""
    with Path(tempfile.gettempdir(), "sentry-esc-sync-act.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
