"""A `docker` before the real one on PATH, for what no engine does on demand: to fail, or to cut, at a given moment."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tests.deploy import program

ONCE_UP = 'case "$*" in *" up "*) touch "$0.up";; esac; [ -e "$0.up" ] && case "$*" in {pattern}) {does};; esac'
"""For `before`: what is done at commands that match a pattern of the shell, once Compose was told to bring one up."""

UP_ONCE = 'case "$*" in *" up "*) [ ! -e "$0.up" ] || { echo no such luck >&2; exit 1; }; touch "$0.up";; esac'
"""For `before`: Compose brings up one version, and fails to bring up another."""


def before(folder: Path, lines: str) -> dict[str, str]:
    """The variable with which the deploy program calls it.

    Args:
        folder: Where it is written.
        lines: Code of the shell that runs before each command, with the command's arguments; it may end the command.
    """
    compose = shutil.which("docker-compose", path=str(Path(program.COMMAND[0]).parent)) or "docker-compose"
    real = shutil.which("docker", path=os.environ["PATH"]) or "docker"
    code = f"#!/bin/sh\n{lines}\n"
    code += f'[ "$1" = compose ] && shift && exec {shlex.quote(compose)} "$@"\nexec {shlex.quote(real)} "$@"\n'
    (folder / "docker").write_text(code, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    return program.path_with(folder)
