"""action.yml, the documentation and the code list the same inputs, defaults and outputs."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticUndefined

from sophia_sync import report
from sophia_sync.esc.approvals import ChangeRequest
from sophia_sync.outcome import Deployed, Ended, Outcome, Result, Synced, Target
from sophia_sync.runtime.errors import EscError
from sophia_sync.settings.inputs import PLAIN_VARIABLES, Settings
from sophia_sync.sync.plan import Action, Plan, Step

ROOT = Path(__file__).resolve().parents[3]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INPUTS: dict[str, dict[str, Any]] = ACTION["inputs"]
FIELDS = {field.replace("_", "-"): info for field, info in Settings.model_fields.items()}

# The only default that is a workflow expression.
TOKEN_OF_THE_JOB = {"github-token": "${{ github.token }}"}


def table(*header: str, page: str = "README.md") -> dict[str, list[str]]:
    """Return the table with that header: each row's other cells, keyed by each name in its first cell."""
    lines = iter((ROOT / page).read_text(encoding="utf-8").replace("&nbsp;", "").splitlines())
    for line in lines:
        if _cells(line)[: len(header)] == list(header):
            break
    else:
        pytest.fail(f"{page} has no table with the header | {' | '.join(header)} |")
    assert set(next(lines)) <= set("|-: "), "the table's second line"
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = _cells(line)
        for name in re.findall(r"`([^`]+)`", cells[0]):
            assert name not in rows, f"{name} stands twice on the page"
            rows[name] = cells[1:]
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def default_of(name: str) -> str | None:
    """Return a setting's default as action.yml writes it. Return None if there is none."""
    default = FIELDS[name].default
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, tuple):
        return "\n".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    text = "" if default in (PydanticUndefined, None, {}) else str(default)
    return text or TOKEN_OF_THE_JOB.get(name)


class TestInputs:
    def test_action_yml_and_the_settings_have_the_same(self) -> None:
        assert sorted(INPUTS) == sorted(FIELDS)

    def test_the_readme_has_the_same(self) -> None:
        assert sorted(table("input")) == sorted(FIELDS)

    @pytest.mark.parametrize("name", INPUTS)
    def test_action_yml_has_the_default_of_the_settings(self, name: str) -> None:
        """A default in action.yml always sets the input, so its plain variable would never be read."""
        written = TOKEN_OF_THE_JOB.get(name) if name in PLAIN_VARIABLES else default_of(name)
        assert INPUTS[name].get("default") == written
        assert INPUTS[name]["required"] == FIELDS[name].is_required()

    @pytest.mark.parametrize("name", sorted(PLAIN_VARIABLES.keys() - TOKEN_OF_THE_JOB.keys()))
    def test_action_yml_describes_a_default_that_it_does_not_set(self, name: str) -> None:
        default = default_of(name)
        assert default is None or f"Default: {default}." in INPUTS[name]["description"]

    @pytest.mark.parametrize("name", INPUTS)
    def test_the_readme_has_the_default_of_the_settings(self, name: str) -> None:
        default, meaning = table("input", "default", "meaning")[name]
        if FIELDS[name].is_required():
            assert default == "required"
        elif default_of(name) is None:
            assert "`" not in default
            assert default
        else:
            assert default == f"`{default_of(name)}`"
        assert meaning

    def test_the_reference_has_every_plain_variable(self) -> None:
        told = {name: cells[0].strip("`") for name, cells in table("input", page="docs/reference.md").items()}
        assert told == PLAIN_VARIABLES

    @pytest.mark.parametrize("name", INPUTS)
    def test_each_is_described(self, name: str) -> None:
        assert re.fullmatch(r".{10,}\.", INPUTS[name]["description"], re.DOTALL)


STEP = Step("SENTRY_DSN", Action.ADD, secret=True)
ENDED = (
    Ended("a/b/c", Synced("a/b/c", Result.SYNCED, Plan((STEP,)), 8, 7)),
    Ended("a/b/d", Synced("a/b/d", Result.PROPOSED, Plan((STEP,))), change_request=ChangeRequest("1")),
)
DEPLOYED = Deployed(Target("a/b", "c.yml", None), "main", 1, "https://github.example/1", "success")


class TestOutputs:
    def test_action_yml_has_what_is_set(self) -> None:
        assert set(report.outputs(Outcome(ENDED, DEPLOYED))) == set(ACTION["outputs"])

    def test_whatever_happens_no_other_is_set(self) -> None:
        for outcome in (
            Outcome(),
            Outcome((Ended("a/b/c"),), error=EscError("It failed.", "Run again.")),
            Outcome((Ended("a/b/c", Synced("a/b/c", Result.PLANNED, Plan((STEP,)))),)),
            Outcome(ENDED, replace(DEPLOYED, run_id=None, run_url=None, conclusion=None)),
        ):
            assert set(report.outputs(outcome)) <= set(ACTION["outputs"])

    def test_the_readme_has_the_same(self) -> None:
        assert sorted(table("output")) == sorted(ACTION["outputs"])

    @pytest.mark.parametrize("name", ACTION["outputs"])
    def test_each_is_described(self, name: str) -> None:
        assert ACTION["outputs"][name]["description"]
        assert table("output")[name][0]


def test_it_is_a_container_action_with_branding() -> None:
    assert ACTION["runs"]["using"] == "docker"
    assert ACTION["branding"].keys() == {"icon", "color"}
    assert "entrypoint" not in ACTION["runs"], "a shell would drop the variables with hyphens"
