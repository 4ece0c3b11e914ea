"""Parse the text of an ESC environment definition: what it holds, and the place of everything in it.

Sources of what ESC accepts: github.com/pulumi/esc, `syntax/encoding/yaml.go`, `ast/environment.go` and `ast/expr.go`:
one document, a mapping at the top whose names match without regard to case, no aliases, `fn::secret` with a string.
Scalars mean what gopkg.in/yaml.v3's `resolve.go` says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, cast

import yaml
from pydantic import SecretStr
from yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    StreamEndEvent,
)

from sophia_sync.runtime.errors import DefinitionError

SECRET_FUNCTION = "fn::secret"  # noqa: S105 - the name of ESC's function
VALUES = "values"
ENVIRONMENT_VARIABLES = "environmentVariables"  # under `values:`
_BOM = "\ufeff"
# Maximum depth of nesting that ESC accepts: `max_flow_level` in gopkg.in/yaml.v3's scannerc.go.
_DEEPEST = 10_000
_STRING_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_TOP_NAMES = ("description", "imports", VALUES)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_OTHER_CONSTANTS = re.compile(r"true|True|TRUE|false|False|FALSE|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"(?P<sign>[-+]?)(0[bB](?P<b>[01]+)|0[xX](?P<x>[0-9a-fA-F]+)|0[oO]?(?P<o>[0-7]+))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class HeldKind(StrEnum):
    """The form in which a definition holds a key."""

    ABSENT = "absent"
    PLAIN = "plain"  # a string in plain text
    SECRET = "secret"  # noqa: S105 - fn::secret with its value, as in a decrypted definition
    CIPHERTEXT = "ciphertext"  # fn::secret with ciphertext, as in a definition that was not decrypted
    REFERENCES = "references"  # a string in plain text in which ESC replaces `${…}`
    OTHER = "other"  # a number, an expression, a list, … : anything that isn't the exact string


@dataclass(frozen=True)
class Held:
    """What a definition holds for one key; `value` is known for PLAIN, SECRET and REFERENCES only."""

    kind: HeldKind
    value: SecretStr | None = None

    @property
    def encrypted(self) -> bool:
        return self.kind in (HeldKind.SECRET, HeldKind.CIPHERTEXT)


@dataclass(frozen=True)
class Exported:
    """The entry of a key under `environmentVariables:`, which `pulumi env run` passes on."""

    key: str

    def __str__(self) -> str:
        return f"{ENVIRONMENT_VARIABLES}.{self.key}"

    @property
    def reference(self) -> str:
        """Its value: a reference to the key itself."""
        return f"${{{self.key}}}"


Name = str | Exported
"""An entry: a key at the top of `values:`, or one that is exported."""


@dataclass(frozen=True)
class Pair:
    """A key and its value in a mapping, as indexes of the event stream. The value is [value, after).

    At the top of a definition, `name` is spelled as ESC understands it: `values` for `Values`.
    """

    name: str | None  # None: the key is a collection
    key: int
    value: int
    after: int


@dataclass(frozen=True)
class Stream:
    """The events of a text, and for each event the index after the node that it starts."""

    events: tuple[Event, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed definition, seen from one of its mappings. Make one with `parse`.

    Attributes:
        text: Without a byte order mark.
        section: The name of the mapping: `values`, or `environmentVariables` in it.
        root: The node of the mapping that the section is in; None if there is no document, or an empty one.
        values: The section's node.
        root_pairs: The pairs of `root`.
        value_pairs: The pairs of `values`.
    """

    text: str
    bom: str
    stream: Stream
    section: str
    root: int | None
    values: int | None
    root_pairs: tuple[Pair, ...]
    value_pairs: tuple[Pair, ...]

    @property
    def events(self) -> tuple[Event, ...]:
        return self.stream.events

    @property
    def newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def node(self, at: int) -> Event:
        return self.events[at]

    def start(self, at: int) -> int:
        return _index(self.events[at].start_mark)

    def end(self, at: int) -> int:
        return _index(self.events[at].end_mark)

    def column(self, at: int) -> int:
        mark: Any = self.events[at].start_mark
        return int(mark.column)

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the section."""
        return tuple(pair.name for pair in self.value_pairs if pair.name is not None)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Return every value that the definition keeps as `fn::secret`, wherever it stands."""
        calls = (
            at
            for at, event in enumerate(self.events)
            if isinstance(event, MappingStartEvent) and scalar(self.events[at + 1]) == SECRET_FUNCTION
        )
        values = (scalar(self.events[at + 2]) for at in calls)
        return tuple(SecretStr(value) for value in values if value)

    def held(self, names: Collection[Name]) -> dict[Name, Held]:
        """Return what each of `names` holds. A name that isn't there is left out."""
        return {name: view._held(pair) for name, view, pair in self.entries(names)}

    def of(self, section: str) -> Document:
        """Return the same text, seen from another section.

        Raises:
            DefinitionError: It isn't a mapping, or has a key twice.
        """
        return self if section == self.section else _document(self.text, self.bom, self.stream, section)

    def entries(self, names: Collection[Name]) -> Iterator[tuple[Name, Document, Pair]]:
        """Yield those of `names` that exist, each with the view in which it is found."""
        for pair in self.of(VALUES).value_pairs:
            if pair.name is not None and pair.name in names:
                yield pair.name, self.of(VALUES), pair
        if not any(isinstance(name, Exported) for name in names):
            return
        exported = self.of(ENVIRONMENT_VARIABLES)
        for pair in exported.value_pairs:
            if pair.name is not None and Exported(pair.name) in names:
                yield Exported(pair.name), exported, pair

    def _held(self, pair: Pair) -> Held:
        nodes = self.events[pair.value : pair.after]
        text = _string(nodes[0])
        if text is not None:
            # `${a}` is a reference and `$$` an escape: consumers get a different text.
            plain = "${" not in text and "$$" not in text
            return Held(HeldKind.PLAIN if plain else HeldKind.REFERENCES, SecretStr(text))
        if not isinstance(nodes[0], MappingStartEvent) or scalar(nodes[1]) != SECRET_FUNCTION:
            return Held(HeldKind.OTHER)
        # A decrypted definition shows strings such as `yes`, `1:30` and `=` without quotes.
        secret = scalar(nodes[2])
        if len(nodes) == 4 and secret is not None:
            return Held(HeldKind.SECRET, SecretStr(secret))
        if len(nodes) == 7 and scalar(nodes[3]) == "ciphertext" and _string(nodes[4]) is not None:
            return Held(HeldKind.CIPHERTEXT)
        return Held(HeldKind.OTHER)


