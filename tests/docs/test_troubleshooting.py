"""Every error text that docs/troubleshooting.md quotes is provoked by a run, with its exit code and what it changed."""

# A scene calls what prepares its failure among the arguments of `having`, whether that returns something or not.
# mypy: disable-error-code="func-returns-value"

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sandbox import Permissions, Sandbox
from sophia_sync.esc import cli
from tests.docs.pages import ROOT, inline_code_in, sections
from tests.docs.registry import runs
from tests.support.action import Action, Ran
from tests.support.inputs import VALID
from tests.support.laptop import Laptop
from tests.support.runner import commands

ESC, MCP = "sandbox/esc/environments.py", "mcp-servers/sentry/sentry_mcp/credentials.py"
PAGE = sections("docs/troubleshooting.md")
ROWS = [
    (heading, [cell.strip() for cell in row[1:-1].split("|")])
    for heading, text in PAGE.items()
    for row in re.findall(r"^\|(?!-).+\|$", text, re.MULTILINE)[1:]
]
# The exit code is the heading's, unless the row has its own.
QUOTED = {
    code: re.findall(r"\(exit code (\d+)\)", f"{heading} {cells[1]}")[-1]
    for heading, cells in ROWS
    if "(exit code" in heading
    for code in inline_code_in(cells[0])
}
# Outside of the tables, the page quotes warnings.
WARNINGS = [
    code
    for heading, text in PAGE.items()
    if "(exit code" in heading
    for code in inline_code_in(re.sub(r"^\|.*$", "", text, flags=re.MULTILINE))
    if " " in code
]
NO_CLAIM = re.compile(
    r"(for ours, )?see the text|see each .*|if unknown, run again|close the .*|report the trace|6: .*"
)
# What was changed, in parts, by the annotation's title.
CHANGED = {
    cells[1]: [claim for claim in cells[2].split("; ") if not NO_CLAIM.fullmatch(claim)]
    for heading, cells in ROWS
    if heading == "Exit codes"
}


@dataclass(frozen=True)
class Stage:
    """Where a failure is prepared."""

    action: Action
    box: Sandbox
    patch: pytest.MonkeyPatch

    def asking(self, *_prepared: object, **changes: str) -> dict[str, str]:
        """Return inputs whose credentials Sentry accepts, with `changes`."""
        sentry = self.box.sentry
        ours = {"sentry_dsn": sentry.dsn, "sentry_api_token": sentry.token, "sentry_project_slug": sentry.project}
        return ours | {"preflight": "enforce", "sentry_organization_slug": sentry.organization} | changes

    def with_scopes(self, *scopes: str) -> dict[str, str]:
        return self.asking(self.box.sentry.add_token("sntrys_other", scopes), sentry_api_token="sntrys_other")

    def with_key(self, public: str) -> dict[str, str]:
        return self.asking(sentry_dsn=self.box.sentry.dsn_of(public, self.box.sentry.project_id))

    def esc_fails(self, pattern: str, message: str = "Forbidden", status: int = 403, **details: Any) -> dict[str, str]:
        body = {"code": status, "message": message, **details}
        return having(self.box.esc.fail(pattern, status=status, body=body, times=None))

    def gate(self, **inputs: str) -> dict[str, str]:
        return having(self.box.esc.gate(self.action.environment), **inputs)

    def save(self, definition: str) -> int:
        return self.box.esc.save(self.action.environment, definition)

    def lose_an_import(self) -> None:
        gone = f"{self.action.environment}-import"
        self.box.esc.create(gone, "values: {A: 1}\n")
        self.save(f"imports: [{gone.partition('/')[2]}]\nvalues: {{B: '${{A}}'}}\n")
        self.box.esc.delete(gone)

    def save_before_each_write(self) -> None:
        numbers = itertools.count()
        self.box.esc.before("PATCH .*", lambda: self.save(f"values: {{A: {next(numbers)}}}\n"), times=None)

    def corrupt_the_draft(self) -> None:
        [request] = self.box.esc.open_change_requests(self.action.environment)
        request.definition = request.definition.replace("pay-ready-web", "pay-ready-bew")


def having(*_prepared: object, **inputs: str) -> dict[str, str]:
    """Return the inputs of a run. What prepares its failure was called before."""
    return inputs


def deploying(*_prepared: object, **inputs: str) -> dict[str, str]:
    return inputs | {"deploy": "always"}


