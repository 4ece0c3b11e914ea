"""`make bench`: measure everything, print the page, and write it and its plot to docs/."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import ROOT, Place
from benchmarks.measure import LATENCIES, interleaved
from benchmarks.page import page, plot
from benchmarks.scale import ENVIRONMENTS, KEYS, container, large, machine, several
from sandbox import Sandbox
from tools import pulumi_cli
from tools.progress import Progress


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each command (10)")
    parser.add_argument("--quick", action="store_true", help="the smallest measurement of each kind, without Docker")
    parser.add_argument("--to", type=Path, default=ROOT / "docs", help="the folder for the page and the plot")
    chosen = parser.parse_args(arguments)
    progress = Progress()
    pulumi = pulumi_cli.ensure()
    version = subprocess.run([pulumi, "version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        place = Place(box, Path(folder), pulumi)
        latencies = LATENCIES[:1] if chosen.quick else LATENCIES
        rows = list(interleaved(place, chosen.rounds, latencies, progress.show))
        definitions = [large(keys, 3) for keys in (KEYS[:2] if chosen.quick else KEYS)]
        many = [several(place, count) for count in (ENVIRONMENTS[:1] if chosen.quick else ENVIRONMENTS)]
        image = "a quick run" if chosen.quick else container(place, chosen.rounds, progress.show)
    about = (
        f"{machine()}; {platform.system()} {platform.release().partition('-')[0]}; Python {platform.python_version()}; "
        f"Pulumi CLI {version}."
    )
    text = page(rows, definitions, many, image, about)
    (chosen.to / "performance.md").write_text(text, encoding="utf-8")
    (chosen.to / "performance.svg").write_text(plot(rows), encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
