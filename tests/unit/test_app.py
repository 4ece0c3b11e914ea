"""How a run ends: its log, its report and its exit code. tests/cli covers runs that reach ESC."""

from __future__ import annotations

import io
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from sophia_sync import __version__, app
from tests.support.inputs import VALID, as_runner, environment
from tests.support.runner import Command, commands, parse_log, parse_outputs

CANARY = "Kanarienvogel-17"


@dataclass
class Ran:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str


def run(folder: Path, inputs: dict[str, str], *, on_runner: bool = True, path: str = "") -> Ran:
    """Run the action once with `inputs`. PATH has no programs unless `path` is given."""
    output, summary = folder / "output", folder / "summary"
    stream = io.StringIO()
    variables = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "PATH": path or str(folder)}
    variables |= {"GITHUB_ACTIONS": "true"} if on_runner else {}
    with environment(as_runner(inputs) | variables):
        code = app.main([], stream)

    def text(file: Path) -> str:
        return file.read_text(encoding="utf-8") if file.exists() else ""

    return Ran(code, stream.getvalue(), parse_outputs(text(output)), text(summary))


OFF = {"preflight": "off"}


class TestArguments:
    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            app.main(["--help"])
        assert left.value.code == 0
        assert "environment variables" in capsys.readouterr().out

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            app.main(["--version"])
        assert left.value.code == 0
        assert capsys.readouterr().out == f"{__version__}\n"

    def test_anything_else_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            app.main(["--sentry-dsn", "x"])
        assert left.value.code == 2
        assert "unrecognized arguments" in capsys.readouterr().err


class TestWrongInputs:
    def test_are_one_annotation_and_a_summary(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | {"sentry-dsn": CANARY, "timeout": "never"})
        assert ran.code == 2
        (error,) = commands(ran.log, "error")
        assert "`sentry-dsn`" in error.data
        assert "`timeout`" in error.data
        assert error.properties == {"title": "Inputs are missing or malformed"}
        assert ran.summary.startswith("## ❌ Inputs are missing or malformed")
        assert "`sentry-dsn`" in ran.summary
        assert ran.outputs == {}

    def test_are_hidden_before_anything_is_told(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | {"sentry-dsn": CANARY})
        names = [entry.name if isinstance(entry, Command) else entry for entry in parse_log(ran.log)]
        assert set(names[:-1]) == {"add-mask"}
        assert CANARY in {command.data for command in commands(ran.log, "add-mask")}
        assert CANARY not in ran.log.splitlines()[-1] + ran.summary

    def test_off_a_runner_nothing_is_masked(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | {"sentry-dsn": CANARY}, on_runner=False)
        assert ran.code == 2
        assert "::" not in ran.log.replace("https://", "")
        assert CANARY not in ran.log

    def test_a_value_that_is_no_text(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | {"sentry-api-token": f"{CANARY}\udcff"})
        assert ran.code == 2
        assert "isn't valid UTF-8" in ran.log

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        ran = run(tmp_path, {})
        assert ran.code == 2
        assert "inputs need attention" in ran.summary


class TestNoCli:
    def test_is_told_with_what_to_do(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | OFF)
        assert ran.code == 4
        (error,) = commands(ran.log, "error")
        assert "there is no `pulumi` on PATH" in error.data
        assert "What to do:" in ran.summary
        (environment_,) = json.loads(ran.outputs["environments"])
        assert environment_["environment"] == VALID["esc-environment"]
        assert "no `pulumi` on PATH" in environment_["error"]
        assert "result" not in ran.outputs

    def test_groups_are_closed(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | OFF)
        assert len(commands(ran.log, "group")) == len(commands(ran.log, "endgroup"))

    def test_white_space_is_told_first(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | OFF | {"sentry-dsn": f"{VALID['sentry-dsn']}\n"})
        (warning,) = commands(ran.log, "warning")
        assert "`sentry-dsn`" in warning.data

    def test_without_files_the_log_tells_it_all(self, tmp_path: Path) -> None:
        stream = io.StringIO()
        with environment(as_runner(VALID | OFF) | {"PATH": str(tmp_path)}):
            assert app.main([], stream) == 4
        assert "no `pulumi` on PATH" in stream.getvalue()

    @pytest.mark.parametrize(("lost", "kept"), [("summary", "output"), ("output", "summary")])
    def test_a_file_that_can_not_be_written_costs_no_other(self, tmp_path: Path, lost: str, kept: str) -> None:
        (tmp_path / lost).mkdir()
        stream = io.StringIO()
        variables = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        with environment(as_runner(VALID | OFF) | variables | {"PATH": str(tmp_path), "GITHUB_ACTIONS": "true"}):
            assert app.main([], stream) == 4
        assert "CLI isn't installed" in (tmp_path / kept).read_text(encoding="utf-8")
        (warning,) = commands(stream.getvalue(), "warning")
        assert warning.data.startswith(f"Could not write the {lost}")
        assert warning.data.endswith(": Is a directory.")

    @pytest.mark.parametrize("word", ["null", "environment", "error"])
    def test_a_secret_that_is_a_common_word_breaks_no_output(self, tmp_path: Path, word: str) -> None:
        ran = run(tmp_path, VALID | OFF | {"extra-secrets": f"WORD={word}"})
        (ended,) = json.loads(ran.outputs["environments"])
        assert (ended["environment"], ended["result"]) == (VALID["esc-environment"], None)


class SendsSignal(io.StringIO):
    """A log that sends SIGTERM to the run when it writes an error."""

    def write(self, text: str) -> int:
        if "::error" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


class TestASignal:
    def test_does_not_cut_the_report(self, tmp_path: Path) -> None:
        stream = SendsSignal()
        summary = tmp_path / "summary"
        variables = {"PATH": str(tmp_path), "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        with environment(as_runner(VALID | OFF) | variables):
            assert app.main([], stream) == 4
        assert len(commands(stream.getvalue(), "error")) == 1
        assert "What to do:" in summary.read_text(encoding="utf-8")

    def test_before_anything_was_done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(app, "make_bundle", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        ran = run(tmp_path, VALID | OFF)
        assert ran.code == 143
        (error,) = commands(ran.log, "error")
        assert error.data == "SIGTERM ended the run. Nothing was written. Run again."


class TestOutput:
    def test_that_nobody_reads_stops_nothing(self, tmp_path: Path) -> None:
        class Closed(io.StringIO):
            def write(self, _: str) -> int:
                raise BrokenPipeError

        summary = tmp_path / "summary"
        variables = {"PATH": str(tmp_path), "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        with environment(as_runner(VALID | OFF) | variables):
            assert app.main([], Closed()) == 4
        assert "isn't installed" in summary.read_text(encoding="utf-8")


class TestADefectOfOurs:
    @pytest.fixture(autouse=True)
    def defect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError(f"about {CANARY}")

        monkeypatch.setattr(app, "make_bundle", fail)

    def test_is_told_as_one_with_its_trace_but_no_secret(self, tmp_path: Path) -> None:
        ran = run(tmp_path, VALID | OFF | {"sentry-client-secret": CANARY}, on_runner=False)
        assert ran.code == 70
        assert "Traceback" in ran.log
        assert "RuntimeError: about ***" in ran.log
        assert "A defect of sentry-esc-sync" in ran.summary
        assert CANARY not in ran.log + ran.summary + json.dumps(ran.outputs)
