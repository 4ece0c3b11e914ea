"""JSON that others wrote."""

from __future__ import annotations

import json
from typing import Any


def parsed_json(content: bytes) -> Any:
    """What JSON text says.

    Raises:
        ValueError: It is none, or is nested deeper than Python takes.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
