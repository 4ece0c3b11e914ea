"""Arguments, environment and output of the CLI call that opens an environment. Pure: the caller runs the CLI.

Source: github.com/pulumi/esc v0.26.0, `cmd/esc/cli/env_open.go`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from sophia_sync.esc import opened
from sophia_sync.esc.opened import Opened

# Percent. By default, Go's garbage collector would take a tenth of the time of a call, which is short.
_GOGC = "400"

GLOBAL_OPTIONS = ("--non-interactive", "--color", "never")
"""The options of every call."""


def arguments(environment: str, draft: str = "") -> list[str]:
    """Return the CLI's arguments.

    Args:
        environment: `organization/project/environment`, or that with `@version`.
        draft: The change request whose draft to open instead.
    """
    # The format `json` doesn't tell what is secret.
    return ["env", "open", environment, "--format", "detailed", *([f"--draft={draft}"] if draft else [])]


def variables(
    environ: Mapping[str, str], home: Path, pulumi_home: Path, access_token: SecretStr | None, cloud_url: str
) -> dict[str, str]:
    """Return the CLI's environment variables.

    Args:
        environ: The other variables that the CLI may see.
        home: A private folder; becomes HOME and TMPDIR.
        pulumi_home: The same folder, or that of an existing `pulumi login`.
        access_token: The CLI takes it from its environment only.
        cloud_url: The address of Pulumi Cloud; empty for that of the login.
    """
    found = {
        **environ,
        "HOME": str(home),
        "PULUMI_HOME": str(pulumi_home),
        "TMPDIR": str(home),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "GOGC": _GOGC,
    }
    if access_token is not None:
        found["PULUMI_ACCESS_TOKEN"] = access_token.get_secret_value()
    if cloud_url:
        found["PULUMI_BACKEND_URL"] = cloud_url
    return found


def configuration(cloud_url: str, organization: str) -> str:
    """Return the CLI's `config.json` with a default organization, which saves a request."""
    return json.dumps({"backends": {cloud_url: {"defaultOrg": organization}}})


def values(printed: bytes) -> dict[str, Opened]:
    """Return the values by key.

    Raises:
        ValueError: The environment has errors, so the CLI printed no values. The text holds no value.
    """
    try:
        return opened.parse(printed.decode())
    except ValueError:
        raise ValueError("the environment can't be evaluated") from None
