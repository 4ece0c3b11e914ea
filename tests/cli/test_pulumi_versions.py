"""The whole program with releases of the Pulumi CLI whose messages differ from those in the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.action import Action
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

# Up to v3.250, `env edit` prints `Environment updated.` alone.
# Source: github.com/pulumi/esc v0.25.0, `cmd/esc/cli/env.go`.
PRINTS_NO_NUMBER = """\
#!/bin/bash
set -o pipefail
{real} "$@" | sed -u 's/ (revision [0-9]*)$//'
"""


@pytest.fixture(autouse=True)
def older(action: Action, pulumi: Path) -> None:
    (action.bin / "pulumi").write_text(PRINTS_NO_NUMBER.format(real=pulumi))


def test_a_number_that_is_not_printed_is_asked_for(action: Action) -> None:
    action.create()
    ran = action.run(deploy="always")
    assert (ran.code, ran.annotations) == (0, [])
    assert ran.outputs["revision"] == "2"
    assert action.run().outputs["result"] == "unchanged"


def test_what_somebody_else_has_changed_meanwhile_is_left_alone(action: Action, box: Sandbox) -> None:
    action.create()

    def write() -> None:
        box.esc.save(action.environment, action.stored.replace(f'"{VALID["sentry-project-slug"]}"', "theirs", 1))

    box.esc.after(f"PATCH /api/esc/environments/{action.environment}", write)
    ran = action.run()
    assert ran.code == 5
    assert "nothing was set back" in ran.annotations[0]
    assert action.values["SENTRY_PROJECT_SLUG"] == "theirs"
