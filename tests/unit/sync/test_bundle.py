"""Turn the settings into the keys that ESC should hold."""

from __future__ import annotations

from sophia_sync.esc.definition import Exported
from sophia_sync.settings import inputs
from sophia_sync.sync.bundle import Bundle, make_bundle
from tests.support.inputs import VALID, as_runner, environment


def bundle_of(**more: str) -> Bundle:
    with environment(as_runner(VALID | {name.replace("_", "-"): value for name, value in more.items()})):
        return make_bundle(inputs.load()[0])


def test_credentials_are_encrypted_and_slugs_are_not() -> None:
    entries = bundle_of(sentry_client_secret="whsec").entries
    assert [(entry.name, entry.value.get_secret_value(), entry.secret) for entry in entries] == [
        ("SENTRY_DSN", VALID["sentry-dsn"], True),
        ("SENTRY_API_TOKEN", VALID["sentry-api-token"], True),
        ("SENTRY_ORGANIZATION_SLUG", VALID["sentry-organization-slug"], False),
        ("SENTRY_PROJECT_SLUG", VALID["sentry-project-slug"], False),
        ("SENTRY_CLIENT_SECRET", "whsec", True),
    ]


def test_an_unset_client_secret_is_left_out_so_that_esc_keeps_what_it_holds() -> None:
    assert "SENTRY_CLIENT_SECRET" not in bundle_of().names
    assert bundle_of().names == bundle_of(sentry_client_secret=" ").names


def test_further_keys_come_after_ours() -> None:
    entries = bundle_of(extra_secrets="B='second'\nA=first", extra_variables="C=three").entries[4:]
    assert [(entry.name, entry.value.get_secret_value(), entry.secret) for entry in entries] == [
        ("B", "second", True),
        ("A", "first", True),
        ("C", "three", False),
    ]


def test_every_key_is_exported_by_a_reference_to_itself() -> None:
    entries = bundle_of(export_environment_variables="true", extra_secrets="A=first").entries
    keys = [entry.name for entry in entries if isinstance(entry.name, str)]
    exported = {entry.name: entry for entry in entries if isinstance(entry.name, Exported)}
    assert [name.key for name in exported] == keys
    assert len(keys) == 5
    assert exported[Exported("A")].value.get_secret_value() == "${A}"
    assert not any(entry.secret for entry in exported.values())


def test_no_value_is_shown() -> None:
    assert VALID["sentry-dsn"] not in repr(bundle_of())
