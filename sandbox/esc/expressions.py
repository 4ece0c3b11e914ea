"""A definition as expressions: what ESC's `ast` package makes of the YAML, with its complaints.

Each diagnostic's text is that of github.com/pulumi/esc (`ast/environment.go`, `ast/expr.go`,
`ast/property.go`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from sandbox.esc.definition import CIPHERTEXT, SECRET
from sandbox.esc.document import Diagnostic, Document, Range, Scalar, is_string, scalar

FUNCTIONS = frozenset(
    "fn::" + name
    for name in [
        "concat",
        "final",
        "fromBase64",
        "fromJSON",
        "join",
        "open",
        "secret",
        "split",
        "toBase64",
        "toJSON",
        "toString",
    ]
)
PROVIDER_PREFIXES = ("fn::open::", "fn::rotate::")
RESERVED_KEYS = frozenset({"imports", "context", "environments"})
FIELDS = ("values", "imports", "description")

Accessor: TypeAlias = str | int


@dataclass(frozen=True)
class Access:
    """`a.b[0]` of a `${a.b[0]}`."""

    path: tuple[Accessor, ...]


Part: TypeAlias = str | Access


@dataclass(eq=False)
class Expression:
    """One expression: exactly one of `parts`, `items`, `entries` and `call` is set, or else it is a literal."""

    path: str
    range: Range
    literal: Scalar = None
    parts: tuple[Part, ...] | None = None
    items: "list[Expression] | None" = None
    entries: "dict[str, Expression] | None" = None
    call: "Call | None" = None

    @property
    def symbol(self) -> Access | None:
        """The access that the expression consists of, if it is `${…}` with nothing around it."""
        if self.parts is not None and len(self.parts) == 1 and isinstance(self.parts[0], Access):
            return self.parts[0]
        return None

    def to_json(self) -> dict[str, Any]:
        """As `Expr` in esc's `expr.go`, without schemas."""
        return {"range": self.range.to_json(), **self._variant()}

    def _variant(self) -> dict[str, Any]:
        nowhere = Range(self.range.environment, (0, 0, 0), (0, 0, 0)).to_json()
        if self.symbol is not None:
            return {"symbol": _accessors_to_json(self.symbol, nowhere)}
        if self.parts is not None:
            return {"interpolate": list(_interpolations_to_json(self.parts, nowhere))}
        if self.items is not None:
            return {"list": [item.to_json() for item in self.items]}
        if self.entries is not None:
            return {"object": {key: entry.to_json() for key, entry in self.entries.items()}}
        if self.call is not None:
            return {
                "builtin": {
                    "name": self.call.name,
                    "nameRange": self.call.name_range.to_json(),
                    "argSchema": True,
                    "arg": self.call.argument.to_json(),
                }
            }
        return {} if self.literal is None else {"literal": self.literal}


@dataclass(eq=False)
class Call:
    """A call of a builtin function."""

    name: str
    name_range: Range
    argument: Expression


@dataclass(frozen=True)
class Import:
    name: str
    range: Range
    merge: bool


@dataclass(eq=False)
class Definition:
    imports: list[Import] = field(default_factory=list)
    values: dict[str, Expression] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def parse(name: str, text: str) -> Definition:
    """The expressions of a definition. An empty text is an empty definition; one of comments alone is refused."""
    return _Parser(name, text).parse() if text else Definition()


