"""`doctor` on Pulumi ESC and Sentry: each check in each of its states, with the real CLI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Sandbox
from sophia_sync.console.diagnosis import State
from tests.support.laptop import DAY, Laptop, before
from tests.support.looking import esc_checks

pytestmark = pytest.mark.pulumi

VALUE_CHECKS = ["consumers' view", "values", "Sentry"]


def write(laptop: Laptop, **changes: str | None) -> None:
    """Save a revision, dated 5 days ago, with a sync's keys and these changes. None leaves a key out."""
    value = laptop.variables
    lines = {
        "SENTRY_DSN": f"{{fn::secret: '{value['SENTRY_DSN']}'}}",
        "SENTRY_API_TOKEN": f"{{fn::secret: '{value['SENTRY_API_TOKEN']}'}}",
        "SENTRY_ORGANIZATION_SLUG": value["SENTRY_ORGANIZATION_SLUG"],
        "SENTRY_PROJECT_SLUG": value["SENTRY_PROJECT_SLUG"],
        **changes,
    }
    text = "".join(f"  {key}: {line}\n" for key, line in lines.items() if line is not None)
    number = laptop.box.esc.save(laptop.environment, f"values:\n{text}")
    laptop.box.esc.date(laptop.environment, number, before(5 * DAY))


def path_of(script: str, folder: Path) -> str:
    """Return a PATH on which this script is the CLI."""
    cli = folder / "pulumi"
    cli.write_text(f"#!/bin/sh\n{script}\n")
    cli.chmod(0o700)
    return f"{folder}:{os.defpath}"


def path_of_version(version: str, pulumi: Path, folder: Path) -> str:
    """Return a PATH with a CLI that reports this version."""
    return path_of(f'[ "$1" = version ] && echo "{version}" && exit 0\nexec "{pulumi}" "$@"', folder)


