"""Change the plan, the merge, its proof and the redactor in a thousand small ways, and see that the tests notice.

`python -m tools.mutants` (which is `make mutants`) runs mutmut, prints the score and every mutant that survived, and
fails where the score is below `WANTED` or a survivor isn't explained in docs/mutants.md.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from tools.progress import Progress, say

WANTED = 0.9
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "mutants"  # mutmut's own name for it
EXPLAINED = ROOT / "docs" / "mutants.md"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
# What a mutant may take: one that never ends a loop would fill the machine before its time is over.
MEMORY = 4 * 2**30


def _be_modest() -> None:
    """Limit this process and all that it starts."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _run(*arguments: str) -> str:
    return subprocess.run([MUTMUT, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 - mutmut


def _run_all(processes: int) -> bool:
    """Make and test all mutants, from nothing: mutmut doesn't see that a test has changed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    progress = Progress()
    lines: list[str] = []
    command = [MUTMUT, "run", "--max-children", str(processes)]
    with subprocess.Popen(  # noqa: S603 - mutmut
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as mutmut:
        for line in mutmut.stdout or ():  # universal newlines: a carriage return ends a line, too
            lines.append(line)
            if line.strip():
                progress.show(f"  {line.strip()}")
    if mutmut.returncode != 0:
        say("".join(lines[-40:]))
    return mutmut.returncode == 0


def _difference(mutant: str) -> str:
    """What a mutant changes: the lines before and after."""
    lines = _run("show", mutant).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---")))


def main() -> int:
    _be_modest()
    if not _run_all(processes=min(2, os.cpu_count() or 1)):
        return 1
    results = [json.loads(path.read_text())["exit_code_by_key"] for path in sorted(FOLDER.rglob("*.meta"))]
    codes = {mutant: code for result in results for mutant, code in result.items()}
    # 1 and 3: a test failed. Negative: a signal ended it, because it never ended by itself or took all the memory.
    noticed = {mutant for mutant, code in codes.items() if code in (1, 3) or (code or 0) < 0}
    by_failure = sum(codes[mutant] in (1, 3) for mutant in noticed)
    explanations = EXPLAINED.read_text(encoding="utf-8")
    unexplained = 0
    for mutant in sorted(codes.keys() - noticed):
        difference = _difference(mutant)
        explained = difference in explanations
        unexplained += not explained
        print(f"{mutant}{'' if explained else '  (not in docs/mutants.md)'}\n{difference}\n")  # noqa: T201
    score = len(noticed) / len(codes)
    print(  # noqa: T201
        f"{len(noticed)} of {len(codes)} mutants killed: {score:.1%} "
        f"({by_failure} by a failing test, {len(noticed) - by_failure} because they never ended); "
        f"{len(codes) - len(noticed)} survive, {unexplained} of them unexplained"
    )
    return 0 if score >= WANTED and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
