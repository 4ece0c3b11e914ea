"""Open an ESC environment with the Pulumi CLI: one process with a time limit, which ends with the read.

The first read imports this module, and with it everything that a read needs. Importing the backend doesn't.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from backend.core.forks import forks_wait
from sophia_sync.esc import messages, opening
from sophia_sync.esc.opened import Opened
from sophia_sync.runtime.context import child_environment, pulumi_login
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import checks

DEFAULT_CLOUD: Final = "https://api.pulumi.com"


class ReadError(Exception):
    """ESC can't be read. The text says why, and holds no secret."""


class Read:
    """One read, which another thread may end.

    Args:
        environ: The environment variables. They say where ESC is and how to sign in.
        path: `organization/project/environment`, or that with `@version`.
        secrets: The secrets to hide in the CLI's output.
    """

    def __init__(self, environ: Mapping[str, str], path: str, secrets: Iterable[SecretStr]) -> None:
        self._environ = environ
        self._path = path
        self._redact = Redactor(secrets)
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended = False

    def values(self, seconds: float) -> dict[str, Opened]:
        """Return the values by key, within `seconds`.

        Raises:
            ReadError: They can't be read.
        """
        environ = self._environ
        environment = _checked("PULUMI_ENVIRONMENT", lambda: checks.versioned_environment(self._path))
        token = environ.get("PULUMI_ACCESS_TOKEN", "").strip()
        cloud_url = environ.get("PULUMI_BACKEND_URL", "").strip() or (DEFAULT_CLOUD if token else "")
        if cloud_url:
            cloud_url = _checked("PULUMI_BACKEND_URL", lambda: checks.url(cloud_url))
        login = None if token else pulumi_login(environ)
        if not token and login is None:
            raise ReadError("There is neither PULUMI_ACCESS_TOKEN nor a `pulumi login`.")
        executable = shutil.which("pulumi", path=environ.get("PATH"))
        if executable is None:
            raise ReadError("The Pulumi CLI isn't installed: there is no `pulumi` on PATH.")
        with _private_folder() as home:
            if login is None:
                config = opening.configuration(cloud_url, environment.partition("/")[0])
                (home / "config.json").write_text(config, encoding="utf-8")
            variables = opening.variables(
                child_environment(environ), home, login or home, SecretStr(token) if token else None, cloud_url
            )
            code, printed, said = self._run(
                [executable, *opening.arguments(environment), *opening.GLOBAL_OPTIONS], variables, seconds
            )
        reason = messages.reason(self._redact(said))
        if code != 0:
            raise ReadError(f"Could not open {environment}: {reason.rstrip('.')}.")
        try:
            return opening.values(printed)
        except ValueError:
            raise ReadError(f"Could not open {environment}: {reason.rstrip('.')}.") from None

    def end(self) -> None:
        """End the CLI now, and start no other. A process that was forked during the read leaves the CLI alone."""
        self._is_ended = True
        process = self._process
        if process is not None and process.returncode is None and self._pid == os.getpid():
            self._kill(process)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        """Kill a process that hasn't been waited for, and the processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def _run(self, argv: list[str], variables: dict[str, str], seconds: float) -> tuple[int, bytes, str]:
        began = time.monotonic()
        with forks_wait():  # a forked child would inherit half-made pipes
            if self._is_ended:
                raise ReadError("The read was ended: the process is about to end.")
            self._process = process = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
                argv,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        with process:
            try:
                if self._is_ended:  # another thread called `end` before it could see the process
                    self.end()
                printed, said = process.communicate(timeout=max(0.0, seconds - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                raise ReadError(
                    f"Could not open {self._path}: not done within the {seconds:g} seconds that it may take."
                ) from None
            finally:
                if process.returncode is None:
                    self._kill(process)
                self._process = None
        if self._is_ended:
            raise ReadError("The read was ended: the process is about to end.")
        return process.returncode, printed, said.decode("utf-8", "replace")


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that only this user can read, in memory if the machine allows it. Remove it afterwards."""
    memory = "/dev/shm"  # noqa: S108 - the folder itself is made by mkdtemp, mode 0700
    try:
        path = tempfile.mkdtemp(prefix="sentry-esc-sync-", dir=memory)
    except OSError:  # it doesn't exist, or this user can't write to it
        path = tempfile.mkdtemp(prefix="sentry-esc-sync-")
    pid = os.getpid()
    try:
        yield Path(path)
    finally:
        if os.getpid() == pid:
            shutil.rmtree(path, ignore_errors=True)


def _checked(name: str, check: Callable[[], str]) -> str:
    try:
        return check()
    except ValueError as error:
        raise ReadError(f"{name} {error}.") from None
