"""The runner's protocol: log lines, groups, annotations, masks, output files. The only printer, the only escaper.

Source: docs.github.com, "Workflow commands for GitHub Actions", and github.com/actions/toolkit `core/src/command.ts`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from sophia_sync.runtime.redact import Redactor, forms

if TYPE_CHECKING:
    from sophia_sync.runtime.context import RunContext

# What can't be encoded (a variable's bytes that are no UTF-8; a stream that isn't UTF-8) is written as an escape.
_NOT_TEXT = "backslashreplace"


class Stream(Protocol):
    """What a run prints to: a text file, or a writer in the background."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Hand over what was written."""


def escape_data(text: str) -> str:
    """Escape the text of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape a property of a workflow command."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def harmless(line: str) -> str:
    """A line that is no workflow command.

    The runner takes `::` for one at the start of a line, and the older notation `##[` anywhere.
    """
    line = line.replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith("::") else line


class Runner:
    """What a run tells the GitHub runner and the person who reads its log.

    Everything passes the redactor, except the masks, which hold secrets by nature and are printed on a runner only.

    Args:
        stream: Where log lines and commands go.
        redact: Hides secrets in everything that is printed.
        on_runner: Whether a GitHub runner reads the stream; otherwise no commands are printed, but plain lines.
        output_path: The file of the step's outputs, if there is one.
        summary_path: The file of the step's summary, if there is one.
    """

    def __init__(
        self,
        stream: Stream,
        redact: Redactor,
        *,
        on_runner: bool,
        output_path: Path | None = None,
        summary_path: Path | None = None,
    ) -> None:
        self._stream = stream
        self._redact = redact
        self._on_runner = on_runner
        self._output_path = output_path
        self._summary_path = summary_path
        self._masked: set[str] = set()

    @classmethod
    def of(cls, context: RunContext, redact: Redactor, stream: Stream | None = None) -> Runner:
        """That of a run; its stream is standard output if none is given."""
        return cls(
            stream or sys.stdout,
            redact,
            on_runner=context.on_runner,
            output_path=context.output_path,
            summary_path=context.summary_path,
        )

    def hide(self, secret: SecretStr) -> None:
        """Hide `secret` in all that follows: in our own output, and by masks in the runner's log."""
        self._redact.add(secret)
        if self._on_runner:
            for form in sorted(forms(secret.get_secret_value()) - self._masked, key=len, reverse=True):
                self._masked.add(form)
                self._print(f"::add-mask::{escape_data(form)}")

    def line(self, text: str) -> None:
        """Print log lines. What would be a workflow command is made harmless."""
        for line in self._redact(text).splitlines() or [""]:
            self._print(harmless(line))

    @contextlib.contextmanager
    def group(self, title: str) -> Iterator[None]:
        """A part of the log that can be folded away."""
        self._print(f"::group::{escape_data(self._redact(title))}" if self._on_runner else self._redact(title))
        try:
            yield
        finally:
            if self._on_runner:
                self._print("::endgroup::")

    def notice(self, text: str, title: str = "Sentry to ESC") -> None:
        """What the run's page should tell; nothing where there is no such page, for the log has told it."""
        if self._on_runner:
            self._annotate("notice", title, text)

    def warning(self, text: str, title: str = "Sentry to ESC") -> None:
        self._annotate("warning", title, text)

    def error(self, text: str, title: str = "Sentry to ESC") -> None:
        self._annotate("error", title, text)

    def _annotate(self, level: str, title: str, text: str) -> None:
        title, text = self._redact(title), self._redact(text)
        if self._on_runner:
            self._print(f"::{level} title={escape_property(title)}::{escape_data(text)}")
        else:
            self._print(f"{level}: {title}: {text}")

    def output(self, name: str, value: str) -> None:
        """Set an output of the step. The delimiter is random, so that no value can end it early."""
        if self._output_path is None:
            return
        delimiter = f"end-{os.urandom(16).hex()}"
        with self._output_path.open("a", encoding="utf-8", errors=_NOT_TEXT) as file:
            file.write(f"{name}<<{delimiter}\n{self._redact(value)}\n{delimiter}\n")

    def summary(self, markdown: str) -> None:
        """Add to the step's summary."""
        if self._summary_path is not None:
            with self._summary_path.open("a", encoding="utf-8", errors=_NOT_TEXT) as file:
                file.write(self._redact(markdown))

    def _print(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError):  # nobody reads it, or there is no room: the work and its outputs go on
            self._stream.write(line.encode(encoding, _NOT_TEXT).decode(encoding) + "\n")
            self._stream.flush()
