"""What the whole program loads, and when: a run doesn't load the libraries that it doesn't need."""

from __future__ import annotations

import re

import pytest

from tests.support.action import Action, Ran

pytestmark = pytest.mark.pulumi


def loaded(action: Action, **inputs: str) -> list[str]:
    """Return the modules that a run loads, in the order in which Python finishes them."""
    variables = action.variables(action.inputs(**inputs)) | {"PYTHONPROFILEIMPORTTIME": "1"}
    ran = action.run_child(variables)
    assert ran.code == 0
    return re.findall(r"^import time:[ \d|]+\| +(\S+)$", ran.errors, re.MULTILINE)


@pytest.mark.full
def test_no_library_for_http_where_nobody_but_esc_is_asked(action: Action) -> None:
    action.create()
    modules = loaded(action, deploy="never")
    assert "yaml" in modules
    assert not {"requests", "github"} & set(modules)


@pytest.mark.full
def test_no_client_of_github_where_nothing_changed(action: Action) -> None:
    action.create()
    assert "github" in loaded(action, deploy="changed")
    assert "github" not in loaded(action, deploy="changed")


def test_no_client_of_github_for_no_deploy(action: Action) -> None:
    action.create()
    assert "github" not in loaded(action, deploy="never")


def test_no_plug_in_takes_part_in_the_checks(action: Action) -> None:
    """Otherwise pydantic would load any installed plug-in, and show it every input."""
    places = action.folder / "plugin"
    (places / "spy-1.0.dist-info").mkdir(parents=True)
    (places / "spy-1.0.dist-info" / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n", encoding="utf-8")
    (places / "spy-1.0.dist-info" / "METADATA").write_text("Name: spy\nVersion: 1.0\n", encoding="utf-8")
    (places / "spy.py").write_text("raise SystemExit('a plug-in was loaded')\n", encoding="utf-8")
    action.create()
    ran = action.run_child(action.variables(action.inputs()) | {"PYTHONPATH": str(places)})
    assert (ran.code, ran.errors) == (0, "")


# Sends a signal to its own process once, when it is about to load a module.
STRIKE = """\
import importlib.abc, os, signal, sys

class Strike(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["STRIKE_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Strike())
"""


def struck(action: Action, module: str) -> Ran:
    """Return a run that gets SIGTERM when it begins to load `module`."""
    (action.folder / "strike").mkdir()
    (action.folder / "strike" / "sitecustomize.py").write_text(STRIKE, encoding="utf-8")
    action.create()
    variables = action.variables(action.inputs(deploy="always", preflight="enforce"))
    return action.run_child(variables | {"PYTHONPATH": str(action.folder / "strike"), "STRIKE_AT": module})


@pytest.mark.parametrize(
    "module", ["sophia_sync.app", "pydantic", "datetime", "sophia_sync.settings.inputs", "yaml", "anyio"]
)
def test_a_signal_while_python_loads_ends_the_run_with_one_error(action: Action, module: str) -> None:
    ran = struck(action, module)
    assert (ran.code, ran.errors, ran.calls) == (143, "", [])
    assert ran.annotations == ["SIGTERM ended the run. Nothing was contacted and nothing was changed. Run again."]


@pytest.mark.parametrize("module", ["sophia_sync.preflight", "github"])
def test_a_signal_that_comes_meanwhile_leaves_no_module_loaded_by_half(action: Action, module: str) -> None:
    ran = struck(action, module)
    assert (ran.code, ran.errors) == (143, "")
    assert "SIGTERM ended the run" in ran.log
