"""What a sync sets back, where consumers get something else than was sent, as consumers then see it."""

from __future__ import annotations

import pytest

from tests.support.action import Action

FINAL = "values:\n  SENTRY_DSN:\n    fn::final: theirs\n  environmentVariables:\n    IMPORTED: from-the-import\n"


@pytest.mark.parametrize(
    "before", ["imports:\n  - {}\n", "imports:\n  - {}\nvalues:\n  A: 1\n", "imports:\n  - {}\nvalues: {{}}\n"]
)
def test_beside_another_writer_is_all_that_was_ours(action: Action, before: str) -> None:
    """An empty `values:` is refused by ESC, and an empty `environmentVariables:` hides the imported ones."""
    action.box.esc.create(f"{action.environment}-final", FINAL)
    action.create(before.format(f"{action.environment}-final".split("/", 1)[1]))
    values, stored = action.values, action.stored
    by_others = "# by others\n"
    action.box.esc.after(
        f"PATCH .*{action.environment}",
        lambda: action.box.esc.save(action.environment, by_others + action.box.esc.definition(action.environment)),
    )
    ran = action.run(export_environment_variables="true")
    assert ran.code == 5, ran.log
    assert "Our keys were set back to what they were" in ran.annotations[0]
    assert action.values == values
    assert action.stored == by_others + stored
