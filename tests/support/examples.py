"""How many random cases a test takes."""

from __future__ import annotations

import os

from hypothesis import settings

# Of the tests under tests/fuzz; `make fuzz CASES=1000000` takes a million.
CASES = int(os.environ.get("CASES", "20000"))


def examples(count: int) -> int:
    """`count` examples; a tenth of them while mutants are tested (the profile `mutants` in tests/conftest.py)."""
    return max(5, count * settings().max_examples // 100)
