"""Merge, store and open every definition in the test data of Pulumi's ESC module, read from Go's module cache."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from sandbox.esc.engine import Engine, EngineError
from sophia_sync.esc.definition import parse
from sophia_sync.esc.merge import Change
from sophia_sync.runtime.errors import DefinitionError
from tests.support.through_esc import Case, Esc, check
from tools.esc_engine import MODULE
from tools.go_build import toolchain
from tools.progress import say

pytestmark = pytest.mark.full

CHANGES = (
    Change("SENTRY_DSN", SecretStr("https://key@sentry.example/1"), secret=True),
    Change("SENTRY_PROJECT_SLUG", SecretStr("yes"), secret=False),
)


TWICE = "refused by us, for a name at the top that stands twice"


def module() -> Path:
    """Return the folder of Pulumi's ESC module in Go's module cache."""
    go = toolchain(MODULE)
    environ = os.environ | {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/esc"]
    listed = subprocess.run(command, cwd=MODULE, env=environ, capture_output=True, text=True, check=True, timeout=120)
    return Path(listed.stdout.strip())


def definitions(folder: Path) -> Iterator[tuple[str, str, Callable[[str], str]]]:
    """Yield each definition's name and text, and a function that loads its imports."""
    for file in sorted(path for path in folder.rglob("*.y*ml") if "testdata" in path.parts):
        text = file.read_bytes().decode(errors="surrogateescape")
        if "cli" in file.parts:
            yield from _in_transcript(file, text)
        elif text.isprintable() or not any("\udc80" <= character <= "\udcff" for character in text):
            yield str(file.relative_to(folder)), text, _siblings(file.parent)


def _siblings(folder: Path) -> Callable[[str], str]:
    def load(name: str) -> str:
        file = folder / f"{name.partition('@')[0]}.yaml"
        if not file.is_file():
            raise LookupError("not found")
        return file.read_text(encoding="utf-8")

    return load


def _in_transcript(file: Path, text: str) -> Iterator[tuple[str, str, Callable[[str], str]]]:
    documents = [document for document in [yaml.safe_load(text.partition("\n---\n")[0])] if isinstance(document, dict)]
    environments = {
        name: yaml.safe_dump(body, sort_keys=False)
        for document in documents
        for name, body in (document.get("environments") or {}).items()
        if isinstance(body, dict)
    }

    def load(name: str) -> str:
        found = [body for path, body in environments.items() if path.endswith(f"/{name}")]
        if not found:
            raise LookupError("not found")
        return found[0]

    for name, body in environments.items():
        yield f"{file.name}: {name}", body, load


def outcome(esc: Esc, text: str) -> str:
    """Return whether one definition is right, or who refused it. Raise AssertionError if its merge is wrong."""
    try:
        stored = esc.save(text)
        refused = stored is None or esc.open(stored).failed or esc.show(stored) is None
    except EngineError:
        return "refused by ESC"
    if refused or stored is None:
        return "refused by ESC"
    try:
        parse(stored)
    except DefinitionError as error:
        # ESC only warns about a second `values:`, and drops one of the two.
        return TWICE if "A key stands twice in the definition" in error.what else f"refused by us alone: {error.what}"
    check(esc, Case(stored, CHANGES))
    return "right"


def test_every_one_is_right_or_refused_by_esc_too() -> None:
    counts: Counter[str] = Counter()
    wrong = []
    with closing(Engine()) as engine:
        for name, text, load in definitions(module()):
            try:
                counts[outcome(Esc(engine, load), text)] += 1
            except (AssertionError, DefinitionError) as error:
                wrong.append(f"{name}: {error}")
    say(f"  definitions of github.com/pulumi/esc: {dict(counts)}")
    assert wrong == []
    assert counts[TWICE] == 1
    assert not [result for result in counts if "alone" in result]
    assert counts["right"] > 150
