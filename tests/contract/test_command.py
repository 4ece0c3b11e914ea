"""`python -m sandbox`."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_services_run_until_they_are_interrupted(number: int) -> None:
    with subprocess.Popen([sys.executable, "-m", "sandbox"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        exported: dict[str, str] = {}
        for line in process.stdout:
            exported |= dict(re.findall(r"export (\w+)='(.*)'", line))
            if "SENTRY_DSN" in exported:
                break
        url = f"{exported['PULUMI_BACKEND_URL']}/api/esc/environments/{exported['PULUMI_ESC_ENVIRONMENT']}"
        headers = {"Authorization": f"token {exported['PULUMI_ACCESS_TOKEN']}"}
        assert requests.get(url, headers=headers, timeout=60).status_code == 200
        process.send_signal(number)
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
