"""Parse JSON that others wrote."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100
"""Maximum depth of nested values. It is far below the depth at which Python's own functions fail."""
_LONGEST_NUMBER = 30
"""Maximum length of an integer, in characters. Python refuses to parse those with thousands of digits."""


def parsed_json(content: bytes) -> Any:
    """Parse JSON so that every value in it can be worked on and written as JSON again.

    A number that Python or JSON can't hold, such as `NaN`, becomes a text. A value below `DEEPEST` becomes `…`.

    Raises:
        ValueError: It isn't JSON, or is nested too deeply even for the parser.
    """
    try:
        return _cut(json.loads(content, parse_int=_integer, parse_float=_fraction, parse_constant=str), DEEPEST)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else digits


def _fraction(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _cut(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return "…"
    if isinstance(value, dict):
        return {name: _cut(inner, levels - 1) for name, inner in value.items()}
    return [_cut(inner, levels - 1) for inner in value]
