"""The Docker engine, and the images that the tests build and run."""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAG = "sentry-esc-sync:test"
# The image that a workflow's job runs in; tools/standin_images.sh provides it under this name.
RUNNER_IMAGE = "node:24-trixie-slim"


def docker(
    *arguments: str, timeout: float = 600, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Docker CLI command. `timeout` is in seconds; `env` is added to our environment."""
    environment = os.environ | (env or {})
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check, env=environment)


@functools.cache
def missing_engine() -> str | None:
    """Return why containers can't run here; None if they can."""
    try:
        answer = docker("info", "--format", "{{.OSType}}", timeout=30, check=False)
    except FileNotFoundError:
        return "there is no docker command"
    except subprocess.TimeoutExpired:
        return "the Docker engine doesn't answer"
    if answer.returncode != 0:
        return f"no Docker engine: {answer.stderr.strip().splitlines()[-1]}"
    return None if answer.stdout.strip() == "linux" else "the Docker engine doesn't run Linux containers"


def provide_base_images() -> None:
    """Pull the images that the Dockerfile and the workflow tests build on, or make stand-ins.

    Raises:
        subprocess.CalledProcessError: Neither worked; the script says why on stderr.
    """
    environment = os.environ | {"PYTHON": sys.executable, "ACT_RUNNER_IMAGE": RUNNER_IMAGE}
    subprocess.run([ROOT / "tools" / "standin_images.sh"], env=environment, timeout=900, check=True)


def build_image(tree: Path = ROOT, tag: str = TAG) -> str:
    """Build a tree's Dockerfile. Return the image's id: unlike a tag, no other build can move it.

    Raises:
        AssertionError: The build failed; the text ends with the end of Docker's output.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "id")
        built = docker("build", "--tag", tag, "--iidfile", str(written), str(tree), check=False)
        assert built.returncode == 0, f"docker build failed:\n{(built.stdout + built.stderr)[-4000:]}"
        return written.read_text()


@contextlib.contextmanager
def empty_engine(parent: Path) -> Iterator[str]:
    """Run a separate Docker engine with an empty store; yield its address. Its files are below `parent`.

    It shares the bridge of this machine's engine: an engine without a bridge would remove it. It changes no firewall
    rules.

    Raises:
        RuntimeError: It doesn't start; the text is the end of its log.
    """
    folder = Path(tempfile.mkdtemp(dir=parent))
    address = f"unix://{folder}/docker.sock"
    options = {
        "host": address, "data-root": folder / "data", "exec-root": folder / "exec", "pidfile": folder / "pid",
        "iptables": "false", "ip6tables": "false", "ip-forward": "false", "ip-masq": "false",
    }  # fmt: skip
    command = ["dockerd", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while docker("--host", address, "info", check=False).returncode != 0:
            if engine.poll() is not None:
                raise RuntimeError((folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        yield address
    finally:
        engine.terminate()
        engine.wait()
        # The engine leaves the namespace of host networking mounted.
        subprocess.run(["umount", folder / "exec" / "netns" / "default"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
