"""Change our entries in the text of a definition, set them back, and prove both.

A definition is spliced, never rewritten. libyaml's event stream gives the position of every node, and only the
characters of our own entries are replaced. `prove` then parses the result and compares it with the old document
event by event, so that a mistake of `merge` can't reach ESC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import yaml
from pydantic import SecretStr
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from sophia_sync.esc.definition import (
    ENVIRONMENT_VARIABLES,
    SECRET_FUNCTION,
    VALUES,
    Document,
    Exported,
    Name,
    Pair,
    parse,
    scalar,
)
from sophia_sync.runtime.errors import DefinitionError


@dataclass(frozen=True)
class Change:
    """An entry to set to exactly `value`, as `fn::secret` or as a plain string."""

    name: Name
    value: SecretStr
    secret: bool

    @property
    def key(self) -> str:
        """The key in its mapping."""
        return self.name if isinstance(self.name, str) else self.name.key

    def flow(self) -> str:
        """Return the value on one line, in a form that is valid in block and in flow style."""
        return f"{{{self.secret_call()}}}" if self.secret else quoted(self.value.get_secret_value())

    def secret_call(self) -> str:
        return f"{SECRET_FUNCTION}: {quoted(self.value.get_secret_value())}"

    def block(self, indent: str, newline: str) -> str:
        """Return the whole entry in block style, as ESC itself writes it, without a final line break."""
        if self.secret:
            return f"{indent}{self.key}:{newline}{indent}  {self.secret_call()}"
        return f"{indent}{self.key}: {self.flow()}"


def quoted(value: str) -> str:
    """Return `value` as a double-quoted scalar on one line, in ASCII, by PyYAML's emitter."""
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, default_style='"', width=2**31 - 1))[:-1]


# --- merge ---


@dataclass(frozen=True)
class _Edit:
    """The replacement of the characters [start, end) by `text`."""

    start: int
    end: int
    text: str


def merge(document: Document, changes: Sequence[Change]) -> str:
    """Return the definition's text with `changes` made, and proven by `prove`. All other bytes stay.

    New keys go to the end of their mapping. If that would change what precedes them (a block scalar that ends the
    text without a line break), they go to its start.

    Raises:
        DefinitionError: These changes can't be made without touching what isn't ours.
    """
    exported = [change for change in changes if isinstance(change.name, Exported)]
    text = _merge_section(document, [change for change in changes if change not in exported])
    return _merge_section(parse(text, ENVIRONMENT_VARIABLES), exported) if exported else text


def _merge_section(document: Document, changes: Sequence[Change]) -> str:
    existing = {pair.name: pair for pair in document.value_pairs}
    replaced = [
        edit
        for change in changes
        if change.key in existing
        for edit in _replace(document, existing[change.key], change)
    ]
    added = [change for change in changes if change.key not in existing]
    *others, last = (document.bom + _splice(document.text, [*replaced, *way]) for way in _additions(document, added))
    for text in others:
        with suppress(DefinitionError):
            prove(document, text, changes)
            return text
    prove(document, last, changes)
    return last


def _splice(text: str, edits: Iterable[_Edit]) -> str:
    """Make the edits from last to first, so that the positions of the others stay valid.

    Edits at the same position keep their order.
    """
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end))[::-1]:
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _insert(at: int, text: str) -> _Edit:
    return _Edit(at, at, text)


def _leaf_end(document: Document, after: int) -> int:
    """Return the position after the last character of the node that ends before index `after` of the event stream.

    The end mark of a block collection lies after the comments that follow it, so its last leaf counts. The end mark
    of a block scalar lies after the blank lines that follow it, so they are left out.
    """
    at = after - 1
    while document.start(at) == document.end(at) and scalar(document.node(at)) is None:
        at -= 1
    event = document.node(at)
    if isinstance(event, ScalarEvent) and event.style in ("|", ">"):
        return document.start(at) + len(document.text[document.start(at) : document.end(at)].rstrip())
    return document.end(at)


def _value_end(document: Document, after: int) -> int:
    """Return `_leaf_end`. For a block scalar that keeps blank lines (`|+`), return the end of the last one."""
    event = document.node(after - 1)
    if isinstance(event, ScalarEvent) and event.style in ("|", ">") and event.value.endswith("\n\n"):
        end = document.end(after - 1)
        return len(document.text[:end].removesuffix("\n").removesuffix("\r"))
    return _leaf_end(document, after)


