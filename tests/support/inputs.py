"""The action's inputs as a runner or a person gives them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from unittest import mock

ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"

# Enough for a sync and a deploy. No two values are alike.
VALID = {
    "sentry-dsn": "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9@o4507.ingest.sentry.example/4507123",
    "sentry-api-token": "sntrys_Qm9hdGhvdXNlLTE3",
    "sentry-organization-slug": "pay-ready",
    "sentry-project-slug": "pay-ready-web",
    "esc-environment": ENVIRONMENT,
    "pulumi-access-token": "pul-5f4dcc3b5aa765d61d8327deb882cf99",
    "deploy-repository": REPOSITORY,
    "github-token": "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
}

_READ_BY_THE_ACTION = ("INPUT_", "SENTRY_", "PULUMI_", "GITHUB_", "RUNNER_", "ACTIONS_", "HTTP_PROXY", "HTTPS_PROXY")


def as_runner(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a runner sets for `inputs`."""
    return {f"INPUT_{name.upper()}": value for name, value in inputs.items()}


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Make `variables` the whole environment of this process."""
    with mock.patch.dict(os.environ, variables, clear=True):
        yield


def without_inputs() -> dict[str, str]:
    """Return our environment without what the action reads: a test may itself run on a runner."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_READ_BY_THE_ACTION)}
