"""Give the programs of `deploy` and `release` what they use of the package: its errors, its runner, one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO, TypeAlias

from sophia_sync.runtime import script
from sophia_sync.runtime.errors import InputError, SyncError
from sophia_sync.runtime.runner import Runner

__all__ = ["InputError", "Runner", "SyncError", "Work", "conduct"]

Work: TypeAlias = Callable[[Runner], None]


def conduct(name: str, work: Work, *, after_signal: str, stream: TextIO | None = None) -> int:
    """Run `work` and return the exit code. Print every error as one annotation.

    Args:
        name: The program's name, for the text of a defect.
        work: The work; it raises `SyncError` for what it foresees.
        after_signal: What to know and to do after a signal.
        stream: Where to print; None is standard output.
    """
    return script.run(name, work, after_signal, stream)
