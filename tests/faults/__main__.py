"""Run the whole fault matrix, or the cases whose names match a pattern: `python -m tests.faults [PATTERN]`.

Prints each result as it comes. Writes build/faults.md if all cases were run and none had a problem.
"""

from __future__ import annotations

import os
import re
import sys
import time
from concurrent.futures import as_completed

from tests.faults import table
from tests.faults.matrix import CASES, Result, run
from tests.faults.parallel import begun


def main(pattern: str = "") -> int:
    """Run the matrix; return the exit code."""
    cases = [case for case in CASES if re.search(pattern, str(case))]
    began = time.monotonic()
    results: list[Result] = []
    with begun(run, sorted(cases, key=lambda case: not case.takes_long)) as futures:
        for future in as_completed(futures.values()):
            results.append(future.result())
            print(f"[{len(results):>3}/{len(cases)}] {table.line(results[-1])}", flush=True)
    took = time.monotonic() - began
    bad = [result for result in results if result.problems]
    print(f"\n{len(cases)} cases in {took:.0f} seconds, {len(bad)} of them not as they must be")
    for result in bad:
        print(f"\n{result.case}\n  " + "\n  ".join(result.problems))
    if len(cases) == len(CASES) and not bad:
        results.sort(key=lambda result: CASES.index(result.case))
        text = table.page(results, took, os.cpu_count() or 1)
        table.PAGE.parent.mkdir(exist_ok=True)
        table.PAGE.write_text(text, encoding="utf-8")
        print(f"\n{text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
