"""Run actionlint, compiled once from the version that `tools/actionlint/go.mod` pins.

`python -m tools.actionlint [arguments of actionlint]`
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from tools.go_build import CACHE, ROOT, BuildError, build, key_of, locked
from tools.progress import say

MODULE = ROOT / "tools" / "actionlint"
PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"


def ensure(cache: Path = CACHE) -> Path:
    """Return the path of actionlint. Compile it at the first call.

    Raises:
        BuildError: It can't be compiled.
    """
    target = cache / "actionlint" / key_of(MODULE) / "actionlint"
    with locked(cache / "actionlint"):
        return target if target.exists() else build(MODULE, target, PACKAGE)


def main() -> NoReturn:
    try:
        actionlint = str(ensure())
    except BuildError as error:
        say(f"error: {error}")
        sys.exit(1)
    os.execv(actionlint, [actionlint, *sys.argv[1:]])  # noqa: S606 - a program of our own making


if __name__ == "__main__":
    main()
