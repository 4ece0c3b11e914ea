"""Atheris target: each parser of outside text succeeds, or raises the error that it documents.

`make atheris` runs it for a minute; CI does, too. Source: github.com/google/atheris.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["sophia_sync"]):
    from sophia_sync.esc import definition
    from sophia_sync.runtime.errors import SyncError
    from sophia_sync.settings import extras


def parse(data: bytes) -> None:
    """Give arbitrary text to each parser."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicodeNoSurrogates(4096)
    with contextlib.suppress(SyncError):
        definition.parse(text)
    for parser in (extras.secrets, extras.variables):
        with contextlib.suppress(ValueError):
            parser(text)


if __name__ == "__main__":
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()
