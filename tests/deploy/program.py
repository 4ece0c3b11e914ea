"""The deploy program, or another program of ours, as a child process, as a workflow step runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.docker_engine import ROOT
from tests.support.runner import Command, commands, parse_outputs

COMMAND = (sys.executable, "-m", "deploy.sentry_mcp")


@dataclass(frozen=True)
class Result:
    """The exit code of a program, and what a runner gets from it."""

    code: int
    log: str
    outputs: dict[str, str]
    summary: str

    @property
    def error(self) -> str:
        """The text of the only error annotation."""
        [error] = self.errors
        return error.data

    @property
    def errors(self) -> list[Command]:
        return commands(self.log, "error")

    def visible(self) -> str:
        """Return the log, outputs and summary, without the lines that tell the runner what to mask."""
        shown = [line for line in self.log.splitlines() if not line.startswith("::add-mask::")]
        return "\n".join([*shown, *self.outputs.values(), self.summary])


class Process:
    """A running program, started in the root of a source tree."""

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        command: Sequence[str] = COMMAND,
        tree: Path = ROOT,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = {name: Path(self._folder.name, name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in self._files.values():
            file.touch()
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "DOCKER_HOST")}
        files = {name: str(path) for name, path in self._files.items()}
        self._process = subprocess.Popen(
            [*command, *arguments],
            cwd=tree,
            env={**kept, "GITHUB_ACTIONS": "true", **files, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []

    def wait_for(self, text: str) -> None:
        """Read the log until a line holds `text`."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if text in line:
                return
        raise AssertionError(f"it ended without a word of {text!r}:\n{''.join(self._lines)}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self, timeout: float = 600) -> Result:
        rest, _ = self._process.communicate(timeout=timeout)
        with self._folder:
            outputs = parse_outputs(self._files["GITHUB_OUTPUT"].read_text(encoding="utf-8"))
            summary = self._files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        return Result(self._process.returncode, "".join(self._lines) + rest, outputs, summary)


def path_with(folder: Path) -> dict[str, str]:
    """Return a PATH that begins with a folder."""
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run the deploy program to its end."""
    return Process(arguments, environ).finish()
