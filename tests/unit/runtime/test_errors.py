"""What a person and a script learn from an error."""

from __future__ import annotations

import pytest

from sophia_sync.runtime import errors
from sophia_sync.runtime.errors import InputError, SyncError


def test_the_text_says_what_failed_and_what_to_do() -> None:
    error = SyncError("It failed.", "Run again.")
    assert (error.what, error.todo, str(error)) == ("It failed.", "Run again.", "It failed. Run again.")


def test_several_problems_are_a_list() -> None:
    error = InputError(["`a` is odd. Mend it.", "`b` is odd. Mend it."])
    assert str(error) == (
        "2 inputs need attention:\n- `a` is odd. Mend it.\n- `b` is odd. Mend it.\n"
        "Nothing was contacted and nothing was changed.\nCorrect this, and run again."
    )


def test_one_problem_is_a_sentence() -> None:
    assert str(InputError(["`a` is odd. Mend it."])) == (
        "`a` is odd. Mend it. Nothing was contacted and nothing was changed. Correct this, and run again."
    )


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.SyncError, 70),
        (errors.InputError, 2),
        (errors.EscError, 4),
        (errors.ConflictError, 4),
        (errors.DefinitionError, 4),
        (errors.VerificationError, 5),
        (errors.DeployError, 6),
    ],
)
def test_the_exit_code_says_how_far_a_run_came(kind: type[SyncError], exit_code: int) -> None:
    assert kind.exit_code == exit_code
    assert kind.title
