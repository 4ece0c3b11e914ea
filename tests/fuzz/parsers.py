"""An atheris target: the parsers of what comes from outside either succeed or raise an error of ours.

`make atheris` runs it for a minute; CI does, too. Source: github.com/google/atheris.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["sophia_sync"]):
    from sophia_sync import extras
    from sophia_sync.errors import SyncError
    from sophia_sync.esc import definition


def parse(data: bytes) -> None:
    """Give arbitrary text to each parser."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicodeNoSurrogates(4096)
    for parser in (definition.parse, extras.secrets, extras.variables):
        try:
            parser(text)
        except SyncError:
            continue


if __name__ == "__main__":
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()
