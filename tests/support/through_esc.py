"""Run merges through Pulumi's own code: merge, store, show, open, restore. Judge them by what consumers get."""

from __future__ import annotations

import atexit
import functools
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from sandbox.esc.engine import Engine, EngineError, Evaluated, Load
from sophia_sync.esc import shown
from sophia_sync.esc.definition import Document, parse
from sophia_sync.esc.merge import Change, merge, restore
from sophia_sync.esc.shown import Shown
from sophia_sync.settings.checks import extra_secret, extra_variable
from sophia_sync.sync.bundle import Bundle, Entry
from sophia_sync.sync.plan import make_plan
from tests.support.definitions import OURS, sample, value

_COMMENT = re.compile(r"# (?:why|it's: \[odd\]|inner|a comment: 'x|at the margin|head|end|start|é|ours)")
_KEPT = re.compile(r"keep-\d+")


def imported(_: str) -> str:
    """Return the definition of every import."""
    return "values: {imported: {a: 1}}\n"


@dataclass(frozen=True)
class Case:
    """A definition as ESC stores it, and the changes to make in it."""

    stored: str
    changes: tuple[Change, ...]

    @property
    def bundle(self) -> Bundle:
        return Bundle(tuple(Entry(change.name, change.value, change.secret) for change in self.changes))


class Esc:
    """The parts of ESC that a definition passes through."""

    def __init__(self, engine: Engine, load: Load = imported) -> None:
        self.engine = engine
        self.load = load
        encrypted = engine.encrypt("n", "values: {a: {fn::secret: theirs}}\n")
        self.ciphertext = re.findall(r"ciphertext: ([^}\s]+)", encrypted)[0]

    def save(self, text: str) -> str | None:
        """Return a definition as ESC stores it; None if ESC refuses it."""
        if self.engine.check("n", text, self.load).failed:
            return None
        try:
            return self.engine.encrypt("n", text)
        except EngineError:
            return None

    def open(self, stored: str) -> Evaluated:
        return self.engine.open("n", stored, self.load)

    def show(self, stored: str) -> Shown | None:
        """Return what `env get --show-secrets` shows; None if ESC can't evaluate the definition."""
        definition = self.engine.decrypt("n", stored)
        checked = self.engine.check("<yaml>", definition, self.load, show_secrets=True)
        return None if checked.failed else Shown(definition, checked.plain())

    def random_case(self, rng: random.Random) -> Case | None:
        """Return a random definition with random changes; None if ESC refuses it."""
        number = itertools.count()
        text = _COMMENT.sub(lambda found: f"{found[0]} keep-{next(number)}", sample(rng).text)
        text = text.replace("ZXNjeA==", self.ciphertext).replace("${other.key}", "${context.rootEnvironment.name}")
        try:
            stored = self.save(text)
        except EngineError:
            return None
        if stored is None or self.open(stored).failed or self.show(stored) is None:
            return None
        if self.save(stored) != stored:
            return None  # ESC itself changes a folded scalar with a more indented line at each save
        keys = rng.sample(OURS, rng.randrange(1, len(OURS) + 1))
        return Case(stored, tuple(_change(rng, key) for key in keys))


def _change(rng: random.Random, key: str) -> Change:
    """Return a change to a random value that the inputs allow."""
    while True:
        secret, text = rng.random() < 0.6, value(rng)
        try:
            (extra_secret if secret else extra_variable)(text)
        except ValueError:
            continue
        return Change(key, SecretStr(text), secret)


def others(evaluated: Evaluated, names: Sequence[object]) -> dict[str, object]:
    """Return the values that consumers get, except those of `names`."""
    return {name: got for name, got in evaluated.plain().items() if name not in names}


def foreign_comments(document: Document, names: Sequence[str]) -> set[str]:
    """Return the comments outside the entries of `names`."""
    text = document.text
    for _, view, pair in list(document.entries(names))[::-1]:
        end = text.find("\n", max(view.end(at) for at in range(pair.key, pair.after) if document.node(at).end_mark))
        start = view.start(pair.key)
        text = text[:start] + (text[end:] if end >= 0 else "")
    return set(_KEPT.findall(text))


def check(esc: Esc, case: Case) -> None:
    """Check one merge and its restoration.

    Consumers get our values exactly, and all others unchanged. No comment is lost. Restoring brings everything back.
    """
    names = [str(change.name) for change in case.changes]
    before, document = esc.open(case.stored), parse(case.stored)
    sent = merge(document, case.changes)
    stored = esc.save(sent)
    assert stored is not None, "ESC refuses what we send"
    after = esc.open(stored)
    assert others(after, names) == others(before, names)
    for change in case.changes:
        got = after.properties[str(change.name)]
        assert got["value"] == change.value.get_secret_value()
        assert got.get("secret", False) == change.secret
    showed = esc.show(stored)
    assert showed is not None
    assert make_plan(case.bundle, shown.holding(showed, names)).changed == (), "a second sync finds something to do"
    kept = foreign_comments(document, names)
    assert kept <= set(_KEPT.findall(stored))
    was = esc.show(case.stored)
    assert was is not None
    lost = (kept & set(_KEPT.findall(was.definition))) - set(_KEPT.findall(showed.definition))
    assert not lost, f"comments that are shown no more: {lost}"
    restored = esc.save(restore(parse(stored), document, parse(sent), names))
    assert restored is not None
    assert esc.open(restored).plain() == before.plain()
    assert parse(restored).held(names) == document.held(names)
    assert kept <= set(_KEPT.findall(restored))


@functools.cache
def _esc() -> Esc:
    """Return this process's engine, which is closed at exit."""
    engine = Engine()
    atexit.register(engine.close)
    return Esc(engine)


def check_through_esc(rng: random.Random) -> bool:
    """Check one random merge. Return False if the random definition can't be used."""
    esc = _esc()
    case = esc.random_case(rng)
    if case is None:
        return False
    check(esc, case)
    return True
