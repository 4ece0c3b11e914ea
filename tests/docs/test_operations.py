"""The scripts of the workflows in docs/operations.md, run with a stand-in for GitHub's CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox
from tests.docs.pages import blocks
from tests.docs.test_workflows import is_piece, load, steps_of
from tests.support.raw_server import RawServer

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
        if block.language == "yaml" and is_piece(load(block.code))
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
        """Add a repository whose last sync has just succeeded."""
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
