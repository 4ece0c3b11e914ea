"""Parse JSON that others wrote."""

from __future__ import annotations

import json
from typing import Any


def parsed_json(content: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It isn't JSON, or is nested too deeply for Python.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
