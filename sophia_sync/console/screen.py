"""Print a command's result on standard output, for a person or as JSON, and everything else on standard error.

Everything passes the redactor before it is wrapped, cut or coloured: afterwards a secret could not be found.
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
from typing import Any, Literal, TextIO

import click
from rich.console import Console
from rich.text import Text

from sophia_sync.runtime.context import colours_are_refused, run_context
from sophia_sync.runtime.errors import InputError, SyncError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.runner import Runner, harmless

# Maximum width of a line, in columns: longer ones are hard to read.
_WIDEST = 100
_INDENT = "  "
_GAP = "  "
_LABEL = "error: "
_ABOUT_INPUTS = "On the command line an input is an environment variable, such as SENTRY_DSN, or an option; see --help."


class Lost:
    """Why a part of the result could not be written to standard output. There is one for the process."""

    why: str | None = None


class Mark(StrEnum):
    """The sign at the beginning of a row. It has a colour, and an ASCII form."""

    GOOD = "✓"
    WARNING = "!"
    BAD = "✗"
    OPEN = "-"
    ADD = "+"
    CHANGE = "~"
    NONE = " "


_STYLES = {
    Mark.GOOD: "green",
    Mark.WARNING: "yellow",
    Mark.BAD: "bold red",
    Mark.OPEN: "bright_black",
    Mark.ADD: "green",
    Mark.CHANGE: "yellow",
    Mark.NONE: "",
}
_ASCII = {Mark.GOOD: "o", Mark.BAD: "x"}
_ASCII_TEXT = str.maketrans({"…": "...", "→": "->"})


@dataclass(frozen=True)
class Row:
    """A line of a table: a mark, and aligned cells. The last cell may be long.

    Attributes:
        mark: The sign before the cells.
        cells: The text of each column. All rows of a table have the same number.
        todo: The next step, on a line of its own.
        note: A remark, on a line of its own.
    """

    mark: Mark
    cells: tuple[str, ...]
    todo: str = ""
    note: str = ""


class Screen:
    """The output of one command.

    Args:
        redact: Hides secrets in everything that is printed.
        as_json: Whether the result is printed as JSON.
        out: Stream for the result; standard output by default.
        err: Stream for progress, questions and errors; standard error by default.
    """

    def __init__(
        self, redact: Redactor, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self.redact = redact
        self.err = err or sys.stderr
        self.out = out or sys.stdout
        context = run_context()
        self.on_runner = context.on_runner
        self.runner = Runner.of(context, redact, self.err)
        self._width = min(shutil.get_terminal_size().columns, _WIDEST)
        colours: Literal["auto"] | None = None if colours_are_refused() else "auto"
        self._consoles = {
            stream: Console(file=stream, color_system=colours, width=self._width, highlight=False, markup=False)
            for stream in (self.out, self.err)
        }

    def line(self, text: str = "") -> None:
        """Print a paragraph of the result for a person."""
        self._say(Text(self._shown(text)))

    def heading(self, text: str) -> None:
        """Print a heading of the result for a person."""
        self._say(Text(self._shown(text), "bold"))

    def table(self, rows: Sequence[Row]) -> None:
        """Print rows of the result for a person."""
        shown = [(row, [self._shown(cell) for cell in row.cells]) for row in rows]
        widths = [max(map(len, column)) for column in zip(*(cells[:-1] for _, cells in shown), strict=True)]
        for row, cells in shown:
            padded = "".join(f"{cell:<{width}}{_GAP}" for cell, width in zip(cells, widths, strict=False))
            self._say(Text(cells[-1]), Text.assemble(_INDENT, (self._sign(row.mark), _STYLES[row.mark]), " ", padded))
            if row.todo:
                self._say(Text(self._shown(row.todo)), Text(f"    {self._arrow} "))
            if row.note:
                self._say(Text(self._shown(row.note)), Text("    "))

    def json(self, value: object, *, hidden: bool = False) -> None:
        """Print the result for a program.

        Args:
            value: The result.
            hidden: Whether the secrets in its texts are hidden already. Redacting again could change our own words.
        """
        if self.as_json:
            shown = value if hidden else _hidden(value, self.redact)
            self._write(self.out, json.dumps(shown, indent=2, default=_plain))

    def progress(self, text: str) -> None:
        """Print what the command is doing."""
        self._write(self.err, self._shown(text))

    def failure(self, error: SyncError) -> None:
        """Print an error: in words for a person, as an annotation on a GitHub runner."""
        if self.on_runner:
            self.runner.error(str(error), error.title)
            return
        text = Text(self._shown(f"{error.title}: {error}"))
        self._write(self.err, self._wrapped(self.err, text, Text(_LABEL, "bold red"), ""))
        if isinstance(error, InputError):
            self._write(self.err, self._wrapped(self.err, Text(_ABOUT_INPUTS)))

    def _say(self, text: Text, before: Text | None = None) -> None:
        if not self.as_json:
            self._write(self.out, self._wrapped(self.out, text, before or Text()))

    def _shown(self, text: str) -> str:
        """Return a text without secrets and without control characters, which services could send."""
        return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in self.redact(text))

    def _write(self, stream: TextIO, text: str) -> None:
        if self.on_runner:
            text = "\n".join(map(harmless, text.split("\n")))
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if not _can_show(encoding):
            text = text.translate(_ASCII_TEXT)
        fit = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            click.echo(fit, file=stream, color=True)  # rich has removed the colours that the stream can't show
        except BrokenPipeError:  # the reader has gone; the command still finishes its work
            discard(stream)
        except OSError as error:  # the disk is full, for instance: finish the work, and report it by the exit code
            if stream is self.out:
                Lost.why = error.strerror or str(error)
            discard(stream)

    def _wrapped(self, stream: TextIO, text: Text, before: Text | None = None, later: str | None = None) -> str:
        """Return a text in lines that fit. A long word, such as a URL, stays whole: rich would break it.

        Args:
            stream: Where it is printed. It decides which colours can be used.
            text: The text.
            before: Text before the first line.
            later: Text before the other lines; by default blanks that align them.
        """
        before = before or Text()
        indent = " " * len(before) if later is None else later
        lines = [
            line
            for number, paragraph in enumerate(text.plain.splitlines() or [""])
            for line in textwrap.wrap(
                paragraph,
                self._width,
                initial_indent=indent if number else " " * len(before),
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            or [""]
        ]
        lines[0] = lines[0][len(before) :]
        whole = Text.assemble(before, ("\n".join(lines), text.style))
        whole.rstrip()
        console = self._consoles[stream]
        with console.capture() as capture:
            console.print(whole, soft_wrap=True, end="")
        return capture.get()

    @property
    def _ascii_only(self) -> bool:
        return not _can_show(getattr(self.out, "encoding", None) or "utf-8")

    @property
    def _arrow(self) -> str:
        return ">" if self._ascii_only else "→"

    def _sign(self, mark: Mark) -> str:
        return _ASCII.get(mark, mark.value) if self._ascii_only else mark.value


def discard(stream: TextIO) -> None:
    """Drop all further output of a stream, and what Python flushes when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _can_show(encoding: str) -> bool:
    """Return whether an encoding can represent our signs."""
    try:
        "✓✗→…".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def error_json(error: SyncError | None) -> dict[str, object] | None:
    """Return an error as every command's JSON shows it."""
    if error is None:
        return None
    return {
        "title": error.title,
        "what": error.what,
        "changed": error.changed,
        "todo": error.todo,
        "exit_code": error.exit_code,
    }


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
