"""Read Pulumi ESC with the Pulumi CLI, which only this module starts. Cancelling a read ends the CLI too."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
from pydantic import SecretStr

from sophia_sync.esc import messages, opened, opening
from sophia_sync.esc.opened import Opened
from sophia_sync.runtime import processes
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import checks

DEFAULT_PROJECT = "default"
"""The project that Pulumi itself makes for an organization."""
LONGEST_READ = 20.0
"""Time limit for one read, in seconds."""
# The server's variables that the CLI gets too: where programs are, and how to reach the network.
_PASSED_ON = (
    "PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)  # fmt: skip


class EscError(Exception):
    """Pulumi ESC can't be read; the text says why, and holds no secret."""


def is_configured(environ: Mapping[str, str]) -> bool:
    """Tell whether the server is configured to read Pulumi ESC."""
    return any(environ.get(name, "").strip() for name in ("PULUMI_ACCESS_TOKEN", "PULUMI_ORG", "PULUMI_ENVIRONMENT"))


def environment_path(environ: Mapping[str, str]) -> str:
    """Return the path of the ESC environment, `organization/project/environment`, or that with `@version`.

    Raises:
        EscError: The variables don't name one.
    """
    parts = [part for part in environ.get("PULUMI_ENVIRONMENT", "").strip().split("/") if part]
    organization = environ.get("PULUMI_ORG", "").strip()
    project = environ.get("PULUMI_PROJECT", "").strip() or DEFAULT_PROJECT
    missing = ["PULUMI_ENVIRONMENT"] if not parts else []
    if len(parts) < 3 and not organization:
        missing.insert(0, "PULUMI_ORG")
    if missing:
        raise EscError(
            f"{' and '.join(missing)} must be set: they name the ESC environment that holds the credentials."
        )
    try:
        return checks.versioned_environment("/".join([*(organization, project)[: max(0, 3 - len(parts))], *parts]))
    except ValueError as error:
        raise EscError(f"PULUMI_ENVIRONMENT {error}.") from None


async def read(environ: Mapping[str, str]) -> dict[str, Opened]:
    """Open the environment and return its values by key, with one call of the CLI in a private folder.

    Raises:
        EscError: It can't be read.
    """
    environment = environment_path(environ)
    with _private_folder() as home:
        command, variables = _command(environment, environ, Path(home))
        try:
            with anyio.fail_after(LONGEST_READ):
                done = await processes.run(command, variables)
        except TimeoutError:
            raise EscError(f"Could not open {environment}: no answer within {LONGEST_READ:.0f} seconds.") from None
        except OSError as error:
            raise EscError(f"The Pulumi CLI can't be started: {error.strerror}.") from None
    reason = _last_line(done.stderr, environ)
    if done.code != 0:
        raise EscError(f"Could not open {environment}: {reason}.")
    try:
        return opened.parse(done.stdout.decode())
    except ValueError:  # up to v3.260 the CLI prints an environment's errors in place of values, and exits 0
        raise EscError(f"Could not open {environment}: {reason}.") from None


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that only we can read, in memory where the machine offers that."""
    memory = "/dev/shm"  # noqa: S108 - the folder itself has mode 0700
    try:
        return tempfile.TemporaryDirectory(prefix="sentry-esc-sync-", dir=memory, ignore_cleanup_errors=True)
    except OSError:  # it may be missing or not writable
        return tempfile.TemporaryDirectory(prefix="sentry-esc-sync-", ignore_cleanup_errors=True)


def _command(environment: str, environ: Mapping[str, str], home: Path) -> tuple[list[str], dict[str, str]]:
    """Return the CLI's command line and environment variables.

    Raises:
        EscError: There is no CLI, or nothing to sign in with.
    """
    executable = shutil.which("pulumi", path=environ.get("PATH"))
    if executable is None:
        raise EscError("The Pulumi CLI isn't installed: there is no `pulumi` on PATH.")
    token, cloud = environ.get("PULUMI_ACCESS_TOKEN", "").strip(), environ.get("PULUMI_BACKEND_URL", "").strip()
    login = Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME") or Path.home()) / ".pulumi")
    if not token and not (login / "credentials.json").is_file():
        raise EscError("There is neither PULUMI_ACCESS_TOKEN nor a `pulumi login`.")
    try:
        cloud = checks.url(cloud) if cloud else ""
    except ValueError as error:
        raise EscError(f"PULUMI_BACKEND_URL {error}.") from None
    passed_on = {name: environ[name] for name in _PASSED_ON if name in environ}
    variables = opening.variables(passed_on, home, home if token else login, SecretStr(token) if token else None, cloud)
    return [executable, *opening.arguments(environment), *opening.GLOBAL_OPTIONS], variables


def _last_line(text: str, environ: Mapping[str, str]) -> str:
    """Return the CLI's reason for a failure, as one line without the access token."""
    return messages.reason(Redactor([SecretStr(environ.get("PULUMI_ACCESS_TOKEN", ""))])(text)).rstrip(".")
