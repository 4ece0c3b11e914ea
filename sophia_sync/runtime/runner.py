"""Speak the runner's protocol: log lines, groups, annotations, masks, outputs, the summary.

No other module prints workflow commands or writes the runner's files.

Source: docs.github.com, "Workflow commands for GitHub Actions", and github.com/actions/toolkit `core/src/command.ts`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from sophia_sync.runtime.redact import Redactor

if TYPE_CHECKING:
    from sophia_sync.runtime.context import RunContext

# Error handler for encoding: a variable's bytes may not be UTF-8, and a stream's encoding may lack a character.
_NOT_TEXT = "backslashreplace"


class Stream(Protocol):
    """Where a run prints: a text file, or a writer in the background."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Pass on what was written."""


def escape_data(text: str) -> str:
    """Escape the text of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape a property of a workflow command."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def harmless(line: str) -> str:
    """Change a line so that the runner doesn't take it for a workflow command.

    A line is a command if it begins with `::`, or has the older notation `##[` anywhere.
    """
    line = line.replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith("::") else line


class Runner:
    """The output of a run, for the GitHub runner and the person who reads its log.

    Every text passes the redactor, except masks and outputs. Masks are secrets, and are printed on a runner only.

    Args:
        stream: Where log lines and commands go.
        redact: Hides secrets in texts.
        on_runner: Whether a GitHub runner reads the stream. Otherwise it gets plain lines and no commands.
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
        """Return the runner of a run. Its stream is standard output if none is given."""
        return cls(
            stream or sys.stdout,
            redact,
            on_runner=context.on_runner,
            output_path=context.output_path,
            summary_path=context.summary_path,
        )

    def hide(self, secret: SecretStr) -> None:
        """Hide `secret` from now on: in our own texts, and by masks in the runner's log."""
        found = self._redact.add(secret)
        if self._on_runner:
            for form in sorted(found - self._masked, key=len, reverse=True):
                self._masked.add(form)
                self._print(f"::add-mask::{escape_data(form)}")

    def line(self, text: str) -> None:
        """Print log lines that the runner can't take for workflow commands."""
        for line in self._redact(text).splitlines() or [""]:
            self._print(harmless(line))

    @contextlib.contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Print what follows as a foldable part of the log."""
        self._print(f"::group::{escape_data(self._redact(title))}" if self._on_runner else self._redact(title))
        try:
            yield
        finally:
            if self._on_runner:
                self._print("::endgroup::")

    def notice(self, text: str, title: str = "Sentry to ESC") -> None:
        """Show a text on the run's page. Do nothing off a runner, because the log has it."""
        if self._on_runner:
            self._annotate("notice", title, text)

    def warning(self, text: str, title: str = "Sentry to ESC") -> None:
        """Show a warning on the run's page, or print it off a runner."""
        self._annotate("warning", title, text)

    def error(self, text: str, title: str = "Sentry to ESC") -> None:
        """Show an error on the run's page, or print it off a runner."""
        self._annotate("error", title, text)

    def _annotate(self, level: str, title: str, text: str) -> None:
        title, text = self._redact(title), self._redact(text)
        if self._on_runner:
            self._print(f"::{level} title={escape_property(title)}::{escape_data(text)}")
        else:
            self._print(f"{level}: {title}: {text}")

    def output(self, name: str, value: str) -> None:
        """Set an output of the step, whole or not at all. The value must hold no secret: it isn't redacted.

        A secret can be a word such as `null`, and hiding that would break JSON.

        Raises:
            OSError: It can't be written.
        """
        if self._output_path is not None:
            delimiter = f"end-{os.urandom(16).hex()}"  # random, so that no value can end it early
            _append(self._output_path, f"{name}<<{delimiter}\n{value}\n{delimiter}\n")

    def summary(self, markdown: str) -> None:
        """Add to the step's summary, all of it or nothing.

        Raises:
            OSError: It can't be written.
        """
        if self._summary_path is not None:
            _append(self._summary_path, self._redact(markdown))

    def _print(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(OSError):  # nobody reads it, or there is no room: the work and its outputs go on
            self._stream.write(line.encode(encoding, _NOT_TEXT).decode(encoding) + "\n")
            self._stream.flush()


def _append(path: Path, text: str) -> None:
    """Add text to a file. If there is no room for all of it, the file stays as it was."""
    data = text.encode("utf-8", _NOT_TEXT)
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        if file.write(data) != len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
