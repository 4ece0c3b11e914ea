"""`make bench`: what a person waits for, beside the script that the action replaces.

Everything runs in one go, one command after the other, so that all see the same machine. The action is a black box:
`python entrypoint.py`, and the image. The services are those of this repository, on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import Sandbox
from tests.support import docker_engine, docker_registry
from tools import pulumi_cli

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"
WORKFLOW = "deploy-sentry-mcp.yml"
BEFORE = "values:\n  region: eu-central-1  # not ours\n"
KEYS = ("SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG")
SECRET = KEYS[:3]
LATENCIES = (0.0, 0.1)
# The full CLI is three times as large as the one that is compiled from its ESC commands alone.
FULL_CLI = 80_000_000

# Stands before the real CLI on PATH, and notes each start.
_COUNTING = "#!/bin/sh\necho >>'{log}'\nexec '{real}' \"$@\"\n"
_TOUCH = "#!/bin/sh\nsed -i 's/^values:/values:\\n  touched: 1/' \"$1\"\n"


@dataclass
class Row:
    """All runs of one command under one condition; `seconds` is wall time, `memory` the peak of its own process."""

    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    counts: tuple[int, int, int] = (0, 0, 0)
    """CLI processes, requests to all services, new revisions."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        first, _, third = (
            statistics.quantiles(self.seconds, n=4, method="inclusive") if self.seconds[1:] else [self.median] * 3
        )
        processes, requests, revisions = self.counts
        return (
            f"{self.median:7.2f} s  ({first:.2f} to {third:.2f})  {processes} CLI processes, {requests} requests,"
            f" {revisions} revisions, {self.memory / 1e6:.0f} MB"
        )


class Bench:
    """The services, the CLI that counts its calls, and the commands that are measured."""

    def __init__(self, box: Sandbox, folder: Path, pulumi: Path) -> None:
        self.box, self.folder, self.pulumi = box, folder, pulumi
        self.rows: dict[str, Row] = {}
        self.log = folder / "calls"
        self.log.touch()
        for name in ("bin", "home", "tmp"):
            (folder / name).mkdir()
        self._program("pulumi", _COUNTING.format(log=self.log, real=pulumi))
        self._program("touch-definition", _TOUCH)
        box.esc.create(ENVIRONMENT, BEFORE)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, WORKFLOW)
        sentry = box.sentry
        values = (sentry.dsn, sentry.token, "a-webhook-secret", sentry.organization, sentry.project)
        self.values = dict(zip(KEYS, values, strict=True))

    def _program(self, name: str, text: str) -> None:
        (self.folder / "bin" / name).write_text(text, encoding="utf-8")
        (self.folder / "bin" / name).chmod(0o755)

    @property
    def synced(self) -> str:
        """A definition that holds our keys already."""
        secret = {key: f"{{fn::secret: {value}}}" for key, value in self.values.items() if key in SECRET}
        return BEFORE + "".join(f"  {key}: {secret.get(key, value)}\n" for key, value in self.values.items())

    def environ(self, **inputs: str) -> dict[str, str]:
        """Return the environment of a run of ours: by default with nothing besides the sync itself."""
        box = self.box
        every = {
            key.lower().replace("_slug", "-slug").replace("_", "-"): value for key, value in self.values.items()
        } | {
            "sentry-url": box.sentry.url,
            "esc-environment": ENVIRONMENT,
            "pulumi-access-token": box.esc.token,
            "pulumi-cloud-url": box.esc.url,
            "github-token": box.github.token,
            "preflight": "off",
            "tag-revision": "false",
            "deploy": "never",
            **{name.replace("_", "-"): value for name, value in inputs.items()},
        }
        return (
            self.plain
            | {f"INPUT_{name.upper()}": value for name, value in every.items()}
            | {
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": box.github.url,
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_RUN_ID": "17",
                "GITHUB_RUN_ATTEMPT": "1",
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            }
        )

    @property
    def plain(self) -> dict[str, str]:
        folder = self.folder
        return {"PATH": f"{folder}/bin:{os.defpath}", "HOME": f"{folder}/home", "TMPDIR": str(folder / "tmp")}

    @property
    def cli(self) -> dict[str, str]:
        """Return the environment of the script and of bare calls."""
        return (
            self.plain
            | self.values
            | {
                "PULUMI_ACCESS_TOKEN": self.box.esc.token,
                "PULUMI_BACKEND_URL": self.box.esc.url,
                "PULUMI_HOME": f"{self.folder}/home/.pulumi",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "ESC_ENVIRONMENT": ENVIRONMENT,
            }
        )

    def measure(self, name: str, command: Sequence[str], environ: Mapping[str, str], before: str | None = None) -> Row:
        """Run a command once, on an environment that holds `before`, and add the run to its row.

        Raises:
            RuntimeError: The command failed; the text is the end of its output.
        """
        if before is not None:
            self.box.esc.save(ENVIRONMENT, before)
        for server in self.box.servers:
            server.requests.clear()
        calls, revision = self.log.stat().st_size, self.box.esc.revision(ENVIRONMENT)
        with tempfile.TemporaryFile("w+") as said:
            started = time.perf_counter()
            child = subprocess.Popen(command, env=environ, stdout=said, stderr=said, text=True)  # noqa: S603 - ours
            ended, peaks = threading.Event(), [0]
            watcher = threading.Thread(target=_watch, args=(child.pid, ended, peaks))
            watcher.start()
            child.wait()
            took = time.perf_counter() - started
            ended.set()
            watcher.join()
            said.seek(0)
            if child.returncode != 0:
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{said.read()[-2000:]}")
        row = self.rows.setdefault(name, Row())
        row.seconds.append(took)
        row.memory = max(row.memory, *peaks)
        requests = sum(len(server.requests) for server in self.box.servers)
        row.counts = (self.log.stat().st_size - calls, requests, self.box.esc.revision(ENVIRONMENT) - revision)
        return row

    def commands(self, before: str = BEFORE) -> dict[str, Callable[[str], Row]]:
        """Return what is compared: each takes the row's name and runs once, on an environment that holds `before`."""
        ours = (sys.executable, str(ROOT / "entrypoint.py"))
        read = f"pulumi env get {ENVIRONMENT} --definition --show-secrets >/dev/null"
        edit = f"pulumi env edit {ENVIRONMENT} --editor touch-definition"
        everything = {"preflight": "enforce", "tag_revision": "true", "deploy": "always"}
        return {
            "the script": lambda row: self.measure(row, ("sh", str(ROOT / "benchmarks/script.sh")), self.cli, before),
            "one bare read": lambda row: self.measure(row, ("sh", "-ec", read), self.cli, before),
            "bare read, edit, read": lambda row: self.measure(
                row, ("sh", "-ec", f"{read}; {edit}; {read}"), self.cli, before
            ),
            "unchanged": lambda row: self.measure(row, ours, self.environ(), self.synced),
            "changed": lambda row: self.measure(row, ours, self.environ(), before),
            "changed, preflight, tag, dispatch": lambda row: self.measure(
                row, ours, self.environ(**everything), before
            ),
        }


