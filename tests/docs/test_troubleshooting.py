"""Every error text that docs/troubleshooting.md quotes is one that the program prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.docs.pages import ROOT, inline_code_in, sections
from tests.docs.registry import runs
from tests.support.action import Action
from tests.support.inputs import VALID
from tests.support.laptop import Laptop

PAGE = sections("docs/troubleshooting.md")
QUOTED = [
    (heading, code)
    for heading, text in PAGE.items()
    for cell in re.findall(r"^\| ([^|]+) \|(?! title|---)", text.partition("| it says |")[2], re.MULTILINE)
    for code in inline_code_in(cell)
]


@cache
def texts() -> list[str]:
    """Return the string literals in the action's code, without docstrings. NUL stands for each placeholder."""
    return [text for file in sorted((ROOT / "sophia_sync").rglob("*.py")) for text in _texts_of(file)]


def _texts_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in child.values)
            elif isinstance(child, ast.Constant) and isinstance(child.value, str) and not isinstance(node, ast.Expr):
                yield child.value


def test_the_page_quotes_texts_of_each_exit_code() -> None:
    assert {heading.rpartition("(")[2] for heading, _ in QUOTED} == {f"exit code {code})" for code in (2, 3, 4, 6)}


def test_a_text_that_no_program_prints_would_be_found() -> None:
    assert not any("Who follows this page" in text for text in texts())


Scene = Callable[[Action, Sandbox], dict[str, str]]
"""A function that prepares a failure and returns the inputs that lead to it."""


def _with_few_scopes(_action: Action, box: Sandbox) -> dict[str, str]:
    box.sentry.add_token("sntrys_few", {"project:read"})
    return _asking_sentry(box) | {"sentry_api_token": "sntrys_few"}


def _asking_sentry(box: Sandbox) -> dict[str, str]:
    return {
        "preflight": "enforce",
        "sentry_dsn": box.sentry.dsn,
        "sentry_api_token": box.sentry.token,
        "sentry_organization_slug": box.sentry.organization,
        "sentry_project_slug": box.sentry.project,
    }


SCENES: dict[str, Scene] = {
    "is not set (a missing secret arrives as an empty string)": lambda _action, _box: {"sentry_dsn": ""},
    "holds the same value as": lambda _action, _box: {"sentry_client_secret": VALID["sentry-api-token"]},
    "is `***`: it was copied from a log": lambda _action, _box: {"sentry_api_token": "***"},
    "isn't a path like organization/project/environment": lambda _action, _box: {"esc_environment": "acme"},
    "was shown the new token and refused it": lambda _action, box: (
        _asking_sentry(box) | {"sentry_api_token": "sntrys_unknown"}
    ),
    "was asked for the new token's scopes: … missing": _with_few_scopes,
    "says there is none": lambda _action, box: _asking_sentry(box) | {"sentry_project_slug": "nowhere"},
    "and the new DSN's is none of them.": lambda _action, box: (
        _asking_sentry(box) | {"sentry_dsn": re.sub("//[^@]+@", "//ffffffff@", box.sentry.dsn)}
    ),
    "There is no access token for Pulumi": lambda _action, _box: {"pulumi_access_token": ""},
    "refused the access token: check": lambda _action, _box: {"pulumi_access_token": "pul-" + "0" * 40},
    "Check `esc-environment`; make the environment": lambda _action, _box: {"esc_environment": "acme/default/nowhere"},
    "and the deploy needs it.": lambda _action, _box: {"deploy": "always", "github_token": ""},
    "there is no .github/workflows/…": lambda _action, _box: {"deploy": "always", "deploy_workflow": "none.yml"},
    "GitHub refused the dispatch": lambda _action, _box: {"deploy": "always", "deploy_ref": "nowhere"},
}


@pytest.mark.parametrize("quoted", [quoted for _, quoted in QUOTED if quoted not in SCENES])
def test_every_other_quoted_text_is_in_the_program(quoted: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, quoted.split("…"))), re.DOTALL)
    assert any(pattern.search(text) for text in texts())


def test_the_scenes_are_of_quoted_texts() -> None:
    assert SCENES.keys() <= {quoted for _, quoted in QUOTED}


@pytest.mark.pulumi
@pytest.mark.parametrize("quoted", SCENES)
def test_a_run_that_fails_so_prints_it(quoted: str, action: Action, box: Sandbox) -> None:
    action.create()
    ran = action.run(**SCENES[quoted](action, box))
    pattern = ".*".join(map(re.escape, quoted.split("…")))
    [heading] = [heading for heading, code in QUOTED if code == quoted]
    assert re.search(pattern, "\n".join(ran.annotations), re.DOTALL)
    assert f"(exit code {ran.code})" in heading


@pytest.mark.pulumi
@runs("docs/troubleshooting.md", "sophia-sync doctor --environment acme/default/production --repository acme/sophia")
def test_doctor_looks_at_everything(code: str, laptop: Laptop) -> None:
    shown = laptop.run(*code.split()[1:])
    assert shown.code == 1, "there is no such environment"
    assert all(f"\n{section}" in f"\n{shown.out}" for section in ("Pulumi", "acme/default/production", "GitHub"))
