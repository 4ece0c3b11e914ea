"""Run every snippet of docs/backend.md as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core import auto_esc_config
from backend.core.auto_esc_config import AutoEscConfig
from sandbox import Esc
from tests.backend.support import PATH, ROOT, SECRETS, definition, python
from tests.support.shell import output as shell

pytestmark = pytest.mark.pulumi

PAGE = (ROOT / "docs" / "backend.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PYTHON = [code for language, code in SNIPPETS if language == "python" and not re.match(r"# \w+\.py\n", code)]
ON_YOUR_MACHINE, WITHOUT_PULUMI, OPEN = [code for language, code in SNIPPETS if language == "bash"]


@pytest.fixture
def shell_environ(environ: dict[str, str], esc: Esc, tmp_path: Path) -> dict[str, str]:
    """Return the variables of a reader whose `python` is this one and whose ESC has the page's environment."""
    esc.create("acme/default/production", definition(SECRETS))
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    return environ | {"PATH": path, "PULUMI_HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python(code: str, environ: dict[str, str], esc: Esc) -> None:
    show = "\nprint({name for name in dir() if name.islower() and not name.startswith('_')})"
    done = python(code + show, environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert any(seen.path.endswith("/open") for seen in esc.requests)


def test_the_values_of_the_first_snippets(environ: dict[str, str]) -> None:
    done = python(PYTHON[0] + PYTHON[1] + "\nprint([sentry_dsn, api_token, webhook_secret, sentry_api_token])", environ)
    token = SECRETS["SENTRY_API_TOKEN"]
    assert done.stdout == f"{[SECRETS['SENTRY_DSN'], token, SECRETS['SENTRY_CLIENT_SECRET'], token]}\n"


def test_signing_in_and_looking(shell_environ: dict[str, str]) -> None:
    printed = shell(ON_YOUR_MACHINE, shell_environ)
    assert "SENTRY_DSN" in printed
    assert printed.endswith("\nSentry configured\n")
    assert not [secret for secret in SECRETS.values() if secret in printed]


def test_the_login_serves_afterwards(shell_environ: dict[str, str], esc: Esc) -> None:
    shell(f"pulumi login {esc.url}", shell_environ)
    signed_in = {name: value for name, value in shell_environ.items() if name != "PULUMI_ACCESS_TOKEN"}
    line = next(line for line in ON_YOUR_MACHINE.splitlines() if line.startswith("python -c"))
    assert shell(line, signed_in) == "Sentry configured\n"


@pytest.mark.parametrize("variables", [{"PULUMI_ACCESS_TOKEN": ""}, {"PULUMI_ACCESS_TOKEN": "pul-refused"}, {}])
def test_the_test_line_where_nothing_is_configured(
    shell_environ: dict[str, str], esc: Esc, variables: dict[str, str]
) -> None:
    esc.save(PATH, definition({}))
    line = next(line for line in ON_YOUR_MACHINE.splitlines() if line.startswith("python -c"))
    assert shell(line, shell_environ | variables) == "No Sentry config\n"


def test_without_pulumi(shell_environ: dict[str, str]) -> None:
    nobody = {name: shell_environ[name] for name in ("PATH", "HOME", "PULUMI_HOME")}
    assert shell(WITHOUT_PULUMI, nobody) == "https://public@o1.ingest.sentry.io/1\n"


def test_seeing_what_a_consumer_gets(shell_environ: dict[str, str]) -> None:
    assert SECRETS["SENTRY_CLIENT_SECRET"] in shell(OPEN, shell_environ)


def test_the_defaults_are_those_of_the_page() -> None:
    config = AutoEscConfig({})
    assert f"`{config.esc_path.rpartition('/')[2]}`" in PAGE
    assert config.esc_path == PATH
    assert f"| `PULUMI_ESC_CACHE_SECONDS` | `{auto_esc_config.DEFAULT_CACHE_SECONDS:.0f}` |" in PAGE
    assert f"{auto_esc_config.RETRY_AFTER:.0f} seconds later" in PAGE
    assert f"{auto_esc_config.DEFAULT_TIMEOUT:.0f} seconds at most" in PAGE
    assert f"| `PULUMI_ESC_FIRST_READ_SECONDS` | `{auto_esc_config.DEFAULT_FIRST_SECONDS:.0f}` |" in PAGE


def test_the_recipe_for_tests(environ: dict[str, str], tmp_path: Path, esc: Esc) -> None:
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT), "SENTRY_DSN": "https://of-the-shell@h/1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert esc.requests == []
