"""How long a command takes, how much memory its own process, and what it asks of the services."""

from __future__ import annotations

import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import ENVIRONMENT, Contender, Place

LATENCIES = (0.0, 0.1)
"""Seconds added to each request."""


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        seconds: Wall time.
        memory: The peak of the command's own process, without its children, in bytes.
        processes: Starts of the Pulumi CLI.
        requests: To all services.
        revisions: New ones of the environment.
    """

    seconds: float
    memory: int
    processes: int
    requests: int
    revisions: int


@dataclass(frozen=True)
class Row:
    """All runs of a contender at one latency."""

    contender: str
    latency: float
    samples: tuple[Sample, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Seconds, between which half of the runs lie."""
        seconds = sorted(sample.seconds for sample in self.samples)
        if len(seconds) < 2:
            return seconds[0], seconds[0]
        first, _, third = statistics.quantiles(seconds, n=4, method="inclusive")
        return first, third

    @property
    def memory(self) -> int:
        """Bytes, the most of all runs."""
        return max(sample.memory for sample in self.samples)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Processes, requests and revisions, which are the same in every run.

        Raises:
            ValueError: They aren't.
        """
        [found] = {(sample.processes, sample.requests, sample.revisions) for sample in self.samples}
        return found


def _peak(process: int) -> int:
    """The peak of a process's memory so far, in bytes (`VmHWM` of proc(5)); 0 where there is no such file."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def run(place: Place, contender: Contender) -> Sample:
    """Run a contender once.

    Raises:
        RuntimeError: It failed; the text is what it said last.
    """
    place.prepare(contender)
    box = place.box
    calls, revision = place.calls, box.esc.revision(ENVIRONMENT)
    for server in box.servers:
        server.requests.clear()
    ended, peak = threading.Event(), 0

    def watch(process: int) -> None:
        nonlocal peak
        while not ended.wait(0.01):
            peak = max(peak, _peak(process))

    started = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603 - the contenders' commands
        contender.command, env=contender.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watcher = threading.Thread(target=watch, args=(child.pid,))
    watcher.start()
    said, _ = child.communicate()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    if child.returncode != 0:
        raise RuntimeError(f"{contender.name} ended with {child.returncode}:\n{said[-2000:]}")
    requests = sum(len(server.requests) for server in box.servers)
    return Sample(seconds, peak, place.calls - calls, requests, box.esc.revision(ENVIRONMENT) - revision)


def interleaved(
    place: Place, rounds: int, latencies: Sequence[float] = LATENCIES, shown: Callable[[str], None] = lambda _: None
) -> Iterable[Row]:
    """Measure all contenders, one run of each after the other, round by round."""
    contenders = place.contenders()
    # Once unmeasured: the first use of an account signs in, the first start reads the disk.
    for contender in contenders:
        run(place, contender)
    for latency in latencies:
        for server in place.box.servers:
            server.latency = latency
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        for number in range(rounds):
            for contender in contenders:
                shown(f"{latency * 1000:.0f} ms, round {number + 1} of {rounds}: {contender.name}")
                samples[contender.name].append(run(place, contender))
        for server in place.box.servers:
            server.latency = 0.0
        yield from (Row(name, latency, tuple(found)) for name, found in samples.items())
