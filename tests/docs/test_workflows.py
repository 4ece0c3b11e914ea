"""Every piece of YAML on the pages: workflows are linted whole, pieces of one in a workflow around them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import Sandbox
from tests.docs.pages import ALL_BLOCKS, ROOT, Block, blocks
from tests.support.raw_server import RawServer
from tools import actionlint

OURS = re.compile(r"(ai-cherry/sentry-esc-sync@.+|\./)")
INPUTS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
BLOCKS = [block for block in ALL_BLOCKS if block.language == "yaml"]
EVENT = {"on": "workflow_dispatch", "permissions": {}, "concurrency": {"group": "docs", "cancel-in-progress": False}}
JOB = {"runs-on": "ubuntu-24.04", "timeout-minutes": 5, "permissions": {}}

# The pages recommend to pin our action by commit, and show it by its tag.
ZIZMOR = """\
rules:
  unpinned-uses:
    config:
      policies:
        "ai-cherry/sentry-esc-sync": ref-pin
        "*": hash-pin
"""

every_block = pytest.mark.parametrize("block", BLOCKS, ids=str)


def load(text: str) -> Any:
    """A piece of YAML; YAML 1.1 takes the name `on` for a truth value."""
    loaded = yaml.safe_load(textwrap.dedent(text))
    return {"on" if name is True else name: value for name, value in loaded.items()} if type(loaded) is dict else loaded


def is_workflow(piece: Any) -> bool:
    return isinstance(piece, dict) and {"on", "jobs"} <= piece.keys()


def is_dependabot(piece: Any) -> bool:
    return isinstance(piece, dict) and {"version", "updates"} <= piece.keys()


def as_workflow(piece: Any) -> dict[str, Any]:
    """The workflow that a piece is a part of: inputs of our action, steps, a job, or jobs.

    Raises:
        ValueError: It is none of these.
    """
    if is_workflow(piece):
        return dict(piece)
    if isinstance(piece, list):
        return as_workflow({"steps": piece})
    if piece.keys() <= INPUTS.keys():
        required = {name: "x" for name, known in INPUTS.items() if known["required"]}
        return as_workflow([{"uses": "ai-cherry/sentry-esc-sync@v1", "with": required | piece}])
    if "steps" in piece and piece.keys() <= {"steps", "permissions", "environment"}:
        return as_workflow({"job": JOB | piece})
    if all(isinstance(job, dict) and "steps" in job for job in piece.values()):
        needed = {job["needs"] for job in piece.values() if "needs" in job} - piece.keys()
        others = {name: JOB | {"steps": [{"run": "true"}]} for name in needed}
        return {"name": "Of a page"} | EVENT | {"jobs": others | piece}
    raise ValueError(f"neither a workflow nor a piece of one: {piece.keys()}")


def steps_of(block: Block) -> list[dict[str, Any]]:
    return [step for job in as_workflow(load(block.code))["jobs"].values() for step in job["steps"]]


def our_steps(block: Block) -> list[dict[str, Any]]:
    return [step for step in steps_of(block) if OURS.fullmatch(step.get("uses", ""))]


WORKFLOWS = [block for block in BLOCKS if is_workflow(load(block.code))]
PIECES = [block for block in BLOCKS if not is_dependabot(load(block.code))]


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflows_are_found() -> None:
    assert {block.page for block in WORKFLOWS} >= {"README.md", "docs/quick-start.md", "docs/operations.md"}


@every_block
def test_every_workflow_is_linted(block: Block, tmp_path: Path) -> None:
    piece = load(block.code)
    beside = Path(sys.executable).parent
    (tmp_path / ".github/workflows").mkdir(parents=True)
    if is_dependabot(piece):
        file = tmp_path / ".github/dependabot.yml"
        file.write_text(block.code, encoding="utf-8")
    else:
        file = tmp_path / ".github/workflows/page.yml"
        text = block.code if is_workflow(piece) else yaml.safe_dump(as_workflow(piece), sort_keys=False)
        file.write_text(text, encoding="utf-8")
        run(actionlint.ensure(), "-shellcheck", beside / "shellcheck", "-pyflakes", "", file, cwd=tmp_path)
    (tmp_path / "zizmor.yml").write_text(ZIZMOR, encoding="utf-8")
    run(beside / "zizmor", "--offline", "--quiet", "--config", tmp_path / "zizmor.yml", tmp_path, cwd=tmp_path)


@pytest.mark.parametrize("block", WORKFLOWS, ids=str)
def test_every_workflow_asks_for_as_little_as_ours(block: Block) -> None:
    workflow = load(block.code)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert isinstance(job["permissions"], dict)
        assert job["timeout-minutes"] <= 30
    for trigger in workflow["on"].get("schedule", []):
        assert not trigger["cron"].startswith("0 "), "minute 0 is when GitHub drops the most runs"


@pytest.mark.parametrize("block", PIECES, ids=str)
def test_no_expression_becomes_part_of_a_script(block: Block) -> None:
    assert not [step["run"] for step in steps_of(block) if "${{" in step.get("run", "")]


@pytest.mark.parametrize("block", [block for block in PIECES if our_steps(block)], ids=str)
def test_our_action_is_given_inputs_that_it_has(block: Block) -> None:
    for step in our_steps(block):
        assert step["with"].keys() <= INPUTS.keys()
        assert {name for name, known in INPUTS.items() if known["required"]} <= step["with"].keys()


def test_an_input_that_does_not_exist_is_no_piece_of_a_workflow() -> None:
    with pytest.raises((ValueError, AttributeError)):
        as_workflow({"sentry-dns": "x"})


# The scripts of docs/operations.md, run. GitHub's own command line tool is stood in for by what it would do.

GH = """\
#!/bin/sh
set -eu
case "$1 $2" in
"api "*)
    curl --fail --silent --show-error --header "Authorization: Bearer $GH_TOKEN" "$GITHUB_API_URL/$2" | jq -r "$4" ;;
