"""How many random cases a test takes."""

from __future__ import annotations

import os

from hypothesis import settings

# Cases of each test under tests/fuzz. `make fuzz CASES=1000000` takes a million, the quick `make test` a tenth.
CASES = int(os.environ.get("CASES", "20000"))
# Examples of every other test: as many as Hypothesis takes by itself, or a tenth.
EXAMPLES = min(100, CASES // 200)


def examples(count: int) -> int:
    """Return how many examples to take: `count`, or a tenth of it in the quick `make test` and for mutants."""
    return max(5, count * settings().max_examples // 100)
