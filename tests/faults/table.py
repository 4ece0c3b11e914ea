"""The results of the fault matrix as a person reads them: lines while it runs, and the page docs/faults.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.faults.matrix import FAILURES, REQUESTS, Case, Request, Result, Times

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

_INTRODUCTION = """\
# What a fault leads to

<!-- Written by `make faults`: don't edit it by hand. -->

Every request that a sync makes, failing in every way that an HTTP service can: {cases} runs of the whole program, with
the real Pulumi CLI code, against the local services of this repository. `make faults` runs them all and writes this
page; a spread selection of them runs with the test suite, which also holds the results to this page.

Whatever fails, each run is held to this:

- the exit code is the one that the stage has (4 Pulumi ESC, 3 preflight, 6 deploy), or 0 where trying again heals the
  fault, or where it costs no more than a warning;
- a failure is exactly one error annotation, which names what failed, says what became of the write, and what to do;
- ESC holds what it held before, to the byte, or our keys complete with every other byte as before, in one revision;
- a deploy is dispatched only after a verified sync, and never twice;
- 400, 401, 403 and 404 are never answered by asking again;
- no secret in any form in the log, the summary or the outputs, and no process and no file left behind.

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

_NOTES = """\
## Notes

- *edit check*: the CLI evaluates the definition only to show the result in its editor, which nobody looks at here.
- *dispatch, empty*: GitHub accepted a dispatch without naming its run until February 2026, so that is taken for a yes.
  In these runs, which wait for the deploy, there is no run to wait for then.
- *mark check*, *mark read*: a run that has nothing to write asks what was last deployed (`deploy: changed`). If that
  can't be read, the deploy runs: once too often rather than once too few.
- *tag moved*, *mark moved*: 404 is how ESC says that there is no such tag yet.
- *preflight*: only what Sentry itself says of the credentials stops a sync; a Sentry that fails is a warning.
"""


def line(result: Result) -> str:
    """A result, on one line."""
    case = result.case
    return (
        f"{case.request.name:<17} {case.failure.name:<9} {case.times.value:<11} {cell(result):<9} "
        f"{result.ended.seconds:5.1f} s{''.join(f'  !! {problem}' for problem in result.problems)}"
    )


def cell(result: Result) -> str:
    """A result, in a cell of a table."""
    code = "killed" if result.ended.code is None else str(result.ended.code)
    return f"{code} {result.state}{' 🚀' * result.dispatched}"


def page(results: Sequence[Result], seconds: float, cores: int) -> str:
    """The page docs/faults.md."""
    cells = {str(result.case): cell(result) for result in results}
    parts = [_INTRODUCTION.format(cases=len(results))]
    parts += [f"{title}\n{_table(times, cells)}" for times, title in _MODES.items()]
    parts += [_NOTES, _annotations(results)]
    parts.append(f"These runs took {seconds / 60:.1f} minutes on {cores} cores.\n")
    return "\n".join(parts)


def documented(text: str) -> dict[str, str]:
    """The cells of that page, by the name of their case."""
    found: dict[str, str] = {}
    requests = {request.name: request for request in REQUESTS}
    for times, title in _MODES.items():
        section = text.partition(title)[2].partition("\n## ")[0]
        for row in re.findall(r"^\| ([a-z].*) \|$", section, re.MULTILINE):
            name, *cells = row.split(" | ")
            pairs = zip(FAILURES, cells, strict=True)
            found |= {str(Case(requests[name], failure, times)): value for failure, value in pairs if value != "·"}
    return found


def _table(times: Times, cells: Mapping[str, str]) -> str:
    rows = [
        (request.name, [cells.get(str(Case(request, failure, times)), "·") for failure in FAILURES])
        for request in REQUESTS
        if times is not Times.LOST or request.writes
    ]
    lines = [("", [failure.name for failure in FAILURES]), ("---", ["---"] * len(FAILURES)), *rows]
    return "".join(f"| {name} | {' | '.join(values)} |\n" for name, values in lines)


def _annotations(results: Iterable[Result]) -> str:
    """What a person reads where a request is refused for ever, and where its service fails for ever."""
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