class TestAllIsWell:
    def test_every_check_is_good(self, laptop: Laptop) -> None:
        laptop.synced()
        found = esc_checks(laptop)
        assert {check.state for check in found.values()} == {State.GOOD}
        assert found["CLI"].what.startswith("v")
        assert found["access token"].what == "works, and belongs to sandbox (PULUMI_ACCESS_TOKEN)"
        assert "2 revisions" in found["environment"].what
        assert found["SENTRY_DSN"].what.startswith("encrypted, added 40 days ago in revision 2 by somebody-else")
        assert found["SENTRY_PROJECT_SLUG"].what.startswith("plain text, added 40 days ago in revision 2")
        assert "needed for webhooks only" in found["SENTRY_CLIENT_SECRET"].what
        assert all(not check.todo for check in found.values())

    def test_none_of_sentry_s_inputs_has_to_be_set(self, laptop: Laptop) -> None:
        laptop.synced()
        for name in [name for name in laptop.variables if name.startswith("SENTRY_") and name != "SENTRY_URL"]:
            del laptop.variables[name]
        assert {check.state for check in esc_checks(laptop).values()} == {State.GOOD}

    def test_by_an_existing_login(self, laptop: Laptop, pulumi: Path) -> None:
        laptop.synced()
        subprocess.run([pulumi, "login"], env=laptop.variables, check=True, capture_output=True)
        found = esc_checks(laptop, PULUMI_ACCESS_TOKEN=None, PULUMI_BACKEND_URL=None)
        assert found["access token"].what == "works, and belongs to sandbox (from `pulumi login`)"
        assert {check.state for check in found.values()} == {State.GOOD}

    def test_by_the_identity_token_of_a_job(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        found = esc_checks(
            laptop,
            PULUMI_ACCESS_TOKEN=None,
            ACTIONS_ID_TOKEN_REQUEST_URL=box.github.id_token_url,
            ACTIONS_ID_TOKEN_REQUEST_TOKEN=box.github.id_token_request_token,
        )
        assert found["access token"].what == "works, and belongs to oidc (GitHub's identity token)"

    def test_a_cli_that_prints_no_version(self, laptop: Laptop, pulumi: Path, tmp_path: Path) -> None:
        laptop.synced()
        found = esc_checks(laptop, PATH=path_of_version("", pulumi, tmp_path))
        assert found["CLI"].what == "version unknown"
        assert found["access token"].state is State.GOOD

    def test_an_older_cli_is_a_warning(self, laptop: Laptop, pulumi: Path, tmp_path: Path) -> None:
        laptop.synced()
        cli = esc_checks(laptop, PATH=path_of_version("v3.260.0", pulumi, tmp_path))["CLI"]
        assert (cli.state, cli.what.partition(":")[0]) == (State.WARNING, "v3.260.0 is older than v3.274")


class TestPartsThatAreMissing:
    def test_no_cli(self, laptop: Laptop) -> None:
        found = esc_checks(laptop, PATH="/nowhere")
        assert found["CLI"].state is State.BAD
        assert found["CLI"].todo.startswith("Install it: https://www.pulumi.com/")
        rest = [check for name, check in found.items() if name != "CLI"]
        assert {check.state for check in rest} == {State.NOT_CHECKED}
        assert len(rest) == 11

    def test_a_cli_that_does_not_answer(self, laptop: Laptop, tmp_path: Path) -> None:
        cli = esc_checks(laptop, PATH=path_of("exec sleep 600", tmp_path), INPUT_TIMEOUT="2")["CLI"]
        assert cli.state is State.BAD
        assert cli.what == "Could not ask the Pulumi CLI for its version: no answer within 0.5 seconds."
        assert cli.todo == "Run it again, with a larger --timeout."

    def test_no_token(self, laptop: Laptop) -> None:
        found = esc_checks(laptop, PULUMI_ACCESS_TOKEN=None)
        assert found["access token"].state is State.BAD
        assert found["access token"].todo == "Set PULUMI_ACCESS_TOKEN, or run `pulumi login`."
        assert found["environment"].state is found["CLI"].state is State.NOT_CHECKED

    def test_a_token_that_is_refused(self, laptop: Laptop) -> None:
        found = esc_checks(laptop, PULUMI_ACCESS_TOKEN="pul-0000000000000000000000000000000000000000")
        assert found["CLI"].state is State.GOOD
        assert found["access token"].state is State.BAD
        assert "Unauthorized" in found["access token"].what
        assert found["access token"].todo == (
            "Make a new one in Pulumi Cloud → user menu → Personal access tokens, and set PULUMI_ACCESS_TOKEN to it."
        )
        assert found["environment"].state is State.NOT_CHECKED

    def test_a_login_that_is_refused(self, laptop: Laptop) -> None:
        folder = laptop.home / ".pulumi"
        folder.mkdir()
        url = laptop.box.esc.url
        (folder / "credentials.json").write_text(
            f'{{"current": "{url}", "accessTokens": {{"{url}": "pul-00"}}, '
            f'"accounts": {{"{url}": {{"accessToken": "pul-00"}}}}}}'
        )
        found = esc_checks(laptop, PULUMI_ACCESS_TOKEN=None)
        assert (found["access token"].state, found["access token"].todo) == (State.BAD, "Sign in again: pulumi login")

    def test_no_network(self, laptop: Laptop) -> None:
        found = esc_checks(laptop, PULUMI_BACKEND_URL="http://127.0.0.1:9", INPUT_TIMEOUT="20")
        assert found["CLI"].state is State.GOOD
        assert found["access token"].state is State.BAD
        assert "Check that http://127.0.0.1:9 is up" in found["access token"].todo
        assert found["environment"].state is State.NOT_CHECKED


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("path", "what", "todo"),
        [
            ("acme/default/none", "There is no such environment in acme/default (there: ", "`pulumi env init acme/d"),
            ("acme/none/production", "no environments of a project none in acme (projects: default", "`pulumi env in"),
        ],
    )
    def test_is_missing(self, laptop: Laptop, path: str, what: str, todo: str) -> None:
        laptop.synced()
        found = esc_checks(laptop, PULUMI_ESC_ENVIRONMENT=path)
        assert found["environment"].state is State.BAD
        assert what in found["environment"].what
        assert todo in found["environment"].todo
        assert {found[name].state for name in ["SENTRY_DSN", *VALUE_CHECKS]} == {State.NOT_CHECKED}

    def test_is_of_an_organization_that_the_token_does_not_see(self, laptop: Laptop, box: Sandbox) -> None:
        box.esc.fail(r"GET /api/esc/environments/nowhere", status=404, times=None)
        found = esc_checks(laptop, PULUMI_ESC_ENVIRONMENT="nowhere/default/production")
        assert found["environment"].state is State.BAD
        assert found["environment"].what == "The token sees no organization nowhere."
        assert "member" in found["environment"].todo

    def test_may_not_be_read(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        box.esc.fail(r"GET .*/versions", status=403, times=None)
        found = esc_checks(laptop)
        assert found["environment"].state is State.BAD
        assert "[403]" in found["environment"].what
        assert "needs permission" in found["environment"].todo

    @pytest.mark.full
    def test_may_be_listed_but_not_decrypted(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        box.esc.fail(r"GET .*/decrypt", status=403, times=None)
        found = esc_checks(laptop)
        assert found["environment"].state is State.BAD
        assert found["SENTRY_DSN"].state is State.NOT_CHECKED

    @pytest.mark.full
    def test_each_of_several_is_looked_at(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.run("doctor", "--json", "-e", laptop.environment, "-e", "acme/default/none")
        states = {(check["section"], check["name"]): check["state"] for check in shown.json["checks"]}
        assert states[laptop.environment, "environment"] == "good"
        assert states["acme/default/none", "environment"] == "bad"


class TestApprovals:
    def test_updates_need_one(self, laptop: Laptop) -> None:
        laptop.synced()
        laptop.box.esc.gate(laptop.environment)
        found = esc_checks(laptop)["approvals"]
        assert (found.state, found.what) == (State.GOOD, "updates need an approval; no change request is open")

    @pytest.mark.full
    def test_a_change_request_is_open(self, laptop: Laptop) -> None:
        laptop.synced()
        laptop.box.esc.gate(laptop.environment)
        request = laptop.box.esc.propose(laptop.environment, "values: {}\n")
        request.created = before(3 * DAY)
        found = esc_checks(laptop, PULUMI_CONSOLE_DOMAIN="app.pulumi.example")["approvals"]
        assert found.state is State.WARNING
        assert found.what == (
            f"updates need an approval; change request {request.id} is pending, opened 3 days ago by somebody-else"
        )
        assert found.todo.startswith("Nobody can open another: apply it or close it. http://app.pulumi.example/acme/")

    @pytest.mark.full
    def test_one_that_was_not_submitted(self, laptop: Laptop) -> None:
        laptop.synced()
        laptop.box.esc.propose(laptop.environment, "values: {}\n").status = "draft"
        found = esc_checks(laptop)["approvals"]
        assert found.what.startswith("updates need none; change request ")
        assert "submit it or close it" in found.todo

    @pytest.mark.full
    def test_opening_needs_one(self, laptop: Laptop) -> None:
        laptop.synced()
        laptop.box.esc.gate(laptop.environment, "open")
        found = esc_checks(laptop)
        assert found["approvals"].what == "updates need none, opening needs one; no change request is open"
        assert "opens must be approved" in found["consumers' view"].what

    @pytest.mark.full
    def test_it_is_not_told(self, laptop: Laptop) -> None:
        laptop.synced()
        laptop.box.esc.fail("GET .*/metadata", status=403)
        found = esc_checks(laptop)
        assert found["approvals"].state is State.NOT_CHECKED
        assert found["SENTRY_DSN"].state is State.GOOD


class TestTheKeys:
    def test_one_that_is_not_held(self, laptop: Laptop) -> None:
        laptop.synced()
        write(laptop, SENTRY_DSN=None)
        found = esc_checks(laptop)
        assert found["SENTRY_DSN"].state is State.BAD
        assert found["SENTRY_DSN"].what == "not held, removed 5 days ago in revision 3 by somebody-else"
        assert "`sophia-sync sync`" in found["SENTRY_DSN"].todo

    @pytest.mark.full
    def test_a_secret_in_plain_text(self, laptop: Laptop) -> None:
        laptop.synced()
        write(laptop, SENTRY_API_TOKEN=laptop.variables["SENTRY_API_TOKEN"])
        found = esc_checks(laptop)["SENTRY_API_TOKEN"]
        assert found.state is State.BAD
        assert found.what == "in plain text, decrypted 5 days ago in revision 3 by somebody-else"
        assert "older revisions still show it" in found.todo

    @pytest.mark.full
    def test_a_slug_that_is_encrypted(self, laptop: Laptop) -> None:
        laptop.synced()
        write(laptop, SENTRY_PROJECT_SLUG=f"{{fn::secret: '{laptop.variables['SENTRY_PROJECT_SLUG']}'}}")
        found = esc_checks(laptop)["SENTRY_PROJECT_SLUG"]
        assert found.state is State.WARNING
        assert found.what.startswith("encrypted, and need not be, encrypted 5 days ago in revision 3")

    @pytest.mark.full
    def test_an_expression(self, laptop: Laptop) -> None:
        laptop.synced()
        slug = laptop.variables["SENTRY_PROJECT_SLUG"]
        write(laptop, slug=slug, SENTRY_PROJECT_SLUG="${slug}")
        found = esc_checks(laptop)
        assert found["SENTRY_PROJECT_SLUG"].state is State.WARNING
        assert "an expression" in found["SENTRY_PROJECT_SLUG"].what
        assert found["Sentry"].state is State.GOOD, "what counts for Sentry is what a consumer sees"

    @pytest.mark.full
    def test_when_and_by_which_run_each_last_changed(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        box.esc.date(laptop.environment, 2, before(90 * DAY))
        rotated = {"SENTRY_DSN": box.sentry.dsn + "1", "INPUT_PREFLIGHT": "off", "GITHUB_RUN_ID": "1704"}
        assert laptop.run("sync", "--yes", **rotated).code == 0
        box.esc.date(laptop.environment, 3, before(3 * DAY))
        found = esc_checks(laptop)
        assert found["SENTRY_DSN"].what == "encrypted, changed 3 days ago in revision 3 by workflow run 1704"
        assert found["SENTRY_API_TOKEN"].what == "encrypted, added 90 days ago in revision 2 by somebody-else"

    @pytest.mark.full
    def test_a_change_that_is_older_than_what_is_looked_at(self, laptop: Laptop) -> None:
        laptop.synced()
        for _ in range(3):
            write(laptop)
        assert esc_checks(laptop, limit=2)["SENTRY_DSN"].what == (
            "encrypted, unchanged since before revision 3, 5 days ago"
        )

    @pytest.mark.full
    def test_no_more_revisions_are_read_than_it_takes(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        for number in range(20):
            box.esc.save(laptop.environment, f"values:\n  A: {number}\n")
        write(laptop)
        box.esc.requests.clear()
        assert esc_checks(laptop)["SENTRY_DSN"].what.startswith("encrypted, added 5 days ago in revision 22")
        assert sum(request.path.endswith("/decrypt") for request in box.esc.requests) == 1 + 8


class TestTheValues:
    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"SENTRY_DSN": "{fn::secret: 'https://sentry.example/17'}"}, "SENTRY_DSN has no public key before the @"),
            ({"SENTRY_API_TOKEN": "{fn::secret: 'two words'}"}, "SENTRY_API_TOKEN has white space"),
            ({"SENTRY_API_TOKEN": "{fn::secret: 'sntrys_x '}"}, "SENTRY_API_TOKEN has white space at its ends"),
            ({"SENTRY_PROJECT_SLUG": "Pay Ready"}, "SENTRY_PROJECT_SLUG isn't a project's slug"),
            ({"SENTRY_CLIENT_SECRET": "{fn::secret: 'your-secret-here'}"}, "SENTRY_CLIENT_SECRET is a placeholder"),
            ({"SENTRY_ORGANIZATION_SLUG": "sntrys_abcdef"}, "SENTRY_ORGANIZATION_SLUG looks like a Sentry token"),
        ],
    )
    def test_one_is_not_what_its_key_says(self, laptop: Laptop, changes: dict[str, str], what: str) -> None:
        laptop.create()
        write(laptop, **changes)
        found = esc_checks(laptop)
        assert found["values"].state is State.BAD
        assert what in found["values"].what
        assert found["Sentry"].state is State.NOT_CHECKED, "it is not shown to anybody"
        assert laptop.box.sentry.requests == []

    @pytest.mark.full
    def test_two_are_the_same(self, laptop: Laptop) -> None:
        laptop.create()
        write(laptop, SENTRY_API_TOKEN="{fn::secret: 's3cr3t'}", SENTRY_CLIENT_SECRET="{fn::secret: 's3cr3t'}")
        found = esc_checks(laptop)["values"]
        assert found.state is State.BAD
        assert found.what == "SENTRY_API_TOKEN and SENTRY_CLIENT_SECRET hold the same value"

    @pytest.mark.full
    def test_none_at_all(self, laptop: Laptop) -> None:
        laptop.create()
        found = esc_checks(laptop)
        assert found["environment"].state is State.GOOD
        assert found["SENTRY_DSN"].state is found["consumers' view"].state is State.BAD
        assert found["values"].state is found["Sentry"].state is State.NOT_CHECKED

    @pytest.mark.full
    def test_a_consumer_gets_none_where_an_import_is_gone(self, laptop: Laptop, box: Sandbox) -> None:
        base = f"default/base-{laptop.environment.rpartition('-')[2]}"
        box.esc.create(f"acme/{base}", "values:\n  A: 1\n")
        laptop.create(f"imports:\n  - {base}\nvalues:\n  B: 2\n")
        box.esc.delete(f"acme/{base}")
        found = esc_checks(laptop)
        assert found["consumers' view"].state is State.BAD
        assert "Repair that in the environment" in found["consumers' view"].todo
        assert found["values"].state is found["Sentry"].state is State.NOT_CHECKED


def refuse_the_token(laptop: Laptop) -> None:
    laptop.box.sentry.fail("GET /api/0/", status=401, body={"detail": "Invalid token"}, times=None)


def take_away_scopes(laptop: Laptop) -> None:
    body = {"version": "0", "auth": {"scopes": ["project:read"]}, "user": None}
    laptop.box.sentry.fail("GET /api/0/", status=200, body=body, times=None)


def another_project(laptop: Laptop) -> None:
    write(laptop, SENTRY_PROJECT_SLUG="another")


def another_number(laptop: Laptop) -> None:
    box = laptop.box
    write(laptop, SENTRY_DSN=f"{{fn::secret: '{box.sentry.dsn_of(box.sentry.public_key, 4242)}'}}")


def another_key(laptop: Laptop) -> None:
    dsn = laptop.box.sentry.dsn_of("0" * 32, laptop.box.sentry.project_id)
    write(laptop, SENTRY_DSN=f"{{fn::secret: '{dsn}'}}")


class TestSentry:
    @pytest.mark.parametrize(
        ("wrong", "what", "todo"),
        [
            (refuse_the_token, "refused it (HTTP 401: Invalid token)", "Custom Integrations"),
            (take_away_scopes, "project:write, event:read, event:write are missing", "Add the permissions"),
            (another_project, "says there is none (HTTP 404", "Check `sentry-organization-slug`"),
            (another_number, "it isn't the one in the DSN", "Copy the DSN"),
            (another_key, "the DSN's is none of them", "Copy the DSN"),
        ],
    )
    def test_refuses(self, laptop: Laptop, wrong: Callable[[Laptop], None], what: str, todo: str) -> None:
        laptop.synced()
        wrong(laptop)
        found = esc_checks(laptop)
        assert found["values"].state is State.GOOD
        assert found["Sentry"].state is State.BAD
        assert what in found["Sentry"].what
        assert todo in found["Sentry"].todo
        assert "new" not in found["Sentry"].what.split(), "what ESC holds isn't new"

    @pytest.mark.full
    def test_gives_another_host_than_the_dsn_has(self, laptop: Laptop) -> None:
        laptop.synced()
        dsn = laptop.box.sentry.dsn.replace(laptop.box.sentry.ingest_host, "relay.acme.example")
        write(laptop, SENTRY_DSN=f"{{fn::secret: '{dsn}'}}")
        found = esc_checks(laptop)["Sentry"]
        assert found.state is State.WARNING
        assert f"gives the host {laptop.box.sentry.ingest_host} for the client key of the DSN" in found.what

    def test_can_not_be_asked(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        box.sentry.fail("GET .*", status=400, times=None)
        found = esc_checks(laptop)["Sentry"]
        assert found.state is State.NOT_CHECKED
        assert "isn't Sentry's (HTTP 400)" in found.what
        assert "--sentry-url" in found.todo