# Each prepares a failure and returns what leads to it: inputs, and variables in capital letters.
Scene: TypeAlias = Callable[[Stage], dict[str, str]]
SCENES: dict[str, Scene] = {
    "is not set (a missing secret arrives as an empty string)": lambda _: having(sentry_dsn=""),
    "holds the same value as": lambda _: having(sentry_client_secret=VALID["sentry-api-token"]),
    ": are two inputs swapped?": lambda _: having(sentry_dsn="sntrys_Qm9hdGhvdXNlLTE4"),
    "is `***`: it was copied from a log": lambda _: having(sentry_api_token="***"),
    "holds a literal `${{ … }}`, which GitHub did not fill in": lambda _: having(
        sentry_dsn="${{ secrets.SENTRY_DSN }}"
    ),
    "and the deploy needs it.": lambda _: deploying(github_token=""),
    "isn't a path like organization/project/environment": lambda _: having(esc_environment="acme"),
    "isn't https: the token would travel in the clear": lambda _: having(sentry_url="http://sentry.example"),
    "was shown the new token and refused it": lambda at: at.asking(sentry_api_token="sntrys_unknown"),
    "was asked for the new token's scopes: … missing": lambda at: at.with_scopes("project:read"),
    "It is an organization token": lambda at: at.with_scopes("org:ci"),
    "says there is none": lambda at: at.asking(sentry_project_slug="nowhere"),
    "doesn't let the new token see it": lambda at: at.asking(
        at.box.sentry.fail("GET .*/pay-ready/", status=403, body={"detail": "You do not have permission."})
    ),
    "and the new DSN's is none of them.": lambda at: at.with_key("f" * 32),
    "says that the new DSN's is disabled.": lambda at: at.with_key(
        at.box.sentry.add_key("pay-ready", "pay-ready", active=False)
    ),
    "So not all about the new credentials could be checked": lambda at: at.asking(sentry_url=at.box.esc.url),
    "There is no access token for Pulumi": lambda _: having(pulumi_access_token=""),
    "gives no access token for GitHub's identity token": lambda at: having(
        pulumi_access_token="",
        pulumi_token_scope="team:nobody",
        ACTIONS_ID_TOKEN_REQUEST_URL=at.box.github.id_token_url,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN=at.box.github.id_token_request_token,
    ),
    "refused the access token: check": lambda _: having(pulumi_access_token="pul-" + "0" * 40),
    "The organization's access token expiry policy refuses tokens": lambda at: at.esc_fails(
        ".*", "The organization enforces a max access token expiry of 14 days."
    ),
    "The access token may not do this": lambda at: at.esc_fails(".*"),
    "Check `esc-environment`; make the environment": lambda _: having(esc_environment="acme/default/nowhere"),
    "Updates of this environment need an approval.": Stage.gate,
    "answers with a web page": lambda at: having(at.box.esc.fail("GET .*", kind="garbage", times=None)),
    "can't evaluate": lambda at: having(at.lose_an_import()),
    "Somebody else changed the environment at the same time": lambda at: having(
        at.save_before_each_write(), timeout="30"
    ),
    "somebody else has changed our keys since": lambda at: deploying(
        at.box.esc.after("PATCH .*", lambda: at.save("values: {SENTRY_DSN: theirs}\n"))
    ),
    "there is no `pulumi` on PATH": lambda at: having(PATH=str(at.action.temporary)),
    "was not done within the … seconds of `timeout`.": lambda at: at.asking(
        at.box.sentry.fail(".*", kind="hang", times=None), timeout="8"
    ),
    "the token may not do that there": lambda at: deploying(
        at.box.github.add_token("ghs_reads", Permissions(actions="read")), github_token="ghs_reads"
    ),
    "there is no .github/workflows/…": lambda _: deploying(deploy_workflow="none.yml"),
    "Workflow does not have 'workflow_dispatch' trigger": lambda at: deploying(
        at.box.github.add_workflow(at.action.repository, "push.yml", dispatchable=False), deploy_workflow="push.yml"
    ),
    "there is no repository": lambda _: deploying(deploy_repository="acme/nowhere"),
    "GitHub refused the dispatch": lambda _: deploying(deploy_ref="nowhere"),
    "The deploy run ended with": lambda at: deploying(
        at.patch.setattr(at.box.github, "run_script", ["completed/failure"]), deploy_wait="true"
    ),
}
# A scene for each title of the annotation of which the page claims what was changed.
TITLES: dict[str, Scene] = {
    "": lambda _: {},
    "Inputs are missing or malformed": SCENES["and the deploy needs it."],
    "Sentry refused the new credentials": SCENES["was shown the new token and refused it"],
    "The sign-in to Pulumi failed": SCENES["There is no access token for Pulumi"],
    "The environment was changed at the same time": SCENES["Somebody else changed the environment at the same time"],
    "The environment's definition can't be changed": lambda at: at.esc_fails(
        "PATCH .*", "Bad Request: invalid definition", 400, diagnostics=[{"summary": "too many values"}]
    ),
    "The environment's updates need an approval": Stage.gate,
    "A change request is in the way": lambda at: having(
        at.box.esc.propose(at.action.environment, "values: {}\n"), **at.gate(change_request="allowed")
    ),
    "The Pulumi CLI isn't installed": SCENES["there is no `pulumi` on PATH"],
    "No temporary folder can be made": lambda at: having(
        at.patch.setattr(cli, "_MEMORY", Path("/nowhere")), at.patch.setattr(tempfile, "tempdir", "/nowhere")
    ),
    "Consumers don't get what was written": SCENES["somebody else has changed our keys since"],
    "The change request doesn't hold what was sent": lambda at: having(
        at.box.esc.after("POST .*/submit", at.corrupt_the_draft), **at.gate(change_request="allowed")
    ),
    "The sync succeeded, but the deploy failed": SCENES["The deploy run ended with"],
    "Environments could not be synced": lambda at: deploying(
        esc_environment=f"{at.action.environment}\nacme/default/nowhere"
    ),
}
# What the column "what was changed" may claim, and whether a run that fails so shows it.
CLAIMS: dict[str, Callable[[Action, str], bool]] = {
    "all is done, or nothing was to do": lambda action, _: action.values["SENTRY_DSN"] == VALID["sentry-dsn"],
    "nothing": lambda action, before: action.stored == before and not action.box.github.dispatches,
    "nothing was deployed": lambda action, _: not action.box.github.dispatches,
    "the sync is complete": lambda action, _: action.values["SENTRY_DSN"] == VALID["sentry-dsn"],
    "others' changes": lambda action, before: action.stored != before and "SENTRY" not in action.stored,
}


