"""Compile `esc-engine`, Pulumi ESC's own evaluator, which stands behind the local ESC.

`python -m tools.esc_engine` prints its path. It is compiled once from `tools/esc-engine` and kept in `.cache`.
"""

import functools
import sys
from pathlib import Path

from tools.go_build import CACHE, ROOT, BuildError, build, key_of, locked
from tools.progress import say

MODULE = ROOT / "tools" / "esc-engine"


class NoEngineError(Exception):
    """The engine can't be compiled. The text says why and what to do."""


@functools.cache
def ensure(cache: Path = CACHE, path: str | None = None) -> Path:
    """Return the path of the engine. Compile it at the first call.

    Args:
        cache: The folder that keeps the engine, and a Go toolchain where the machine has none.
        path: Where to look for `go`; by default PATH.

    Raises:
        NoEngineError: It can't be compiled.
    """
    target = cache / "esc-engine" / key_of(MODULE) / "esc-engine"
    with locked(cache / "esc-engine"):
        if target.exists():
            return target
        try:
            return build(MODULE, target, cache=cache, path=path)
        except BuildError as error:
            raise NoEngineError(
                f"{error}\nThe local ESC needs it. Install Go 1.25.8 or later (https://go.dev/dl/), or give this "
                "machine access to PyPI and to a Go module proxy (GOPROXY), and run again."
            ) from error


def main() -> int:
    """Print the path of the engine; return the exit code."""
    try:
        sys.stdout.write(f"{ensure()}\n")
    except NoEngineError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
