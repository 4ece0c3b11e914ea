"""docs/environments.md tells callers of sync-environments.yml what that workflow takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.test_files import MANY, OWN, load
from tools import actionlint
from tools.go_build import BuildError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/environments.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CALL: dict[str, Any] = load(MANY)["on"]["workflow_call"]


@pytest.fixture
def caller(tmp_path: Path) -> Path:
    """Return a repository with the page's workflow and ours beside it, so that linters can read ours."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    shutil.copy(MANY, folder)
    shutil.copy(ROOT / ".github" / "actionlint.yaml", folder.parent)
    local = BLOCKS[0].replace(f"{OWN}/.github/workflows/{MANY.name}@v1", f"./.github/workflows/{MANY.name}")
    assert local != BLOCKS[0], "the page's workflow calls ours by its full name"
    (folder / "caller.yml").write_text(local, encoding="utf-8")
    return tmp_path


def lint(caller: Path, *files: str) -> subprocess.CompletedProcess[str]:
    try:
        program = actionlint.ensure()
    except BuildError as error:
        pytest.skip(f"actionlint can't be made: {error}")
    (caller / ".git").mkdir(exist_ok=True)
    command = [str(program), "-shellcheck", "", "-pyflakes", "", *files]
    return subprocess.run(command, cwd=caller, capture_output=True, text=True, check=False)


def test_the_callers_workflow_is_valid_and_so_is_its_call(caller: Path) -> None:
    told = lint(caller)
    assert (told.returncode, told.stdout) == (0, "")


def test_a_call_with_an_input_that_is_none_would_be_found(caller: Path) -> None:
    path = caller / ".github/workflows/caller.yml"
    path.write_text(path.read_text("utf-8").replace("max-parallel:", "parallel:"), "utf-8")
    assert 'input "parallel" is not defined' in lint(caller).stdout


def test_the_callers_secrets_by_name_are_valid_too(caller: Path) -> None:
    path = caller / ".github/workflows/caller.yml"
    text = re.sub(r"^    secrets: inherit.*\n", lambda _: BLOCKS[1], path.read_text("utf-8"), flags=re.MULTILINE)
    assert "inherit" not in text
    path.write_text(text, "utf-8")
    assert lint(caller).stdout == ""
    assert set(yaml.safe_load(BLOCKS[1])["secrets"]) == set(CALL["secrets"])


def test_zizmor_finds_nothing_in_the_callers_workflow(tmp_path: Path) -> None:
    path = tmp_path / "caller.yml"
    path.write_text(BLOCKS[0], encoding="utf-8")
    zizmor = Path(sys.executable).with_name("zizmor")
    told = subprocess.run([zizmor, "--offline", "--quiet", path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    path.write_text(BLOCKS[0].replace("# zizmor: ignore[secrets-inherit]", "#"), encoding="utf-8")
    told = subprocess.run([zizmor, "--offline", "--quiet", path], capture_output=True, text=True, check=False)
    assert "secrets-inherit" in told.stdout, "the page explains a finding that there isn't"


def test_the_caller_grants_what_the_jobs_ask_for_and_no_more() -> None:
    """If a called job asks for more than its caller grants, the run fails before it begins."""
    asked: dict[str, str] = {}
    for job in load(MANY)["jobs"].values():
        asked |= job["permissions"]
    [job] = yaml.safe_load(BLOCKS[0])["jobs"].values()
    assert job["permissions"] == asked


def test_the_page_has_all_inputs_with_their_defaults() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \|", PAGE, re.MULTILINE)
    told = {name: default.strip("`") for name, default in rows}
    assert told == {
        name: "required" if value.get("required") else str(value["default"]).lower() or "none"
        for name, value in CALL["inputs"].items()
    }


# Inputs of the workflow itself. All others are the action's.
OF_THE_MATRIX = {"environments", "max-parallel"}


def test_a_call_can_give_all_that_is_the_same_for_every_leg() -> None:
    assert set(CALL["inputs"]) - OF_THE_MATRIX == {
        "pulumi-token-scope",
        "preflight",
        "change-request",
        "dry-run",
        "export-environment-variables",
        "tag-revision",
        "timeout",
    }


@pytest.mark.parametrize("name", sorted(set(CALL["inputs"]) - OF_THE_MATRIX))
def test_what_is_passed_on_has_the_actions_default(name: str) -> None:
    declared = load(ROOT / "action.yml")["inputs"]
    assert str(CALL["inputs"][name]["default"]).lower() == declared[name].get("default", "")
    [step] = load(MANY)["jobs"]["sync"]["steps"]
    assert step["with"][name] == f"${{{{ inputs.{name} }}}}"


def test_no_job_ends_a_leg_before_its_largest_timeout_does() -> None:
    assert load(MANY)["jobs"]["sync"]["timeout-minutes"] * 60 > 3600
