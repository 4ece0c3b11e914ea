"""Install the hash-locked packages of a requirements file for this interpreter, and show the progress.

`python -m tools.packages requirements/dev.txt`
"""

import subprocess
import sys
from pathlib import Path

from tools.progress import Progress, say


def install(requirements: Path, interpreter: Path | None = None) -> int:
    """Run pip for an interpreter, by default this one. Return its exit status. Show its output only if it failed."""
    target = ["--python", str(interpreter)] if interpreter else []
    pip = [sys.executable, "-m", "pip", *target, "install", "--disable-pip-version-check", "--progress-bar", "off"]
    count = sum(line[:1].isalpha() for line in requirements.read_text().splitlines())
    say(f"Installing {count} packages (half a minute, once)")
    progress = Progress()
    lines: list[str] = []
    command = [*pip, "--no-deps", "--require-hashes", "--requirement", str(requirements)]
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            fetched = sum(said.startswith("Collecting ") for said in lines)
            progress.show(f"  {fetched} of {count} packages")
    if process.returncode != 0:
        say("".join(lines[-20:]))
    return process.returncode


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1])))
