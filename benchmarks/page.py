"""The figures as a person reads them: docs/performance.md and its plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Row
from benchmarks.scale import Container, Large, Several

_TOLD = {
    "script": "the document's script: `pulumi login`, five `env set`, five `env get`",
    "unchanged": "ours, nothing to do",
    "changed": "ours, all five keys new",
    "changed, preflight, tag, deploy": "the same with preflight, revision tag and dispatch",
    "read": "one bare `pulumi env get --definition --show-secrets`",
    "edit": "one bare `pulumi env edit`",
    "P": "P: Python, `import pydantic_settings` and nothing else",
    "pydantic": "Python, pydantic and nothing else",
}


_ABOUT_TIME = [
    "An unchanged sync is Python's start, one call of the CLI, and little else. Most of the start is the import of the",
    "library that checks the inputs. What was done about it, by what it saves:",
    "",
    "- The inputs are a model of pydantic's own, which reads the environment as well as `pydantic-settings` does; the",
    "  difference of the last two rows is what that library costs.",
    "- What comes after the first read (PyYAML, tenacity, the plan, the report) is loaded while the CLI reads, and",
    "  PyGithub and requests where a deploy or a preflight is due.",
    "- pydantic looks for no plug-ins, and doesn't load what it would look for them with; Python searches for garbage",
    "  every 100,000 objects instead of every 700, lets a thread wait for another half a millisecond at most instead",
    "  of five, and ends without taking itself apart; the CLI, a Go program, collects its garbage a quarter as often.",
    "- The CLI is told its default organisation, so that it doesn't ask for it, and its editor is a line of `sh`.",
]


@dataclass(frozen=True)
class Target:
    """What is to be reached: a figure, the most that it may be, and its unit."""

    what: str
    found: float
    most: float
    unit: str = "s"

    @property
    def is_met(self) -> bool:
        return self.found <= self.most

    def row(self) -> str:
        """A line of the table."""
        met = "yes" if self.is_met else "**no**"
        return f"| {self.what} | {self.found:.2f} {self.unit} | {self.most:.2f} {self.unit} | {met} |"


def targets(rows: Sequence[Row], definitions: Iterable[Large], image: Container | str) -> list[Target]:
    """All that was asked for, with what was measured."""
    by = {(row.contender, row.latency): row for row in rows}
    found = []
    shares = {0.0: (1 / 4, 0.40), 0.1: (1 / 6, 0.36)}
    for latency in sorted({row.latency for row in rows}):
        script, unchanged, changed, read, edit, start = (
            by[name, latency].median for name in ("script", "unchanged", "changed", "read", "edit", "P")
        )
        at = f"at {latency * 1000:.0f} ms"
        less, more = shares[latency]
        found += [
            Target(f"unchanged, {at}: read + 1.0 P", unchanged, read + start),
            Target(f"unchanged, {at}: {less:.0%} of the script", unchanged, less * script),
            Target(f"changed, {at}: 2 reads + edit + 1.1 P", changed, 2 * read + edit + 1.1 * start),
            Target(f"changed, {at}: {more:.0%} of the script", changed, more * script),
        ]
        found += [
            Target(f"{name}, {at}: {what}", by[name, latency].counts[number], most, "")
            for name, number, what, most in (
                ("unchanged", 0, "CLI processes", 1),
                ("unchanged", 2, "revisions", 0),
                ("changed", 0, "CLI processes", 3),
                ("changed", 2, "revisions", 1),
            )
        ]
        deploys = by["changed, preflight, tag, deploy", latency]
        found += [
            Target(f"unchanged, {at}: memory", by["unchanged", latency].memory / 1e6, 60, "MB"),
            Target(f"with a dispatch, {at}: memory", deploys.memory / 1e6, 90, "MB"),
        ]
    found += [
        Target("plan, merge and proof of 5,000 keys", entry.seconds, 0.5)
        for entry in definitions
        if entry.keys == 5_000
    ]
    if isinstance(image, Container):
        most = (image.base + image.binary + 45_000_000) / 1e6
        found += [
            Target("image: base + `pulumi` + 45 MB", image.image / 1e6, most, "MB"),
            Target("`docker run`, unchanged: as outside + 0.6 s", image.inside, image.outside + 0.6),
        ]
    return found


def page(
    rows: Sequence[Row],
    definitions: Sequence[Large],
    many: Sequence[Several],
    image: Container | str,
    about: str,
) -> str:
    """The page docs/performance.md."""
    rounds = len(rows[0].samples)
    lines = [
        "# What a sync costs",
        "",
        "<!-- Written by `make bench`: don't edit it by hand. -->",
        "",
        f"{about}",
        "",
        f"All rows were measured in one run, one command after the other, {rounds} rounds; the services are those of",
        "this repository, on loopback, with nothing or 100 ms added to each request. Times are medians.",
        "",
        "![Median times](performance.svg)",
        "",
        "| | added | time | quartiles | CLI processes | requests | revisions | memory of the process |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.quartiles
        counts = " | ".join(map(str, row.counts))
        lines.append(
            f"| {_TOLD[row.contender]} | {row.latency * 1000:.0f} ms | {row.median:.2f} s | {low:.2f} to {high:.2f} s "
            f"| {counts} | {row.memory / 1e6:.0f} MB |"
        )
    lines += ["", "## Targets", "", "| | measured | at most | met |", "|---|---|---|---|"]
    lines += [target.row() for target in targets(rows, definitions, image)]
    lines += ["", _share_of_python(rows)]
    lines += ["", "## Where the time goes", "", *_ABOUT_TIME]
    lines += ["", "## Large definitions", "", "Plan, merge and proof together.", ""]
    lines += ["| keys | size | time | a key |", "|---|---|---|---|"]
    lines += [
        f"| {entry.keys:,} | {entry.size / 1e6:.2f} MB | {entry.seconds:.3f} s "
        f"| {entry.seconds / entry.keys * 1e6:.0f} µs |"
        for entry in definitions
    ]
    lines += ["", "## Several environments", "", "One run each, up to eight environments at a time.", ""]
    lines += [
        "| environments | all changed | each | none changed | each | memory of the process |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {entry.environments} | {entry.changed:.2f} s | {entry.changed / entry.environments * 1e3:.0f} ms "
        f"| {entry.unchanged:.2f} s | {entry.unchanged / entry.environments * 1e3:.0f} ms "
        f"| {entry.memory / 1e6:.0f} MB |"
        for entry in many
    ]
    if len(many) > 1:
        lines += ["", f"{_line(many)}"]
    lines += ["", "## The image", ""]
    if isinstance(image, Container):
        lines += [
            f"{image.image / 1e6:.1f} MB: the base image has {image.base / 1e6:.1f}, the `pulumi` binary "
            f"{image.binary / 1e6:.1f}, all else {(image.image - image.base - image.binary) / 1e6:.1f}. "
            f"An unchanged sync takes {image.inside:.2f} s by `docker run`, {image.outside:.2f} s outside.",
        ]
    else:
        lines += [f"Not measured: {image}."]
    return "\n".join(lines) + "\n"


def _share_of_python(rows: Sequence[Row]) -> str:
    """What the shares of the script leave for all that isn't a call of the CLI, without added time."""
    script, read, edit, start = (
        next(row.median for row in rows if (row.contender, row.latency) == (name, 0.0))
        for name in ("script", "read", "edit", "pydantic")
    )
    return (
        f"The script's shares depend on the CLI: the faster it starts, the less they leave for Python. Without added "
        f"time, 25% of the script less one read leave {script / 4 - read:.2f} s, 40% less two reads and an edit "
        f"{0.4 * script - 2 * read - edit:.2f} s; Python and pydantic alone take {start:.2f} s."
    )


