"""The YAML on the pages is linted: workflows as they are, and parts of one inside a workflow built around them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from sophia_sync.sentry import NEEDED_SCOPES
from sophia_sync.settings.inputs import Settings
from tests.docs.pages import ALL_BLOCKS, PAGES, ROOT, Block, inline_code, inline_code_in, sections
from tests.docs.registry import RUN_ELSEWHERE
from tools import actionlint

OURS = re.compile(r"(ai-cherry/sentry-esc-sync@.+|\./)")
INPUTS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
EVENT = {"on": "workflow_dispatch", "permissions": {}, "concurrency": {"group": "docs", "cancel-in-progress": False}}
JOB = {"runs-on": "ubuntu-24.04", "timeout-minutes": 5, "permissions": {}}

# The pages recommend pinning our action by commit, but show it by its tag.
ZIZMOR = """\
rules:
  unpinned-uses:
    config:
      policies:
        "ai-cherry/sentry-esc-sync": ref-pin
        "ai-cherry/sentry-esc-sync/*": ref-pin
        "*": hash-pin
"""


def load(text: str) -> Any:
    """Load a piece of YAML. Restore the key `on`, which YAML 1.1 reads as true."""
    loaded = yaml.safe_load(textwrap.dedent(text))
    return {"on" if name is True else name: value for name, value in loaded.items()} if type(loaded) is dict else loaded


def loadable(text: str) -> Any:
    """Load a piece of YAML. Return None if it isn't YAML: that block's own tests say so."""
    try:
        return load(text)
    except yaml.YAMLError:
        return None


def is_workflow(piece: Any) -> bool:
    return isinstance(piece, dict) and {"on", "jobs"} <= piece.keys()


def is_dependabot(piece: Any) -> bool:
    return isinstance(piece, dict) and {"version", "updates"} <= piece.keys()


def as_workflow(piece: Any) -> dict[str, Any]:
    """Return a whole workflow around a piece: triggers, inputs of our action, steps, a job, or jobs.

    Raises:
        ValueError: The piece is none of these.
    """
    if is_workflow(piece):
        return dict(piece)
    if isinstance(piece, list):
        return as_workflow({"steps": piece})
    if not isinstance(piece, dict):
        raise ValueError("not a piece of a workflow")
    if piece.keys() <= INPUTS.keys():
        required = {name: "x" for name, known in INPUTS.items() if known["required"]}
        return as_workflow([{"uses": "ai-cherry/sentry-esc-sync@v1", "with": required | piece}])
    if piece.keys() == {"on"}:
        return {"name": "Of a page"} | EVENT | piece | {"jobs": {"job": JOB | {"steps": [{"run": "true"}]}}}
    if "steps" in piece and piece.keys() <= {"steps", "permissions", "environment"}:
        return as_workflow({"job": JOB | piece})
    if all(isinstance(job, dict) and job.keys() & {"steps", "uses"} for job in piece.values()):
        needed = {job["needs"] for job in piece.values() if "needs" in job} - piece.keys()
        others = {name: JOB | {"steps": [{"run": "true"}]} for name in needed}
        return {"name": "Of a page"} | EVENT | {"jobs": others | piece}
    raise ValueError(f"neither a workflow nor a piece of one: {piece.keys()}")


def is_piece(piece: Any) -> bool:
    try:
        return bool(as_workflow(piece))
    except ValueError:
        return False


def steps_of(block: Block) -> list[dict[str, Any]]:
    """Return the steps of a block. A job that calls another workflow has none."""
    return [step for job in as_workflow(load(block.code))["jobs"].values() for step in job.get("steps", [])]


def our_steps(block: Block) -> list[dict[str, Any]]:
    return [step for step in steps_of(block) if OURS.fullmatch(step.get("uses", ""))]


# A page that another module tests may have YAML of any kind. Its workflows are linted here too.
BLOCKS = [
    block
    for block in ALL_BLOCKS
    if block.language == "yaml" and (block.page not in RUN_ELSEWHERE or is_workflow(loadable(block.code)))
]
WORKFLOWS = [block for block in BLOCKS if is_workflow(loadable(block.code))]
PIECES = [block for block in BLOCKS if is_piece(loadable(block.code))]

every_block = pytest.mark.parametrize("block", BLOCKS, ids=str)


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
        assert "uses" in job or job["timeout-minutes"] <= 30
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


@pytest.mark.parametrize("block", [block for block in WORKFLOWS if our_steps(block)], ids=str)
def test_no_workflow_relies_on_the_default_environment(block: Block) -> None:
    """The default environment belongs to another company."""
    assert all(step["with"]["esc-environment"].startswith("acme/") for step in our_steps(block))


# Names in the text: inputs and outputs, those of our reusable workflows, GitHub's keys, and a few others.
NAMES = {
    *INPUTS,
    *yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["outputs"],
    *(
        name
        for file in (ROOT / ".github/workflows").glob("*.yml")
        for trigger in [load(file.read_text(encoding="utf-8"))["on"]]
        for name in ((trigger.get("workflow_call") or {}).get("inputs") or ())
    ),
    *("actions", "cron", "env", "environment", "id-token", "needs", "on", "permissions", "schedule", "secrets", "uses"),
    *("with", "ai-cherry", "scoobyjava-org", "secrets-inherit", "sentry-esc-sync", "sentry-mcp", "sentry-mcp-former"),
    *("sentry-sync", "sophia-ai-production", "sophia-sync", "sync-sentry-secrets", "ubuntu-latest"),
}
CHOICES = {
    name.replace("_", "-"): set(field.annotation) if issubclass(field.annotation, StrEnum) else {"true", "false"}
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum | bool)
}


@pytest.mark.parametrize("page", PAGES)
def test_names_in_the_text_are_those_of_inputs(page: str) -> None:
    found = [code for code in inline_code(page) if re.fullmatch(r"[a-z]+(-[a-z]+)+(:( .*)?)?|[a-z]+:( .*)?", code)]
    named = [(name, value.strip()) for name, _, value in (code.partition(":") for code in found)]
    assert [name for name, _ in named if name not in NAMES] == []
    assert [(name, value) for name, value in named if value and value not in CHOICES.get(name, {value})] == []


@pytest.mark.parametrize("name", [name for name, choices in CHOICES.items() if choices != {"true", "false"}])
def test_the_tables_list_the_values_of_an_input(name: str) -> None:
    for page, row, after in (("README.md", name, 2), ("docs/command-line.md", f"--{name}", 3)):
        [found] = re.findall(rf"^\| `{row}` \|.*", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert {*inline_code_in("|".join(found.split("|")[after:]))} == CHOICES[name]


@pytest.mark.parametrize(
    ("page", "heading"),
    [("docs/reference.md", "The preflight"), ("docs/security.md", "The least that each credential needs")],
)
def test_the_pages_list_the_scopes_that_the_preflight_asks_for(page: str, heading: str) -> None:
    scopes = [code for code in inline_code_in(sections(page)[heading]) if re.fullmatch(r"\w+:\w+", code)]
    assert tuple(scopes) == NEEDED_SCOPES


def test_an_input_that_does_not_exist_is_no_piece_of_a_workflow() -> None:
    assert is_piece({"sentry-dsn": "x"})
    assert not is_piece({"sentry-dns": "x"})
