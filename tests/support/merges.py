"""Random merges, corrupted and restored, judged by a reading that is independent of the proof's."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

import yaml
from pydantic import SecretStr

from sophia_sync.esc.definition import Document, parse
from sophia_sync.esc.merge import Change, merge, prove, restore
from sophia_sync.runtime.errors import DefinitionError
from tests.support.definitions import OURS, Sample, sample, value

Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]


def tree(node: yaml.Node | None) -> object:
    """Return a node as plain data: tags and values, no positions."""
    if isinstance(node, yaml.MappingNode):
        return {"map": [(tree(key), tree(item)) for key, item in node.value]}
    if isinstance(node, yaml.SequenceNode):
        return {"list": [tree(item) for item in node.value]}
    return None if node is None else (node.tag, node.value)


def rest_and_ours(text: str, loader: Loader = yaml.SafeLoader) -> tuple[object, dict[str, object]]:
    """Return what isn't ours in a definition, and ours by key. By default PyYAML's own parser reads it, not libyaml.

    ESC ignores the case of the names at the top: `vaLues` is `values`.
    """
    root = yaml.compose(text, Loader=loader)
    others: list[object] = []
    ours: dict[str, object] = {}
    values: list[object] = []
    for key, item in root.value if isinstance(root, yaml.MappingNode) else []:
        if str(key.value).casefold() != "values":
            others.append((tree(key), tree(item)))
        elif isinstance(item, yaml.MappingNode):
            for name, held in item.value:
                if name.value in OURS and name.value not in ours:
                    ours[name.value] = tree(held)
                else:
                    values.append((tree(name), tree(held)))
    return (others, values), ours


@dataclass(frozen=True)
class Merged:
    """A correct merge, and what it was made from."""

    before: Sample
    document: Document
    changes: tuple[Change, ...]
    after: str


def random_merge(rng: random.Random) -> Merged | None:
    """Make random changes in a random definition. Return None if the definition, cut at its end, is invalid."""
    before = sample(rng)
    keys = rng.sample(OURS, rng.randrange(1, len(OURS) + 1))
    changes = tuple(Change(key, SecretStr(value(rng)), rng.random() < 0.6) for key in keys)
    try:
        document = parse(before.text)
    except DefinitionError:
        return None
    return Merged(before, document, changes, merge(document, changes))


def check_merge(rng: random.Random) -> bool:
    """Check one random merge: our keys are as asked, the rest is unchanged to the byte, and restoring undoes it all.

    Returns:
        Whether there was a definition to change.
    """
    case = random_merge(rng)
    if case is None:
        return False
    rest, old_ours = rest_and_ours(case.before.text)
    new_rest, ours = rest_and_ours(case.after)
    assert new_rest == rest
    for change in case.changes:
        text = ("tag:yaml.org,2002:str", change.value.get_secret_value())
        secret = {"map": [(("tag:yaml.org,2002:str", "fn::secret"), text)]}
        assert ours.pop(change.key) == (secret if change.secret else text)
        old_ours.pop(change.key, None)
    assert ours == old_ours
    at = 0
    for piece in case.before.foreign:
        found = case.after.find(piece, at)
        assert found >= 0, f"lost or moved: {piece!r}"
        at = found + len(piece)
    after = parse(case.after)
    assert restore(after, case.document, after, [change.name for change in case.changes]) == case.before.text
    return True


# --- corruptions of a correct merge ---


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _some(rng: random.Random, text: str, wanted: str) -> int | None:
    """Return a random place of a `wanted` character; None if there is none."""
    places = [at for at, character in enumerate(text) if character in wanted]
    return rng.choice(places) if places else None


def _without_a_line(rng: random.Random, text: str) -> str:
    lines = _lines(text)
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def _a_line_twice(rng: random.Random, text: str) -> str:
    lines = _lines(text)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return "".join(lines)


def _two_lines_swapped(rng: random.Random, text: str) -> str:
    lines = _lines(text)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def _another_indent(rng: random.Random, text: str) -> str:
    lines = _lines(text)
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((" " + lines[at], "  " + lines[at], "\t" + lines[at], lines[at][1:], lines[at].lstrip(" ")))
    return "".join(lines)


def _without_a_sign(rng: random.Random, text: str) -> str:
    at = _some(rng, text, "\"'{}[]:,-&!|>$#")
    return text if at is None else text[:at] + text[at + 1 :]


def _a_sign_more(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice("\"'{}[]:,-&*!|>%@`#\n \t\\") + text[at:]


def _another_character(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(string.ascii_letters + string.digits) + text[at + 1 :]


def _lines_joined(rng: random.Random, text: str) -> str:
    at = _some(rng, text, "\n")
    return text if at is None else text[:at].rstrip("\r") + text[at + 1 :]


def _cut_off(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))]


def _a_piece_missing(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.randrange(1, 30) :]


def _two_names_swapped(rng: random.Random, text: str) -> str:
    one, other = rng.sample((*OURS, "OTHER_0", "OTHER_1", "values", "imports"), 2)
    return text.replace(one, "\0").replace(other, one).replace("\0", other)


def _another_name(rng: random.Random, text: str) -> str:
    return text.replace(rng.choice(("SENTRY_DSN", "fn::secret", "values", "ciphertext", "OTHER_0")), "x", 1)


def _a_second_document(rng: random.Random, text: str) -> str:
    return text + rng.choice(("\n---\nvalues: {}\n", "\n---\n", "\n- 1\n", "\nvalues: {}\n", "\nSENTRY_DSN: a\n"))


CORRUPTIONS: tuple[Callable[[random.Random, str], str], ...] = (
    _without_a_line,
    _a_line_twice,
    _two_lines_swapped,
    _another_indent,
    _without_a_sign,
    _a_sign_more,
    _another_character,
    _lines_joined,
    _cut_off,
    _a_piece_missing,
    _two_names_swapped,
    _another_name,
    _a_second_document,
)


def _means(text: str) -> tuple[object, dict[str, object]] | None:
    """Return what a text means; None if it isn't YAML.

    libyaml, like ESC's own parser, allows tabs between tokens. PyYAML's parser doesn't; libyaml then decides.
    """
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        try:
            return rest_and_ours(text, loader)
        except (yaml.YAMLError, ValueError, OverflowError):  # the latter two: an invalid escape, in PyYAML's parser
            pass
    return None


def check_corruption(rng: random.Random) -> bool:
    """Corrupt one correct merge a little: if that changes its meaning, the proof must refuse it.

    Returns:
        Whether the meaning changed.
    """
    case = random_merge(rng)
    if case is None:
        return False
    corrupt = rng.choice(CORRUPTIONS)
    corrupted = corrupt(rng, case.after)
    if _means(corrupted) == _means(case.after):
        return False
    try:
        prove(case.document, corrupted, case.changes)
    except DefinitionError:
        return True
    raise AssertionError(f"{corrupt.__name__} went through the proof: {case.after!r} became {corrupted!r}")


def check_restore(rng: random.Random) -> bool:
    """Restore one merge after somebody else's edit: theirs stays and ours is as before, or the restore is refused.

    Returns:
        Whether it was restored.
    """
    case = random_merge(rng)
    if case is None:
        return False
    keys = [change.name for change in case.changes]
    edited = rng.choice(CORRUPTIONS)(rng, case.after)
    now, before = _means(edited), _means(case.before.text)
    assert before is not None
    if now is None:
        return False
    try:
        restored = restore(parse(edited), case.document, parse(case.after), keys)
    except DefinitionError:
        return False
    then = _means(restored)
    assert then is not None
    assert then[0] == now[0]
    for key in OURS:
        assert then[1].get(key) == (before if key in keys else now)[1].get(key), key
    return True
