"""A `docker` wrapper, first on PATH, that makes a command fail or kills its caller at a given moment."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tests.deploy import program

ONCE_UP = 'case "$*" in *" up "*) touch "$0.up";; esac; [ -e "$0.up" ] && case "$*" in {pattern}) {does};; esac'
"""Code for `before`: after the first `compose up`, run `does` at each command that matches the shell pattern."""

UP_ONCE = 'case "$*" in *" up "*) [ ! -e "$0.up" ] || { echo no such luck >&2; exit 1; }; touch "$0.up";; esac'
"""Code for `before`: the first `compose up` works, and later ones fail."""


def before(folder: Path, lines: str) -> dict[str, str]:
    """Write the wrapper. Return the variable that makes the deploy program call it.

    Args:
        folder: The folder to write it to.
        lines: Shell code that runs before each command, with the command's arguments. It may end the command.
    """
    compose = shutil.which("docker-compose", path=str(Path(program.COMMAND[0]).parent)) or "docker-compose"
    real = shutil.which("docker", path=os.environ["PATH"]) or "docker"
    code = f"#!/bin/sh\n{lines}\n"
    code += f'[ "$1" = compose ] && shift && exec {shlex.quote(compose)} "$@"\nexec {shlex.quote(real)} "$@"\n'
    (folder / "docker").write_text(code, encoding="utf-8")
    (folder / "docker").chmod(0o755)
    return program.path_with(folder)
