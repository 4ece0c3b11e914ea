"""mypy accepts correct uses of the configuration and reports wrong ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.backend.support import ROOT

PROGRAM = """\
from backend.core.auto_esc_config import AutoEscConfig, config, get_pulumi_esc_value

dsn: str = config.sentry_dsn
another: str = config.any_other_key
sure: str = get_pulumi_esc_value("SENTRY_DSN", "none")
own: AutoEscConfig = AutoEscConfig({}, cache_seconds=60)
number: int = config.sentry_dsn  # wrong
perhaps: str = get_pulumi_esc_value("SENTRY_DSN")  # wrong
misspelt = AutoEscConfig({}, cache_second=60)  # wrong
"""


def test_a_wrong_use_is_found_and_a_right_one_is_none(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", "--no-error-summary"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = [int(number) for number in re.findall(r"program\.py:(\d+): error", checked.stdout)]
    assert found == [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")], checked.stdout


def test_the_package_says_that_it_has_types() -> None:
    assert (ROOT / "backend" / "py.typed").is_file()