def test_every_quoted_text_has_its_scene() -> None:
    assert SCENES.keys() == {*QUOTED, *WARNINGS}
    assert {*QUOTED.values()} == {"2", "3", "4", "5", "6"}


@pytest.fixture
def stage(action: Action, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Stage:
    action.create()
    return Stage(action, box, monkeypatch)


def ran(stage: Stage, scene: Scene) -> tuple[Ran, str, str]:
    """Run a scene. Return how it ended, the title of its annotation, and the definition before the run."""
    given = scene(stage)
    inputs = stage.action.inputs(**{name: value for name, value in given.items() if name.islower()})
    before = stage.action.stored
    done = stage.action.run_with(
        stage.action.variables(inputs) | {name: value for name, value in given.items() if name.isupper()}
    )
    return done, "".join(each.properties["title"] for each in commands(done.log, "error")), before


@pytest.mark.pulumi
@pytest.mark.parametrize("text", SCENES)
def test_a_run_that_fails_so_prints_it(text: str, stage: Stage) -> None:
    done, _, _ = ran(stage, SCENES[text])
    told = done.warnings if text in WARNINGS else done.annotations
    assert re.search(".*".join(map(re.escape, text.split("…"))), "\n".join(told), re.DOTALL), done.log
    assert str(done.code) == QUOTED.get(text, "0")


def test_every_claim_about_what_was_changed_has_its_scene() -> None:
    assert TITLES.keys() == {title for title, claims in CHANGED.items() if claims}


@pytest.mark.pulumi
@pytest.mark.parametrize("title", TITLES)
def test_a_run_with_that_title_changes_what_the_page_says(title: str, stage: Stage) -> None:
    done, shown, before = ran(stage, TITLES[title])
    assert shown == title, done.log
    assert [claim for claim in CHANGED[title] if not CLAIMS[claim](stage.action, before)] == []


@pytest.mark.pulumi
@runs("docs/troubleshooting.md", "sophia-sync doctor --environment acme/default/production --repository acme/sophia")
def test_doctor_looks_at_everything(code: str, laptop: Laptop) -> None:
    shown = laptop.run(*code.split()[1:])
    assert shown.code == 1, "there is no such environment"
    assert all(f"\n{section}" in f"\n{shown.out}" for section in ("Pulumi", "acme/default/production", "GitHub"))


# Texts that other pages quote. A row has the page, the text, the file that prints it, and the code that does so.
ELSEWHERE = [
    ("docs/backend.md", "Pulumi ESC could not be read: …", "backend/core/auto_esc_config.py", "could not be read: %s"),
    ("docs/backend.md", "[404] Environment '…' not found", ESC, "\"Environment '{path}' not found\""),
    ("docs/backend.md", "environment '…' not found", ESC, "\"environment '{organization}/{full}' not found\""),
    ("docs/backend.md", "not done within the 10 seconds", "backend/core/esc_reader.py", "not done within the {seconds"),
    ("docs/deploy.md", "GitHub's own runner is deleted", "deploy/sentry_mcp.py", "GitHub's own runner is deleted"),
    ("docs/deploy.md", "Host key verification failed", shutil.which("ssh"), "Host key verification failed"),
    ("docs/mcp-server.md", "Pulumi ESC could not be read: …", MCP, "Pulumi ESC could not be read: %s"),
    ("docs/mcp-server.md", "The server has no SENTRY_API_TOKEN …", MCP, 'f"The server has no {'),
]


def test_other_pages_quote_these_texts() -> None:
    assert {(page, text) for page, text, *_ in ELSEWHERE} == {
        (page, code)
        for page in ("docs/backend.md", "docs/deploy.md", "docs/mcp-server.md")
        for line in sections(page)["Troubleshooting"].splitlines()
        for code in [*inline_code_in(line.partition(" | ")[0]), *re.findall('"(.+?)"', line)]
        if re.search(r"\w \w", code) and not re.match("pulumi |docker ", code)
    }


@pytest.mark.parametrize(("page", "text", "file", "code"), ELSEWHERE)
def test_what_other_pages_quote_is_printed(page: str, text: str, file: str | None, code: str) -> None:
    if file is None:
        pytest.skip("there is no ssh on PATH")
    assert code.encode() in (ROOT / file).read_bytes()
