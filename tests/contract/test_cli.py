"""The `pulumi env` commands of the real CLI code against the local ESC."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import RefusedError, Sandbox
from tests.contract import transcripts
from tests.contract.conftest import Cli

PAGES = sorted((Path(__file__).parent / "transcripts").glob("*.md"))
ENVIRONMENT = "acme/web/production"
DEFINITION = "values:\n  greeting: hello\n"

pytestmark = pytest.mark.pulumi


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_transcript_is_what_the_cli_prints(page: Path, cli: Cli) -> None:
    def path_of(program: str) -> str:
        return str(cli.program) if program == "pulumi" else shutil.which(program) or program

    for step in transcripts.read(page):
        printed = transcripts.run(step, cli.environ, path_of)
        assert printed == step.expected, f"{page.name}:{step.line}: $ {step.command}"


def test_the_transcripts_show_every_command_that_is_promised() -> None:
    commands = [step.command for page in PAGES for step in transcripts.read(page)]
    promised = (
        "init ls get set edit open rm clone diff run version tag",
        ("version history", "version tag", "version tag ls", "version tag rm", "version rollback"),
        ("tag get", "tag ls", "tag mv", "tag rm"),
    )
    for name in [*promised[0].split(), *promised[1], *promised[2]]:
        assert any(command.startswith(f"pulumi env {name} ") or command == f"pulumi env {name}" for command in commands)


def test_an_edit_is_refused_if_another_writer_came_in_between(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    other = DEFINITION + "  theirs: 1\n"
    box.esc.before("PATCH .*/production", lambda: box.esc.save(ENVIRONMENT, other))
    edit = cli("edit", ENVIRONMENT, "--editor", "sed -i.bak s/hello/bonjour/")
    assert (edit.returncode, box.esc.definition(ENVIRONMENT)) == (0, other)
    assert "Your edits were not saved because the definition changed after it was read." in edit.stderr
    edit = cli("edit", ENVIRONMENT, "--editor", "sed -i.bak s/hello/bonjour/")
    assert (edit.returncode, box.esc.definition(ENVIRONMENT)) == (0, other.replace("hello", "bonjour"))


def test_the_first_call_with_another_token_still_reads_with_the_stored_one(box: Sandbox, cli: Cli) -> None:
    """v3.274.1 does so if PULUMI_HOME holds another login. Hence each access token of ours gets a folder of its own."""
    box.esc.create(ENVIRONMENT, DEFINITION)
    box.esc.tokens["pul-other"] = "other"
    del box.esc.tokens[box.esc.token]
    assert "[401]" in cli("get", ENVIRONMENT, PULUMI_ACCESS_TOKEN="pul-other").stderr
    assert cli("get", ENVIRONMENT, PULUMI_ACCESS_TOKEN="pul-other").returncode == 0


def test_a_read_is_tried_again(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    fault = box.esc.fail("GET .*/production", status=503)
    got = cli("get", ENVIRONMENT, "--definition")
    assert (got.stdout, fault.hits) == (DEFINITION, 1)
    assert [seen.status for seen in box.esc.requests if seen.path.endswith("/production")] == [503, 200]


def test_a_write_is_tried_once(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    box.esc.fail("PATCH .*", status=503)
    wrote = cli("set", ENVIRONMENT, "greeting", "bonjour")
    assert wrote.returncode == 1
    assert "[503] Service Unavailable" in wrote.stderr
    assert box.esc.definition(ENVIRONMENT) == DEFINITION


def test_a_write_whose_answer_is_lost_has_happened(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    box.esc.fail("PATCH .*", kind="close", after=True)
    wrote = cli("set", ENVIRONMENT, "greeting", "bonjour")
    assert (wrote.returncode, box.esc.values(ENVIRONMENT)) == (1, {"greeting": "bonjour"})


def test_a_token_that_was_revoked_is_refused(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT)
    del box.esc.tokens[box.esc.token]
    got = cli("get", ENVIRONMENT)
    assert (got.returncode, got.stdout) == (1, "")
    assert "Unauthorized: No credentials provided or are invalid." in got.stderr


def test_the_record_of_requests_keeps_no_token(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT)
    cli("get", ENVIRONMENT)
    assert [f"{seen.method} {seen.path} {seen.status}" for seen in box.esc.requests] == [
        "GET /api/user 200",
        "GET /api/user/organizations/default 200",
        "GET /api/esc/environments 200",
        "GET /api/user/organizations/default 200",
        "GET /api/esc/environments/acme/web/production 200",
    ]
    assert box.esc.requests[0].headers["Authorization"] == "token …"
    assert box.esc.token not in str(box.esc.requests)


def test_a_retracted_revision_is_listed_as_one_and_can_not_be_read(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    box.esc.save(ENVIRONMENT, DEFINITION)
    assert cli("version", "tag", f"{ENVIRONMENT}@stable", "@2").returncode == 0
    box.esc.retract(ENVIRONMENT, 2)
    listed = cli("version", "history", ENVIRONMENT).stdout
    assert "revision 2 (retracted)" in listed
    assert "replaced with revision 1" in listed
    assert "[404]" in cli("get", f"{ENVIRONMENT}@2", "--definition").stderr
    assert box.esc.revision_tags(ENVIRONMENT)["stable"] == 1
    with pytest.raises(RefusedError):
        box.esc.retract(ENVIRONMENT, 3)


def test_a_tag_moves_past_retracted_revisions(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, DEFINITION)
    for _ in range(2):
        box.esc.save(ENVIRONMENT, DEFINITION)
    latest = box.esc.revision(ENVIRONMENT)
    box.esc.environments.create_revision_tag(ENVIRONMENT, "stable", latest - 1, box.esc.login)
    box.esc.retract(ENVIRONMENT, latest - 2)
    box.esc.retract(ENVIRONMENT, latest - 1)
    assert box.esc.revision_tags(ENVIRONMENT)["stable"] == latest - 3


def test_a_revision_may_be_of_another_day(box: Sandbox, cli: Cli) -> None:
    box.esc.create(ENVIRONMENT)
    box.esc.date(ENVIRONMENT, 1, datetime(2020, 2, 29, 12, 30, tzinfo=UTC))
    assert "Date:   2020-02-29 12:30:00 +0000 UTC" in cli("version", "history", ENVIRONMENT, "--utc").stdout
