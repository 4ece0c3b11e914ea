"""What a command prints: the result on standard output, for a person or as JSON, all else on standard error.

Everything passes the redactor before it is wrapped, cut or coloured: a secret that is torn apart, none would know.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TextIO

import click

from sophia_sync import inputs
from sophia_sync.commands import Runner, harmless
from sophia_sync.errors import InputError, SyncError
from sophia_sync.redact import Redactor

# Lines longer than that are hard to read, however wide the terminal is.
_WIDEST = 100
_INDENT = "  "
_GAP = "  "
_LABEL = "error: "
_ABOUT_INPUTS = "On the command line an input is an environment variable, such as SENTRY_DSN, or an option; see --help."


class Mark(StrEnum):
    """What stands at the beginning of a row, and how: by a sign, an ASCII one where there is no other, and a colour."""

    GOOD = "✓"
    WARNING = "!"
    BAD = "✗"
    OPEN = "-"
    ADD = "+"
    CHANGE = "~"
    NONE = " "


_COLOURS = {
    Mark.GOOD: "green",
    Mark.WARNING: "yellow",
    Mark.BAD: "red",
    Mark.OPEN: "bright_black",
    Mark.ADD: "green",
    Mark.CHANGE: "yellow",
    Mark.NONE: None,
}
_ASCII = {Mark.GOOD: "o", Mark.BAD: "x"}
_ASCII_TEXT = str.maketrans({"…": "...", "→": "->"})


@dataclass(frozen=True)
class Row:
    """A line of a table: a mark, and cells that are aligned; the last may be long.

    Attributes:
        mark: What stands before it.
        cells: As many as the other rows of the table have.
        todo: The next step, on a line of its own below.
        note: What is said besides, likewise.
    """

    mark: Mark
    cells: tuple[str, ...]
    todo: str = ""
    note: str = ""


class OutputError(SyncError):
    """The result can't be written, as on a full disk."""

    exit_code = 1
    title = "Output"

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The output could not be written: {error.strerror}.", "Write it elsewhere, and run it again.")


def _drop(stream: TextIO) -> None:
    """Let a stream that can't be written take all that is still to come, and what it holds back already."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Screen:
    """Where one command prints.

    Args:
        redact: Hides secrets in everything.
        as_json: Whether the result is printed as JSON.
        out: For the result; standard output.
        err: For progress, questions and errors; standard error.
    """

    def __init__(
        self, redact: Redactor, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self.redact = redact
        self.err = err or sys.stderr
        self.out = out or sys.stdout
        context = inputs.run_context()
        self.on_runner = context.on_runner
        self.runner = Runner.of(context, redact, self.err)
        self._width = min(shutil.get_terminal_size().columns, _WIDEST)
        self._plain = inputs.colours_are_refused()

    def line(self, text: str = "") -> None:
        """A paragraph of the result for a person."""
        self._say(self._wrapped(self._shown(text), "", ""))

    def heading(self, text: str) -> None:
        self._say(click.style(self._shown(text), bold=True))

    def table(self, rows: Sequence[Row]) -> None:
        """Rows of the result for a person."""
        shown = [(row, [self._shown(cell) for cell in row.cells]) for row in rows]
        widths = [max(map(len, column)) for column in zip(*(cells[:-1] for _, cells in shown), strict=True)]
        for row, cells in shown:
            padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)]
            sign = self._sign(row.mark)
            before = f"{_INDENT}{sign} " + "".join(cell + _GAP for cell in padded)
            text = self._wrapped(cells[-1], before, " " * len(before)).rstrip()
            coloured = click.style(sign, fg=_COLOURS[row.mark], bold=True if row.mark is Mark.BAD else None)
            self._say(_INDENT + coloured + text[len(_INDENT) + len(sign) :])
            for first, text in ((f"    {self._arrow} ", row.todo), ("    ", row.note)):
                if text:
                    self._say(self._wrapped(self._shown(text), first, " " * len(first)))

    def json(self, value: object) -> None:
        """The result for a program."""
        if self.as_json:
            self._write(self.out, json.dumps(_hidden(value, self.redact), indent=2, default=_plain))

    def progress(self, text: str) -> None:
        """What goes on, beside the result."""
        self._write(self.err, self._shown(text))

    def failure(self, error: SyncError) -> None:
        """An error: in words for a person, as an annotation on a GitHub runner."""
        if self.on_runner:
            self.runner.error(str(error), error.title)
            return
        text = self._wrapped(self._shown(f"{error.title}: {error}"), _LABEL, "")
        self._write(self.err, click.style(_LABEL, fg="red", bold=True) + text.removeprefix(_LABEL))
        if isinstance(error, InputError):
            self._write(self.err, self._wrapped(_ABOUT_INPUTS, "", ""))

    def _say(self, text: str) -> None:
        if not self.as_json:
            self._write(self.out, text)

    def _shown(self, text: str) -> str:
        """A text without secrets, and without what would steer a terminal: services and people have a part in it."""
        return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in self.redact(text))

    def _write(self, stream: TextIO, text: str) -> None:
        if self.on_runner:
            text = "\n".join(map(harmless, text.split("\n")))
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if not _can_show(encoding):
            text = text.translate(_ASCII_TEXT)
        fit = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            click.echo(fit, file=stream, color=False if self._plain else None)
        except BrokenPipeError:  # whoever reads has seen enough; what was begun is still brought to its end
            _drop(stream)
        except OSError as error:
            _drop(stream)
            raise OutputError(error) from None

    def _wrapped(self, text: str, first: str, later: str) -> str:
        lines = [
            textwrap.fill(
                paragraph,
                self._width,
                initial_indent=later if number else first,
                subsequent_indent=later,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for number, paragraph in enumerate(text.splitlines() or [""])
        ]
        return "\n".join(line or first.rstrip() for line in lines)

    @property
    def _ascii_only(self) -> bool:
        return not _can_show(getattr(self.out, "encoding", None) or "utf-8")

    @property
    def _arrow(self) -> str:
        return ">" if self._ascii_only else "→"

    def _sign(self, mark: Mark) -> str:
        return _ASCII.get(mark, mark.value) if self._ascii_only else mark.value


def _can_show(encoding: str) -> bool:
    """Whether our signs exist in an encoding."""
    try:
        "✓✗→…".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def error_json(error: SyncError | None) -> dict[str, object] | None:
    """An error as every command's JSON has it."""
    if error is None:
        return None
    return {"title": error.title, "what": error.what, "todo": error.todo, "exit_code": error.exit_code}


def _hidden(value: object, redact: Redactor) -> object:
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _hidden(item, redact) for key, item in value.items()}
        case list() | tuple():
            return [_hidden(item, redact) for item in value]
        case _:
            return value


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    raise TypeError(type(value).__name__)
