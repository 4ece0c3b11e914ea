"""The shell code of docs/deploy.md, run as written. tests/deploy/test_engines.py runs the part about SSH."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.machine import Machine
from tests.docs.pages import code_in, sections
from tests.support import docker_act, docker_leaks

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]

PAGE = sections("docs/deploy.md")


def code(heading: str) -> str:
    return "\n".join(code_in(PAGE[heading]))


def test_by_hand(machine: Machine, good: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    docker_act.check_out(checkout)
    host = machine.host
    typed = f"{host.box.esc.token}\n{host.token}\n"
    done = machine.shell(code("By hand"), typed=typed, cwd=checkout, environ={"IMAGE": good})
    assert f"{good} runs, and answers" in done.stdout
    assert host.image == good
    assert host.box.sentry.project in str(host.ask().content)
    assert docker_leaks.held_by(done.stdout + done.stderr, host.secrets) == []


def test_on_a_developers_machine(machine: Machine) -> None:
    host = machine.host
    done = machine.shell(code("On a developer's machine"), typed=f"{host.box.esc.token}\n")
    assert '{"status":"ready","reason":"ready"}' in done.stdout
    assert "serves http://0.0.0.0:8000" in done.stderr, "the container's log"
    assert re.search(r"v\d+\.\d+\.\d+\S*\n$", done.stdout), "the Pulumi CLI's version"
    assert host.container("{{.Id}}") == ""
    assert docker_leaks.held_by(done.stdout + done.stderr, host.secrets) == []


def test_no_section_has_code_that_is_not_run() -> None:
    elsewhere = {"Your workflow", "What has to be set up once"}  # test_workflows.py; tests/deploy
    run = {"By hand", "On a developer's machine", *elsewhere}
    assert {heading for heading, text in PAGE.items() if code_in(text)} == run
