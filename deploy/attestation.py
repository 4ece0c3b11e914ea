"""Where an image comes from, by the attestation that GitHub keeps: the one place that calls `gh`.

Source: cli.github.com/manual/gh_attestation_verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from sophia_sync import process
from sophia_sync.process import Deadline


@dataclass(frozen=True)
class Origin:
    """What an image must be made by."""

    workflow: str
    """OWNER/NAME/.github/workflows/FILE."""
    ref: str
    """The branch that the workflow ran on, as refs/heads/NAME."""
    token: SecretStr | None
    """For GitHub's API."""


def missing(image: str, origin: Origin, environ: Mapping[str, str], deadline: Deadline) -> str | None:
    """Why an image, by its digest, isn't known to come from there; None if it is.

    Args:
        image: REGISTRY/NAME@sha256:….
        origin: From where.
        environ: How to reach the registry.
        deadline: Ends it.
    """
    repository = origin.workflow.partition("/.github/")[0]
    argv = ["gh", "attestation", "verify", f"oci://{image}", "--repo", repository]
    argv += ["--signer-workflow", origin.workflow, "--source-ref", origin.ref]
    token = {"GH_TOKEN": origin.token.get_secret_value()} if origin.token else {}
    try:
        done = process.run(argv, {**environ, **token}, deadline)
    except OSError as error:
        return f"`gh` can't be started: {error.strerror}"
    if done.code == 0 and not done.timed_out:
        return None
    return "GitHub didn't answer in time" if done.timed_out else done.stderr.strip() or "`gh` didn't find it"
