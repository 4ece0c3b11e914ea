"""The program itself: its help, its exit codes, what it costs the action, and its error if a part is missing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sophia_sync import __version__, console
from sophia_sync.console import pipeline, program, session, sync
from sophia_sync.console.screen import Screen
from sophia_sync.runtime.errors import EscError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.run import conduct
from tests.support.inputs import environment
from tests.support.laptop import PROGRAM, Laptop

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["doctor", "history", "plan", "sync"]


def help_of(*arguments: str) -> str:
    with environment({"COLUMNS": "80"}):
        done = subprocess.run([PROGRAM, *arguments, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


class TestHelp:
    def test_lists_the_commands_each_with_a_whole_sentence(self) -> None:
        lines = help_of().partition("Commands:\n")[2].splitlines()
        assert [line.split()[0] for line in lines] == COMMANDS == sorted(program.commands.commands)
        assert all(line.endswith(".") and not line.endswith("..") for line in lines)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_fits_and_tells_the_exit_codes(self, command: str) -> None:
        text = help_of(command)
        assert max(map(len, text.splitlines())) <= 82
        assert "Exit codes: 0 " in text
        assert "--json" in text

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_option_is_described(self, command: str) -> None:
        options = [one for one in program.commands.commands[command].params if isinstance(one, click.Option)]
        assert len(options) >= 4
        assert all(option.help and option.help.strip() for option in options)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_option_takes_a_secret(self, command: str) -> None:
        names = [name for one in program.commands.commands[command].params for name in one.opts]
        assert not [name for name in names if any(word in name for word in ("token", "secret", "dsn", "private"))]

    def test_the_version(self) -> None:
        done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"sophia-sync {__version__}\n"

    def test_without_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert program.run([]) == 2
        assert "Commands:" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["plan", "--nonsense"],
            ["history", "--limit", "0"],
            ["doctor", "--sync-workflow", "../secrets"],
            ["doctor", "--mcp-url", "nonsense"],
            ["doctor", "--max-age", "0"],
        ],
    )
    def test_a_command_line_that_makes_no_sense(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert program.run(arguments) == 2
        assert "Try 'sophia-sync" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["plan", "--json", "--nonsense"], ["doctor", "--json", "--max-age=old"]])
    def test_one_for_a_program_is_told_to_it(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert program.run(arguments) == 2
        shown = capsys.readouterr()
        error = json.loads(shown.out)["error"]
        assert error["exit_code"] == 2
        assert "--nonsense" in error["what"] or "--max-age" in error["what"]
        assert "Try 'sophia-sync" in shown.err


class TestStandardOutput:
    """A command that can't write to it prints one line and ends with code 74, unless it failed before."""

    @pytest.mark.parametrize("arguments", ["--version", "--help", "plan --help"])
    def test_that_is_full(self, arguments: str) -> None:
        done = self.run(f"{arguments} > /dev/full")
        assert done == (74, FULL)

    @pytest.mark.parametrize("arguments", ["--version", "plan", "sync --yes"])
    def test_that_is_closed(self, arguments: str) -> None:
        done = self.run(f"{arguments} >&-")
        assert done == (74, "error: The result can't be written to standard output: It is closed. Nothing was done.\n")

    def test_a_failure_keeps_its_own_code(self) -> None:
        assert self.run("plan --json --nonsense > /dev/full")[0] == 2

    def test_a_closed_standard_error_puts_nothing_into_the_result(self) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", f"{PROGRAM} plan --json --nonsense 2>&-"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, json.loads(done.stdout)["error"]["exit_code"]) == (2, 2)

    @pytest.mark.full
    @pytest.mark.pulumi
    @pytest.mark.parametrize("as_json", ["", "--json"])
    def test_that_is_full_after_a_write(self, laptop: Laptop, as_json: str) -> None:
        laptop.create()
        with environment(laptop.variables):
            code, said = self.run(f"sync --yes {as_json} > /dev/full")
        assert (code, said.splitlines()[-1:]) == (74, FULL.splitlines())
        assert "defect" not in said
        assert laptop.box.esc.revision(laptop.environment) == 2

    def run(self, command: str) -> tuple[int, str]:
        done = subprocess.run(["/bin/sh", "-c", f"{PROGRAM} {command}"], stderr=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stderr


FULL = "error: The result can't be written to standard output: No space left on device. What the command did stands.\n"


class TestWhatTheActionPays:
    def test_it_imports_nothing_of_the_command_line(self) -> None:
        code = (
            "import sys, sophia_sync.app\n"
            "parts = {name: name.split('.') for name in sys.modules}\n"
            "wrong = [name for name, p in parts.items() if p[0] in ('click', 'rich') or p[1:2] == ['console']]\n"
            "sys.exit(', '.join(wrong) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")

    def test_its_image_has_nothing_of_it(self) -> None:
        locked = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
        assert not [name for name in ("click", "rich") if f"\n{name}==" in locked]
        left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert {"sophia_sync/console", "sophia_sync/__main__.py"} <= set(left_out)


class TestWithoutTheExtra:
    def test_it_says_how_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "click", None)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            assert console.main() == 2
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert "with its extra, sentry-esc-sync[cli]" in capsys.readouterr().err