def _watch(process: int, ended: threading.Event, peaks: list[int]) -> None:
    """Note the peak memory of a process until it ends, in bytes: `VmHWM` of proc(5).

    `ru_maxrss` of wait4(2) doesn't do: it begins with the memory of the process that started this one.
    """
    while not ended.wait(0.01):
        with contextlib.suppress(OSError):
            found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
            peaks.append(int(found[1]) * 1024 if found else 0)


def compare(bench: Bench, rounds: int) -> None:
    """Run all commands, one after the other, with nothing and with 100 ms added to each request."""
    for run in bench.commands().values():
        run("warm-up")  # the first use of an account signs in; the first start reads the disk
    del bench.rows["warm-up"]
    for latency in LATENCIES:
        for server in bench.box.servers:
            server.latency = latency
        for number in range(rounds):
            say(f"{latency * 1000:.0f} ms a request, round {number + 1} of {rounds}")
            for name, run in bench.commands().items():
                run(f"{name}, {latency * 1000:.0f} ms")
    for server in bench.box.servers:
        server.latency = 0.0


def grow(bench: Bench, environments: Sequence[int], keys: Sequence[int]) -> None:
    """Measure one run with many environments, and one with a large definition, beside the bare calls."""
    ours = (sys.executable, str(ROOT / "entrypoint.py"))
    for count in environments:
        say(f"{count} environments in one run")
        names = [f"acme/scale-{count}/environment-{number}" for number in range(count)]
        for name in names:
            bench.box.esc.create(name, BEFORE)
        environ = bench.environ(esc_environment="\n".join(names), timeout="600")
        for what in ("changed", "unchanged"):
            bench.measure(f"{count} environments, {what}", ours, environ)
    for count in keys:
        say(f"a definition of {count:,} keys")
        others = "".join(f"  KEY_{number:05d}: # others'\n    fn::secret: {'x' * 144}\n" for number in range(count))
        commands = bench.commands(BEFORE + others)
        for name in ("bare read, edit, read", "changed"):
            commands[name](f"{name}, {count:,} keys")