"issue list")
    printf '%s' "$OPEN_ISSUE" ;;
*)
    printf '%s\\n' "$GH_REPO" "$@" >>"$GH_SAID" ;;
esac
"""
REPOSITORY = "acme/sophia"
SYNC = "sync-sentry-secrets.yml"


def step_of_operations(name: str) -> dict[str, Any]:
    [step] = [
        step
        for block in blocks("docs/operations.md")
        if block.language == "yaml"
        for step in steps_of(block)
        if step.get("name") == name
    ]
    return step


def script(step: dict[str, Any], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as a runner does, with `gh` on its PATH."""
    for needed in ("curl", "jq"):
        if shutil.which(needed) is None:
            pytest.skip(f"there is no {needed} on PATH")
    gh = folder / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)
    given = {name: str(value) for name, value in step["env"].items() if "${{" not in str(value)}
    path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={"PATH": path, "GH_TOKEN": "of the job"} | given | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestAlert:
    STEP = step_of_operations("Open an issue, or add to the open one")

    def said(self, folder: Path, open_issue: str) -> list[str]:
        log = folder / "said"
        given = {"GH_REPO": REPOSITORY, "GH_SAID": str(log), "OPEN_ISSUE": open_issue, "BODY": "See https://…"}
        done = script(self.STEP, folder, **given)
        assert done.returncode == 0, done.stderr
        return log.read_text(encoding="utf-8").splitlines()

    def test_opens_an_issue(self, tmp_path: Path) -> None:
        title = self.STEP["env"]["TITLE"]
        expected = [REPOSITORY, "issue", "create", "--title", title, "--body", "See https://…"]
        assert self.said(tmp_path, "") == expected

    def test_adds_to_the_open_one(self, tmp_path: Path) -> None:
        assert self.said(tmp_path, "17") == [REPOSITORY, "issue", "comment", "17", "--body", "See https://…"]


class TestCheckIn:
    STEP = step_of_operations("Check in with Sentry")

    def test_tells_sentry_how_it_went(self, tmp_path: Path) -> None:
        with RawServer(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as sentry:
            dsn = f"{sentry.url.replace('://', '://0a1b2c3d@')}/42"
            done = script(self.STEP, tmp_path, SENTRY_DSN=dsn, STATUS="error")
            [request] = sentry.requests
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert request.startswith(b"GET /api/42/cron/sync-sentry-secrets/0a1b2c3d/?status=error HTTP/1.1\r\n")

    def test_fails_without_a_dsn(self, tmp_path: Path) -> None:
        assert script(self.STEP, tmp_path, SENTRY_DSN="", STATUS="ok").returncode != 0

    def test_fails_if_sentry_refuses_it(self, tmp_path: Path) -> None:
        with RawServer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as sentry:
            dsn = f"{sentry.url.replace('://', '://0a1b2c3d@')}/42"
            done = script(self.STEP, tmp_path, SENTRY_DSN=dsn, STATUS="ok")
        assert done.returncode != 0
        assert "0a1b2c3d" not in done.stdout + done.stderr


class TestWatchdog:
    STEP = step_of_operations("Fail if the last good sync is too old")

    def watch(self, box: Sandbox, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {"GH_TOKEN": box.github.token, "GITHUB_API_URL": box.github.url, "REPOSITORY": REPOSITORY}
        return script(self.STEP, folder, **(given | variables))

    @pytest.fixture
    def synced(self, box: Sandbox) -> Sandbox:
        """A repository whose last sync succeeded just now."""
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, SYNC)
        box.github.complete(box.github.start_run(REPOSITORY, SYNC))
        return box

    def test_is_content_with_a_fresh_sync(self, synced: Sandbox, tmp_path: Path) -> None:
        done = self.watch(synced, tmp_path)
        assert (done.returncode, done.stdout) == (0, "The last good sync was 0 hours ago.\n")

    def test_fails_for_an_old_one(self, synced: Sandbox, tmp_path: Path) -> None:
        done = self.watch(synced, tmp_path, HOURS="-1")
        assert (done.returncode, done.stdout) == (1, "::error::The last good sync was 0 hours ago.\n")

    def test_a_sync_that_failed_does_not_count(self, box: Sandbox, tmp_path: Path) -> None:
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, SYNC)
        box.github.complete(box.github.start_run(REPOSITORY, SYNC), "failure")
        done = self.watch(box, tmp_path)
        assert (done.returncode, done.stdout) == (1, "::error::No sync has ever succeeded.\n")

    def test_fails_if_github_does_not_tell(self, synced: Sandbox, tmp_path: Path) -> None:
        assert self.watch(synced, tmp_path, GH_TOKEN="of nobody").returncode != 0
