"""The two programs around the matrix, `plan` and `gather`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import TextIO

from pydantic import SecretStr

from sophia_sync import program
from sophia_sync.commands import Runner
from sophia_sync.errors import InputError
from sophia_sync.inputs import RunContext, given
from sophia_sync.matrix import legs, summary
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor

# Seconds for all that `gather` asks of GitHub: one request a leg.
TIMEOUT = 300.0


def plan(runner: Runner, _redact: Redactor, _context: RunContext) -> None:
    """The list → the matrix.

    Raises:
        InputError: The list is malformed or too long.
    """
    found = legs.parse(given("environments"))
    runner.line(legs.count(found))
    for leg in found:
        runner.line(f"  {leg.environment}: {', '.join(leg.esc_environments)}")
    runner.output("matrix", legs.matrix(found))
    runner.output("names", legs.names(found))


def gather(runner: Runner, redact: Redactor, context: RunContext) -> None:
    """How the legs ended → one summary.

    Raises:
        GatherError: Some failed, or GitHub doesn't tell.
        InputError: This is no run of a workflow, or not called from it.
    """
    from sophia_sync.matrix import jobs  # noqa: PLC0415 - it brings `requests`, which `plan` can do without

    token = SecretStr(given("github-token"))
    runner.hide(token)
    names = _names(given("names"))
    if not token.get_secret_value() or context.repository is None or context.run_id is None:
        raise InputError(["`github-token`, GITHUB_REPOSITORY and GITHUB_RUN_ID are needed: run it in a workflow."])
    with jobs.Run(context.api_url, context.repository, context.run_id, token, Deadline(TIMEOUT)) as run:
        ended = jobs.gather(run, names, given("job-id"), redact)
    runner.summary(summary.markdown(ended))
    runner.output("results", summary.results(ended))
    runner.line(summary.headline(ended))
    wrong = summary.failed(ended)
    if wrong:
        raise jobs.GatherError(
            f"{summary.headline(ended)}:\n" + "\n".join(f"- {leg.environment}: {leg.conclusion}" for leg in wrong),
            "The summary says what each told, and links to its page. The others are in order. "
            "`Re-run failed jobs` runs only what failed.",
        )


def _names(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(["`names` is no JSON array of GitHub environments. Pass the output `names` of `plan`."])
    return names


COMMANDS: dict[str, Callable[[Runner, Redactor, RunContext], None]] = {"plan": plan, "gather": gather}


def main(argv: Sequence[str] | None = None, stream: TextIO | None = None) -> int:
    """Run one of the two programs; returns the exit code. All input comes from the environment."""
    parser = argparse.ArgumentParser(prog="matrix.py", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args(argv).command
    after_signal = "Nothing was changed: it only reads. Run it again."
    return program.run(f"program {command}", COMMANDS[command], after_signal, stream, summarise=command == "plan")
