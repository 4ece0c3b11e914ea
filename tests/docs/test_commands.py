"""The commands of the pages, run as written, with the real Pulumi CLI code against the local services."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from sophia_sync.console import program
from tests.docs.pages import PAGES, ROOT, blocks, inline_code
from tests.docs.registry import runs
from tests.docs.test_workflows import is_workflow, load
from tests.support.action import Action
from tests.support.inputs import VALID
from tests.support.shell import output as shell
from tests.support.shell import run as run_shell

pytestmark = pytest.mark.pulumi

QUICK = "acme/default/production"
SLUGS = ("SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG")

Reader = dict[str, str]


# README.md, docs/maintainers/development.md


@runs("README.md", "make run    # a sync against a local Pulumi ESC, GitHub and Sentry, with the real Pulumi CLI")
def test_the_make_commands_of_the_readme(code: str) -> None:
    all_are_targets(code)


@runs(
    "docs/maintainers/development.md",
    "make setup   # a virtual environment from hash-locked requirements, and a Pulumi CLI",
)
def test_the_make_commands_of_development(code: str) -> None:
    all_are_targets(code)


def all_are_targets(code: str) -> None:
    for line in code.splitlines():
        subprocess.run(["make", "--dry-run", *shlex.split(line, comments=True)[1:]], cwd=ROOT, check=True)


def test_make_run_shows_that_all_is_as_it_should_be(reader: Reader) -> None:
    printed = shell(f"{sys.executable} -m sandbox.demo", reader)
    assert printed.endswith("\nAll as it should be.\n")
    # A link isn't wrapped.
    assert [line for line in printed.splitlines() if len(line) > 80 and "://" not in line] == []


@runs("docs/maintainers/development.md", ".venv/bin/python -m pytest tests/unit/sync/test_plan.py")
def test_one_test_or_those_of_a_module(code: str, reader: Reader) -> None:
    printed = shell(here(code), reader)
    assert len(re.findall(r"^=+ \d+ passed", printed, re.MULTILINE)) == 2


@pytest.fixture
def sandbox_by_hand(reader: Reader, tmp_path: Path) -> Iterator[str]:
    """Run the first terminal of docs/maintainers/development.md. Yield what it has printed."""
    [code] = [block.code for block in blocks("docs/maintainers/development.md") if "-m sandbox |" in block.code]
    command = ["bash", "-c", here(code.replace("sandbox.env", str(tmp_path / "sandbox.env")))]
    with subprocess.Popen(
        command, cwd=ROOT, env=reader, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as terminal:
        assert terminal.stdout is not None
        lines = []
        for line in terminal.stdout:
            lines.append(line)
            if line.startswith("export SENTRY_DSN="):
                break
        while not (tmp_path / "sandbox.env").read_text(encoding="utf-8").endswith(lines[-1]):
            os.sched_yield()  # tee writes to its file after it has written to the terminal
        yield "".join(lines)
        os.killpg(terminal.pid, signal.SIGTERM)  # as closing the terminal does
        terminal.stdout.read()  # reaches its end when all processes have ended


@runs("docs/maintainers/development.md", ".venv/bin/python -m sandbox | tee sandbox.env", ". ./sandbox.env")
def test_the_local_services_by_hand(
    code: tuple[str, str], sandbox_by_hand: str, reader: Reader, tmp_path: Path
) -> None:
    without = {name: value for name, value in reader.items() if not name.startswith("PULUMI_")}
    printed = shell(here(code[1]).replace(". ./", f". {tmp_path}/"), without)
    assert "dry run, 4 of 4 keys would change" in printed
    assert "4 of 4 keys changed in one revision" in printed
    assert "SENTRY_API_TOKEN" in printed.partition("verified by reading back")[2]


@runs("docs/maintainers/development.md", "export PULUMI_ORG=acme PULUMI_ENVIRONMENT=production")
def test_against_an_esc_that_one_has_signed_in_to(code: str, reader: Reader, box: Sandbox) -> None:
    box.esc.create("acme/default/production", "values:\n  SENTRY_PROJECT_SLUG: pay-ready\n")
    assert shell(code, reader).endswith("\npay-ready\n")


def here(code: str) -> str:
    """Replace the page's interpreter with the one that runs these tests."""
    return code.replace(".venv/bin/python", sys.executable)


# docs/quick-start.md, docs/sign-in.md

# A stand-in for GitHub's CLI, as far as the pages use it. It records its arguments.
GH = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$GH_SAID"
case "$1 $2" in "secret list") echo SENTRY_DSN ;; esac
"""


@pytest.fixture
def gh(reader: Reader, tmp_path: Path) -> Path:
    """Put a `gh` first on the reader's PATH. Return the file in which it records its arguments."""
    programs, said = tmp_path / "programs", tmp_path / "said"
    programs.mkdir()
    (programs / "gh").write_text(GH, encoding="utf-8")
    (programs / "gh").chmod(0o755)
    reader |= {"PATH": f"{programs}{os.pathsep}{reader['PATH']}", "GH_SAID": str(said)}
    return said


