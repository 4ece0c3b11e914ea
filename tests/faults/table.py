"""Show the results of the fault matrix: a line for each while it runs, and the table build/faults.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.faults.matrix import FAILURES, REQUESTS, Case, Request, Result, Times

PAGE = Path(__file__).resolve().parents[2] / "build" / "faults.md"

_INTRODUCTION = """\
# What each fault leads to

{cases} runs of the whole program, with the real Pulumi CLI code, against the local services of this repository.
docs/maintainers/faults.md has the rules that each run is held to, and the exceptions.

A cell is the exit code, whether ESC holds the old or the new definition afterwards, and 🚀 if the deploy was
dispatched. *refused*: connections are refused (once: for a second). *cut off*: the connection is closed in the middle
of the answer. *empty*, *garbage*: a 200 without a body, or with a web page. *silent*: no answer ever comes.
*429, wait*: with `Retry-After` (once: a second; for ever: an hour).
"""

_MODES = {
    Times.ONCE: "## Once\n\nThe request fails once, and works when it is tried again.\n",
    Times.FOR_EVER: "## For ever\n\nThe request, and all like it, fail until the run is over. Where *tag made* is "
    "*refused*, it is chance which of two the\noutage meets first, the tag or the read-back beside it: 0 new 🚀 or "
    "4 new.\n",
    Times.LOST: "## Carried out, and the answer lost\n\nThe request does what it should, once, but its answer is the "
    "fault. Whether a write went through is found out by reading, and whether a deploy was dispatched by looking for "
    "its run.\n",
}


def line(result: Result) -> str:
    """Return a result as one line."""
    case = result.case
    return (
        f"{case.request.name:<17} {case.failure.name:<9} {case.times.value:<11} {cell(result):<9} "
        f"{result.ended.seconds:5.1f} s{''.join(f'  !! {problem}' for problem in result.problems)}"
    )


def cell(result: Result) -> str:
    """Return a result as a cell of the table."""
    code = "killed" if result.ended.code is None else str(result.ended.code)
    return f"{code} {result.state}{' 🚀' * result.dispatched}"


def page(results: Sequence[Result], seconds: float, cores: int) -> str:
    """Return the whole table as Markdown."""
    cells = {str(result.case): cell(result) for result in results}
    parts = [_INTRODUCTION.format(cases=len(results))]
    parts += [f"{title}\n{_table(times, cells)}" for times, title in _MODES.items()]
    parts.append(_annotations(results))
    parts.append(f"These runs took {seconds / 60:.1f} minutes on {cores} cores.\n")
    return "\n".join(parts)


def _table(times: Times, cells: Mapping[str, str]) -> str:
    rows = [
        (request.name, [cells.get(str(Case(request, failure, times)), "·") for failure in FAILURES])
        for request in REQUESTS
        if times is not Times.LOST or request.writes
    ]
    lines = [("", [failure.name for failure in FAILURES]), ("---", ["---"] * len(FAILURES)), *rows]
    return "".join(f"| {name} | {' | '.join(values)} |\n" for name, values in lines)


def _annotations(results: Iterable[Result]) -> str:
    """Return what a person reads if a request is refused for ever, and if its service fails for ever."""
    lines = ["## What a person reads\n"]
    for request in REQUESTS:
        shown = [(name, _annotation(results, request, name)) for name in ("403", "503")]
        lines += [f"- *{request.name}, {name}*: {text}" for name, text in shown if text]
    return "\n".join(lines) + "\n"


def _annotation(results: Iterable[Result], request: Request, failure: str) -> str:
    for result in results:
        case = result.case
        if (case.request, case.failure.name, case.times) == (request, failure, Times.FOR_EVER):
            told = [*result.ended.errors, *result.ended.warnings]
            return re.sub(r"http://127\.0\.0\.1:\d+", "https://…", " ".join(" ".join(told).split()))
    return ""