def _index(mark: Any) -> int:
    """Return the number of characters before a mark. It is typed loosely, because the stubs lack the parsers' marks."""
    return int(mark.index)


def scalar(event: Event) -> str | None:
    """Return the text of a scalar; None for anything else."""
    return event.value if isinstance(event, ScalarEvent) else None


def is_string(text: str) -> bool:
    """Return whether yaml.v3 reads a plain scalar as a string, and not as a number, a boolean or null."""
    if text in _NULLS or _OTHER_CONSTANTS.fullmatch(text):
        return False
    if not (text[0] in "+-." or text[0].isdecimal()):
        return True
    digits = text if text[0] == "." else text.replace("_", "")
    integer = _INTEGER.fullmatch(digits)
    if integer:
        number = next(int(integer[base], {"b": 2, "x": 16, "o": 8}[base]) for base in "bxo" if integer[base])
        if number <= (1 << 63 if integer["sign"] == "-" else (1 << 64) - 1):
            return False
    return not _FLOAT.fullmatch(digits) or math.isinf(float(digits))


def _string(event: Event) -> str | None:
    """Return the value of a scalar that ESC reads as a string; None for `12`, `true`, `null`, collections."""
    if not isinstance(event, ScalarEvent):
        return None
    if event.tag is not None:
        # The CLI prints a plain `<<`, which is a string for ESC, as `!!merge <<`.
        return event.value if event.tag in (_STRING_TAG, _MERGE_TAG) else None
    return event.value if event.style or is_string(event.value) else None


