"""`make bench`: measure what a person waits for, beside the script that the action replaces.

Everything runs in one go and in turns, so that all commands see the same machine. Run nothing else meanwhile. The
action is a black box: `python entrypoint.py`, and the image. The services are those of this repository, on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.merging import plan_and_merge
from benchmarks.page import LOADING, Counts, Row, page, picture, targets
from sandbox import Sandbox
from sophia_sync.sync.bundle import SENTRY_KEYS
from tests.support import docker_engine, docker_registry
from tests.support.action import Action
from tools import pulumi_cli

ROOT = Path(__file__).resolve().parents[1]
OURS = (sys.executable, str(ROOT / "entrypoint.py"))
# The imports that every sync in Python with these packages needs.
PACKAGES = (sys.executable, "-c", "import anyio._backends._asyncio, pydantic_settings, tenacity, yaml")
BEFORE = "values:\n  region: eu-central-1  # not ours\n"

# A wrapper that comes before the real CLI on PATH, and records each start.
_COUNTING = "#!/bin/sh\necho >>'{log}'\nexec '{real}' \"$@\"\n"
_PULUMI = re.compile(r"^FROM pulumi/.*$", re.MULTILINE)
_TOUCH = "#!/bin/sh\nsed -i 's/^values:/values:\\n  touched: 1/' \"$1\"\n"


class Bench:
    """The services, a CLI whose starts are counted, and the commands that are measured."""

    def __init__(self, box: Sandbox, folder: Path, pulumi: Path) -> None:
        self.box, self.folder = box, folder
        self.action = Action(box, pulumi, folder)
        self.rows: dict[str, Row] = {}
        self.starts = folder / "starts"
        self.starts.touch()
        for name, text in {"pulumi": _COUNTING.format(log=self.starts, real=pulumi), "touch": _TOUCH}.items():
            (folder / "bin" / name).write_text(text, encoding="utf-8")
            (folder / "bin" / name).chmod(0o755)
        self.action.create(BEFORE)
        values = (box.sentry.dsn, box.sentry.token, box.sentry.organization, box.sentry.project, "a-webhook-secret")
        self.values = dict(zip(SENTRY_KEYS, values, strict=True))

    @property
    def synced(self) -> str:
        """Return a definition that holds our keys already."""
        lines = [
            f"  {key}: {{fn::secret: {value}}}\n" if SENTRY_KEYS[key] else f"  {key}: {value}\n"
            for key, value in self.values.items()
        ]
        return BEFORE + "".join(lines)

    def ours(self, **inputs: str) -> dict[str, str]:
        """Return the environment of a run of the action. It only syncs, unless `inputs` say otherwise."""
        values = {key.lower(): value for key, value in self.values.items()}
        limits = {"timeout": "900", "github_token": self.box.github.token}
        return self.action.variables(self.action.inputs(**values, **limits, **inputs))

    @property
    def bare(self) -> dict[str, str]:
        """Return the environment of the script and of bare calls of the CLI."""
        ours = self.ours()
        return {name: ours[name] for name in ("PATH", "HOME", "TMPDIR")} | {
            **self.values,
            "PULUMI_ACCESS_TOKEN": self.box.esc.token,
            "PULUMI_BACKEND_URL": self.box.esc.url,
            "PULUMI_HOME": f"{self.folder}/home/.pulumi",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "ESC_ENVIRONMENT": self.action.environment,
        }

    def measure(self, name: str, command: Sequence[str], environ: Mapping[str, str], before: str | None = None) -> None:
        """Run a command once, on an environment that holds `before`, and add the run to its row.

        Raises:
            RuntimeError: The command failed; the text is the end of its output.
        """
        esc, environment = self.box.esc, self.action.environment
        if before is not None:
            esc.save(environment, before)
        for server in self.box.servers:
            server.requests.clear()
        starts, revision, peak = self.starts.stat().st_size, esc.revision(environment), 0
        with tempfile.TemporaryFile("w+") as printed:
            started = time.perf_counter()
            child = subprocess.Popen(command, env=environ, stdout=printed, stderr=printed)  # noqa: S603 - ours
            ended = os.pidfd_open(child.pid)
            while not select.select([ended], [], [], 0.01)[0]:
                peak = _peak_memory(child.pid) or peak
            took = time.perf_counter() - started
            os.close(ended)
            printed.seek(0)
            if child.wait() != 0:
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{printed.read()[-2000:]}")
        requests = sum(len(server.requests) for server in self.box.servers)
        counts = Counts(self.starts.stat().st_size - starts, requests, esc.revision(environment) - revision)
        self.add(name, took, peak, counts)

    def add(self, name: str, took: float, memory: int = 0, counts: Counts | None = None) -> None:
        """Add one run to its row, and print it."""
        row = self.rows.setdefault(name, Row())
        row.seconds.append(took)
        row.memory, row.counts = max(row.memory, memory), counts or row.counts
        say(f"{took:9.3f} s  {name}")

    def commands(self, before: str = BEFORE) -> dict[str, Callable[[str], None]]:
        """Return the commands to compare. Each takes its row's name, and runs once on an environment with `before`."""

        def bare(script: str) -> Callable[[str], None]:
            return lambda row: self.measure(row, ("sh", "-ec", script), self.bare, before)

        def ours(before: str, **inputs: str) -> Callable[[str], None]:
            return lambda row: self.measure(row, OURS, self.ours(**inputs), before)

        read = 'pulumi env get "$ESC_ENVIRONMENT" --definition --show-secrets >/dev/null'
        return {
            "the script": bare((ROOT / "benchmarks" / "script.sh").read_text(encoding="utf-8")),
            "one bare read": bare(read),
            "bare read, edit, read": bare(f'{read}\npulumi env edit "$ESC_ENVIRONMENT" --editor touch\n{read}'),
            "unchanged": ours(self.synced),
            "changed": ours(before),
            "changed, preflight, tag, dispatch": ours(
                before, preflight="enforce", tag_revision="true", deploy="always"
            ),
        }


