"""`python -m sandbox`."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]


def test_the_services_run_until_they_are_interrupted() -> None:
    with subprocess.Popen([sys.executable, "-m", "sandbox"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        exported: dict[str, str] = {}
        while "SENTRY_DSN" not in exported:
            exported |= dict(re.findall(r"export (\w+)='(.*)'", process.stdout.readline()))
        url = f"{exported['PULUMI_BACKEND_URL']}/api/esc/environments/{exported['PULUMI_ESC_ENVIRONMENT']}"
        headers = {"Authorization": f"token {exported['PULUMI_ACCESS_TOKEN']}"}
        assert requests.get(url, headers=headers, timeout=9).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(9) == 0