class TestHowACommandEnds:
    def screen(self, *, as_json: bool = False) -> Screen:
        return Screen(Redactor(), as_json=as_json, out=io.StringIO(), err=io.StringIO())

    def test_with_its_own_code(self) -> None:
        async def look() -> int:
            return 5

        assert session.look_and_show(self.screen(), look, lambda seen: 2 * seen) == 10

    @pytest.mark.parametrize(
        ("error", "code", "told"),
        [
            (EscError("It broke.", "Mend it."), 4, "It broke. Mend it."),
            (RuntimeError("a defect"), 70, "Please report it"),
        ],
    )
    def test_with_a_failure(self, error: BaseException, code: int, told: str) -> None:
        async def fail() -> int:
            raise error

        screen = self.screen(as_json=True)
        assert session.look_and_show(screen, fail, int) == code
        assert isinstance(screen.err, io.StringIO)
        assert told in " ".join(screen.err.getvalue().split())
        assert isinstance(screen.out, io.StringIO)
        assert f'"exit_code": {code}' in screen.out.getvalue()

    def test_of_a_defect_the_trace_is_told(self) -> None:
        async def look() -> int:
            return int("x")

        screen = self.screen()
        assert session.look_and_show(screen, look, int) == 70
        assert isinstance(screen.err, io.StringIO)
        assert "Traceback" in screen.err.getvalue()


@pytest.mark.pulumi
class TestTheQuestion:
    """What a person sees before the question, and what their answer does. See also `TestSyncOnATerminal`."""

    def ask(self, laptop: Laptop, answer: bool) -> tuple[int, str, int]:
        asked = []
        out = io.StringIO()

        def agree(_: str) -> bool:
            asked.append(out.getvalue())
            return answer

        with environment(laptop.with_variables({"INPUT_DEPLOY": "never"})):
            code = conduct(pipeline.ConsoleRun(Screen(Redactor(), out=out, err=io.StringIO()), agree))
        return code, "".join(asked), len(asked)

    def test_yes(self, laptop: Laptop) -> None:
        laptop.create()
        code, shown, times = self.ask(laptop, answer=True)
        assert (code, times) == (0, 1)
        assert "+ SENTRY_DSN" in shown
        assert laptop.box.esc.revision(laptop.environment) == 2

    def test_no(self, laptop: Laptop) -> None:
        laptop.create()
        code, _, times = self.ask(laptop, answer=False)
        assert (code, times) == (1, 1)
        assert laptop.box.esc.revision(laptop.environment) == 1

    def test_is_not_put_where_there_is_nothing_to_write(self, laptop: Laptop) -> None:
        laptop.synced()
        assert self.ask(laptop, answer=False) == (0, "", 0)


class TestWhatIsTyped:
    @pytest.mark.parametrize(
        ("typed", "answer"),
        [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False), ("yo\n", False), ("y", True)],
    )
    def test_only_a_yes_is_one(self, monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool) -> None:
        reader, writer = os.pipe()
        with open(reader, encoding="utf-8") as stdin:  # noqa: PTH123 - of a file descriptor
            monkeypatch.setattr("sys.stdin", stdin)
            os.write(writer, typed.encode())
            os.close(writer)
            assert sync.agreed("Write this?") is answer