def _peak_memory(process: int) -> int:
    """Return the peak memory of a process that runs, in bytes: `VmHWM` of proc(5).

    `ru_maxrss` of wait4(2) is no substitute: it begins with the memory of the process that started this one.
    """
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def compare(bench: Bench, rounds: int) -> None:
    """Run all commands in turns: without a delay, and with a delay of 100 ms for each request."""
    for run in bench.commands().values():
        run("warm-up")  # the first use of an account signs in; the first start reads the disk
    del bench.rows["warm-up"]
    for _ in range(rounds):
        for milliseconds in (0, 100):
            for server in bench.box.servers:
                server.latency = milliseconds / 1000
            for name, run in bench.commands().items():
                run(f"{name}, {milliseconds} ms")
        bench.measure(LOADING, PACKAGES, bench.ours())
    for server in bench.box.servers:
        server.latency = 0


def grow(bench: Bench, rounds: int) -> None:
    """Measure one run with many environments, and one with a large definition beside the bare calls."""
    for number in range(rounds):
        for count in (1, 10, 50, 100):
            names = [f"acme/scale-{count}-{number}/environment-{index}" for index in range(count)]
            for name in names:
                bench.box.esc.create(name, BEFORE)
            environ = bench.ours(esc_environment="\n".join(names))
            for what in ("changed", "unchanged"):
                bench.measure(f"{count} environments, {what}", OURS, environ)
        for count in (10, 100, 1_000, 5_000, 20_000):
            others = "".join(f"  KEY_{index:05d}: # others'\n    fn::secret: {'x' * 164}\n" for index in range(count))
            # A sync has a process of its own. This one also holds the local services.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                took = pool.submit(plan_and_merge, bench.values, BEFORE + others).result()
            bench.add(f"plan, merge and proof, {count:,} keys", took)
            commands = bench.commands(BEFORE + others)
            for name in ("bare read, edit, read", "changed"):
                commands[name](f"{name}, {count:,} keys")


