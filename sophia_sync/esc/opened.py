"""Parse the evaluated values of an environment, as `env open --format detailed` prints them for a consumer.

Source: github.com/pulumi/esc v0.26.0, `value.go`: every value is an object with `value`, `secret` and `unknown`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic import SecretStr

Node: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """One value. No `repr` shows it, secret or not.

    Args:
        text: The value: a string as it is, `true`, `false` or a number as YAML has it, a list or an object as JSON.
        secrets: The strings and numbers in it that ESC keeps encrypted.
    """

    text: SecretStr
    secrets: tuple[SecretStr, ...] = ()


def parse(printed: str) -> dict[str, Opened]:
    """Return the values by key. One that is null or not known yet is left out.

    Raises:
        ValueError: It isn't what `env open` prints. The error may quote a value.
    """
    try:
        values = json.loads(printed, parse_float=Decimal)["value"]
        return {
            key: Opened(SecretStr(_text(_plain(node))), tuple(SecretStr(secret) for secret in _secrets(node)))
            for key, node in values.items()
            if not node.get("unknown") and node.get("value") is not None
        }
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("not the values of an environment") from error


def _text(value: Any) -> str:
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, default=float, ensure_ascii=False)


def _plain(node: Node) -> Any:
    """Return the value without its metadata."""
    match node.get("value"):
        case dict(entries):
            return {key: _plain(entry) for key, entry in entries.items()}
        case list(items):
            return [_plain(item) for item in items]
        case scalar:
            return scalar


def _secrets(node: Node) -> Iterator[str]:
    # ESC also marks each part of a secret list or object. Skip `true` and `false`, which occur in every text.
    match node.get("value"):
        case dict(entries):
            for entry in entries.values():
                yield from _secrets(entry)
        case list(items):
            for item in items:
                yield from _secrets(item)
        case str() | int() | Decimal() as scalar if node.get("secret") and not isinstance(scalar, bool):
            yield str(scalar)
