"""The whole program through the real Pulumi CLI: what a sync writes, and what it costs."""

from __future__ import annotations

import json

import pytest

from sandbox import Sandbox
from tests.support.action import Action
from tests.support.inputs import VALID
from tests.support.runner import commands

pytestmark = pytest.mark.pulumi

READ, WRITE, TAG = "env get", "env edit", "env version tag"
ENCRYPTED = {
    "SENTRY_DSN": VALID["sentry-dsn"],
    "SENTRY_API_TOKEN": VALID["sentry-api-token"],
    "SENTRY_CLIENT_SECRET": "whsec-1",
}
PLAIN = {
    "SENTRY_ORGANIZATION_SLUG": VALID["sentry-organization-slug"],
    "SENTRY_PROJECT_SLUG": VALID["sentry-project-slug"],
}


def is_right(action: Action) -> bool:
    """Return whether ESC holds all five keys, with the right encryption."""
    held = {key: value for key, value in action.values.items() if key.startswith("SENTRY_")}
    return held == ENCRYPTED | PLAIN and all(action.is_encrypted(key) == (key in ENCRYPTED) for key in held)


class TestFirstSync:
    def test_writes_all_keys_in_one_revision(self, action: Action) -> None:
        action.create("values:\n  greeting: hello # world\n")
        before = action.revision
        ran = action.run(sentry_client_secret="whsec-1")
        assert (ran.code, ran.annotations) == (0, [])
        assert is_right(action)
        assert action.stored.startswith("values:\n  greeting: hello # world\n")
        assert action.revision == before + 1
        assert ran.commands == [READ, WRITE, READ]
        assert ran.outputs["result"] == "synced"
        assert json.loads(ran.outputs["changed-keys"]) == [
            "SENTRY_DSN",
            "SENTRY_API_TOKEN",
            "SENTRY_ORGANIZATION_SLUG",
            "SENTRY_PROJECT_SLUG",
            "SENTRY_CLIENT_SECRET",
        ]
        assert (ran.outputs["previous-revision"], ran.outputs["revision"]) == (str(before), str(before + 1))
        assert ran.warnings == []
        assert "## ✅ Sentry credentials synced" in ran.summary
        assert len(commands(ran.log, "group")) == len(commands(ran.log, "endgroup")) == 1

    def test_is_told_on_the_page_of_the_run(self, action: Action) -> None:
        action.create()
        [notice] = [command.data for command in commands(action.run().log, "notice")]
        assert notice.startswith(f"{action.environment}: 4 of 4 keys changed in one revision")
        [notice] = [command.data for command in commands(action.run().log, "notice")]
        assert notice == f"{action.environment}: all 4 keys are up to date, nothing was written"
        refused = action.run(sentry_dsn="nonsense")
        assert commands(refused.log, "notice") == []

    def test_what_a_consumer_opens(self, action: Action) -> None:
        action.create("values:\n  greeting: hello\n")
        action.run(sentry_client_secret="whsec-1")
        assert action.open() == {"greeting": "hello", **ENCRYPTED, **PLAIN}

    def test_as_the_runner_starts_it(self, action: Action) -> None:
        action.create()
        ran = action.run_child(action.variables(action.inputs(sentry_client_secret="whsec-1")))
        assert ran.code == 0
        assert is_right(action)
        assert ran.errors == ""
        assert ran.outputs["result"] == "synced"

    def test_into_a_log_that_takes_no_unicode(self, action: Action) -> None:
        action.create()
        ran = action.run_child(action.variables(action.inputs()) | {"PYTHONIOENCODING": "ascii"})
        assert ran.code == 0
        assert "SENTRY_DSN" in ran.log

    def test_pasted_white_space_is_left_out_with_a_warning(self, action: Action) -> None:
        action.create()
        ran = action.run(sentry_dsn=f" {VALID['sentry-dsn']}\n", sentry_client_secret="whsec-1")
        assert (ran.code, ran.annotations) == (0, [])
        assert is_right(action)
        assert len(ran.warnings) == 1
        assert "`sentry-dsn`" in ran.warnings[0]

    def test_an_unset_client_secret_leaves_what_esc_holds(self, action: Action) -> None:
        action.create("values:\n  SENTRY_CLIENT_SECRET: {fn::secret: theirs}\n")
        before = action.stored
        assert action.run().code == 0
        assert action.values["SENTRY_CLIENT_SECRET"] == "theirs"
        assert before.splitlines()[1] in action.stored.splitlines()


