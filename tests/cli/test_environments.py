"""Several environments in one run, further keys, and exported variables, through the real Pulumi CLI."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from sandbox import Sandbox
from sophia_sync.esc.cli import Pulumi
from sophia_sync.esc.sign_in import sign_in
from sophia_sync.runtime.errors import SignInError
from sophia_sync.runtime.tasks import AT_ONCE
from sophia_sync.settings.inputs import Access
from tests.support.action import Action
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

READ, WRITE = "env get", "env edit"


def names(action: Action, number: int) -> list[str]:
    return [f"{action.environment}-{place}" for place in range(number)]


def create(action: Action, number: int, definition: str = "values:\n  other: 1 # theirs\n") -> list[str]:
    """Create environments; return their names."""
    made = names(action, number)
    for name in made:
        action.box.esc.create(name, definition)
    return made


def results(outputs: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {one["environment"]: (one["result"], one["error"]) for one in json.loads(outputs["environments"])}


class TestSeveral:
    @pytest.mark.full
    def test_each_is_one_revision(self, action: Action, box: Sandbox) -> None:
        made = create(action, 3)
        ran = action.run(esc_environment="\n".join(made), deploy="always")
        assert (ran.code, ran.annotations) == (0, [])
        assert [box.esc.revision(name) for name in made] == [3, 3, 3]
        assert [box.esc.values(name)["SENTRY_DSN"] for name in made] == [VALID["sentry-dsn"]] * 3
        assert results(ran.outputs) == dict.fromkeys(made, ("synced", None))
        assert sorted(ran.commands) == sorted([READ, WRITE, READ, "env version tag"] * 3)
        assert len(box.github.dispatches) == 1
        assert all(f"| `{name}` | ✅ synced |" in ran.summary for name in made)

    def test_the_next_run_reads_each_once(self, action: Action) -> None:
        made = create(action, 3)
        action.run(esc_environment="\n".join(made))
        ran = action.run(esc_environment="\n".join(made))
        assert ran.commands == [READ] * 3
        assert ran.outputs["result"] == "unchanged"

    @pytest.mark.full
    def test_one_that_imports_another_needs_no_write_of_its_own(self, action: Action, box: Sandbox) -> None:
        base = f"{action.environment}-base"
        box.esc.create(base, "values: {}\n")
        action.create(f"imports:\n  - {base.partition('/')[2]}\nvalues:\n  other: 1\n")
        before = action.revision
        for token in (VALID["sentry-api-token"], "sntrys_cm90YXRlZA"):
            assert action.run(esc_environment=base, sentry_api_token=token).code == 0
            assert action.open()["SENTRY_API_TOKEN"] == token
        assert action.revision == before
        assert action.open()["other"] == 1

    def test_one_that_fails_does_not_stop_the_others(self, action: Action, box: Sandbox) -> None:
        first, second, third = create(action, 3)
        missing = f"{action.environment}-missing"
        box.esc.fail(f"PATCH /api/esc/environments/{second}", status=403, times=None)
        before = box.esc.definition(second)
        ran = action.run(esc_environment="\n".join([first, second, missing, third]), deploy="always")
        assert ran.code == 4
        (error,) = ran.annotations
        assert error.startswith("2 of 4 environments could not be synced:")
        assert second in error
        assert missing in error
        assert first not in error
        assert [box.esc.values(name).get("SENTRY_DSN") for name in (first, third)] == [VALID["sentry-dsn"]] * 2
        assert box.esc.definition(second) == before
        assert box.github.dispatches == []
        assert "result" not in ran.outputs
        told = results(ran.outputs)
        assert [told[name][0] for name in (first, second, missing, third)] == ["synced", None, None, "synced"]
        assert told[second][1]
        assert told[missing][1]

    @pytest.mark.full
    def test_what_sentry_said_is_told_although_one_fails(self, action: Action, box: Sandbox) -> None:
        (first,) = create(action, 1)
        box.sentry.fail("GET /api/0/", status=503, times=None)
        missing = f"{action.environment}-missing"
        ran = action.run(esc_environment=f"{first}\n{missing}", preflight="warn", deploy="never", timeout="20")
        assert ran.code == 4
        assert any("Sentry" in warning for warning in ran.warnings)

    def test_the_refused_sign_in_of_one_organization_does_not_stop_the_other(
        self, action: Action, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = create(action, 2)

        async def refusing(access: Access, organization: str, *rest: Any, **options: Any) -> Pulumi:
            if organization == "others":
                raise SignInError("The organization others refuses the identity token.", "Let it in there.")
            return await sign_in(access, organization, *rest, **options)

        monkeypatch.setattr("sophia_sync.app.sign_in", refusing)
        ran = action.run(esc_environment="\n".join(["others/default/one", *made]), deploy="always")
        assert ran.code == 4
        told = results(ran.outputs)
        assert [told[name][0] for name in made] == ["synced", "synced"]
        assert told["others/default/one"] == (None, "The organization others refuses the identity token.")
        assert "2 of 3" not in ran.log
        assert action.box.github.dispatches == []

    @pytest.mark.full
    def test_eight_at_a_time(self, action: Action, box: Sandbox) -> None:
        made = create(action, AT_ONCE + 4)
        lock = threading.Lock()
        all_here = threading.Event()
        waiting: list[int] = []
        most = 0

        def arrive() -> None:
            nonlocal most
            with lock:
                waiting.append(1)
                most = max(most, len(waiting))
                if len(waiting) == AT_ONCE:
                    all_here.set()
            # The first eight wait for each other. A ninth would arrive during the short wait that follows.
            assert all_here.wait(60)
            threading.Event().wait(0.3)
            with lock:
                waiting.pop()

        for name in made:
            box.esc.before(f"GET /api/esc/environments/{name}/decrypt", arrive)
        ran = action.run(esc_environment="\n".join(made), dry_run="true")
        assert (ran.code, ran.commands) == (0, [READ] * len(made))
        assert most == AT_ONCE

    def test_preflight_is_asked_once_and_stops_all(self, action: Action, box: Sandbox) -> None:
        made = create(action, 3)
        before = [box.esc.definition(name) for name in made]
        ran = action.run(esc_environment="\n".join(made), preflight="enforce", deploy="always")
        assert ran.code == 3
        assert len(ran.annotations) == 1
        assert [one.path for one in box.sentry.requests].count("/api/0/") == 1
        assert [box.esc.definition(name) for name in made] == before
        assert box.github.dispatches == []

    def test_named_twice_or_malformed_is_refused(self, action: Action) -> None:
        for given in (f"{action.environment}\n{action.environment}", f"{action.environment}\nacme/one"):
            ran = action.run(esc_environment=given)
            assert (given, ran.code, ran.commands) == (given, 2, [])

    @pytest.mark.full
    def test_a_deploy_that_is_due_for_one_is_dispatched(self, action: Action, box: Sandbox) -> None:
        made = create(action, 2)
        inputs = {"esc_environment": "\n".join(made), "deploy": "changed"}
        assert action.run(**inputs).code == 0
        box.github.dispatches.clear()
        assert action.run(**inputs).code == 0
        assert box.github.dispatches == []
        box.esc.save(made[1], "values: {}\n")
        assert action.run(**inputs).code == 0
        assert len(box.github.dispatches) == 1


class TestFurtherKeys:
    def test_ride_along_in_the_same_revision(self, action: Action) -> None:
        action.create("values:\n  other: 1 # theirs\n")
        before = action.revision
        ran = action.run(extra_secrets="STRIPE_KEY='sk_live_$\n2'\n", extra_variables="REGION=eu\n")
        assert (ran.code, ran.annotations) == (0, [])
        assert action.revision == before + 1
        assert action.values["STRIPE_KEY"] == "sk_live_$\n2"
        assert action.values["REGION"] == "eu"
        assert (action.is_encrypted("STRIPE_KEY"), action.is_encrypted("REGION")) == (True, False)
        assert {"STRIPE_KEY", "REGION"} <= set(json.loads(ran.outputs["changed-keys"]))

    def test_no_part_of_them_is_told(self, action: Action) -> None:
        action.create()
        ran = action.run(extra_secrets="FIRST=canary-1\nSECOND='canary-2\ncanary-3'\n")
        told = "\n".join(line for line in ran.log.splitlines() if not line.startswith("::add-mask::"))
        assert "canary" not in told + ran.summary + json.dumps(ran.outputs)
        masks = [line for line in ran.log.splitlines() if line.startswith("::add-mask::")]
        assert {f"::add-mask::canary-{number}" for number in (1, 2, 3)} <= set(masks)

    @pytest.mark.parametrize("given", ["no line", "A=canary\nA=canary", "SENTRY_DSN=canary", "A=canary # canary", "A="])
    def test_that_are_malformed_are_refused_unseen(self, action: Action, given: str) -> None:
        ran = action.run(extra_secrets=given)
        assert (ran.code, ran.commands) == (2, [])
        assert "`extra-secrets`" in ran.annotations[0]
        assert "canary" not in ran.annotations[0]


class TestExport:
    def test_lists_the_keys_as_variables(self, action: Action) -> None:
        action.create("values:\n  other: 1\n  environmentVariables:\n    THEIRS: x # keep\n")
        before = action.revision
        ran = action.run(export_environment_variables="true", extra_variables="REGION=eu")
        assert (ran.code, ran.annotations) == (0, [])
        assert action.revision == before + 1
        opened = action.open()
        assert opened["environmentVariables"] == {
            "THEIRS": "x",
            "SENTRY_DSN": VALID["sentry-dsn"],
            "SENTRY_API_TOKEN": VALID["sentry-api-token"],
            "SENTRY_ORGANIZATION_SLUG": VALID["sentry-organization-slug"],
            "SENTRY_PROJECT_SLUG": VALID["sentry-project-slug"],
            "REGION": "eu",
        }
        assert "    THEIRS: x # keep\n" in action.stored
        assert action.run(export_environment_variables="true", extra_variables="REGION=eu").commands == [READ]

    def test_makes_the_section_where_there_is_none(self, action: Action) -> None:
        action.create("values:\n  other: 1 # keep\n")
        assert action.run(export_environment_variables="true").code == 0
        assert action.open()["environmentVariables"]["SENTRY_DSN"] == VALID["sentry-dsn"]
        assert action.stored.startswith("values:\n  other: 1 # keep\n")

    @pytest.mark.full
    def test_that_did_not_arrive_is_set_back(self, action: Action, box: Sandbox) -> None:
        action.create("values:\n  other: 1\n")
        before = action.stored

        def spoil() -> None:
            box.esc.corrupt(action.environment, lambda text: text.replace("${SENTRY_DSN}", "${other}"))

        box.esc.after(f"PATCH /api/esc/environments/{action.environment}", spoil)
        ran = action.run(export_environment_variables="true", deploy="always")
        assert ran.code == 5
        assert action.stored == before
        assert box.github.dispatches == []
