"""Evaluation of a definition: imports merged, references followed, functions applied.

A small part of `eval/eval.go` in github.com/pulumi/esc, with its rules and its diagnostics: values of an
import are the base onto which the environment's own are merged (objects key by key, everything else
replaced); what is computed from a secret is secret, and what is computed from something unknown is unknown.
Providers (`fn::open::…`) are not there: their results are unknown.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

from sandbox.esc.ciphertext import Cipher, CiphertextError
from sandbox.esc.document import Diagnostic, Range, Scalar, errors_in
from sandbox.esc.expressions import (
    Access,
    Accessor,
    Call,
    Definition,
    Expression,
    ciphertext_of,
    parse,
)

UNKNOWN_TEXT = "[unknown]"

Content: TypeAlias = "Scalar | list[Value] | dict[str, Value]"


@dataclass(frozen=True)
class Value:
    """The result of an expression, as `Value` in esc's `value.go`."""

    content: Content
    range: Range
    secret: bool = False
    unknown: bool = False
    base: "Value | None" = None
    """What an import had in this place."""

    def to_json(self) -> dict[str, Any]:
        base = {"base": self.base.to_json()} if self.base else {}
        return {
            **({} if self.unknown or self.content is None else {"value": _content_to_json(self.content)}),
            **({"secret": True} if self.secret else {}),
            **({"unknown": True} if self.unknown else {}),
            "trace": {"def": self.range.to_json(), **base},
        }

    def plain(self) -> object:
        """The value as the CLI prints it with its secrets shown."""
        if self.unknown:
            return UNKNOWN_TEXT
        if isinstance(self.content, dict):
            return {key: value.plain() for key, value in self.content.items()}
        if isinstance(self.content, list):
            return [value.plain() for value in self.content]
        return self.content

    def text(self) -> str:
        """The value within an interpolation, or as `fn::toString` gives it."""
        if isinstance(self.content, dict):
            pairs = sorted(self.content.items())
            return ",".join(f"{_quote(key)}={_quote(value.text())}" for key, value in pairs)
        if isinstance(self.content, list):
            return ",".join(_quote(value.text()) for value in self.content)
        if isinstance(self.content, bool):
            return "true" if self.content else "false"
        return "" if self.content is None else str(_number(self.content))

    def parts(self) -> Iterable["Value"]:
        yield self
        if isinstance(self.content, dict | list):
            for part in self.content.values() if isinstance(self.content, dict) else self.content:
                yield from part.parts()

    @property
    def has_secrets(self) -> bool:
        return any(part.secret for part in self.parts())

    @property
    def has_unknowns(self) -> bool:
        return any(part.unknown for part in self.parts())


@dataclass(frozen=True)
class Evaluated:
    """An environment's values and expressions, as `Environment` in esc's `environment.go`."""

    values: dict[str, Value]
    expressions: dict[str, Expression]
    diagnostics: list[Diagnostic]

    @property
    def failed(self) -> bool:
        return errors_in(self.diagnostics)

    def to_json(self) -> dict[str, Any]:
        return {
            "exprs": {key: expression.to_json() for key, expression in self.expressions.items()},
            "properties": {key: value.to_json() for key, value in self.values.items()},
        }

    def plain(self) -> dict[str, object]:
        return {key: value.plain() for key, value in self.values.items()}


class Secrets(Enum):
    """What becomes of ciphertext: `env open` reads it, `yaml/check` does so only with `showSecrets`."""

    SHOWN = True
    UNKNOWN = False


Load: TypeAlias = Callable[[str], str]
"""Gives the stored definition of an imported environment, or raises a LookupError that says what is missing."""


def evaluate(name: str, text: str, *, cipher: Cipher, load: Load, secrets: Secrets = Secrets.SHOWN) -> Evaluated:
    """Evaluate a definition; `name` stands in the places of its values and diagnostics."""
    return _Evaluation(name, parse(name, text), cipher, load, secrets, {}).run()


class _UnknownError(Exception):
    """An expression can't be evaluated: its value is unknown. The diagnostic has been made."""


