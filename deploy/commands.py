"""Run other programs, each with a time limit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT = 120.0
"""Default time limit of a command, in seconds."""
_QUOTED_LINES = 20


class CommandError(Exception):
    """A command failed. The text says how, and ends with the last lines that it printed."""

    def __init__(self, what: str, said: str = "") -> None:
        super().__init__(f"{what}:\n{said}" if said else f"{what}.")
        self.said = said


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    seconds: float = LIMIT,
    folder: Path | None = None,
    with_errors: bool = False,
) -> str:
    """Run a command and return its standard output.

    Args:
        argv: The program and its arguments.
        environ: Its environment variables; by default those of this process.
        seconds: The time limit.
        folder: Its working directory; by default that of this process.
        with_errors: Return its standard error, too, in the order of printing.

    Raises:
        CommandError: It can't be started, exceeds the limit, or ends with a code other than 0.
    """
    words = " ".join(argv[:3])
    try:
        done = subprocess.run(  # noqa: S603 - the callers name the programs
            argv,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_errors else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise CommandError(f"`{argv[0]}` can't be started: {error.strerror}") from None
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"`{words} …` took longer than {seconds:.0f} s", _last(error.stdout, error.stderr)) from None
    if done.returncode != 0:
        raise CommandError(f"`{words} …` failed with exit code {done.returncode}", _last(done.stdout, done.stderr))
    return done.stdout


def _last(*outputs: str | bytes | None) -> str:
    texts = (output.decode("utf-8", "replace") if isinstance(output, bytes) else output or "" for output in outputs)
    return "\n".join("\n".join(texts).strip().splitlines()[-_QUOTED_LINES:])