def workflows(page: str) -> list[dict[str, Any]]:
    """Return the complete workflows of a page."""
    found = [load(block.code) for block in blocks(page) if block.language == "yaml"]
    return [piece for piece in found if is_workflow(piece)]


def inputs_of(workflow: dict[str, Any], box: Sandbox) -> dict[str, str]:
    """Return the inputs of the one step of a workflow, as GitHub would fill them in on a schedule."""
    kept = {
        "SENTRY_DSN": box.sentry.dsn,
        "SENTRY_API_TOKEN": box.sentry.token,
        "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
        "SENTRY_PROJECT_SLUG": box.sentry.project,
        "SENTRY_CLIENT_SECRET": VALID["sentry-api-token"][::-1],
        "PULUMI_ACCESS_TOKEN": box.esc.token,
    }
    [job] = workflow["jobs"].values()
    [step] = job["steps"]
    filled = {
        name: re.sub(r"\$\{\{ (secrets|vars)\.(\w+) \}\}", lambda found: kept[found[2]], str(value))
        for name, value in step["with"].items()
    }
    assert filled.pop("dry-run", "") in ("", "${{ inputs.dry-run || false }}")
    return filled | {"pulumi-cloud-url": box.esc.url, "sentry-url": box.sentry.url}


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq on PATH")
@runs("docs/quick-start.md", "read -rs SENTRY_API_TOKEN")
def test_the_quick_start_asks_sentry_for_the_tokens_scopes(code: str, reader: Reader, box: Sandbox) -> None:
    here = code.replace("https://sentry.io", box.sentry.url)
    printed = run_shell(here, reader, typed=f"{box.sentry.token}\n").stdout
    assert json.loads(printed) == ["event:read", "event:write", "project:read", "project:write"]
    page = (ROOT / "docs/quick-start.md").read_text(encoding="utf-8")
    assert all(f"`{scope}`" in page for scope in json.loads(printed))


@runs("docs/quick-start.md", "gh auth login --scopes admin:org", "gh secret list --org acme")
def test_the_quick_start_stores_what_its_workflow_uses(code: tuple[str, str], gh: Path, reader: Reader) -> None:
    store, look = code
    assert shell(store + look, reader) == "SENTRY_DSN\n"
    asked = gh.read_text(encoding="utf-8").splitlines()
    stored = {(words[0], words[2]) for words in map(str.split, asked) if words[1] == "set"}
    [workflow] = workflows("docs/quick-start.md")
    [job] = workflow["jobs"].values()
    used = re.findall(r"\$\{\{ (secret|var)s\.(\w+) }}", json.dumps(job))
    assert stored == {("variable" if kind == "var" else kind, name) for kind, name in used}
    assert all("--org acme --repos sophia" in line for line in asked if " set " in line)


@runs(
    "docs/sign-in.md",
    "gh secret set PULUMI_ACCESS_TOKEN --org acme --repos sophia",
    "gh api repos/acme/sophia --jq '\"\\(.owner.id) \\(.id)\"'",
)
def test_the_sign_in_page_asks_github(code: tuple[str, str], gh: Path, reader: Reader) -> None:
    for each in code:
        shell(each, reader)
    assert [line.split()[0] for line in gh.read_text(encoding="utf-8").splitlines()] == ["secret", "api"]


@runs(
    "docs/quick-start.md",
    "read -rs PULUMI_ACCESS_TOKEN && export PULUMI_ACCESS_TOKEN",
    "pulumi env get acme/default/production",
)
def test_the_quick_start_from_nothing_to_a_look_at_it(
    code: tuple[str, str], reader: Reader, action: Action, box: Sandbox
) -> None:
    make, look = code
    typed = f"{reader.pop('PULUMI_ACCESS_TOKEN')}\n"
    assert "sandbox" in run_shell(make, reader, typed=typed).stdout
    assert box.esc.values(QUICK) == {}
    reader["PULUMI_ACCESS_TOKEN"] = typed.strip()  # exported in the shell that this page began
    [workflow] = workflows("docs/quick-start.md")
    inputs = inputs_of(workflow, box)
    dry = action.run_with(action.variables(inputs | {"dry-run": "true"}))
    assert (dry.code, dry.outputs["result"], box.esc.values(QUICK)) == (0, "planned", {})
    assert dry.summary.count("would be added") == 5
    assert "nothing was written" in dry.summary
    done = action.run_with(action.variables(inputs))
    assert (done.code, done.outputs["result"]) == (0, "synced")
    printed = shell(look, reader)
    assert inputs["sentry-project-slug"] in printed
    assert not [name for name in ("sentry-dsn", "sentry-api-token", "sentry-client-secret") if inputs[name] in printed]
    assert box.github.dispatches == []


