"""The two programs as a runner starts them: what they print, write and end with."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import Annotation, GitHub
from sophia_sync.matrix import app, legs
from tests.support.inputs import as_runner, environment
from tests.support.runner import commands, parse_log, parse_outputs

NUMBERS = itertools.count(1)
LIST = json.dumps([{"environment": "lab", "esc-environment": ["acme/default/lab", "acme/default/lab-2"]}])
NAMES = json.dumps(["lab", "production"])


@dataclass(frozen=True)
class Ran:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str

    @property
    def errors(self) -> list[str]:
        return [command.data for command in commands(self.log, "error")]


def run(command: str, variables: Mapping[str, str], folder: Path) -> Ran:
    output, summary = folder / "output", folder / "summary"
    files = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    stream = io.StringIO()
    with environment({**variables, **files}):
        code = app.main([command], stream)
    texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (output, summary)]
    return Ran(code, stream.getvalue(), parse_outputs(texts[0]), texts[1])


class TestPlan:
    def test_the_list_becomes_the_matrix(self, tmp_path: Path) -> None:
        ran = run("plan", as_runner({"environments": LIST}), tmp_path)
        assert ran.code == 0
        found = legs.parse(LIST)
        assert ran.outputs == {"matrix": legs.matrix(found), "names": '["lab"]'}
        assert "Legs of the matrix: 1; ESC environments: 2" in ran.log

    @pytest.mark.parametrize("given", ["", "[{}]"])
    def test_a_list_that_is_wrong_stops_everything(self, given: str, tmp_path: Path) -> None:
        ran = run("plan", as_runner({"environments": given}), tmp_path)
        assert ran.code == 2
        assert len(ran.errors) == 1
        assert ran.outputs == {}


class TestGather:
    @pytest.fixture
    def called(self, github: GitHub) -> dict[str, str]:
        repository = f"acme/gathered-{next(NUMBERS)}"
        github.add_repository(repository)
        github.add_workflow(repository, "sync.yml")
        run_id = github.start_run(repository, "sync.yml")
        github.add_job(run_id, "sync / Gather", None)
        github.add_job(run_id, "sync / Sync lab", "success", [Annotation("notice", "lab: up to date")])
        self.production = github.add_job(run_id, "sync / Sync production", None)
        inputs = as_runner({"names": NAMES, "job-id": "", "github-token": github.token})
        context = {"GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": repository, "GITHUB_RUN_ID": str(run_id)}
        return inputs | context

    def test_all_in_order(self, github: GitHub, called: dict[str, str], tmp_path: Path) -> None:
        github.end_job(self.production, "success", [Annotation("notice", "production: 5 of 5 keys changed")])
        ran = run("gather", called, tmp_path)
        assert ran.code == 0, ran.log
        assert "All 2 environments are in order" in ran.log
        assert "production: 5 of 5 keys changed" in ran.summary
        assert [row["conclusion"] for row in json.loads(ran.outputs["results"])] == ["success", "success"]

    def test_one_that_failed_fails_all_with_the_summary_and_the_results_written(
        self, github: GitHub, called: dict[str, str], tmp_path: Path
    ) -> None:
        github.end_job(self.production, "failure", [Annotation("failure", "Sentry refused the token.")])
        ran = run("gather", called, tmp_path)
        assert ran.code == 1
        [error] = ran.errors
        assert error.startswith("1 of 2 environments failed:\n- production: failure\n")
        assert "Sentry refused the token." in ran.summary
        assert [row["conclusion"] for row in json.loads(ran.outputs["results"])] == ["success", "failure"]

    def test_its_token_is_hidden_first(self, github: GitHub, called: dict[str, str], tmp_path: Path) -> None:
        github.end_job(self.production, "failure", [Annotation("failure", f"with {github.token}")])
        ran = run("gather", called, tmp_path)
        lines = [line for line in parse_log(ran.log) if isinstance(line, str)]
        assert github.token not in "\n".join([*lines, *ran.errors, ran.summary, *ran.outputs.values()])
        assert ran.log.startswith("::add-mask::")

    @pytest.mark.parametrize("names", ["", "lab", "{}", "[]", "[7]"])
    def test_names_that_are_none_are_refused(self, names: str, called: dict[str, str], tmp_path: Path) -> None:
        ran = run("gather", called | as_runner({"names": names}), tmp_path)
        assert ran.code == 2
        assert ran.errors[0].startswith("`names` is no JSON array")

    @pytest.mark.parametrize("missing", ["INPUT_GITHUB-TOKEN", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"])
    def test_outside_of_a_run_it_says_what_it_needs(self, missing: str, called: dict[str, str], tmp_path: Path) -> None:
        ran = run("gather", called | {missing: ""}, tmp_path)
        assert ran.code == 2
        assert "GITHUB_RUN_ID" in ran.errors[0]


def test_a_defect_is_told_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setitem(app.COMMANDS, "plan", broken)
    ran = run("plan", as_runner({"environments": LIST}), tmp_path)
    assert ran.code == 70
    assert "defect" in ran.errors[0]


def test_there_is_no_third_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app.main(["sync"])
    assert "invalid choice" in capsys.readouterr().err
