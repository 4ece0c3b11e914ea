"""Run the action against the local services: in this process, or as the runner starts it.

The `pulumi` on its PATH records each call, then becomes the real one.
"""

from __future__ import annotations

import ast
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import Permissions, Sandbox
from sophia_sync import app
from tests.support.inputs import REPOSITORY, VALID, as_runner, environment
from tests.support.runner import commands, parse_outputs

ENTRYPOINT = Path(__file__).resolve().parents[2] / "entrypoint.py"
WORKFLOW = "deploy-sentry-mcp.yml"
TIMEOUT = 120

_NUMBERS = itertools.count(1)
_RECORDER = """\
#!{python} -IS
import os, sys
with open({log!r}, "a") as log:
    log.write(ascii((sys.argv[1:], dict(os.environ))) + "\\n")
os.execv({real!r}, ["pulumi", *sys.argv[1:]])
"""


@dataclass(frozen=True)
class Call:
    """One call of the Pulumi CLI."""

    arguments: list[str]
    environ: dict[str, str]

    @property
    def command(self) -> str:
        """The command without its arguments, such as `env get`."""
        words = [word for word in self.arguments if not word.startswith("-") and "/" not in word and " " not in word]
        return " ".join(word for word in words[:3] if word.isalpha() and word != "never")


@dataclass(frozen=True)
class Ran:
    """How one run ended, and what it left for the runner and the reader."""

    code: int
    log: str
    errors: str
    outputs: dict[str, str]
    summary: str
    calls: list[Call]

    @property
    def annotations(self) -> list[str]:
        """The texts of the error annotations."""
        return [command.data for command in commands(self.log, "error")]

    @property
    def warnings(self) -> list[str]:
        return [command.data for command in commands(self.log, "warning")]

    @property
    def commands(self) -> list[str]:
        """The command of each call of the Pulumi CLI."""
        return [call.command for call in self.calls]


class Action:
    """The action with an ESC environment and a repository of its own.

    Args:
        box: The local services.
        pulumi: The real Pulumi CLI.
        folder: Holds the runner's files, HOME and TMPDIR.
    """

    def __init__(self, box: Sandbox, pulumi: Path, folder: Path) -> None:
        number = next(_NUMBERS)
        self.box = box
        self.folder = folder
        self.environment = f"acme/default/production-{number}"
        self.repository = f"{REPOSITORY}-{number}"
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        for made in (self.bin, self.home, self.temporary):
            made.mkdir()
        self._pulumi = pulumi
        self._calls = folder / "calls"
        self._runs = itertools.count(1)
        self.install_cli()
        box.github.add_token(VALID["github-token"], Permissions())
        box.github.add_repository(self.repository)
        box.github.add_workflow(self.repository, WORKFLOW)

    def install_cli(self) -> None:
        recorder = self.bin / "pulumi"
        recorder.write_text(_RECORDER.format(python=sys.executable, log=str(self._calls), real=str(self._pulumi)))
        recorder.chmod(0o755)

    # What ESC holds.

    def create(self, definition: str = "") -> None:
        """Create the ESC environment."""
        self.box.esc.create(self.environment, definition)

    @property
    def stored(self) -> str:
        """The definition as ESC stores it, with ciphertext."""
        return self.box.esc.definition(self.environment)

    @property
    def sent(self) -> str:
        """The text of the latest revision as it was sent, to the byte."""
        return self.box.esc.sent(self.environment)

    @property
    def values(self) -> dict[str, Any]:
        """The values that a consumer gets."""
        return self.box.esc.values(self.environment)

    @property
    def revision(self) -> int:
        return self.box.esc.revision(self.environment)

    def is_encrypted(self, key: str) -> bool:
        return self.box.esc.is_secret(self.environment, key)

    def open(self) -> dict[str, Any]:
        """Return the values that a consumer gets from the real `pulumi env open`."""
        variables = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "PULUMI_HOME": str(self.folder / "consumer"),
            "PULUMI_ACCESS_TOKEN": self.box.esc.token,
            "PULUMI_BACKEND_URL": self.box.esc.url,
        }
        command = [str(self._pulumi), "env", "open", self.environment, "--format", "json", "--non-interactive"]
        opened = subprocess.run(command, env=variables, capture_output=True, timeout=TIMEOUT, check=True)
        values: dict[str, Any] = json.loads(opened.stdout)
        return values

    # Its runs.

    def inputs(self, **changes: str) -> dict[str, str]:
        """Return the inputs of a run that only syncs, with `changes`; an empty input is unset."""
        ours = {
            "esc-environment": self.environment,
            "pulumi-access-token": self.box.esc.token,
            "pulumi-cloud-url": self.box.esc.url,
            "sentry-url": self.box.sentry.url,
            "preflight": "off",
            "tag-revision": "false",
            "deploy": "never",
            "deploy-repository": self.repository,
            "timeout": "40",  # retries may take half of it
        }
        return VALID | ours | {name.replace("_", "-"): value for name, value in changes.items()}

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment of a run, as a runner sets it."""
        number = next(self._runs)
        return as_runner(inputs) | {
            "PATH": f"{self.bin}:{os.defpath}",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.box.github.url,
            "GITHUB_OUTPUT": str(self.folder / f"output-{number}"),
            "GITHUB_STEP_SUMMARY": str(self.folder / f"summary-{number}"),
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": "17",
            "GITHUB_RUN_ATTEMPT": "1",
        }

    def run(self, **inputs: str) -> Ran:
        """Run the program in this process."""
        return self.run_with(self.variables(self.inputs(**inputs)))

    def run_with(self, variables: Mapping[str, str]) -> Ran:
        stream = io.StringIO()
        before = len(self.calls())
        with environment(variables):
            code = app.main([], stream)
        return self._ran(code, stream.getvalue(), "", variables, before)

    def run_child(self, variables: Mapping[str, str] | None = None) -> Ran:
        """Run `python entrypoint.py` with only `variables` in its environment."""
        variables = variables if variables is not None else self.variables(self.inputs())
        before = len(self.calls())
        child = subprocess.run(
            [sys.executable, ENTRYPOINT], env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        return self._ran(child.returncode, child.stdout, child.stderr, variables, before)

    def calls(self) -> list[Call]:
        """Return all calls of the Pulumi CLI so far."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [Call(*ast.literal_eval(line)) for line in lines]

    def _ran(self, code: int, log: str, errors: str, variables: Mapping[str, str], before: int) -> Ran:
        output, summary = (_text(variables.get(name)) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"))
        return Ran(code, log, errors, parse_outputs(output), summary, self.calls()[before:])


def _text(path: str | None) -> str:
    return Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else ""
