"""How the costs grow: with the size of a definition, with the number of environments; and what a container adds."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from benchmarks.contenders import BEFORE, Contender, Place
from benchmarks.measure import run
from sophia_sync.bundle import Bundle, Entry
from sophia_sync.esc.definition import parse
from sophia_sync.esc.merge import Change, merge
from sophia_sync.esc.shown import Shown, holding
from sophia_sync.plan import make_plan
from tests.support import docker_engine

KEYS = (10, 100, 1_000, 5_000, 20_000)
ENVIRONMENTS = (1, 10, 50, 100)


@dataclass(frozen=True)
class Large:
    """Plan, merge and proof of a definition; `seconds` is a median."""

    keys: int
    size: int
    seconds: float


@dataclass(frozen=True)
class Several:
    """One run that changes several environments, and one that finds nothing to do; seconds and bytes."""

    environments: int
    changed: float
    unchanged: float
    memory: int


@dataclass(frozen=True)
class Container:
    """The image, in bytes, and an unchanged sync in it beside the same outside, in seconds (medians)."""

    image: int
    base: int
    binary: int
    inside: float
    outside: float


def definition(keys: int, secret: str) -> str:
    """A definition of about 200 bytes a key, with `secret` in each."""
    rows = [f"  KEY_{number:05d}: # what it is for\n    fn::secret: {secret}\n" for number in range(keys)]
    return "values:\n" + "".join(rows)


def large(keys: int, repeats: int) -> Large:
    """Time what a sync does with a definition as the CLI shows it, and as ESC stores it."""
    shown = Shown(definition(keys, "x" * 144), {})
    stored = definition(keys, "{ciphertext: " + "QkJC" * 33 + "}")
    names = ("SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET", "SENTRY_PROJECT_SLUG")
    bundle = Bundle(tuple(Entry(name, SecretStr("value"), secret="SLUG" not in name) for name in names))
    gc.set_threshold(100_000)  # as entrypoint.py has it
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        plan = make_plan(bundle, holding(shown, bundle.names))
        changes = [Change(entry.name, entry.value, entry.secret) for entry in bundle.entries]
        merge(parse(stored), changes)
        took.append(time.perf_counter() - started)
        if len(plan.changed) != len(names):
            raise ValueError("the definition holds our keys already")
    return Large(keys, len(stored), statistics.median(took))


def several(place: Place, count: int) -> Several:
    """Sync new environments in one run, and then once more."""
    names = [f"acme/scale-{count}/environment-{number}" for number in range(count)]
    for name in names:
        place.box.esc.create(name, BEFORE)
    [ours] = [contender for contender in place.contenders() if contender.name == "changed"]
    contender = Contender(
        f"{count} environments", ours.command, place.inputs(esc_environment="\n".join(names), timeout="600")
    )
    first, second = run(place, contender), run(place, contender)
    return Several(count, first.seconds, second.seconds, max(first.memory, second.memory))


def container(place: Place, repeats: int, shown: Callable[[str], None]) -> Container | str:
    """The image's size, and what `docker run` adds; or why that can't be measured here."""
    missing = docker_engine.missing_engine()
    if missing:
        return missing
    shown("the image is built")
    docker_engine.provide_base_images()
    image = docker_engine.build_image()
    [outside] = [contender for contender in place.contenders() if contender.name == "unchanged"]
    variables = place.folder / "container.env"
    given = {name: value for name, value in outside.environ.items() if name.startswith(("INPUT_", "GITHUB_"))}
    variables.write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
    files = f"{place.folder}:{place.folder}"  # the outputs and the summary
    command = ("docker", "run", "--rm", "--network", "host", "--env-file", str(variables), "--volume", files, image)
    inside = Contender("container", command, place.docker, is_synced=True)
    times: dict[str, list[float]] = {inside.name: [], outside.name: []}
    for _ in range(repeats):
        for contender in (inside, outside):
            shown(f"an unchanged sync: {contender.name}")
            times[contender.name].append(run(place, contender).seconds)
    count = "import os; print(os.path.getsize('/usr/local/bin/pulumi'))"
    binary = docker_engine.docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", count)
    dockerfile = (docker_engine.ROOT / "Dockerfile").read_text(encoding="utf-8")
    [base] = re.findall(r"^FROM (\S+)$", dockerfile, re.MULTILINE)
    return Container(
        _image_size(image),
        _image_size(base),
        int(binary.stdout),
        statistics.median(times[inside.name]),
        statistics.median(times[outside.name]),
    )


def _image_size(image: str) -> int:
    return int(docker_engine.docker("image", "inspect", "--format", "{{.Size}}", image).stdout)


def machine() -> str:
    """The processor, its cores and the memory, as Linux tells them."""
    processor = re.search(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    cores = len(re.findall(r"^processor\s*:", _text("/proc/cpuinfo"), re.MULTILINE))
    memory = re.search(r"^MemTotal:\s+(\d+)", _text("/proc/meminfo"), re.MULTILINE)
    gigabytes = int(memory[1]) / 2**20 if memory else 0
    return f"{processor[1] if processor else 'an unknown processor'}, {cores} cores, {gigabytes:.0f} GiB"


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