def test_the_quick_starts_first_commit_starts_nothing() -> None:
    [workflow] = workflows("docs/quick-start.md")
    assert list(workflow["on"]) == ["workflow_dispatch"]
    assert workflow["on"]["workflow_dispatch"]["inputs"]["dry-run"]["default"] is True
    [schedule] = [block for block in blocks("docs/quick-start.md") if block.code.startswith("on:\n")]
    [whole] = [block for block in blocks("docs/quick-start.md") if block.code.startswith("name:")]
    scheduled = load(whole.code.replace("on:\n", schedule.code, 1))
    assert list(scheduled["on"]) == ["schedule", "workflow_dispatch"]


def test_sign_in_with_a_stored_token(action: Action, box: Sandbox) -> None:
    box.esc.create(QUICK)
    stored, _ = workflows("docs/sign-in.md")
    done = action.run_with(action.variables(inputs_of(stored, box)) | {"GITHUB_TOKEN": VALID["github-token"]})
    assert (done.code, done.outputs["result"]) == (0, "synced")
    assert len(box.github.dispatches) == 1


def test_sign_in_without_a_stored_token(action: Action, box: Sandbox) -> None:
    box.esc.create(QUICK)
    box.esc.teams.add("sentry-sync")
    _, oidc = workflows("docs/sign-in.md")
    inputs = inputs_of(oidc, box)
    assert "pulumi-access-token" not in inputs
    done = action.run_with(
        action.variables(inputs)
        | {
            "ACTIONS_ID_TOKEN_REQUEST_URL": box.github.id_token_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": box.github.id_token_request_token,
            "GITHUB_TOKEN": VALID["github-token"],
        }
    )
    assert (done.code, done.annotations, done.outputs["result"]) == (0, [], "synced")
    assert {grant.team for grant in box.esc.accounts.grants.values()} == {"sentry-sync"}
    assert len(box.github.dispatches) == 1


# docs/operations.md


@pytest.fixture
def rotated(reader: Reader, action: Action, box: Sandbox) -> Action:
    """Sync the quick start's environment twice, with two tokens: revisions 2 and 3."""
    box.esc.create(QUICK)
    action.environment = QUICK
    for token in ("sntrys_former", "sntrys_newer"):
        assert action.run(sentry_api_token=token, tag_revision="true").code == 0
    assert box.esc.revision(QUICK) == 3
    return action


@runs("docs/operations.md", "pulumi env version history acme/default/production")
def test_who_changed_what(code: str, rotated: Action, reader: Reader) -> None:
    printed = shell(code, reader)
    assert re.search(r"^revision 3 \(.*github-run-17-1.*\)$", printed, re.MULTILINE)
    assert "+++ acme/default/production@3" in printed
    assert "sntrys_former" not in printed
    assert "sntrys_newer" not in printed


@runs(
    "docs/operations.md",
    "pulumi env diff acme/default/production@2 acme/default/production",
    "pulumi env get acme/default/production SENTRY_API_TOKEN --value string --show-secrets",
)
def test_going_back(code: tuple[str, str], rotated: Action, reader: Reader, box: Sandbox) -> None:
    back, look = code
    assert box.esc.values(QUICK)["SENTRY_API_TOKEN"] == "sntrys_newer"
    shell(back, reader)
    assert box.esc.values(QUICK)["SENTRY_API_TOKEN"] == "sntrys_former"
    assert box.esc.revision(QUICK) == 4
    assert shell(look, reader).strip() == "sntrys_former"


def test_what_a_sync_costs(action: Action, box: Sandbox) -> None:
    """Count the requests of syncs that do the least and the most."""

    def requests(variables: dict[str, str] | None = None, **inputs: str) -> int:
        box.esc.requests.clear()
        done = action.run_with(action.variables(action.inputs(**inputs)) | (variables or {}))
        assert done.code == 0, done.log
        return len(box.esc.requests)

    url, token = box.github.id_token_url, box.github.id_token_request_token
    oidc = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token}
    box.esc.teams.add("sentry-sync")
    most = {"pulumi_access_token": "", "pulumi_token_scope": "team:sentry-sync", "deploy": "changed"}
    action.create("values: {A: 1}\n")
    something = [requests()]
    nothing = [requests(), requests(oidc, **most)]
    box.esc.gate(action.environment)
    something.append(requests(oidc, **most, change_request="allowed", sentry_api_token="sntrys_newer"))
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    [told] = re.findall(r"makes (\w+) to (\w+) requests .*? if it writes nothing, else (\w+) to (\w+)\.", page)
    assert [{"three": 3, "eight": 8, "sixteen": 16}.get(word) for word in told] == [*nothing, *something]


