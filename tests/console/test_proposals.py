"""`plan` and `sync` where updates need an approval."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.laptop import Laptop

pytestmark = pytest.mark.pulumi

CONSOLE = "app.pulumi.example"


@pytest.fixture
def guarded(laptop: Laptop) -> Laptop:
    laptop.create("values:\n  greeting: hello\n")
    laptop.box.esc.gate(laptop.environment)
    laptop.variables["PULUMI_CONSOLE_DOMAIN"] = CONSOLE
    return laptop


def test_a_plan_tells_that_a_sync_would_fail(guarded: Laptop) -> None:
    shown = guarded.run("plan")
    assert shown.code == 10
    assert "A sync would fail: updates of" in shown.err
    assert "--change-request" in shown.err


def test_a_plan_tells_that_it_would_be_proposed(guarded: Laptop) -> None:
    shown = guarded.run("plan", "--change-request")
    assert (shown.code, shown.err) == (10, "")
    assert "4 of 4 keys would change, by a change request." in shown.words
    (environment,) = guarded.run("plan", "--change-request=always", "--json").json["environments"]
    assert (environment["proposes"], environment["change_request"]) == (True, None)


def test_a_sync_asks_whether_to_propose(guarded: Laptop) -> None:
    shown = guarded.on_terminal("sync", "--change-request", answer="y\n", NO_COLOR="1")
    assert shown.code == 0, shown.out
    (request,) = guarded.box.esc.open_change_requests(guarded.environment)
    assert "Propose this in a change request? [y/N]" in shown.out
    assert f"4 of 4 keys are proposed in change request {request.id}" in shown.words
    assert f"?version={request.id}" in shown.out
    assert guarded.box.esc.revision(guarded.environment) == 2


@pytest.mark.parametrize("is_new", [True, False])
def test_json(guarded: Laptop, is_new: bool) -> None:
    if not is_new:
        guarded.run("sync", "--yes", "--change-request")
    shown = guarded.run("sync", "--yes", "--json", "--change-request")
    assert (shown.code, shown.json["result"]) == (0, "proposed")
    (request,) = guarded.box.esc.open_change_requests(guarded.environment)
    (environment,) = shown.json["environments"]
    assert environment["change_request"]["id"] == request.id
    assert environment["change_request"]["url"].startswith(f"http://{CONSOLE}/acme/esc/default/")


def test_with_an_existing_login(guarded: Laptop, pulumi: Path) -> None:
    subprocess.run([pulumi, "login"], env=guarded.variables, check=True, capture_output=True)
    shown = guarded.run("sync", "--yes", "--change-request", PULUMI_ACCESS_TOKEN=None, PULUMI_BACKEND_URL=None)
    assert shown.code == 0, shown.err
    (request,) = guarded.box.esc.open_change_requests(guarded.environment)
    assert f"http://{CONSOLE}/acme/esc/default/" in shown.words
    assert request.author == guarded.box.esc.login