class _Evaluation:
    def __init__(
        self,
        name: str,
        definition: Definition,
        cipher: Cipher,
        load: Load,
        secrets: Secrets,
        imported: "dict[str, Value | None]",
    ) -> None:
        self._name = name
        self._definition = definition
        self._cipher = cipher
        self._load = load
        self._secrets = secrets
        self._imported = imported
        """Environments that were evaluated, or None while they are: one that is met then imports itself."""
        self._imports: dict[str, Value] = {}
        self._diagnostics = list(definition.diagnostics)
        self._done: dict[Expression, Value] = {}
        self._bases: dict[Expression, Value | None] = {}
        self._open: set[Expression] = set()
        self._root = Expression("", _nowhere(name), entries=definition.values)

    def run(self) -> Evaluated:
        if errors_in(self._diagnostics):
            return Evaluated({}, self._definition.values, self._diagnostics)
        self._bases[self._root] = self._evaluate_imports()
        self._declare(self._root)
        root = self._evaluate(self._root)
        values = root.content if isinstance(root.content, dict) else {}
        return Evaluated(dict(sorted(values.items())), self._definition.values, self._diagnostics)

    def complain(self, summary: str, place: Range) -> None:
        self._diagnostics.append(Diagnostic(summary, place))

    # Imports.

    def _evaluate_imports(self) -> Value | None:
        base: Value | None = None
        self._imported[self._name] = None
        for imported in self._definition.imports:
            value = self._import(imported.name, imported.range)
            if value is not None:
                self._imports[imported.name] = value
                if imported.merge:
                    base = _merge(value, base)
        return base

    def _import(self, name: str, place: Range) -> Value | None:
        if name in self._imported:
            if self._imported[name] is None:
                self.complain(f"cyclic import of {name}", place)
            return self._imported[name]
        try:
            definition = parse(name, self._load(name))
        except LookupError as error:
            self.complain(str(error), place)
            return None
        evaluation = _Evaluation(name, definition, self._cipher, self._load, self._secrets, self._imported)
        evaluated = evaluation.run()
        self._diagnostics += evaluated.diagnostics
        self._imported[name] = Value(evaluated.values, _nowhere(name))
        return self._imported[name]

    # Expressions.

    def _declare(self, expression: Expression) -> None:
        """Give each entry of an object the base that it is merged onto."""
        base = self._bases[expression]
        for key, entry in (expression.entries or {}).items():
            self._bases[entry] = base.content.get(key) if base and isinstance(base.content, dict) else None
            self._declare(entry)

    def _evaluate(self, expression: Expression) -> Value:
        if expression in self._done:
            return self._done[expression]
        if expression in self._open:
            self.complain(f"cyclic reference to {expression.path}", expression.range)
            return Value(None, expression.range, unknown=True)
        self._open.add(expression)
        try:
            value = self._compute(expression)
        except _UnknownError:
            value = Value(None, expression.range, unknown=True)
        finally:
            self._open.remove(expression)
        value = _merge(replace(value, range=expression.range), self._bases.get(expression))
        self._done[expression] = value
        return value

    def _compute(self, expression: Expression) -> Value:
        place = expression.range
        if expression.symbol is not None:
            return self._access(expression, expression.symbol)
        if expression.parts is not None:
            return self._interpolate(expression)
        if expression.items is not None:
            return Value([self._evaluate(item) for item in expression.items], place)
        if expression.entries is not None:
            return Value({key: self._evaluate(expression.entries[key]) for key in sorted(expression.entries)}, place)
        if expression.call is not None:
            return self._call(expression, expression.call)
        return Value(_number(expression.literal), place)

    def _interpolate(self, expression: Expression) -> Value:
        values = [
            Value(part, expression.range) if isinstance(part, str) else self._access(expression, part)
            for part in expression.parts or ()
        ]
        return self._computed(expression, values, lambda: "".join(value.text() for value in values))

    @staticmethod
    def _computed(expression: Expression, operands: list[Value], compute: Callable[[], Content]) -> Value:
        """A value that is secret or unknown if one of those is that it is computed from."""
        secret = any(operand.has_secrets for operand in operands)
        if any(operand.has_unknowns for operand in operands):
            return Value(None, expression.range, secret=secret, unknown=True)
        return Value(compute(), expression.range, secret=secret)

    # References.

    def _access(self, source: Expression, access: Access) -> Value:
        """Follow a reference: through the expressions as long as they are objects and lists, then through values."""
        if access.path[0] == "imports":
            return self._access_value(source, Value(dict(self._imports), source.range), access.path[1:])
        if access.path[0] == "context":
            return self._access_value(source, self._context(source), access.path[1:])
        if access.path[0] == "environments" and len(access.path) > 2:
            value = self._import(f"{access.path[1]}/{access.path[2]}", source.range)
            if value is None:
                raise _UnknownError
            return self._access_value(source, value, access.path[3:])
        return self._access_expression(source, access)

    def _access_expression(self, source: Expression, access: Access) -> Value:
        receiver = self._root
        for depth, accessor in enumerate(access.path):
            if receiver.items is not None:
                receiver = receiver.items[self._index(source, accessor, len(receiver.items))]
            elif receiver.entries is not None:
                key = self._key(source, accessor)
                if key not in receiver.entries:
                    base = self._bases.get(receiver)
                    if base is None or not isinstance(base.content, dict):
                        self.complain(f'unknown property "{key}"', source.range)
                        raise _UnknownError
                    return self._access_value(source, base, access.path[depth:])
                receiver = receiver.entries[key]
            else:
                return self._access_value(source, self._evaluate(receiver), access.path[depth:])
        return self._evaluate(receiver)

    def _access_value(self, source: Expression, value: Value, path: tuple[Accessor, ...]) -> Value:
        for accessor in path:
            if value.unknown:
                return Value(None, source.range, secret=value.secret, unknown=True)
            if isinstance(value.content, list):
                value = value.content[self._index(source, accessor, len(value.content))]
            elif isinstance(value.content, dict):
                key = self._key(source, accessor)
                if key not in value.content:
                    self.complain(f'unknown property "{key}"', source.range)
                    raise _UnknownError
                value = value.content[key]
            else:
                self.complain("receiver must be an array or an object", source.range)
                raise _UnknownError
        return value

    def _index(self, source: Expression, accessor: Accessor, length: int) -> int:
        if isinstance(accessor, str):
            self.complain("cannot access an array element using a property name", source.range)
            raise _UnknownError
        if accessor >= length:
            summary = f"array index {accessor} out-of-bounds for array of length {length}"
            self.complain(summary, source.range)
            raise _UnknownError
        return accessor

    def _key(self, source: Expression, accessor: Accessor) -> str:
        if isinstance(accessor, int):
            self.complain("cannot access an object property using an integer index", source.range)
            raise _UnknownError
        return accessor

    def _context(self, source: Expression) -> Value:
        name = Value({"name": Value(self._name, source.range)}, source.range)
        return Value({"currentEnvironment": name, "rootEnvironment": name}, source.range)

    # Functions.

    def _call(self, expression: Expression, call: Call) -> Value:
        if call.name == "fn::secret":
            return self._secret(expression, call.argument)
        value = self._evaluate(call.argument)
        if call.name == "fn::final":
            return value
        if call.name not in _CONVERSIONS:
            raise _UnknownError
        convert = _CONVERSIONS[call.name]
        return self._computed(expression, [value], lambda: convert(self, expression, value))

    def _secret(self, expression: Expression, argument: Expression) -> Value:
        ciphertext = ciphertext_of(argument)
        if ciphertext is None:
            return Value(argument.literal, expression.range, secret=True)
        try:
            plaintext = self._cipher.decrypt(ciphertext)
        except CiphertextError as error:
            self.complain(f"invalid ciphertext: {error}", expression.range)
            return Value(None, expression.range, secret=True, unknown=True)
        if self._secrets is Secrets.UNKNOWN:
            return Value(None, expression.range, secret=True, unknown=True)
        return Value(plaintext, expression.range, secret=True)

    def string(self, source: Expression, value: Value) -> str:
        if isinstance(value.content, str):
            return value.content
        self.complain(f"expected string, got {_kind(value)}", source.range)
        raise _UnknownError

    def items(self, source: Expression, value: Value) -> list[Value]:
        if isinstance(value.content, list):
            return value.content
        self.complain(f"expected array, got {_kind(value)}", source.range)
        raise _UnknownError

    def undecodable(self, source: Expression, summary: str) -> _UnknownError:
        self.complain(summary, source.range)
        return _UnknownError()


