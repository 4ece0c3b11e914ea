"""The whole program, signed in with GitHub's identity token, and with credentials that Sentry accepts or not."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from tests.support.action import Action
from tests.support.inputs import VALID
from tests.support.runner import commands

pytestmark = pytest.mark.pulumi


class TestSignIn:
    def test_without_a_stored_token(self, action: Action, box: Sandbox) -> None:
        action.create()
        variables = action.variables(action.inputs(pulumi_access_token="")) | {
            "ACTIONS_ID_TOKEN_REQUEST_URL": box.github.id_token_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": box.github.id_token_request_token,
        }
        ran = action.run_with(variables)
        assert (ran.code, ran.annotations) == (0, [])
        assert action.values["SENTRY_API_TOKEN"] == VALID["sentry-api-token"]
        (minted,) = {call.environ["PULUMI_ACCESS_TOKEN"] for call in ran.calls}
        assert minted != box.esc.token
        assert minted in {command.data for command in commands(ran.log, "add-mask")}
        told = "\n".join(line for line in ran.log.splitlines() if not line.startswith("::add-mask::"))
        assert minted not in told + ran.summary
        assert all(not name.startswith("ACTIONS_") for call in ran.calls for name in call.environ)

    def test_without_any_token(self, action: Action, box: Sandbox) -> None:
        action.create()
        ran = action.run(pulumi_access_token="")
        assert ran.code == 4
        assert "id-token: write" in ran.annotations[0]
        assert ran.calls == []
        assert box.esc.requests == []


class TestPreflight:
    def inputs(self, action: Action, box: Sandbox, preflight: str, token: str = "") -> dict[str, str]:
        return action.inputs(
            preflight=preflight,
            sentry_dsn=box.sentry.dsn,
            sentry_api_token=token or box.sentry.token,
            sentry_organization_slug=box.sentry.organization,
            sentry_project_slug=box.sentry.project,
        )

    def test_of_good_credentials(self, action: Action, box: Sandbox) -> None:
        action.create()
        ran = action.run_with(action.variables(self.inputs(action, box, "enforce")))
        assert (ran.code, ran.annotations, ran.warnings) == (0, [], [])
        assert box.sentry.requests
        assert action.values["SENTRY_API_TOKEN"] == box.sentry.token

    def test_of_a_broken_token_keeps_it_out(self, action: Action, box: Sandbox) -> None:
        action.create(f"values:\n  SENTRY_API_TOKEN: {{fn::secret: {box.sentry.token}}}\n")
        before = action.stored
        inputs = self.inputs(action, box, "enforce", "sntryu_broken") | {"deploy": "always"}
        ran = action.run_with(action.variables(inputs))
        assert ran.code == 3
        assert len(ran.annotations) == 1
        assert action.stored == before
        assert box.github.requests == []

    def test_of_a_broken_token_can_warn(self, action: Action, box: Sandbox) -> None:
        action.create()
        ran = action.run_with(action.variables(self.inputs(action, box, "warn", "sntryu_broken")))
        assert ran.code == 0
        assert len(ran.warnings) == 1
        assert "sntryu_broken" not in ran.warnings[0]
        assert action.values["SENTRY_API_TOKEN"] == "sntryu_broken"

    @pytest.mark.full
    def test_of_credentials_that_nobody_can_check_stops_nothing(self, action: Action, box: Sandbox) -> None:
        action.create()
        box.sentry.down()
        ran = action.run_with(action.variables(self.inputs(action, box, "enforce")))
        assert ran.code == 0
        assert len(ran.warnings) == 1
        assert action.values["SENTRY_API_TOKEN"] == box.sentry.token
