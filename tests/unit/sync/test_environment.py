"""When a definition may be changed as planned, and why a revision is wrong. tests/cli uses the real CLI."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from sophia_sync.esc import shown
from sophia_sync.esc.editor import Stored
from sophia_sync.esc.messages import FINAL
from sophia_sync.esc.shown import Holding, Shown
from sophia_sync.runtime.errors import ConflictError, DefinitionError
from sophia_sync.sync import environment as sync
from sophia_sync.sync.bundle import Bundle, Entry
from sophia_sync.sync.environment import why_wrong
from sophia_sync.sync.plan import OVERRIDDEN

BUNDLE = Bundle(
    (
        Entry("SENTRY_DSN", SecretStr("canary-dsn"), secret=True),
        Entry("SENTRY_PROJECT_SLUG", SecretStr("web"), secret=False),
    )
)


def holding(text: str) -> Holding:
    return shown.holding(Shown(text), BUNDLE.names)


def as_planned(stored: str, read: str) -> str:
    return sync.as_planned(Stored(stored), holding(read), BUNDLE, "a/b/c").text


class TestMayBeChangedAsPlanned:
    """Compare the decrypted definition that was read with the encrypted one that is stored."""

    @pytest.mark.parametrize(
        ("read", "stored"),
        [
            ("", ""),
            ("values: {}\n", "values:\n"),
            ("values:\n  A: 1\n", "values:\n  A: 2\n"),
            ("values:\n  A: 1\n", "values:\n  B: 2\n"),
            ("values:\n  SENTRY_DSN: plain\n", "values: {SENTRY_DSN: 'plain'}\n"),
            ("values:\n  SENTRY_DSN: ${a}\n", "values:\n  SENTRY_DSN: ${a}\n"),
            (
                "values:\n  SENTRY_DSN:\n    fn::secret: x\n",
                "values:\n  SENTRY_DSN: {fn::secret: {ciphertext: eA==}}\n",
            ),
        ],
    )
    def test_our_keys_are_as_they_were_read(self, read: str, stored: str) -> None:
        assert as_planned(stored, read) == stored

    @pytest.mark.parametrize(
        ("read", "stored"),
        [
            ("values: {A: 1}\n", "values: {A: 1, SENTRY_DSN: new}\n"),
            ("values: {SENTRY_DSN: old}\n", "values: {A: 1}\n"),
            ("values: {SENTRY_DSN: old}\n", "values: {SENTRY_DSN: new}\n"),
            ("values: {SENTRY_DSN: old}\n", "values: {SENTRY_DSN: {fn::secret: {ciphertext: eA==}}}\n"),
            ("values: {SENTRY_DSN: {fn::secret: old}}\n", "values: {SENTRY_DSN: old}\n"),
            ("values: {SENTRY_DSN: {fn::secret: old}}\n", "values: {SENTRY_DSN: '${other}'}\n"),
            ("values: {SENTRY_PROJECT_SLUG: web}\n", "values: {SENTRY_PROJECT_SLUG: 12}\n"),
        ],
    )
    def test_somebody_else_changed_one(self, read: str, stored: str) -> None:
        with pytest.raises(ConflictError, match="between our read and our write"):
            as_planned(stored, read)

    def test_esc_s_own_diagnostic_is_told(self) -> None:
        stored = Stored("values:\n  A: ${missing}\n", ('unknown property "missing"',))
        with pytest.raises(DefinitionError, match='compared: unknown property "missing"'):
            sync.as_planned(stored, holding(""), BUNDLE, "a/b/c")

    def test_a_text_that_is_no_definition(self) -> None:
        with pytest.raises(DefinitionError):
            as_planned("values: [", "")


class TestWhyARevisionIsWrong:
    def test_an_import_that_declares_a_key_final(self) -> None:
        what, todo = why_wrong({"SENTRY_DSN": OVERRIDDEN, "A": "missing"}, (FINAL,))
        assert "SENTRY_DSN (it is written, but consumers get another value)" in what
        assert f"ESC warned: {FINAL}" in what
        assert "fn::final" in todo

    @pytest.mark.parametrize("warnings", [(), (FINAL,)])
    def test_anything_else(self, warnings: tuple[str, ...]) -> None:
        what, todo = why_wrong({"SENTRY_DSN": "missing"}, warnings)
        assert what == "what it holds isn't what was sent: SENTRY_DSN (missing)."
        assert "history" in todo
