"""The number of random cases in a test."""

from __future__ import annotations

import os

from hypothesis import settings

# Number of cases of each test under tests/fuzz. `make fuzz CASES=1000000` sets it; `make test` takes a tenth.
CASES = int(os.environ.get("CASES", "20000"))
# Number of examples of every other test: Hypothesis's own default, or a tenth of it.
EXAMPLES = min(100, CASES // 200)


def examples(count: int) -> int:
    """Return how many examples to take: `count`, or a tenth of it in the quick `make test` and for mutants."""
    return max(5, count * settings().max_examples // 100)