@contextlib.contextmanager
def empty_engine(folder: Path) -> Iterator[str]:
    """Run a Docker engine of our own, whose store is empty, and yield its address."""
    address = f"unix://{folder}/docker.sock"
    options = {
        "host": address, "data-root": folder / "data", "exec-root": folder / "exec", "pidfile": folder / "pid",
        "bridge": "none", "iptables": "false", "ip6tables": "false",
    }  # fmt: skip
    command = ["dockerd", *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - Docker's own
        try:
            while docker_engine.docker("--host", address, "info", check=False).returncode != 0:
                if engine.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()[-2000:])
                time.sleep(0.1)
            yield address
        finally:
            engine.terminate()
            engine.wait()
            # The engine leaves the namespace of host networking mounted.
            subprocess.run(["umount", folder / "exec" / "netns" / "default"], capture_output=True, check=False)  # noqa: S603, S607


def images(bench: Bench, rounds: int, before: str | None) -> None:
    """Pull, unpack and run the image, and another one beside it, from a registry on loopback into an empty store."""
    say("the image is built")
    docker_engine.provide_base_images()
    measured = {"the image": docker_engine.build_image()} | ({"the image before": before} if before else {})
    variables = bench.folder / "variables"
    given = bench.environ().items()
    variables.write_text("".join(f"{key}={value}\n" for key, value in given if key.startswith(("INPUT_", "GITHUB_"))))
    volume = f"{bench.folder}:{bench.folder}"
    # A path of its own: the engine's socket must be short, and its files are root's.
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, docker_registry.serve(Path(folder)) as registry:
        names = {what: f"{registry}/bench/{number}:1" for number, what in enumerate(measured)}
        for what, image in measured.items():
            docker_engine.docker("tag", image, names[what])
            docker_engine.docker("push", "--quiet", names[what])
        for number in range(rounds):
            for what, name in names.items():
                say(f"{what}, pulled into an empty store, round {number + 1} of {rounds}")
                engine_folder = Path(tempfile.mkdtemp(prefix="e-", dir=folder))
                with empty_engine(engine_folder) as address:
                    docker = ("docker", "--host", address)
                    bench.measure(f"{what}: pull and unpack", (*docker, "pull", "--quiet", name), dict(os.environ))
                    run = ("run", "--rm", "--network=host", f"--env-file={variables}", f"--volume={volume}", name)
                    bench.measure(f"{what}: docker run, unchanged", (*docker, *run), dict(os.environ), bench.synced)
                shutil.rmtree(engine_folder, ignore_errors=True)


def targets(rows: Mapping[str, Row]) -> list[tuple[str, float, float]]:
    """Return what was promised: the name, what was measured, and the most that it may be."""
    found: list[tuple[str, float, float]] = []
    for latency, unchanged, changed in (("0 ms", 1 / 6, 1 / 3), ("100 ms", 1 / 6, 0.3)):
        script = rows[f"the script, {latency}"].median
        found += [
            (f"unchanged beside the script, {latency}", rows[f"unchanged, {latency}"].median / script, unchanged),
            (f"changed beside the script, {latency}", rows[f"changed, {latency}"].median / script, changed),
        ]
    found += [
        ("CLI processes, unchanged", rows["unchanged, 0 ms"].counts[0], 1),
        ("CLI processes, changed", rows["changed, 0 ms"].counts[0], 3),
        ("memory, unchanged, in MB", rows["unchanged, 0 ms"].memory / 1e6, 40),
    ]
    large = "5,000 keys"  # 1 MB
    if f"changed, {large}" in rows:
        own = rows[f"changed, {large}"].median - rows[f"bare read, edit, read, {large}"].median
        found.append(("seconds beside the CLI's own, 1 MB of definition", own, 0.5))
    if "the image before: pull and unpack" in rows:
        waits = [sum(rows[f"{what}: {step}"].median for step in ("pull and unpack", "docker run, unchanged"))
                 for what in ("the image", "the image before")]  # fmt: skip
        found.append(("pull, unpack and unchanged sync beside the image before", waits[0] / waits[1], 0.75))
    return found