_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_COLON = re.compile(r"[ \t]*:")  # after a key


def _line_end(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.start() if found else len(text)


def _without_lines(text: str, start: int, end: int) -> _Edit:
    """Delete the lines that hold `start` to `end`, with the line break before them."""
    line_start = start - len(_LINE_BREAK.split(text[:start])[-1])
    return _Edit(len(text[:line_start].removesuffix("\n").removesuffix("\r")), _line_end(text, end), "")


def _replace(document: Document, pair: Pair, change: Change) -> list[_Edit]:
    """Replace the value of an existing key."""
    text = document.text
    start, end = document.start(pair.value), _leaf_end(document, pair.after)
    if start == end:
        return [_fill(document, pair, change.flow())]
    found = _COLON.match(text, document.end(pair.key))
    colon = found.end() if found else start  # a key after a question mark has its colon on another line
    gap = text[colon:start]
    if _flow(document, document.values) or not _LINE_BREAK.search(gap):
        return [_Edit(start, end, change.flow())]
    value_node = document.node(pair.value)
    if change.secret and isinstance(value_node, MappingStartEvent) and not value_node.flow_style:
        return [_Edit(start, end, change.secret_call())]
    if not gap.strip():
        return [_Edit(colon, end, f" {change.flow()}")]
    # Keep the comments between the key and its value, and move the value up to its key.
    alone = not text[end : _line_end(text, end)].strip()
    old = _without_lines(text, start, end) if alone else _Edit(start, end, "")
    return [_insert(colon, f" {change.flow()}"), old]


def _fill(document: Document, pair: Pair, value: str) -> _Edit:
    """Give a value to a key that has none; it may lack its colon, too."""
    key_end = document.end(pair.key)
    found = _COLON.match(document.text, key_end)
    return _insert(found.end(), f" {value}") if found else _insert(key_end, f": {value}")


def _entries(changes: Sequence[Change], indent: str, newline: str) -> str:
    return newline.join(change.block(indent, newline) for change in changes)


def _flow_entries(changes: Sequence[Change]) -> str:
    return ", ".join(f"{change.key}: {change.flow()}" for change in changes)


def _additions(document: Document, changes: Sequence[Change]) -> Iterator[list[_Edit]]:
    """Yield the ways to add new keys, the best first."""
    if not changes:
        yield []
        return
    at = document.values if document.value_pairs else document.root
    before = [[_prepend(document, at, changes)]] if at is not None and not _flow(document, at) else []
    after = [[_append(document, changes)]]
    yield from before + after if _ends_in_a_commented_secret(document) else after + before


def _ends_in_a_commented_secret(document: Document) -> bool:
    """Return whether the section ends with comments within a secret's block.

    If another entry follows, ESC leaves such comments out of the decrypted definition.
    """
    if not document.value_pairs or _flow(document, document.values):
        return False
    last = document.value_pairs[-1]
    nodes = document.events[last.value : last.after]
    if SECRET_FUNCTION not in (scalar(event) for event in nodes):
        return False
    end = _line_end(document.text, _leaf_end(document, last.after))
    return _after_comments(document.text, end, document.column(last.key) + 1) > end


def _append(document: Document, changes: Sequence[Change]) -> _Edit:
    """Add new keys at the end of the section. Make the section if there is none."""
    text, newline = document.text, document.newline
    if document.root is None:
        lead = newline if text and not text.endswith(("\n", "\r")) else ""
        return _insert(len(text), f"{lead}{document.section}:{newline}{_entries(changes, '  ', newline)}{newline}")
    if document.values is None:
        if _flow(document, document.root):
            return _into_flow(document, document.root, f"{document.section}: {{{_flow_entries(changes)}}}")
        indent = _indent(document, document.root)
        block = f"{indent}{document.section}:{newline}{_entries(changes, indent + '  ', newline)}"
        return _below(document, document.root_pairs[-1], block)
    if _flow(document, document.values):
        return _into_flow(document, document.values, _flow_entries(changes))
    if document.value_pairs:
        return _below(
            document,
            document.value_pairs[-1],
            _entries(changes, _indent(document, document.values), newline),
        )
    return _into_null(document, changes)


def _prepend(document: Document, at: int, changes: Sequence[Change]) -> _Edit:
    """Add new keys before all others in the block mapping `at`, for when the end won't do."""
    newline, indent = document.newline, _indent(document, at)
    if document.value_pairs:
        pairs, block = document.value_pairs, _entries(changes, indent, newline)
    else:
        pairs = document.root_pairs
        block = f"{indent}{document.section}:{newline}{_entries(changes, indent + '  ', newline)}"
    return _insert(document.start(pairs[0].key), block.removeprefix(indent) + newline + indent)


def _flow(document: Document, at: int | None) -> bool:
    """Return whether the node at index `at` is a flow mapping."""
    event = document.node(at) if at is not None else None
    return isinstance(event, MappingStartEvent) and bool(event.flow_style)


def _indent(document: Document, mapping: int) -> str:
    """Return the white space before the keys of a block mapping. A tag or an anchor may stand on an earlier line."""
    start = document.node(mapping)
    tagged = isinstance(start, MappingStartEvent) and (start.anchor or start.tag)
    return " " * document.column(mapping + 1 if tagged else mapping)


def _into_flow(document: Document, mapping: int, entries: str) -> _Edit:
    at = document.end(mapping)  # the start event of a flow mapping ends after its brace
    more = "" if isinstance(document.node(mapping + 1), MappingEndEvent) else ", "
    return _insert(at, entries + more)


def _below(document: Document, pair: Pair, block: str) -> _Edit:
    """Insert `block` on the lines below `pair` and the comments that belong to it."""
    newline, indent = document.newline, document.column(pair.key)
    leaf = next(at for at in reversed(range(pair.after)) if isinstance(document.node(at), NodeEvent))
    event = document.node(leaf)
    if isinstance(event, ScalarEvent) and event.style in ("|", ">") and event.value.endswith("\n\n"):
        # The blank lines at the end of this block scalar belong to its value (`|+`): go after them.
        start = document.end(leaf)
        after = _after_comments(document.text, start, indent)
        return _insert(start, block + newline) if after == start else _insert(after, newline + block)
    return _insert(
        _after_comments(document.text, _line_end(document.text, _leaf_end(document, pair.after)), indent),
        newline + block,
    )


_COMMENT_LINE = re.compile(r"[\r\n\ufeff]*(?:[ \t]*(?:\r\n|\n|\r))*(?P<indent> *)#[^\r\n]*")


def _after_comments(text: str, at: int, indent: int) -> int:
    """Return the end of the last comment line after `at` that is indented by `indent` or more; `at` if there is none.

    ESC takes such a comment for part of the block above it. If that is a new secret, decryption would lose the comment.
    """
    while (found := _COMMENT_LINE.match(text, at)) and len(found["indent"]) >= indent:
        at = found.end()
    return at


def _into_null(document: Document, changes: Sequence[Change]) -> _Edit:
    """Add the first keys to a section that holds nothing."""
    pair = next(pair for pair in document.root_pairs if pair.name == document.section)
    entries = f"{{{_flow_entries(changes)}}}"
    end = document.end(pair.value)
    if scalar(document.node(pair.value)):  # `null` or `~`
        return _Edit(document.start(pair.value), end, entries)
    if _flow(document, document.root):
        return _fill(document, pair, entries)
    indent = " " * (document.column(pair.key) + 2)
    return _insert(_line_end(document.text, end), document.newline + _entries(changes, indent, document.newline))


# --- restore ---


def restore(now: Document, before: Document, sent: Document, names: Collection[Name]) -> str:
    """Return the text of `now` with `names` as they were in `before`, proven. Keep what others changed.

    Args:
        now: The definition as it is stored.
        before: The definition as it was stored before our change.
        sent: The definition as we sent it. If all of it but our values is still the same, the result is `before` to
            the byte.
        names: The entries that we changed.

    Raises:
        DefinitionError: They can't be set back without touching what isn't ours.
    """
    if _outside(now, names) == _outside(sent, names):
        text = before.bom + before.text
    else:
        text = now.bom + _splice(now.text, _set_back(now, before, names))
    prove_restored(now, before, text, names)
    return text


def _set_back(now: Document, before: Document, names: Collection[Name]) -> list[_Edit]:
    """Give `names` their former values, and remove those that had none.

    A section in which nothing would be left becomes what it was: ESC refuses an empty `values:`, and an empty
    `environmentVariables:` hides the imported ones.
    """
    was = {name: (view, pair) for name, view, pair in before.entries(names)}
    edits, removed = [], {}
    for name, view, pair in now.entries(names):
        if name in was:
            edits.append(_put_back(now, pair, *was[name]))
        else:
            removed[pair] = _remove(view, view.values, pair)
    for view in map(now.of, _sections(names)):
        section, old = _section_pair(view), before.of(view.section)
        if section is None or not view.value_pairs or not removed.keys() >= set(view.value_pairs):
            continue
        for pair in view.value_pairs:
            del removed[pair]
        former = _section_pair(old)
        if former is None and not (view.section == VALUES and len(view.root_pairs) == 1):
            removed[section] = _remove(view, view.root, section)
            continue
        if former is None or old.value_pairs:  # its other entries have been removed since
            old, former = _NOTHING, _NOTHING.root_pairs[0]
        edits.append(_put_back(now, section, old, former))
    return [*edits, *removed.values()]


_NOTHING = parse("values: {}")


def _sections(names: Collection[Name]) -> list[str]:
    """Return the sections that hold `names`, the inner one first."""
    return [*([ENVIRONMENT_VARIABLES] if any(isinstance(name, Exported) for name in names) else []), VALUES]


def _section_pair(document: Document) -> Pair | None:
    return next((pair for pair in document.root_pairs if pair.name == document.section), None)


def _outside(document: Document, names: Collection[Name]) -> str:
    """Return the text without the values of `names`."""
    edits = [
        _Edit(document.end(pair.key), _leaf_end(document, pair.after), "") for _, _, pair in document.entries(names)
    ]
    return document.bom + _splice(document.text, edits)


def _put_back(now: Document, pair: Pair, before: Document, was: Pair) -> _Edit:
    """Give an entry its former value. If either value has several lines, the comment after its end changes too."""
    old_end, new_end = _value_end(before, was.after), max(now.end(pair.key), _leaf_end(now, pair.after))
    start = now.end(pair.key)
    value = before.text[before.end(was.key) : old_end]
    if _LINE_BREAK.search(value + now.text[start:new_end]):
        value += _rest_of_line(before.text, old_end)
        new_end += len(_rest_of_line(now.text, new_end))
    if old_end > _leaf_end(before, was.after):  # it keeps blank lines, and would take those that follow now
        blank = _BLANK_LINES.match(now.text, new_end)
        new_end = blank.end() if blank else new_end
    return _Edit(start, new_end, value)


_BLANK_LINES = re.compile(r"(?:\r?\n[ \t]*(?=\r?\n))*")


def _rest_of_line(text: str, at: int) -> str:
    """Return the rest of the line if it is white space or a comment, else an empty text."""
    rest = text[at : _line_end(text, at)]
    return rest if re.fullmatch(r"[ \t]*(#.*)?", rest) else ""


def _remove(document: Document, mapping: int | None, pair: Pair) -> _Edit:
    """Delete an entry of `mapping`: its lines in a block mapping, or itself and one comma in a flow mapping."""
    text = document.text
    start, end = document.start(pair.key), _leaf_end(document, pair.after)
    if not _flow(document, mapping):
        return _without_lines(text, start, end)
    comma = re.compile(r"\s*,\s*").match(text, end)
    return _Edit(start, comma.end() if comma else end, "")


def prove_restored(now: Document, before: Document, text: str, names: Collection[Name]) -> None:
    """Prove that `text` is `now` with exactly `names` as they are in `before`.

    Raises:
        DefinitionError: It is not, or it can't be parsed; it must not be sent.
    """
    new = _parsed(text)
    if (
        new is None
        or _foreign(new, names) != _foreign(now, names)
        or _entries_of(new, names) != _entries_of(before, names)
        or any(_is_left_empty(new.of(section), now, before) for section in _sections(names))
    ):
        raise DefinitionError(
            "Our keys can't be set back without changing something else in the definition.",
            "Set them back by hand from the environment's revision history.",
        )


def _is_left_empty(view: Document, now: Document, before: Document) -> bool:
    """Return whether a section has no entries, in a form that is neither `{}` nor that of `now` or of `before`."""
    left = _emptiness(view)
    as_it_was = (_emptiness(now.of(view.section)), _emptiness(before.of(view.section)), _emptiness(_NOTHING))
    return left is not None and left not in as_it_was


def _emptiness(view: Document) -> list[tuple[object, ...]] | None:
    """Return the value of a section without entries, nothing if there is no section, and None if it has entries."""
    if view.value_pairs:
        return None
    pair = _section_pair(view)
    return [] if pair is None else [_signature(event) for event in view.events[pair.value : pair.after]]


def _parsed(text: str) -> Document | None:
    try:
        return parse(text)
    except DefinitionError:
        return None


def _entries_of(document: Document, names: Collection[Name]) -> dict[Name, list[tuple[object, ...]]]:
    return {
        name: [_signature(event) for event in document.events[pair.value : pair.after]]
        for name, _, pair in document.entries(names)
    }


# --- proof ---


def prove(old: Document, text: str, changes: Sequence[Change]) -> None:
    """Prove that `text` is `old` with exactly `changes` made.

    Raises:
        DefinitionError: It is not, or it can't be parsed; it must not be sent.
    """
    ours = {change.name for change in changes}
    new = _parsed(text)
    if new is None or new.bom != old.bom or _foreign(new, ours) != _foreign(old, ours) or _rebound(old, ours):
        raise DefinitionError(
            "Our keys can't be changed in this definition without changing something else in it.",
            "Move the keys of this sync to lines of their own directly under `values:`, or remove them there "
            "once, and run again.",
        )
    pairs = {name: pair for name, _, pair in new.entries(ours)}
    for change in changes:
        if change.name not in pairs or not _is_exactly(new, pairs[change.name], change):
            raise DefinitionError(
                f"{change.name} can't be set in this definition.",
                f"Remove {change.name} from the environment once, and run again.",
            )


def _is_exactly(document: Document, pair: Pair, change: Change) -> bool:
    nodes = document.events[pair.value : pair.after]
    node = nodes[0]
    if change.secret:
        if len(nodes) != 4 or not isinstance(nodes[0], MappingStartEvent) or nodes[0].tag is not None:
            return False
        if scalar(nodes[1]) != SECRET_FUNCTION:
            return False
        node = nodes[2]
    if not isinstance(node, ScalarEvent) or node.style != '"' or node.tag is not None:
        return False
    return node.value == change.value.get_secret_value()


def _signature(event: Event) -> tuple[object, ...]:
    """Return everything about an event except its position."""
    kind = type(event)
    if isinstance(event, ScalarEvent):
        return kind, event.anchor, event.tag, event.implicit, event.value, event.style
    if isinstance(event, MappingStartEvent | SequenceStartEvent):
        return kind, event.anchor, event.tag, event.implicit, event.flow_style
    if isinstance(event, AliasEvent):
        return kind, event.anchor
    if isinstance(event, DocumentStartEvent):
        return kind, event.explicit, event.version, event.tags
    return (kind,)


def _foreign(document: Document, ours: Collection[Name]) -> list[tuple[object, ...]]:
    """Return everything in a document that isn't ours: its head, and the other entries in our mappings."""
    top = document.of(VALUES)
    head = [event for event in top.events if isinstance(event, DocumentStartEvent)]
    signatures = [_signature(event) for event in head if event.explicit]
    if top.root is not None and any(pair.name != VALUES for pair in top.root_pairs):
        signatures.append(_signature(top.node(top.root)))
    for pair in top.root_pairs:
        if pair.name != VALUES:
            signatures += map(_signature, top.events[pair.key : pair.after])
    exported = {name.key for name in ours if isinstance(name, Exported)}
    if not exported:
        return signatures + _others(top, ours)
    return signatures + _others(top, {*ours, ENVIRONMENT_VARIABLES}) + _others(top.of(ENVIRONMENT_VARIABLES), exported)


def _others(document: Document, keys: Collection[object]) -> list[tuple[object, ...]]:
    """Return the entries of the section that aren't in `keys`, and the section's mapping if there are any."""
    others = [pair for pair in document.value_pairs if pair.name not in keys]
    container = document.node(document.values) if document.values is not None else None
    signatures: list[tuple[object, ...]] = [(getattr(container, "anchor", None), getattr(container, "tag", None))]
    if others and container is not None:
        signatures.append(_signature(container))
    for pair in others:
        signatures += map(_signature, document.events[pair.key : pair.after])
    return signatures


def _rebound(old: Document, ours: Collection[Name]) -> bool:
    """Return whether something that isn't ours refers to an anchor inside a value that we replace."""
    mine = {at for _, _, pair in old.entries(ours) for at in range(pair.value, pair.after)}
    going = {event.anchor for at in mine if isinstance(event := old.events[at], NodeEvent) and event.anchor}
    return any(
        isinstance(event, AliasEvent) and event.anchor in going and at not in mine
        for at, event in enumerate(old.events)
    )