def images(bench: Bench, rounds: int, former: str | None) -> None:
    """Pull, unpack and run the image, and the former one, from a registry on loopback into an empty store."""
    say("building the image")
    docker_engine.provide_base_images()
    measured = {"the image": docker_engine.build_image()} | (
        {"the former image": build_former(former)} if former else {}
    )
    variables = bench.folder / "variables"
    inputs = {key: value for key, value in bench.ours().items() if key.startswith(("INPUT_", "GITHUB_"))}
    variables.write_text("".join(f"{key}={value}\n" for key, value in inputs.items()), encoding="utf-8")
    # Keep the path short: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, docker_registry.serve(Path(folder)) as registry:
        names = {what: f"{registry}/bench/{number}:1" for number, what in enumerate(measured)}
        for what, image in measured.items():
            docker_registry.push(image, names[what])
        for _ in range(rounds):
            for what, name in names.items():
                with docker_engine.empty_engine(Path(folder)) as address:
                    docker = ("docker", "--host", address)
                    bench.measure(f"{what}: pull and unpack", (*docker, "pull", "--quiet", name), os.environ)
                    mount = f"--volume={bench.folder}:{bench.folder}"
                    run = (*docker, "run", "--rm", "--network=host", f"--env-file={variables}", mount, name)
                    bench.measure(f"{what}: docker run, unchanged", run, os.environ, bench.synced)


def build_former(commit: str) -> str:
    """Build the image of an earlier commit, with this one's Pulumi CLI. Return its id."""
    command = ("git", "archive", commit)
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603 - a commit of ours
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        dockerfile = Path(folder, "Dockerfile")
        [ours] = _PULUMI.findall((ROOT / "Dockerfile").read_text(encoding="utf-8"))
        text, found = _PULUMI.subn(ours, dockerfile.read_text(encoding="utf-8"))
        if not found:
            raise RuntimeError(f"the Dockerfile of {commit} takes no Pulumi CLI from an image")
        dockerfile.write_text(text, encoding="utf-8")
        return docker_engine.build_image(Path(folder), f"sentry-esc-sync:{commit}")


def about_images(former: str | None) -> str:
    """Return sentences about what the images are built on, and from which commit the former one is."""
    base = "gcr.io/distroless/python3-debian13:latest"
    digests = docker_engine.docker("image", "inspect", base, "--format", "{{json .RepoDigests}}").stdout
    said = [] if json.loads(digests) else ["The images' bases are stand-ins, made from the same Debian packages."]
    return " ".join([*said, *([f"The former image is that of commit {former}, with the same CLI."] if former else [])])


def describe(pulumi: Path) -> list[str]:
    """Return sentences about the CLI, the machine, and the limits of the figures."""
    version = subprocess.run([pulumi, "version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    size = pulumi.resolve().stat().st_size
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    made = ", compiled from Pulumi's modules" if pulumi.resolve().parent.name.startswith("module-") else ""
    return [
        f"The Pulumi CLI is {version} of {size / 1e6:.0f} MB{made}.",
        f"Machine: {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux "
        f"{platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start.",
        "Figures are medians of one run in turns, with the services on loopback. Run nothing else beside it.",
    ]


def say(text: str) -> None:
    """Print a line to standard error at once."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Measure, print every row and target, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each command (10; large ones: at most 3)")
    parser.add_argument("--former", metavar="COMMIT", help="measure the image of an earlier commit beside this one")
    parser.add_argument("--to", type=Path, default=ROOT / "docs/maintainers", help="folder of the page and picture")
    chosen = parser.parse_args(arguments)
    pulumi = pulumi_cli.ensure()
    about = describe(pulumi)
    say("\n".join(about))
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        bench = Bench(box, Path(folder), pulumi)
        compare(bench, chosen.rounds)
        grow(bench, min(chosen.rounds, 3))
        programs = [name for name in ("dockerd", "docker-registry") if shutil.which(name) is None]
        missing = docker_engine.missing_engine() or (programs and f"there is no {programs[0]}")
        if missing:
            say(f"The image isn't measured: {missing}")
        else:
            images(bench, min(chosen.rounds, 3), chosen.former)
            about[0] = f"{about[0]} {about_images(chosen.former)}".strip()
    for name, row in bench.rows.items():
        print(f"{name:45} {row}")
    for name, figure, most in targets(bench.rows):
        if figure is None:
            print(f"not measured  {name}")
        else:
            print(f"{'met   ' if figure <= most else 'MISSED'}  {name}: {figure:.3f}, at most {most:.3f}")
    (chosen.to / "performance.md").write_text(page(bench.rows, about), encoding="utf-8")
    (chosen.to / "performance.svg").write_text(picture(bench.rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