def _line(many: Sequence[Several]) -> str:
    """The straight line that the times of several environments lie on, by least squares, and how well they do."""
    counts = [entry.environments for entry in many]
    parts = []
    for name, seconds in (
        ("all changed", [entry.changed for entry in many]),
        ("none changed", [entry.unchanged for entry in many]),
    ):
        slope, start = statistics.linear_regression(counts, seconds)
        share = statistics.correlation(counts, seconds) ** 2
        parts.append(f"{name}, {start:.2f} s and {slope * 1e3:.0f} ms for each environment (R² = {share:.4f})")
    return f"The curve is a straight line: {'; '.join(parts)}."


def plot(rows: Sequence[Row]) -> str:
    """The median times as bars, as SVG; whiskers are the quartiles."""
    longest = max(row.quartiles[1] for row in rows)
    scale, left, height = 520 / longest, 250, 22
    parts = []
    for number, row in enumerate(rows):
        y = 30 + number * height + (18 if row.latency else 0)
        low, high = (left + value * scale for value in row.quartiles)
        colour = "#6c5fc7" if row.contender.startswith(("unchanged", "changed")) else "#9aa5b1"
        parts.append(
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{row.contender}, +{row.latency * 1000:.0f} ms</text>'
            f'<rect x="{left}" y="{y}" width="{row.median * scale:.1f}" height="15" fill="{colour}"/>'
            f'<path d="M{low:.1f} {y + 7.5}H{high:.1f}" stroke="#222" stroke-width="2"/>'
            f'<text x="{max(high, left + row.median * scale) + 6:.1f}" y="{y + 12}">{row.median:.2f} s</text>'
        )
    total = 70 + len(rows) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {total}" font-family="sans-serif" font-size="12">'
        f'<rect width="840" height="{total}" fill="#fff"/>'
        f'<text x="{left}" y="18">seconds, median; line: quartiles</text>{"".join(parts)}</svg>\n'
    )
