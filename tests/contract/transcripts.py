"""Transcripts: Markdown pages that show commands with what they print, run against the local services.

In a page's indented blocks, `$ ` begins a command, `< ` a line of its standard input, and `! ` a line that is
expected on its standard error. `[exit N]` is its exit code if that isn't 0. All other lines are its standard output.
"""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

INDENT = "    "
TIMEOUT = 60


@dataclass
class Step:
    """One command of a transcript, with the number of its line."""

    line: int
    command: str
    stdin: str = ""
    expected: list[str] = field(default_factory=list)


def read(page: Path) -> list[Step]:
    steps: list[Step] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith(INDENT + "$ "):
            steps.append(Step(number, line.removeprefix(INDENT + "$ ")))
        elif line.startswith(INDENT + "<"):
            steps[-1].stdin += line.removeprefix(INDENT + "<").removeprefix(" ") + "\n"
        elif line.startswith(INDENT):
            steps[-1].expected.append(line.removeprefix(INDENT))
        elif steps and not line.strip():
            steps[-1].expected.append("")
    for step in steps:
        step.expected = _trimmed(step.expected)
    return steps


def run(step: Step, environ: Mapping[str, str], path_of: Callable[[str], str]) -> list[str]:
    """Run a step's command; return what it printed, in the form of a transcript."""
    program, *arguments = shlex.split(step.command)
    done = subprocess.run(
        [path_of(program), *arguments],
        input=step.stdin,
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    stderr = [f"! {line}".rstrip() for line in _lines(done.stderr)]
    ending = [f"[exit {done.returncode}]"] if done.returncode else []
    return _trimmed([*_lines(done.stdout), *stderr, *ending])


def _lines(output: str) -> Iterator[str]:
    """Yield the lines of an output, without what differs from run to run: times, ciphertext, the width of tables."""
    output = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+\d{4} \w+", "TIME", output)
    output = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", output)
    output = re.sub(r"(?<=ciphertext: )[A-Za-z0-9+/=]{20,}", "CIPHERTEXT", output)
    # ESC sorts these by their similarity to what was written; equally similar ones come in any order.
    output = re.sub(r"(?<=Existing fields are: ).*", "FIELDS", output)
    for line in output.splitlines():
        yield re.sub(r" +", " ", re.sub(r"─+", "─", line)) if line[:1] in "┌├│└" else line.rstrip()


def _trimmed(lines: list[str]) -> list[str]:
    """Return the lines without blank ones at either end, which separate the steps of a page."""
    return "\n".join(line.rstrip() for line in lines).strip("\n").splitlines()
