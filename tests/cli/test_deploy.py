"""The whole program: when it dispatches the deploy, and that no deploy is lost."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from tests.support.action import WORKFLOW, Action

pytestmark = pytest.mark.pulumi

READ, WRITE, NUMBER, TAG = "env get", "env edit", "env version", "env version tag"
DISPATCH = r"POST .*/dispatches"
MARK = "sentry-esc-sync-deployed-"
ROTATED = "sntrys_rotated"


def marks(action: Action) -> dict[str, int]:
    tags = action.box.esc.revision_tags(action.environment)
    return {name: revision for name, revision in tags.items() if name.startswith(MARK)}


class TestAlways:
    def test_after_a_sync_and_after_one_that_finds_nothing_to_do(self, action: Action, box: Sandbox) -> None:
        action.create()
        first = action.run(deploy="always")
        second = action.run(deploy="always")
        assert (first.outputs["result"], second.outputs["result"]) == ("synced", "unchanged")
        assert [dispatch.workflow for dispatch in box.github.dispatches] == [WORKFLOW] * 2
        assert second.commands == [READ, NUMBER, TAG]
        for ran, dispatch in zip((first, second), box.github.dispatches, strict=True):
            assert ran.outputs["deploy-run-id"] == str(dispatch.run_id)
            assert ran.outputs["deploy-run-url"].endswith(f"/runs/{dispatch.run_id}")
            assert f"[run {dispatch.run_id}](" in ran.summary

    @pytest.mark.full
    def test_with_inputs_filled_in(self, action: Action, box: Sandbox) -> None:
        action.create()
        inputs = '{"revision": "{revision}", "note": "{environment} by {run_url}", "loud": true}'
        action.run(deploy="always", deploy_inputs=inputs)
        action.run(deploy="always", deploy_inputs=inputs)
        for dispatch in box.github.dispatches:
            assert dispatch.inputs == {
                "revision": str(action.revision),
                "note": f"{action.environment} by https://github.example/{action.repository}/actions/runs/17",
                "loud": True,
            }

    def test_not_where_the_sync_failed(self, action: Action, box: Sandbox) -> None:
        assert action.run(deploy="always").code == 4  # there is no such environment
        assert box.github.requests == []


class TestNever:
    def test_and_github_is_not_asked_for_anything(self, action: Action, box: Sandbox) -> None:
        action.create()
        ran = action.run(deploy="never")
        assert ran.code == 0
        assert "Deploy: not due." in ran.summary
        assert box.github.requests == []


class TestChanged:
    def test_is_once_for_each_change(self, action: Action, box: Sandbox) -> None:
        action.create()
        first = action.run(deploy="changed")
        assert first.commands == [READ, WRITE, READ, TAG]
        assert marks(action) == dict.fromkeys(marks(action), action.revision)
        assert len(marks(action)) == 1

        second = action.run(deploy="changed")
        assert second.commands == [READ, READ]
        assert len(box.github.dispatches) == 1
        assert "Deploy: not due." in second.summary

        action.run(deploy="changed", sentry_api_token=ROTATED)
        assert len(box.github.dispatches) == 2
        assert list(marks(action).values()) == [action.revision]

    def test_a_deploy_whose_dispatch_failed_is_made_up_for(self, action: Action, box: Sandbox) -> None:
        action.create()
        assert action.run(deploy="changed").code == 0
        box.github.fail(DISPATCH, status=422, times=None)
        failed = action.run(deploy="changed", sentry_api_token=ROTATED)
        assert failed.code == 6
        assert failed.outputs["result"] == "synced"
        assert action.values["SENTRY_API_TOKEN"] == ROTATED
        assert len(failed.annotations) == 1
        assert "The sync succeeded. The deploy did not start." in failed.annotations[0]
        assert "## ❌ The sync succeeded, but the deploy failed" in failed.summary
        box.github.reset_faults()

        made_up_for = action.run(deploy="changed", sentry_api_token=ROTATED)
        assert (made_up_for.code, made_up_for.outputs["result"]) == (0, "unchanged")
        assert len(box.github.dispatches) == 2

        assert action.run(deploy="changed", sentry_api_token=ROTATED).outputs["result"] == "unchanged"
        assert len(box.github.dispatches) == 2

    def test_a_deploy_whose_run_failed_is_made_up_for(self, action: Action, box: Sandbox) -> None:
        action.create()
        for conclusion, code in (("failure", 6), ("success", 0)):
            box.github.run_script = [f"completed/{conclusion}"]
            try:
                assert action.run(deploy="changed", deploy_wait="true").code == code
            finally:
                box.github.run_script = []
        assert len(box.github.dispatches) == 2
        assert action.run(deploy="changed", deploy_wait="true").code == 0
        assert len(box.github.dispatches) == 2

    @pytest.mark.full
    def test_what_was_deployed_by_always_is_marked_too(self, action: Action, box: Sandbox) -> None:
        action.create()
        action.run(deploy="changed")
        box.github.fail(DISPATCH, status=422)
        action.run(deploy="always", sentry_api_token=ROTATED)
        action.run(deploy="always", sentry_api_token=ROTATED)
        box.github.fail(DISPATCH, status=422)
        assert action.run(deploy="changed").code == 6  # back to the first token, and not deployed
        assert action.run(deploy="changed").code == 0
        assert len(box.github.dispatches) == 3

    def test_a_revision_that_is_saved_meanwhile_is_deployed(self, action: Action, box: Sandbox) -> None:
        action.create()
        action.run(deploy="never")
        deployed = action.revision
        changed = action.stored.replace("SENTRY_PROJECT_SLUG: ", "SENTRY_PROJECT_SLUG: other-")
        box.github.after(DISPATCH, lambda: box.esc.save(action.environment, changed))
        action.run(deploy="always", deploy_inputs='{"revision": "{revision}"}')
        assert box.github.dispatches[0].inputs == {"revision": str(deployed)}
        assert list(marks(action).values()) == [deployed]

    @pytest.mark.full
    def test_another_change_of_the_environment_is_none_of_ours(self, action: Action, box: Sandbox) -> None:
        action.create("values:\n  A: 1\n")
        action.run(deploy="changed")
        box.esc.save(action.environment, action.stored.replace("A: 1", "A: 2"))
        action.run(deploy="changed")
        assert len(box.github.dispatches) == 1

    @pytest.mark.full
    def test_a_mark_that_can_not_be_read_costs_a_deploy(self, action: Action, box: Sandbox) -> None:
        action.create()
        action.run(deploy="changed")
        box.esc.fail(rf"GET .*/versions/.*{MARK}.*", status=403, times=None)
        ran = action.run(deploy="changed")
        assert ran.code == 0
        assert "What was last deployed isn't known" in ran.log
        assert len(box.github.dispatches) == 2

    @pytest.mark.full
    def test_a_mark_that_can_not_be_set_costs_a_deploy(self, action: Action, box: Sandbox) -> None:
        action.create()
        box.esc.fail(r"(PATCH|POST) .*/versions/tags.*", status=403, times=None)
        ran = action.run(deploy="changed")
        assert ran.code == 0
        assert len(ran.warnings) == 1
        assert "the next sync dispatches the deploy again" in ran.warnings[0]
        box.esc.reset_faults()
        action.run(deploy="changed")
        assert len(box.github.dispatches) == 2
        action.run(deploy="changed")
        assert len(box.github.dispatches) == 2


class TestWaiting:
    def test_for_a_run_that_succeeds(self, action: Action, box: Sandbox) -> None:
        action.create()
        box.github.run_script = ["completed/success"]
        try:
            ran = action.run(deploy="always", deploy_wait="true")
        finally:
            box.github.run_script = []
        assert ran.code == 0
        assert ran.outputs["deploy-conclusion"] == "success"
        assert "**success**" in ran.summary

    def test_for_a_run_that_fails(self, action: Action, box: Sandbox) -> None:
        action.create()
        box.github.run_script = ["completed/failure"]
        try:
            ran = action.run(deploy="always", deploy_wait="true")
        finally:
            box.github.run_script = []
        assert ran.code == 6
        assert ran.outputs["deploy-conclusion"] == "failure"
        assert f"/runs/{box.github.dispatches[0].run_id}" in ran.annotations[0]
        assert ran.outputs["result"] == "synced"