# Commands in the running text.

INLINE = sorted({(page, code) for page in PAGES for code in inline_code(page)})


@pytest.mark.parametrize(("page", "code"), [each for each in INLINE if each[1].startswith("make ")])
def test_make_targets_in_the_text_exist(page: str, code: str) -> None:
    target = code.split()[1]
    assert re.search(rf"^{re.escape(target)}:.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


# Commands whose options are compared with the program's own help. A page's blocks of other programs are run.
GH_COMMAND = re.compile(r"(?<![\w./-])(gh (?:api|[a-z]+ [a-z]+))\b([^\n|]*)")
COMMAND = re.compile(r"(pulumi(?: [a-z-]+)+|docker (?!buildx)\w+|git [\w-]+|pipx \w+|openssl \w+|ssh(?= -))\b(.*)")
COMMANDS = sorted(
    {(page, *found) for page, code in INLINE for found in COMMAND.findall(code) if COMMAND.match(code)}
    | {
        (page, *found)
        for page in PAGES
        for code in [*inline_code(page), *(block.code for block in blocks(page))]
        for found in GH_COMMAND.findall(code.replace("\\\n", " "))
    }
)
# The option with which a program prints its help, if it isn't `--help`.
ASKS = {"git": "-h", "openssl": "-help", "ssh": "-h"}
# Commands that Debian's gh 2.23 doesn't have: an older one with the same options, or the options of
# github.com/cli/cli, `pkg/cmd/attestation/verify/verify.go`.
LATER = {"gh variable": "gh secret", "gh attestation verify": "--repo --signer-workflow"}
# The commands that a page's options without a command are for.
OPTIONS = {
    "CHANGELOG.md": ["sophia-sync doctor"],
    "docs/command-line.md": [f"sophia-sync {name}" for name in program.commands.commands],
    "docs/from-the-document.md": ["pulumi env set"],
    "docs/mcp-server.md": ["docker run", "python mcp-servers/sentry/sentry_mcp_server.py"],
    "docs/quick-start.md": ["gh secret set"],
    "tests/contract/transcripts/values.md": ["pulumi env get"],
}


@cache
def help_of(command: str, pulumi: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), str(pulumi.parent), os.environ.get("PATH", os.defpath)])
    words = command.split()
    if shutil.which(words[0], path=path) is None:
        pytest.skip(f"there is no {words[0]} on PATH")
    words.append(ASKS.get(words[0], "--help"))
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    shown = done.stdout + done.stderr
    for lacking, instead in LATER.items() if f'unknown command "{words[1]}"' in shown else ():
        if command.startswith(lacking):
            return help_of(command.replace(lacking, instead), pulumi) if " " not in instead[3:] else instead
    # For a word that is no command, a program prints its general help, or none.
    assert command in shown or words[0] in ("openssl", "python"), shown
    return shown


def unknown(options: str, shown: str) -> list[str]:
    """Return the options that a help doesn't show. OpenSSH shows letters together."""
    return [
        option
        for option in re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", options)
        if not re.search(rf"(?<![\w-]){option}(?![\w-])" if len(option) > 2 else rf"-\w*{option[1]}", shown)
    ]


@pytest.mark.parametrize(("page", "command", "options"), COMMANDS)
def test_commands_on_the_pages_have_these_options(page: str, command: str, options: str, pulumi: Path) -> None:
    assert unknown(options, help_of(command, pulumi)) == []


@pytest.mark.parametrize(("page", "code"), [each for each in INLINE if re.match("--[a-z]|-[a-z]$", each[1])])
def test_options_in_the_text_exist(page: str, code: str, pulumi: Path) -> None:
    shown = [help_of(command, pulumi) for command in OPTIONS[page]]
    assert unknown(code, "\n".join(shown)) == []


OURS = r"sophia-sync \w|(plan|sync|doctor|history) -"


@pytest.mark.parametrize(("page", "code"), [each for each in INLINE if re.match(OURS, each[1])])
def test_our_commands_in_the_text_can_be_parsed(page: str, code: str) -> None:
    name, *arguments = code.removeprefix("sophia-sync ").split()
    program.commands.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(("page", "code"), [each for each in INLINE if re.match(r"python -m |pytest ", each[1])])
def test_programs_in_the_text_exist(page: str, code: str) -> None:
    words = code.removeprefix("python -m ").split()
    if words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith("tests"))
    else:
        assert importlib.util.find_spec(words[0]) is not None
