"""`sophia-sync` on somebody's laptop, against the local services: in this process, as a child, or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sandbox import Permissions, Sandbox
from sophia_sync.console import program
from tests.support.inputs import REPOSITORY, environment

PROGRAM = Path(sys.executable).with_name("sophia-sync")
SYNC_WORKFLOW = "sync-sentry-secrets.yml"
DEPLOY_WORKFLOW = "deploy-sentry-mcp.yml"
TIMEOUT = 120
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WIDTH = 80

_NUMBERS = itertools.count(1)
# Makes standard input the controlling terminal, so that Ctrl-C arrives as a signal. Then becomes the program.
_TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def before(time: timedelta) -> datetime:
    """Return now minus `time`."""
    return datetime.now(UTC) - time


@dataclass(frozen=True)
class Shown:
    """How a command ended, and what it printed; on a terminal the two streams are one."""

    code: int
    out: str
    err: str = ""

    @property
    def words(self) -> str:
        """What it printed, with each run of whitespace as one space."""
        return " ".join(f"{self.out} {self.err}".split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Laptop:
    """A person with an ESC environment, a repository, and the services that they are in.

    Args:
        box: The local services.
        pulumi: The real Pulumi CLI.
        folder: Holds HOME, TMPDIR and a runner's files.
    """

    def __init__(self, box: Sandbox, pulumi: Path, folder: Path) -> None:
        number = next(_NUMBERS)
        self.box = box
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = f"acme/default/laptop-{number}"
        self.repository = f"{REPOSITORY}-laptop-{number}"
        self.token = f"ghp_{'laptop'}{number:030d}"
        box.github.add_token(self.token, Permissions(names=True))
        box.github.add_repository(self.repository)
        for file in (SYNC_WORKFLOW, DEPLOY_WORKFLOW):
            box.github.add_workflow(self.repository, file)
        self.variables = {
            "PATH": f"{pulumi.parent}:{os.defpath}",
            "HOME": str(self.home),
            "PULUMI_HOME": str(self.home / ".pulumi"),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PULUMI_ESC_ENVIRONMENT": self.environment,
            "PULUMI_ACCESS_TOKEN": box.esc.token,
            "PULUMI_BACKEND_URL": box.esc.url,
            "GITHUB_TOKEN": self.token,
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_API_URL": box.github.url,
            "SENTRY_URL": box.sentry.url,
            "SENTRY_DSN": box.sentry.dsn,
            "SENTRY_API_TOKEN": box.sentry.token,
            "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
            "SENTRY_PROJECT_SLUG": box.sentry.project,
        }

    def create(self, definition: str = "") -> None:
        """Create the ESC environment."""
        self.box.esc.create(self.environment, definition)

    def synced(self) -> None:
        """Make ESC hold exactly what a sync of the laptop's inputs writes, dated 40 days ago."""
        value = self.variables
        self.create(
            "values:\n"
            f"  SENTRY_DSN:\n    fn::secret: {value['SENTRY_DSN']}\n"
            f"  SENTRY_API_TOKEN:\n    fn::secret: {value['SENTRY_API_TOKEN']}\n"
            f"  SENTRY_ORGANIZATION_SLUG: {value['SENTRY_ORGANIZATION_SLUG']}\n"
            f"  SENTRY_PROJECT_SLUG: {value['SENTRY_PROJECT_SLUG']}\n"
        )
        for number in (1, 2):
            self.box.esc.date(self.environment, number, before(40 * DAY))

    def with_variables(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return the variables with `changes`; None removes one."""
        return {name: value for name, value in {**self.variables, **changes}.items() if value is not None}

    def run(self, *arguments: str, **changes: str | None) -> Shown:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            environment(self.with_variables(changes)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = program.run(arguments)
        return Shown(code, out.getvalue(), err.getvalue())

    def child(self, *arguments: str, **changes: str | None) -> Shown:
        """Run a command in a child process without a terminal, as in a pipe."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            env=self.with_variables(changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        return Shown(done.returncode, done.stdout, done.stderr)

    def on_terminal(self, *arguments: str, answer: str = "", **changes: str | None) -> Shown:
        """Run a command on a terminal of 80 columns; `answer` is typed when it asks."""
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        child = subprocess.Popen(
            [sys.executable, "-ISc", _TAKE_TERMINAL, PROGRAM, *arguments],
            env=self.with_variables(changes),
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        try:
            out = _conversation(leader, answer)
            return Shown(child.wait(TIMEOUT), out)
        finally:
            child.kill()
            child.wait()
            os.close(leader)


def _conversation(terminal: int, answer: str) -> str:
    """Return everything that a terminal shows until its program ends; type `answer` at the question."""
    shown = b""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        try:
            part = os.read(terminal, 65536)
        except OSError:  # on Linux this means that the other side is closed
            break
        if not part:
            break
        shown += part
        if answer and b"[y/N]" in shown:
            os.write(terminal, answer.encode())
            answer = ""
    return shown.decode().replace("\r\n", "\n")
