"""When a text may be changed as planned, and when what ESC holds is what was sent. With the real CLI: tests/cli."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from sophia_sync import environment as sync
from sophia_sync.bundle import Bundle, Entry
from sophia_sync.errors import ConflictError, DefinitionError
from sophia_sync.esc import definition
from sophia_sync.esc.definition import Name
from sophia_sync.environment import Holding

BUNDLE = Bundle(
    (
        Entry("SENTRY_DSN", SecretStr("canary-dsn"), secret=True),
        Entry("SENTRY_PROJECT_SLUG", SecretStr("web"), secret=False),
    )
)


def holding(text: str) -> Holding:
    document = definition.parse(text)
    return Holding(document.held(BUNDLE.names), not document.keys)


class TestMayBeChangedAsPlanned:
    """What was read, decrypted, against what is stored, encrypted."""

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
        document = sync._as_planned(stored, holding(read), BUNDLE)
        assert document.text == stored

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
            sync._as_planned(stored, holding(read), BUNDLE)

    def test_an_environment_that_the_cli_shows_nothing_of(self) -> None:
        with pytest.raises(ConflictError, match="can't evaluate") as error:
            sync._as_planned("values:\n  A: ${missing}\n", holding(""), BUNDLE)
        assert "`pulumi env open`" in error.value.todo

    def test_a_text_that_is_no_definition(self) -> None:
        with pytest.raises(DefinitionError):
            sync._as_planned("values: [", holding(""), BUNDLE)


RIGHT = {"SENTRY_DSN": '{fn::secret: "canary-dsn"}', "SENTRY_PROJECT_SLUG": "web"}


class TestWhatEscHoldsIsWhatWasSent:
    def differing(self, changes: Mapping[str, str | None]) -> dict[Name, str]:
        entries = [f"{key}: {value}" for key, value in {**RIGHT, **changes}.items() if value is not None]
        return sync._differing(BUNDLE, holding(f"values: {{{', '.join(entries)}}}\n").entries)

    def test_every_key_is_right(self) -> None:
        assert self.differing({}) == {}
        assert self.differing({"ANOTHER": "1"}) == {}

    @pytest.mark.parametrize(
        ("changes", "wrong"),
        [
            ({"SENTRY_DSN": None}, {"SENTRY_DSN": "missing"}),
            ({"SENTRY_DSN": "{fn::secret: canary-ds}"}, {"SENTRY_DSN": "another value"}),
            ({"SENTRY_DSN": "canary-dsn"}, {"SENTRY_DSN": "not encrypted"}),
            ({"SENTRY_PROJECT_SLUG": "{fn::secret: web}"}, {"SENTRY_PROJECT_SLUG": "encrypted"}),
            ({"SENTRY_PROJECT_SLUG": "'${web}'"}, {"SENTRY_PROJECT_SLUG": "another value"}),
            (
                {"SENTRY_DSN": None, "SENTRY_PROJECT_SLUG": "12"},
                {"SENTRY_DSN": "missing", "SENTRY_PROJECT_SLUG": "another value"},
            ),
        ],
    )
    def test_a_key_that_is_not_is_named_without_its_value(
        self, changes: dict[str, str | None], wrong: dict[str, str]
    ) -> None:
        found = self.differing(changes)
        assert found == wrong
        assert "canary" not in sync._listed(found)