def _is_null(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and event.tag is None and not event.style and event.value in _NULLS


def _pairs(stream: Stream, at: int) -> tuple[Pair, ...]:
    """Return the pairs of the mapping that starts at `at`."""
    events, after = stream.events, stream.after
    pairs = []
    at += 1
    while not isinstance(events[at], MappingEndEvent):
        value = after[at]
        pairs.append(Pair(scalar(events[at]), at, value, after[value]))
        at = after[value]
    return tuple(pairs)


def _root(events: Sequence[Event]) -> int | None:
    """Return the index of the root node, or None if there is no node."""
    documents = [at for at, event in enumerate(events) if isinstance(event, DocumentStartEvent)]
    if len(documents) > 1:
        raise DefinitionError(
            "The definition holds more than one YAML document; ESC uses only the first.",
            "Remove what follows the second '---' in the environment and run again.",
        )
    if not documents:
        return None
    root = documents[0] + 1
    if _is_null(events[root]) and scalar(events[root]) == "":
        return None
    return root


def parse(text: str, section: str = VALUES) -> Document:
    """Parse a definition. Return the view of one of its sections.

    Raises:
        DefinitionError: It isn't YAML, isn't one mapping, or has one of its keys twice.
    """
    bom, text = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    try:
        stream = _read(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise DefinitionError(
            f"The environment's definition isn't valid YAML{where}.",
            "Repair it with `pulumi env edit` or in the Pulumi console, then run again.",
        ) from None
    return _document(text, bom, stream, section)


def _read(text: str) -> Stream:
    """Read the events of a definition.

    Raises:
        YAMLError: It isn't YAML.
        DefinitionError: It is nested deeper than ESC accepts. libyaml would need minutes for it.
    """
    events: list[Event] = []
    after: list[int] = []
    open_nodes: list[int] = []
    parser = yaml.CSafeLoader(text)
    try:
        while True:
            event = cast(Event, parser.get_event())  # None only after the end of the stream
            at = len(events)
            events.append(event)
            after.append(at + 1)
            if isinstance(event, ScalarEvent):
                continue
            if isinstance(event, CollectionStartEvent):
                open_nodes.append(at)
                if len(open_nodes) > _DEEPEST:
                    raise DefinitionError(
                        f"The environment's definition is nested deeper than {_DEEPEST} levels, which ESC refuses.",
                        "Repair it with `pulumi env edit` or in the Pulumi console, then run again.",
                    )
            elif isinstance(event, CollectionEndEvent):
                after[open_nodes.pop()] = at + 1
            elif isinstance(event, StreamEndEvent):
                return Stream(tuple(events), tuple(after))
    finally:
        parser.dispose()


def _document(text: str, bom: str, stream: Stream, section: str) -> Document:
    events = stream.events
    root = _root(events)
    if root is None:
        return Document(text, bom, stream, section, None, None, (), ())
    if not isinstance(events[root], MappingStartEvent):
        raise DefinitionError(
            "The environment's definition isn't a mapping.",
            "A definition has `imports:` and `values:` at its top; repair it and run again.",
        )
    written = _pairs(stream, root)
    _refuse_duplicates(written, "the definition")
    root_pairs = tuple(replace(pair, name=_top_name(pair.name)) for pair in written)
    _refuse_spellings(written, root_pairs)
    values, value_pairs = _section(stream, root_pairs, VALUES)
    if section == VALUES:
        return Document(text, bom, stream, section, root, values, root_pairs, value_pairs)
    if values is None or not isinstance(events[values], MappingStartEvent):
        return Document(text, bom, stream, section, None, None, (), ())
    exported, exported_pairs = _section(stream, value_pairs, section)
    return Document(text, bom, stream, section, values, exported, value_pairs, exported_pairs)


def _top_name(name: str | None) -> str | None:
    """Return a top-level name as the documentation spells it. ESC compares names by Go's `strings.EqualFold`."""
    return name.casefold() if name is not None and name.casefold() in _TOP_NAMES else name


def _section(stream: Stream, pairs: Iterable[Pair], name: str) -> tuple[int | None, tuple[Pair, ...]]:
    """Return the index of the node under `name`, and the pairs of its mapping."""
    at = next((pair.value for pair in pairs if pair.name == name), None)
    if at is None or _is_null(stream.events[at]):
        return at, ()
    if not isinstance(stream.events[at], MappingStartEvent):
        if name == ENVIRONMENT_VARIABLES:
            raise DefinitionError(
                "`environmentVariables:` in the environment's definition isn't a mapping, "
                "so no key can be listed there.",
                "Make it a mapping of names to values, or leave out `export-environment-variables`, and run again.",
            )
        raise DefinitionError(f"`{name}:` in the environment's definition isn't a mapping.", "Repair it and run again.")
    found = _pairs(stream, at)
    _refuse_duplicates(found, f"`{name}:`")
    return at, found


def _refuse_spellings(written: Sequence[Pair], understood: Sequence[Pair]) -> None:
    seen: dict[str | None, str | None] = {}
    for pair, meant in zip(written, understood, strict=True):
        if meant.name is not None and meant.name in seen:
            raise DefinitionError(
                f"`{seen[meant.name]}:` and `{pair.name}:` are the same for ESC, which uses only the last of them.",
                "Remove one of the two in the environment and run again.",
            )
        seen[meant.name] = pair.name


def _refuse_duplicates(pairs: Iterable[Pair], where: str) -> None:
    seen: set[str] = set()
    for name in (pair.name for pair in pairs if pair.name is not None):
        if name in seen:
            raise DefinitionError(
                f"A key stands twice in {where}: {name!r}.",
                "Remove one of the two in the environment and run again.",
            )
        seen.add(name)
