"""The whole program: what it loads, and when; a library that a run doesn't need costs it nothing."""

from __future__ import annotations

import re

import pytest

from tests.support.action import Action

pytestmark = pytest.mark.pulumi


def loaded(action: Action, **inputs: str) -> list[str]:
    """The modules that a run loads, each when it is done, by Python's own account."""
    variables = action.variables(action.inputs(**inputs)) | {"PYTHONPROFILEIMPORTTIME": "1"}
    ran = action.run_child(variables)
    assert ran.code == 0
    return re.findall(r"^import time:[ \d|]+\| +(\S+)$", ran.errors, re.MULTILINE)


def test_no_library_for_http_where_nobody_but_esc_is_asked(action: Action) -> None:
    action.create()
    modules = loaded(action, deploy="never")
    assert "yaml" in modules
    assert not {"requests", "github", "argparse", "pydantic_settings"} & set(modules)


def test_no_client_of_github_where_nothing_changed(action: Action) -> None:
    action.create()
    assert "github" in loaded(action, deploy="changed")
    assert "github" not in loaded(action, deploy="changed")


@pytest.mark.parametrize("inputs", [{"deploy": "never"}, {"deploy": "always", "dry_run": "true"}])
def test_no_client_of_github_for_no_deploy(action: Action, inputs: dict[str, str]) -> None:
    action.create()
    assert "github" not in loaded(action, **inputs)


def test_what_comes_after_the_first_read_is_loaded_after_the_inputs_are_checked(action: Action) -> None:
    action.create()
    modules = loaded(action, deploy="never")
    checked = modules.index("sophia_sync.inputs")
    for later in ("yaml", "tenacity", "sophia_sync.plan", "sophia_sync.report"):
        assert modules.index(later) > checked


def test_no_plug_in_takes_part_in_the_checks(action: Action) -> None:
    """pydantic would load it from the packages of the machine, and show it every input."""
    places = action.folder / "plugin"
    (places / "spy-1.0.dist-info").mkdir(parents=True)
    (places / "spy-1.0.dist-info" / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n", encoding="utf-8")
    (places / "spy-1.0.dist-info" / "METADATA").write_text("Name: spy\nVersion: 1.0\n", encoding="utf-8")
    (places / "spy.py").write_text("raise SystemExit('a plug-in was loaded')\n", encoding="utf-8")
    action.create()
    ran = action.run_child(action.variables(action.inputs()) | {"PYTHONPATH": str(places)})
    assert (ran.code, ran.errors) == (0, "")


WATCH = """\
import sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        where = "main" if threading.current_thread() is threading.main_thread() else "other"
        sys.stderr.write(f"{where} {name}\\n")

sys.meta_path.insert(0, Watch())
"""


def test_a_signal_that_comes_meanwhile_leaves_no_module_loaded_by_half(action: Action) -> None:
    """Its exception comes in the main thread, and what the report takes is loaded in another."""
    (action.folder / "watch").mkdir()
    (action.folder / "watch" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    action.create()
    variables = action.variables(action.inputs(deploy="always"))
    ran = action.run_child(variables | {"PYTHONPATH": str(action.folder / "watch")})
    assert ran.code == 0
    threads = {module: thread for thread, module in (line.split(" ") for line in ran.errors.splitlines())}
    assert threads["sophia_sync.inputs"] == "main"
    for module in ("yaml", "yaml._yaml", "tenacity", "sophia_sync.plan", "sophia_sync.report", "github"):
        assert threads[module] == "other", module
