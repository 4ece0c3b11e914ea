"""docs/command-line.md agrees with the program: its commands, their output, options, exit codes and JSON."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from sandbox import Sandbox
from sophia_sync.console import program
from sophia_sync.console.doctor import mcp
from sophia_sync.console.history import _MARKS as CHANGES
from sophia_sync.outcome import Result
from sophia_sync.sync.plan import Action
from tests.console.scene import ENVIRONMENT, Scene
from tests.support.laptop import HOUR, Shown, before
from tests.support.runner import commands

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8").replace("&nbsp;", "")
COMMANDS = program.commands.commands


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


EXAMPLES = {
    block.splitlines()[0].removeprefix("$ sophia-sync "): block.partition("\n")[2] for block in blocks("console")
}
SHAPES = dict(zip(["error", "plan", "doctor", "history"], map(json.loads, blocks("json")), strict=True))


def without_what_varies(text: str) -> str:
    """Replace what depends on when and where this runs: dates, run ids and the CLI's version."""
    text = re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "DATE", text)
    text = re.sub(r"\b70000\d\d\b", "RUN", text)
    return re.sub(r"v3\.\S+", "VERSION", text).replace(":0009/", ":8000/")


@pytest.fixture(scope="module")
def scene(pulumi: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield one scene for the whole page. Each command sees the effects of those before it."""
    with Sandbox() as box:
        yield Scene(box, pulumi, tmp_path_factory.mktemp("scene"))


def test_what_it_says_installs_the_program(tmp_path: Path) -> None:
    [code] = blocks("sh")
    pipx, install, requirement = shlex.split(code)
    assert (pipx, install) == ("pipx", "install")
    # Do what pipx does: make a virtual environment and install with pip. The source is this repository's HEAD.
    here = requirement.replace("https://github.com/ai-cherry/sentry-esc-sync@v1", f"file://localhost{ROOT}")
    assert here != requirement
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    subprocess.run([tmp_path / "bin" / "pip", "install", "--quiet", here], check=True)
    ran = subprocess.run([tmp_path / "bin" / "sophia-sync", "--help"], check=True, capture_output=True, text=True)
    assert all(f"\n  {name} " in ran.stdout for name in COMMANDS)


@pytest.mark.pulumi
class TestTheCommands:
    """The page's commands, run in its order."""

    @pytest.fixture(autouse=True)
    def no_mcp_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nobody listens on port 9. Four digits, as in the default port, keep the line breaks where they are.
        monkeypatch.setattr(mcp, "DEFAULT_URL", "http://127.0.0.1:0009")

    def test_there_is_an_example_of_each(self) -> None:
        assert [shlex.split(line)[0] for line in EXAMPLES] == ["plan", "sync", "doctor", "history"]

    @pytest.mark.parametrize("line", EXAMPLES)
    def test_prints_what_the_page_shows(self, scene: Scene, line: str) -> None:
        arguments = shlex.split(line)
        shown = scene.on_terminal(*arguments, answer="y\n") if line == "sync" else scene.run(*arguments)
        if line == "sync":  # the page's next command runs three hours later
            scene.box.esc.date(ENVIRONMENT, 4, before(3 * HOUR))
        assert without_what_varies(shown.out).rstrip() == without_what_varies(EXAMPLES[line]).rstrip()
        assert shown.code == {"plan": 10, "sync": 0, "doctor": 1, "history": 0}[arguments[0]]

    @pytest.mark.parametrize("command", ["plan", "doctor", "history"])
    def test_prints_json_of_that_shape(self, scene: Scene, command: str) -> None:
        shown = scene.run(command, "--json")
        assert_shape(shown.json, SHAPES[command])

    def test_prints_an_error_of_that_shape(self, scene: Scene) -> None:
        shown: Shown = scene.run("history", "--json", "-e", "a/b/c")
        assert_shape(shown.json, SHAPES["error"])
        assert shown.code == shown.json["error"]["exit_code"] == 4

    def test_the_workflow_runs_it(self, scene: Scene) -> None:
        (workflow,) = map(yaml.safe_load, blocks("yaml"))
        assert workflow["permissions"] == {}
        steps = workflow["jobs"]["doctor"]["steps"]
        assert [step["run"] for step in steps if step.get("run", "").startswith("make ")] == ["make setup"]
        *before, line = steps[-1]["run"].splitlines()
        assert before == ['PATH="$(dirname "$(.venv/bin/python -m tools.pulumi_cli)"):$PATH"']
        program, *arguments = shlex.split(line)
        assert program == ".venv/bin/sophia-sync"
        shown = scene.run(*arguments, GITHUB_ACTIONS="true")
        assert shown.code == 1
        assert any("age of SENTRY_DSN: 190 days" in command.data for command in commands(shown.err, "error"))


def assert_shape(value: Any, documented: Any) -> None:
    """Check that a value has the documented keys and types, and each item of a list those of the documented item."""
    if documented is None or value is None:
        return
    assert type(value) is type(documented)
    if isinstance(documented, dict):
        if not (documented and all(key.isupper() for key in documented)):  # keys of ESC, which vary
            assert list(value) == list(documented)
        for key in documented.keys() & value.keys():
            assert_shape(value[key], documented[key])
    if isinstance(documented, list):
        assert value or not isinstance(documented[0], dict)
        for item in value:
            assert_shape(item, documented[0])


def rows(header: str) -> list[list[str]]:
    table = PAGE.partition(f"{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


class TestTheTables:
    def test_of_options_has_what_there_is(self) -> None:
        documented = set()
        for names, where, _ in rows("| option | commands | meaning |"):
            for name in re.findall(r"`(-[^`]+)`", names):
                commands = list(COMMANDS) if where == "all" else re.findall(r"`([^`]+)`", where)
                documented |= {(command, name) for command in commands}
        there_are = {
            (name, flag)
            for name, command in COMMANDS.items()
            for one in command.params
            if isinstance(one, click.Option)
            for flag in one.opts
        }
        assert documented == there_are

    def test_of_exit_codes_says_what_the_help_says(self) -> None:
        table = {cells[0].strip("`"): cells[1] for cells in rows("| command | codes |")}
        assert set(table) == {*COMMANDS, "all"}
        for name, command in COMMANDS.items():
            helped = " ".join((command.help or "").partition("Exit codes:")[2].split())
            both = f"{table[name]}, {table['all']}"
            for code, meaning in re.findall(r"(\d+) ([^,.\d]+)", helped):
                assert re.search(rf"\b{code} ", both), f"{name}: {code} {meaning}"
            for code, meaning in re.findall(r"(\d+) ([^,]+)", table[name]):
                assert f"{code} {meaning}".removesuffix(".") in helped

    def test_limits_are_those_that_there_are(self) -> None:
        (meaning,) = [cells[2] for cells in rows("| option | commands | meaning |") if "--limit" in cells[0]]
        limits = [one.default for name in ("doctor", "history") for one in COMMANDS[name].params if one.name == "limit"]
        assert [int(number) for number in re.findall(r"\d+", meaning)] == limits

    @pytest.mark.parametrize("word", [*Action, *Result, *CHANGES])
    def test_every_word_of_the_json_is_told(self, word: str) -> None:
        assert f"`{word}`" in PAGE