class TestNextSync:
    @pytest.fixture(autouse=True)
    def synced(self, action: Action) -> None:
        action.create("values:\n  other:\n    fn::secret: theirs # keep\n")
        assert action.run(sentry_client_secret="whsec-1").code == 0

    def test_of_the_same_values_is_one_call_and_no_revision(self, action: Action) -> None:
        before, stored = action.revision, action.stored
        ran = action.run(sentry_client_secret="whsec-1")
        assert ran.code == 0
        assert ran.commands == [READ]
        assert (action.revision, action.stored) == (before, stored)
        assert ran.outputs["result"] == "unchanged"
        assert (ran.outputs["changed-keys"], ran.outputs["revision"]) == ("[]", "")
        assert "up to date" in ran.summary

    def test_of_a_rotated_token_changes_that_entry_alone(self, action: Action) -> None:
        before = action.stored.splitlines()
        ran = action.run(sentry_client_secret="whsec-1", sentry_api_token="sntrys_rotated")
        assert ran.commands == [READ, WRITE, READ]
        assert json.loads(ran.outputs["changed-keys"]) == ["SENTRY_API_TOKEN"]
        assert action.values["SENTRY_API_TOKEN"] == "sntrys_rotated"
        assert action.is_encrypted("SENTRY_API_TOKEN")
        after = action.stored.splitlines()
        assert len(after) == len(before)
        assert len([place for place, line in enumerate(after) if line != before[place]]) == 1

    def test_of_a_key_in_plain_text_encrypts_it(self, action: Action, box: Sandbox) -> None:
        text = f"values:\n  SENTRY_CLIENT_SECRET: whsec-1 # was pasted\n  other: '{{x}}'\n{ours(but='SENTRY_CLIENT')}"
        box.esc.save(action.environment, text)
        ran = action.run(sentry_client_secret="whsec-1")
        assert json.loads(ran.outputs["changed-keys"]) == ["SENTRY_CLIENT_SECRET"]
        assert is_right(action)
        assert "encrypted now" in ran.summary
        assert " # was pasted\n  other: '{x}'\n" in action.stored

    def test_of_an_encrypted_slug_shows_it(self, action: Action, box: Sandbox) -> None:
        text = (
            f"values:\n  SENTRY_PROJECT_SLUG:\n    fn::secret: {PLAIN['SENTRY_PROJECT_SLUG']}\n{ours(but='SENTRY_P')}"
        )
        box.esc.save(action.environment, text)
        ran = action.run(sentry_client_secret="whsec-1")
        assert json.loads(ran.outputs["changed-keys"]) == ["SENTRY_PROJECT_SLUG"]
        assert is_right(action)
        assert "in plain text now" in ran.summary

    def test_without_writing_says_what_it_would_do(self, action: Action) -> None:
        before = action.revision
        ran = action.run(sentry_api_token="sntrys_rotated", dry_run="true", deploy="always")
        assert ran.code == 0
        assert ran.commands == [READ]
        assert action.revision == before
        assert ran.outputs["result"] == "planned"
        assert json.loads(ran.outputs["changed-keys"]) == ["SENTRY_API_TOKEN"]
        assert "would be changed" in ran.summary
        assert {request.method for request in action.box.github.requests} == {"GET"}  # the deploy's workflow is checked
        assert action.box.github.dispatches == []


def ours(*, but: str) -> str:
    """Return our keys, except one, as a block of a definition."""
    secrets = "".join(f"  {key}: {{fn::secret: '{value}'}}\n" for key, value in ENCRYPTED.items() if but not in key)
    return secrets + "".join(f"  {key}: {value}\n" for key, value in PLAIN.items() if but not in key)


class TestRevisionTag:
    def test_names_the_run(self, action: Action, box: Sandbox) -> None:
        action.create()
        ran = action.run(tag_revision="true")
        assert ran.commands[:2] == [READ, WRITE]
        assert sorted(ran.commands[2:]) == sorted([READ, TAG])  # at the same time
        assert box.esc.revision_tags(action.environment)["github-run-17-1"] == action.revision

    def test_is_not_set_where_nothing_changed(self, action: Action, box: Sandbox) -> None:
        action.create()
        action.run()
        assert action.run(tag_revision="true").commands == [READ]
        assert set(box.esc.revision_tags(action.environment)) == {"latest"}

    def test_that_can_not_be_set_is_a_warning(self, action: Action, box: Sandbox) -> None:
        action.create()
        box.esc.fail(r"(PATCH|POST) .*/versions/tags.*", status=403, times=None)
        ran = action.run(tag_revision="true", deploy="always")
        assert ran.code == 0
        assert len(ran.warnings) == 2  # the other is about the mark of what was deployed
        assert "github-run-17-1" in ran.warnings[0]
        assert "The sync itself is complete. Pulumi's Free edition has no version tags" in ran.warnings[0]
        assert len(box.github.dispatches) == 1