class _Parser:
    def __init__(self, name: str, text: str) -> None:
        self._document = Document(name, text)
        self._definition = Definition(diagnostics=list(self._document.diagnostics))

    def parse(self) -> Definition:
        root = self._document.root
        if self._definition.diagnostics or not self._is_supported(root):
            return self._definition
        if not isinstance(root, yaml.MappingNode):
            self._complain("environment must be an object", root if root is not None and root.value else None)
            return self._definition
        seen: set[str] = set()
        for key, value in root.value:
            self._field(key, value, seen)
            seen.add(key.value)
        return self._definition

    def _is_supported(self, root: yaml.Node | None) -> bool:
        aliases = [Diagnostic("alias nodes are not supported", place) for place in self._document.aliases()]
        keys = [
            Diagnostic("mapping keys must be strings", self._document.range(key))
            for key in _keys(root)
            if not is_string(key)
        ]
        self._definition.diagnostics += aliases + keys
        return not aliases and not keys

    def _complain(self, summary: str, node: yaml.Node | None, *, warning: bool = False) -> None:
        place = None if node is None else self._document.range(node)
        self._definition.diagnostics.append(Diagnostic(summary, place, "warning" if warning else "error"))

    def _field(self, key: yaml.ScalarNode, value: yaml.Node, seen: set[str]) -> None:
        if key.value in seen:
            self._complain(f'duplicate key "{key.value}"', key, warning=True)
        match key.value.lower():
            case "description":
                if not is_string(value):
                    self._complain("description must be a string", value)
            case "imports":
                self._imports(value)
            case "values":
                self._values(value)
            case _:
                fields = ", ".join(f"'{name}'" for name in FIELDS)
                summary = f"Field '{key.value}' does not exist on Object 'environment'. Existing fields are: {fields}"
                self._complain(summary, key, warning=True)

    def _imports(self, node: yaml.Node) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self._complain("imports must be a list", node)
            return
        self._definition.imports = list(filter(None, map(self._import, node.value)))

    def _import(self, node: yaml.Node) -> Import | None:
        if is_string(node):
            return Import(node.value, self._document.range(node), merge=True)
        if not isinstance(node, yaml.MappingNode):
            self._complain("import must be a string or an object", node)
            return None
        if len(node.value) != 1:
            self._complain("import must have a single key", node)
            return None
        name, options = node.value[0]
        if not isinstance(options, yaml.MappingNode):
            self._complain("import must be an object", options)
            return None
        merge = next((value for key, value in options.value if key.value == "merge"), None)
        if merge is not None and not isinstance(_literal(merge), bool):
            self._complain("merge must be a boolean value", merge)
        return Import(name.value, self._document.range(name), merge is None or _literal(merge) is True)

    def _values(self, node: yaml.Node) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._complain("values must be an object", node)
            return
        self._definition.values = {}
        for key, _ in node.value:
            if key.value.startswith("fn::"):
                self._complain(f'builtin function call "{key.value}" not allowed at the top level', key)
            if key.value in RESERVED_KEYS:
                self._complain(f'"{key.value}" is a reserved key', key)
        self._definition.values = self._entries(node, "")

    def _entries(self, node: yaml.MappingNode, path: str) -> dict[str, Expression]:
        entries: dict[str, Expression] = {}
        for key, value in node.value:
            expression = self._expression(value, f"{path}.{key.value}" if path else key.value)
            if key.value in entries:
                self._complain(f'duplicate key "{key.value}"', key)
            else:
                entries[key.value] = expression
        return entries

    def _expression(self, node: yaml.Node, path: str) -> Expression:
        place = self._document.range(node)
        if isinstance(node, yaml.SequenceNode):
            items = [self._expression(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
            return Expression(path, place, items=items)
        if isinstance(node, yaml.MappingNode):
            return self._function(node, path) or Expression(path, place, entries=self._entries(node, path))
        value = _literal(node)
        if not isinstance(value, str):
            return Expression(path, place, literal=value)
        return self._text(node, value, path)

    def _text(self, node: yaml.Node, text: str, path: str) -> Expression:
        place = self._document.range(node)
        parts, complaints = parse_interpolation(text)
        for complaint in complaints:
            self._complain(complaint, node)
        if any(isinstance(part, Access) for part in parts):
            return Expression(path, place, parts=tuple(parts))
        return Expression(path, place, literal="".join(map(str, parts)))

    def _function(self, node: yaml.MappingNode, path: str) -> Expression | None:
        if len(node.value) != 1:
            for key, _ in node.value:
                if key.value.startswith("fn::"):
                    rule = "must be the only key within its containing object"
                    self._complain(f'illegal call to builtin function: "{key.value}" {rule}', node)
            return None
        key, argument = node.value[0]
        if key.value not in FUNCTIONS and not key.value.startswith(PROVIDER_PREFIXES):
            if key.value.lower().startswith("fn::"):
                self._complain("'fn::' is a reserved prefix", key)
            return None
        expression = self._expression(argument, "")
        call = Call(key.value, self._document.range(key), expression)
        self._check_argument(call, argument)
        return Expression(path, self._document.range(node), call=call)

    def _check_argument(self, call: Call, node: yaml.Node) -> None:
        argument = call.argument
        if call.name == SECRET and not isinstance(argument.literal, str) and ciphertext_of(argument) is None:
            self._complain("secret values must be string literals", node)
        elif call.name in ("fn::join", "fn::split") and (argument.items is None or len(argument.items) != 2):
            self._complain(f"the argument to {call.name} must be a two-valued list", node)
        elif call.name == "fn::open" and not {"provider", "inputs"} <= set(argument.entries or ()):
            self._complain("the argument to fn::open must be an object containing 'provider' and 'inputs'", node)


def ciphertext_of(argument: Expression) -> str | None:
    """The ciphertext, if this is the `{ciphertext: …}` of an encrypted `fn::secret`."""
    if argument.entries is None or list(argument.entries) != [CIPHERTEXT]:
        return None
    literal = argument.entries[CIPHERTEXT].literal
    return literal if isinstance(literal, str) else None


def parse_interpolation(text: str) -> tuple[list[Part], list[str]]:
    """The literal texts and accesses of a string, with what is wrong with it; `$$` is a literal `$`."""
    parts: list[Part] = []
    complaints: list[str] = []
    literal: list[str] = []
    index = 0
    while index < len(text):
        dollar = text.find("$", index)
        if dollar < 0:
            dollar = len(text)
        literal.append(text[index:dollar])
        if text.startswith("${", dollar):
            access, index = _parse_access(text, dollar + 2, complaints)
            parts += ["".join(literal), access]
            literal.clear()
        else:
            literal.append(text[dollar : dollar + 1])
            index = dollar + (2 if text.startswith("$$", dollar) else 1)
    parts.append("".join(literal))
    return [part for part in parts if part != ""], complaints


def parse_path(text: str) -> Access:
    """A property path as `env open ENV PATH` and `?property=` have it."""
    access, _ = _parse_access(text + "}", 0, [])
    return access


def _parse_access(text: str, index: int, complaints: list[str]) -> tuple[Access, int]:
    path: list[Accessor] = []
    while index < len(text) and text[index] != "}" and not text[index].isspace():
        if text[index] == "[":
            accessor, index = _parse_subscript(text, index + 1, complaints)
        else:
            begin = index + (text[index] == ".")
            index = _end_of_name(text, begin)
            accessor = text[begin:index]
            if not accessor:
                complaints.append("property name must not be empty")
        path.append(accessor)
    if text[index : index + 1] != "}":
        complaints.append("missing closing brace '}' in interpolation")
        return Access(tuple(path) or ("",)), index
    return Access(tuple(path) or ("",)), index + 1


def _parse_subscript(text: str, index: int, complaints: list[str]) -> tuple[Accessor, int]:
    accessor: Accessor
    if text[index : index + 1] == '"':
        accessor, index = _parse_quoted(text, index + 1, complaints)
    else:
        end = _end_of_name(text, index, "]")
        accessor, index = text[index:end], end
        if accessor.isdecimal():
            accessor = int(accessor)
        else:
            complaints.append("numeric subscript must be a positive base-10 integer")
    if text[index : index + 1] != "]":
        complaints.append("subscript is missing closing bracket ']'")
        return accessor, index
    return accessor, index + 1


def _parse_quoted(text: str, index: int, complaints: list[str]) -> tuple[str, int]:
    key = ""
    while index < len(text):
        if text[index] == '"':
            if not key:
                complaints.append("key subscript must not be empty")
            return key, index + 1
        index += text.startswith('\\"', index)
        key, index = key + text[index], index + 1
    complaints.append("key subscript is missing closing quote '\"'")
    return key, index


def _end_of_name(text: str, index: int, also: str = "") -> int:
    while index < len(text) and text[index] not in ".[}" + also and not text[index].isspace():
        index += 1
    return index


def _keys(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys(item)


def _literal(node: yaml.Node) -> Scalar:
    return scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _accessors_to_json(access: Access, nowhere: dict[str, object]) -> list[dict[str, Any]]:
    return [
        {"key" if isinstance(accessor, str) else "index": accessor, "range": nowhere, "value": nowhere}
        for accessor in access.path
    ]


def _interpolations_to_json(parts: tuple[Part, ...], nowhere: dict[str, object]) -> Iterator[dict[str, Any]]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text = part
        else:
            yield ({"text": text} if text else {}) | {"value": _accessors_to_json(part, nowhere)}
            text = ""
    if text:
        yield {"text": text}