def page(rows: Mapping[str, Row], about: str) -> str:
    """Return docs/maintainers/performance.md: what a person waits for, in ten lines and a picture."""
    script, unchanged, changed = (rows[f"{name}, 0 ms"].median for name in ("the script", "unchanged", "changed"))
    lines = [
        "# What a person waits for\n",
        "<!-- Written by `make bench`: don't edit it by hand. -->\n",
        "![Median times](performance.svg)\n",
        f"- The script took {script:.2f} s. An unchanged sync took {unchanged:.2f} s, a changed one {changed:.2f} s.",
        "- With 100 ms added to each request: "
        + ", ".join(f"{name} {rows[f'{name}, 100 ms'].median:.2f} s" for name in ("the script", "unchanged", "changed"))
        + ".",
    ]
    for what in ("the image", "the image before"):
        if f"{what}: pull and unpack" in rows:
            pull, run = (rows[f"{what}: {step}"].median for step in ("pull and unpack", "docker run, unchanged"))
            lines.append(
                f"- Pull and unpack of {what} from a registry on this machine: {pull:.2f} s;"
                f" `docker run` to the end: {run:.2f} s."
            )
    counts = [int(name.partition(" ")[0]) for name in rows if name.endswith("environments, changed")]
    if counts:
        most = max(counts)
        seconds = rows[f"{most} environments, changed"].median, rows[f"{most} environments, unchanged"].median
        lines.append(f"- {most} environments in one run: {seconds[0]:.1f} s changed, {seconds[1]:.1f} s unchanged.")
    missed = [f"{name}: {is_:.2f} instead of {most:.2f}" for name, is_, most in targets(rows) if is_ > most]
    lines.append(f"- Targets that were missed: {'; '.join(missed) or 'none'}.")
    return "\n".join([*lines, f"- {about} Medians; `make bench` prints every row.", ""])


def picture(rows: Mapping[str, Row]) -> str:
    """Return a bar for each of the rows that a person waits for, as SVG."""
    shown = {name: rows[name].median for name in rows if name.endswith((" 0 ms", " 100 ms")) and "bare" not in name}
    scale, height = 300 / max(shown.values()), 26 * len(shown) + 10
    bars = "".join(
        f'<text x="300" y="{26 * number + 22}" text-anchor="end">{name}</text>'
        f'<rect x="310" y="{26 * number + 8}" width="{seconds * scale:.1f}" height="18" fill="#7553ff"/>'
        f'<text x="{316 + seconds * scale:.1f}" y="{26 * number + 22}">{seconds:.2f} s</text>'
        for number, (name, seconds) in enumerate(shown.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" font-family="sans-serif" font-size="14">'
        f'<rect width="700" height="{height}" fill="#fff"/>{bars}</svg>\n'
    )


def say(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each command (10)")
    parser.add_argument("--quick", action="store_true", help="the smallest measurement of each kind, without Docker")
    parser.add_argument("--image-before", metavar="IMAGE", help="an image of this engine to measure beside the new one")
    parser.add_argument("--to", type=Path, default=ROOT / "docs/maintainers", help="folder of the page and picture")
    chosen = parser.parse_args(arguments)
    pulumi = pulumi_cli.ensure()
    version = subprocess.run([pulumi, "version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    size = pulumi.resolve().stat().st_size
    kind = "the full one" if size > FULL_CLI else "the small one, compiled from the ESC commands alone"
    about = f"{os.cpu_count()} cores; Pulumi CLI {version} of {size / 1e6:.0f} MB ({kind})."
    say(about)
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        bench = Bench(box, Path(folder), pulumi)
        compare(bench, chosen.rounds)
        grow(
            bench,
            (1,) if chosen.quick else (1, 10, 50, 100),
            (10,) if chosen.quick else (10, 100, 1_000, 5_000, 20_000),
        )
        missing = "--quick" if chosen.quick else docker_engine.missing_engine()
        if missing:
            say(f"The image isn't measured: {missing}")
        else:
            images(bench, min(chosen.rounds, 3), chosen.image_before)
        rows = bench.rows
    for name, row in rows.items():
        print(f"{name:45} {row}")
    for name, is_, most in targets(rows):
        print(f"{'met   ' if is_ <= most else 'MISSED'}  {name}: {is_:.2f}, at most {most:.2f}")
    (chosen.to / "performance.md").write_text(page(rows, about), encoding="utf-8")
    (chosen.to / "performance.svg").write_text(picture(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
