"""A definition's YAML, read as ESC reads it, with the place of every node.

ESC decodes definitions with Go's yaml.v3 (`syntax/encoding/yaml.go` in github.com/pulumi/esc), which differs
from PyYAML's YAML 1.1: `yes`, `on` and dates are strings, `0123` is octal, aliases and keys that aren't
strings are refused, and of a stream of documents only the first counts.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import yaml

Scalar: TypeAlias = bool | int | float | str | None

Marked: TypeAlias = yaml.Node | yaml.AliasEvent

_BYTE_ORDER_MARK = "\ufeff"
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Range:
    """A place in a definition, as `Range` in esc's `expr.go`: lines and columns count from 1, bytes from 0."""

    environment: str
    begin: tuple[int, int, int]
    end: tuple[int, int, int]

    def to_json(self) -> dict[str, object]:
        names = ("line", "column", "byte")
        return {
            "environment": self.environment,
            "begin": dict(zip(names, self.begin, strict=True)),
            "end": dict(zip(names, self.end, strict=True)),
        }


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong with a definition, as `EnvironmentDiagnostic` in esc's `cmd/esc/cli/client/apitype.go`."""

    summary: str
    range: Range | None = None
    severity: Literal["error", "warning"] = "error"

    def to_json(self) -> dict[str, object]:
        place = {"range": self.range.to_json()} if self.range else {}
        return {**place, "summary": self.summary, "severity": self.severity}


def errors_in(diagnostics: list[Diagnostic]) -> bool:
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


class _Loader(yaml.CSafeLoader):
    """Resolves plain scalars as yaml.v3's `resolve.go` does."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's way


_PLAIN = {
    "bool": ("tTfF", r"true|True|TRUE|false|False|FALSE"),
    "null": ("~nN", r"~|null|Null|NULL|"),
    "int": ("-+0123456789", r"[-+]?(0b[01_]+|0o?[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)"),
    "float": (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
}
"""The plain scalars that aren't strings: what they may begin with, and all that they may be."""

for _kind, (_first, _pattern) in _PLAIN.items():
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), [*_first])
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"\Z"), [""])


class Document:
    """A definition's text and its first YAML document."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.root: yaml.Node | None = None
        self.diagnostics: list[Diagnostic] = []
        # libyaml leaves the byte order mark out of its positions.
        self._shift = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
        self._parse()
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._bytes: list[int] | None = None if text.isascii() else self._byte_offsets()

    def _parse(self) -> None:
        try:
            loader = _Loader(self.text)
            try:
                self.root = loader.get_node() if loader.check_node() else None
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
            self.diagnostics.append(Diagnostic(f"yaml: {line}{error.problem}"))
        except yaml.reader.ReaderError as error:
            self.diagnostics.append(Diagnostic(f"yaml: {error.reason}"))

    def start(self, node: Marked) -> int:
        """Where the node begins: an index into the text."""
        return _index(node.start_mark) + self._shift

    def end(self, node: Marked) -> int:
        """Where the node ends. That of a block collection lies after the comments and blank lines that follow it."""
        index = _index(node.end_mark) + self._shift
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            return index if not node.value else max(self.end(child) for child in children(node))
        return self.start(node) + len(self.text[self.start(node) : index].rstrip())

    def range(self, node: Marked) -> Range:
        return Range(self.name, self.position(self.start(node)), self.position(self.end(node)))

    def position(self, index: int) -> tuple[int, int, int]:
        line = bisect_right(self._lines, index) - 1
        begin = self._lines[line]
        byte = index if self._bytes is None else self._bytes[line] + len(self.text[begin:index].encode())
        return line + 1, index - begin + 1, byte

    def _byte_offsets(self) -> list[int]:
        offsets = [0]
        for begin, end in zip(self._lines, self._lines[1:], strict=False):
            offsets.append(offsets[-1] + len(self.text[begin:end].encode()))
        return offsets

    def aliases(self) -> Iterator[Range]:
        """The aliases (`*name`), which ESC doesn't support."""
        if "*" not in self.text:
            return
        for event in yaml.parse(self.text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                yield self.range(event)


def _index(mark: Any) -> int:
    return int(mark.index)


def children(node: yaml.CollectionNode) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    else:
        yield from node.value


def is_string(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and isinstance(scalar(node), str)


def scalar(node: yaml.ScalarNode) -> Scalar:
    """The value of a scalar. What has a tag of its own, dates included, is a string."""
    text = str(node.value)
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text)
        case "float":
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            overflown = math.isinf(number) and "inf" not in text.lower()
            return text if overflown else number
        case _:
            return text


def _integer(text: str) -> int | float:
    digits = text.replace("_", "").lower()
    octal = re.fullmatch(r"[-+]?0[0-7]+", digits)
    number = int(digits, 8 if octal else 0)
    return number if -(2**63) <= number < 2**64 else float(number)
