"""Parse what `env open` prints."""

from __future__ import annotations

import pytest

from sophia_sync.esc import opened

DEEP = 100_000


@pytest.mark.parametrize(
    "printed", ["", "[]", "{}", "[" * DEEP, '{"value":{"A":' + '{"value":[' * DEEP + "]}" * DEEP + "}}"]
)
def test_other_output_is_refused(printed: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text may quote a value, and is never shown
        opened.parse(printed)
