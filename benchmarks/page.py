"""Compare the measurements of `make bench` with the targets, and render them as one page with a picture."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

ONE_MB = "plan, merge and proof, 5,000 keys"
HUNDRED = "100 environments, changed"
LOADING = "Python and its packages alone"


class Counts(NamedTuple):
    """What one run of a command used: starts of the CLI, requests to all services, new ESC revisions."""

    processes: int = 0
    requests: int = 0
    revisions: int = 0


@dataclass
class Row:
    """All runs of one command under one condition; `memory` is the peak of its own process, in bytes."""

    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    counts: Counts = field(default_factory=Counts)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        several = self.seconds if len(self.seconds) > 1 else self.seconds * 2
        first, _, third = statistics.quantiles(several, n=4, method="inclusive")
        used = ", ".join(f"{value} {name}" for name, value in self.counts._asdict().items())
        return f"{self.median:7.3f} s  ({first:.3f} to {third:.3f})  {used}, {self.memory / 2**20:.1f} MiB"


def waits(rows: Mapping[str, Row]) -> dict[str, float]:
    """Return the seconds to pull, unpack and run each image that was measured."""
    return {
        image: rows[f"{image}: pull and unpack"].median + rows[f"{image}: docker run, unchanged"].median
        for image in ("the image", "the former image")
        if f"{image}: pull and unpack" in rows
    }


def targets(rows: Mapping[str, Row]) -> list[tuple[str, float | None, float]]:
    """Return each target: its name, its figure, and its limit. The figure is None if it wasn't measured."""
    found: list[tuple[str, float | None, float]] = []
    for added, unchanged, changed in (("0 ms", 1 / 6, 1 / 3), ("100 ms", 1 / 6, 0.3)):
        script = rows[f"the script, {added}"].median
        found.append((f"unchanged / the script, {added}", rows[f"unchanged, {added}"].median / script, unchanged))
        found.append((f"changed / the script, {added}", rows[f"changed, {added}"].median / script, changed))
    found.append(("CLI processes, unchanged", rows["unchanged, 0 ms"].counts.processes, 1))
    found.append(("CLI processes, changed", rows["changed, 0 ms"].counts.processes, 3))
    found.append(("MiB of memory, unchanged", rows["unchanged, 0 ms"].memory / 2**20, 40))
    found.append(("seconds to plan, merge and prove 1 MB", rows[ONE_MB].median if ONE_MB in rows else None, 0.5))
    slope = rows[HUNDRED].median / rows["50 environments, changed"].median if HUNDRED in rows else None
    found.append(("100 environments / 50, changed", slope, 2.2))
    seconds = waits(rows)
    share = seconds["the image"] / seconds["the former image"] if len(seconds) == 2 else None
    found.append(("pull, unpack and sync / those of the former image", share, 0.75))
    return found


def page(rows: Mapping[str, Row], about: Sequence[str]) -> str:
    """Return docs/maintainers/performance.md: what a person waits for, in ten lines and a picture."""
    lines = []
    for added in ("0 ms", "100 ms"):
        names = ("the script", "unchanged", "changed", "changed, preflight, tag, dispatch")
        script, unchanged, changed, everything = (rows[f"{name}, {added}"].median for name in names)
        lines.append(
            f"With {added} added to each request, the script takes {script:.2f} s, a sync {unchanged:.2f} s if nothing "
            f"changed, {changed:.2f} s if all keys changed, {everything:.2f} s with preflight, tag and dispatch."
        )
    pulls = [
        f"{seconds:.2f} s with {image}, {rows[f'{image}: pull and unpack'].median:.2f} s of it for the pull"
        for image, seconds in waits(rows).items()
    ]
    if pulls:
        lines.append(f"Pull, unpack and an unchanged sync take {'; '.join(pulls)}.")
    if HUNDRED in rows:
        unchanged = rows["100 environments, unchanged"].median
        lines.append(f"100 environments in one run: {rows[HUNDRED].median:.1f} s changed, {unchanged:.1f} s unchanged.")
    if ONE_MB in rows:
        lines.append(f"Plan, merge and proof of a definition of 1 MB: {rows[ONE_MB].median:.2f} s.")
    if LOADING in rows:
        lines.append(
            f"Of a sync, one bare read by the CLI takes {rows['one bare read, 0 ms'].median:.2f} s, and Python's start "
            f"with its packages {rows[LOADING].median:.2f} s. A sync's own memory peaks at "
            f"{rows['unchanged, 0 ms'].memory / 2**20:.1f} MiB."
        )
    missed = [
        f"{name}: {figure:.3f}, at most {most:.3f}"
        for name, figure, most in targets(rows)
        if figure is not None and figure > most
    ]
    unknown = [name for name, figure, _ in targets(rows) if figure is None]
    lines.append(
        (f"Targets missed: {'; '.join(missed)}." if missed else "All targets that were measured are met.")
        + (f" Not measured: {'; '.join(unknown)}." if unknown else "")
    )
    lines += about
    bullets = "\n".join(textwrap.fill(line, 120, initial_indent="- ", subsequent_indent="  ") for line in lines)
    comment = "<!-- Written by `make bench`: don't edit it by hand. -->"
    return f"# What a person waits for\n\n{comment}\n\n![Median times](performance.svg)\n\n{bullets}\n"


def picture(rows: Mapping[str, Row]) -> str:
    """Return a bar chart of the waits, as SVG."""
    shown = {name: rows[name].median for name in rows if name.endswith((" 0 ms", " 100 ms")) and "bare" not in name}
    shown |= {f"{image}, pulled and run": seconds for image, seconds in waits(rows).items()}
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