def _merge(value: Value, base: Value | None) -> Value:
    """JSON merge patch: an object keeps what its base has and it doesn't; anything else replaces its base."""
    if base is None or value is base:
        return value
    if not isinstance(value.content, dict) or not isinstance(base.content, dict):
        return replace(value, base=base)
    merged = {
        key: _merge(value.content[key], base.content.get(key)) if key in value.content else base.content[key]
        for key in sorted({*value.content, *base.content})
    }
    return replace(value, content=merged, base=base)


def _content_to_json(content: Content) -> Any:
    if isinstance(content, dict):
        return {key: value.to_json() for key, value in content.items()}
    if isinstance(content, list):
        return [value.to_json() for value in content]
    return content


# The functions that make a value of their argument's.


def _to_json(_: _Evaluation, __: Expression, value: Value) -> Content:
    return json.dumps(value.plain(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _from_json(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    try:
        plain = json.loads(evaluation.string(source, value))
    except ValueError:
        raise evaluation.undecodable(source, "decoding JSON string: invalid JSON") from None
    return _from_plain(plain, source.range, value.has_secrets)


def _from_plain(plain: Any, place: Range, secret: bool) -> Content:
    if isinstance(plain, dict):
        return {key: Value(_from_plain(value, place, secret), place, secret) for key, value in plain.items()}
    if isinstance(plain, list):
        return [Value(_from_plain(value, place, secret), place, secret) for value in plain]
    scalar: Scalar = plain
    return scalar


def _to_base64(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    return base64.b64encode(evaluation.string(source, value).encode()).decode()


def _from_base64(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    try:
        return base64.b64decode(evaluation.string(source, value), validate=True).decode()
    except (binascii.Error, ValueError):
        raise evaluation.undecodable(source, "decoding base64 string: illegal base64 data") from None


def _concat(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    lists = [evaluation.items(source, item) for item in evaluation.items(source, value)]
    return [item for items in lists for item in items]


def _join(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    delimiter, values = evaluation.items(source, value)
    strings = [evaluation.string(source, item) for item in evaluation.items(source, values)]
    return evaluation.string(source, delimiter).join(strings)


def _split(evaluation: _Evaluation, source: Expression, value: Value) -> Content:
    delimiter, text = (evaluation.string(source, item) for item in evaluation.items(source, value))
    return [Value(part, source.range) for part in (text.split(delimiter) if delimiter else text)]


def _to_string(_: _Evaluation, __: Expression, value: Value) -> Content:
    return value.text()


_CONVERSIONS: dict[str, Callable[[_Evaluation, Expression, Value], Content]] = {
    "fn::concat": _concat,
    "fn::fromBase64": _from_base64,
    "fn::fromJSON": _from_json,
    "fn::join": _join,
    "fn::split": _split,
    "fn::toBase64": _to_base64,
    "fn::toJSON": _to_json,
    "fn::toString": _to_string,
}


def _number(literal: Scalar) -> Scalar:
    """ESC writes a whole number without a fraction, whatever it was written like."""
    if isinstance(literal, float) and math.isfinite(literal) and literal.is_integer() and abs(literal) < 1e21:
        return int(literal)
    return literal


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _kind(value: Value) -> str:
    if isinstance(value.content, bool):
        return "boolean"
    if isinstance(value.content, dict):
        return "object"
    if isinstance(value.content, list):
        return "array"
    return {type(None): "null", str: "string"}.get(type(value.content), "number")


def _nowhere(name: str) -> Range:
    return Range(name, (0, 0, 0), (0, 0, 0))
