"""How many random cases a test takes."""

from __future__ import annotations

import os

from hypothesis import settings

# Of the tests under tests/fuzz; `make fuzz CASES=1000000` takes a million, and the quick `make test` a tenth.
CASES = int(os.environ.get("CASES", "20000"))
# Of every other test; as many as Hypothesis takes by itself, or a tenth.
EXAMPLES = min(100, CASES // 200)


def examples(count: int) -> int:
    """`count` examples, or a tenth of them in the quick `make test` and for mutants (tests/conftest.py)."""
    return max(5, count * settings().max_examples // 100)
