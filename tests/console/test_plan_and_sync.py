"""`plan` and `sync` as real child processes, without a terminal and on one."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.laptop import PROGRAM, Laptop

pytestmark = pytest.mark.pulumi

KEYS = ["SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG"]
QUESTION = "Write this? [y/N]"


def writes(box: Sandbox) -> int:
    return sum(request.method in ("PATCH", "DELETE") for request in box.esc.requests)


class TestPlan:
    def test_nothing_would_change(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        shown = laptop.run("plan")
        assert shown.code == 0
        assert shown.out.count("unchanged") == 4
        assert shown.out.endswith("Nothing to do: ESC holds all of it already.\n")
        assert (shown.err, writes(box)) == ("", 0)

    def test_something_would_change(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create("values:\n  SENTRY_PROJECT_SLUG: another\n  SENTRY_DSN: " + laptop.variables["SENTRY_DSN"] + "\n")
        shown = laptop.child("plan")
        assert shown.code == 10
        assert shown.out == (
            f"{laptop.environment}\n"
            "  ~ SENTRY_DSN                encrypt  encrypted\n"
            "  + SENTRY_API_TOKEN          add      encrypted\n"
            "  + SENTRY_ORGANIZATION_SLUG  add      plain text\n"
            "  ~ SENTRY_PROJECT_SLUG       change   plain text\n"
            "\n"
            "4 of 4 keys would change. `sophia-sync sync` writes them.\n"
        )
        assert (shown.err, writes(box)) == ("", 0)

    def test_json(self, laptop: Laptop) -> None:
        laptop.create()
        shown = laptop.child("plan", "--json", SENTRY_CLIENT_SECRET="a-webhook-secret")
        assert shown.code == 10
        assert shown.json == {
            "result": "planned",
            "environments": [
                {
                    "environment": laptop.environment,
                    "result": "planned",
                    "keys": [
                        *({"key": key, "action": "add", "encrypted": not key.endswith("SLUG")} for key in KEYS),
                        {"key": "SENTRY_CLIENT_SECRET", "action": "add", "encrypted": True},
                    ],
                    "revision": None,
                    "previous_revision": None,
                    "proposes": False,
                    "change_request": None,
                    "error": None,
                }
            ],
            "deploy": None,
            "error": None,
        }

    def test_one_environment_of_several_would_change(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        other = f"{laptop.environment}-other"
        box.esc.create(other)
        shown = laptop.run("plan", "-e", laptop.environment, "--environment", other)
        assert shown.code == 10
        assert {laptop.environment, other} <= set(shown.out.splitlines())
        assert "4 of 8 keys would change." in shown.out

    def test_asks_neither_sentry_nor_github_and_wants_no_token_of_theirs(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.run("plan", GITHUB_TOKEN=None, GITHUB_REPOSITORY=None, INPUT_DEPLOY="always")
        assert shown.code == 10
        assert box.sentry.requests == box.github.requests == []

    def test_an_option_wins_over_the_environment(self, laptop: Laptop) -> None:
        laptop.synced()
        given = {"PULUMI_ESC_ENVIRONMENT": "acme/default/none", "INPUT_ESC-ENVIRONMENT": "acme/default/neither"}
        assert laptop.run("plan", "-e", laptop.environment, **given).code == 0

    def test_an_environment_that_there_is_not(self, laptop: Laptop) -> None:
        shown = laptop.run("plan", "--json")
        assert shown.code == 4
        assert "[404]" in shown.json["error"]["what"]
        assert shown.json["error"]["exit_code"] == 4
        assert shown.json["environments"][0]["error"]["exit_code"] == 4
        assert "[404]" in shown.err

    def test_one_environment_of_several_that_there_is_not(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.run("plan", "--json", "-e", laptop.environment, "-e", "acme/default/none")
        assert shown.code == 4
        here, there = shown.json["environments"]
        assert (here["result"], here["error"]) == ("planned", None)
        assert (there["result"], there["error"]["title"]) == (None, "Pulumi ESC could not be read or written")
        assert shown.json["error"]["changed"] == "No environment was written."
        assert shown.err.count("[404]") == 1, "it is told once"

    def test_inputs_that_are_missing(self, laptop: Laptop, box: Sandbox) -> None:
        shown = laptop.child("plan", "--json", SENTRY_DSN=None, SENTRY_API_TOKEN=None)
        assert shown.code == 2
        assert "SENTRY_DSN is not set" in shown.json["error"]["what"]
        assert "SENTRY_API_TOKEN is not set" in shown.json["error"]["what"]
        assert "environment variable, such as SENTRY_DSN" in shown.words
        assert box.esc.requests == []

    def test_an_option_that_is_malformed(self, laptop: Laptop, box: Sandbox) -> None:
        shown = laptop.run("plan", "-e", "production")
        assert shown.code == 2
        assert "PULUMI_ESC_ENVIRONMENT or --environment isn't a path" in shown.words
        assert box.esc.requests == []


class TestSignIn:
    def test_with_an_existing_login(self, laptop: Laptop, pulumi: Path) -> None:
        laptop.synced()
        subprocess.run([pulumi, "login"], env=laptop.variables, check=True, capture_output=True)
        shown = laptop.run("plan", PULUMI_ACCESS_TOKEN=None, PULUMI_BACKEND_URL=None)
        assert (shown.code, shown.err) == (0, "")

    def test_an_access_token_takes_the_place_of_a_login(
        self, laptop: Laptop, pulumi: Path, box: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        laptop.synced()
        subprocess.run([pulumi, "login"], env=laptop.variables, check=True, capture_output=True)
        another = "pul-" + "0" * 40
        monkeypatch.setitem(box.esc.tokens, another, "other")
        monkeypatch.delitem(box.esc.tokens, box.esc.token)
        assert laptop.run("plan", PULUMI_ACCESS_TOKEN=another).code == 0

    def test_without_one(self, laptop: Laptop) -> None:
        shown = laptop.run("plan", PULUMI_ACCESS_TOKEN=None)
        assert shown.code == 4
        assert "Set PULUMI_ACCESS_TOKEN, or run `pulumi login`." in shown.words

    def test_by_the_identity_token_of_a_job(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        job = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": box.github.id_token_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": box.github.id_token_request_token,
        }
        assert laptop.run("plan", PULUMI_ACCESS_TOKEN=None, **job).code == 0

    def test_without_the_cli(self, laptop: Laptop) -> None:
        shown = laptop.child("plan", PATH="/nowhere")
        assert shown.code == 4
        assert "The Pulumi CLI isn't installed" in shown.err


class TestSyncOnATerminal:
    def test_asks_and_writes(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", answer="y\n", NO_COLOR="1")
        assert shown.code == 0
        plan, _, rest = shown.words.partition(QUESTION)
        assert "+ SENTRY_DSN add encrypted" in plan
        assert "verified by reading back" in rest
        assert "+ SENTRY_DSN" not in rest, "the plan is shown once"
        assert box.esc.revision(laptop.environment) == 2
        assert box.esc.is_secret(laptop.environment, "SENTRY_API_TOKEN")

    @pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
    def test_asks_and_writes_nothing(self, laptop: Laptop, box: Sandbox, answer: str) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", answer=answer)
        assert shown.code == 1
        assert "You answered no. Nothing was written." in shown.out
        assert writes(box) == 0

    @pytest.mark.full
    def test_asks_nothing_where_there_is_nothing_to_write(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.on_terminal("sync")
        assert shown.code == 0
        assert QUESTION not in shown.out
        assert "all 4 keys are up to date, nothing was written" in shown.words

    @pytest.mark.full
    def test_asks_nothing_where_that_is_wished(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", "-y")
        assert shown.code == 0
        assert QUESTION not in shown.out
        assert box.esc.revision(laptop.environment) == 2

    @pytest.mark.full
    def test_asks_nothing_if_sentry_refuses(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", SENTRY_API_TOKEN="sntrys_unknown")
        assert shown.code == 3
        assert QUESTION not in shown.out
        assert writes(box) == 0

    @pytest.mark.full
    def test_what_changes_while_somebody_thinks_is_kept(self, laptop: Laptop, box: Sandbox) -> None:
        """The answer confirms our keys only. The sync applies them to the environment's newest definition."""
        laptop.create("values:\n  A: 1\n")
        reads = r"GET /api/esc/environments/.*/decrypt"
        box.esc.after(reads, lambda: box.esc.save(laptop.environment, "values:\n  A: 2\n"))
        assert laptop.on_terminal("sync", answer="y\n").code == 0
        assert box.esc.values(laptop.environment)["A"] == 2
        assert box.esc.values(laptop.environment)["SENTRY_DSN"] == box.sentry.dsn

    @pytest.mark.full
    def test_asks_nothing_if_one_of_several_environments_can_not_be_read(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", "-e", laptop.environment, "-e", "acme/default/none")
        assert shown.code == 4
        assert QUESTION not in shown.out
        assert "No environment was written." in shown.words
        assert writes(box) == 0

    def test_asks_nobody_where_json_is_wanted(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", "--json")
        assert shown.code == 2
        assert QUESTION not in shown.out
        assert box.esc.requests == []

    @pytest.mark.full
    def test_has_colours_unless_nobody_wants_them(self, laptop: Laptop) -> None:
        laptop.create()
        assert "\x1b[32m" in laptop.on_terminal("plan").out
        assert "\x1b" not in laptop.on_terminal("plan", NO_COLOR="1").out

    def test_ends_at_once_at_a_signal_and_says_that_nothing_was_written(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.on_terminal("sync", answer="\x03")  # Ctrl-C at the question
        assert shown.code == 128 + signal.SIGINT
        assert "SIGINT ended the run. Nothing was written." in shown.words
        assert writes(box) == 0


class TestSyncOffATerminal:
    def test_does_not_write_unasked(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.child("sync", "--json")
        assert shown.code == 2
        assert "Pass --yes" in shown.json["error"]["what"]
        assert box.esc.requests == []

    def test_writes_and_prints_json(self, laptop: Laptop) -> None:
        laptop.create()
        shown = laptop.child("sync", "--yes", "--json")
        assert shown.code == 0
        (environment,) = shown.json["environments"]
        assert (shown.json["result"], environment["result"]) == ("synced", "synced")
        assert (environment["previous_revision"], environment["revision"]) == (1, 2)
        assert [key["key"] for key in environment["keys"]] == KEYS
        assert shown.json["error"] is None

    def test_as_a_dry_run_it_ends_like_the_action(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.run("sync", "--yes", "--json", **{"INPUT_DRY-RUN": "true"})
        assert (shown.code, shown.json["result"], writes(box)) == (0, "planned", 0)

    def test_dispatches_no_deploy_unless_told_to(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        assert laptop.run("sync", "--yes", GITHUB_TOKEN=None, GITHUB_REPOSITORY=None).code == 0
        assert box.github.dispatches == []

    @pytest.mark.parametrize("by", ["option", "variable"])
    def test_dispatches_a_deploy(self, laptop: Laptop, box: Sandbox, by: str) -> None:
        laptop.create()
        options = ["--deploy", "always", "--repository", laptop.repository] if by == "option" else []
        changes = {"GITHUB_REPOSITORY": None} if by == "option" else {"INPUT_DEPLOY": "always"}
        shown = laptop.run("sync", "--yes", "--json", *options, **changes)
        assert shown.code == 0
        (dispatch,) = box.github.dispatches
        assert shown.json["deploy"]["run_id"] == dispatch.run_id
        assert shown.json["deploy"]["repository"] == laptop.repository
        assert "Deploy dispatched" in shown.err

    def test_a_deploy_that_fails(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        box.github.fail("POST .*/dispatches", status=403, times=None)
        shown = laptop.run("sync", "--yes", "--json", "--deploy", "always")
        assert shown.code == 6
        assert shown.json["result"] == "synced"
        assert shown.json["error"]["exit_code"] == 6

    def test_on_a_runner_it_writes_the_outputs_of_the_step_too(self, laptop: Laptop, tmp_path: Path) -> None:
        laptop.create()
        files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        shown = laptop.child("sync", "--yes", "--json", GITHUB_ACTIONS="true", GITHUB_RUN_ID="17", **files)
        assert shown.code == 0
        assert json.loads(shown.out)["result"] == "synced"
        assert "synced" in (tmp_path / "output").read_text()
        assert "revision" in (tmp_path / "summary").read_text()
        assert laptop.box.esc.revision_tags(laptop.environment)["github-run-17-1"] == 2

    @pytest.mark.full
    def test_nothing_is_left_behind(self, laptop: Laptop) -> None:
        laptop.create()
        assert laptop.child("sync", "--yes").code == 0
        assert list(laptop.home.rglob("*")) == []


@pytest.mark.full
def test_a_reader_that_goes_away_does_not_end_a_sync(laptop: Laptop, box: Sandbox) -> None:
    laptop.create()
    command = [str(PROGRAM), "sync", "--yes"]
    with subprocess.Popen(command, env=laptop.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(60) == 0
    assert box.esc.revision(laptop.environment) == 2
