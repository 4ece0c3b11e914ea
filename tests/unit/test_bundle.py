"""The settings → the keys that ESC should hold."""

from __future__ import annotations

from sophia_sync import inputs
from sophia_sync.bundle import Bundle, make_bundle
from tests.support.inputs import VALID, as_runner, environment


def bundle_of(**more: str) -> Bundle:
    with environment(as_runner(VALID | {name.replace("_", "-"): value for name, value in more.items()})):
        return make_bundle(inputs.load()[0])


def test_credentials_are_encrypted_and_slugs_are_not() -> None:
    entries = bundle_of(sentry_client_secret="whsec").entries
    assert [(entry.key, entry.value.get_secret_value(), entry.secret) for entry in entries] == [
        ("SENTRY_DSN", VALID["sentry-dsn"], True),
        ("SENTRY_API_TOKEN", VALID["sentry-api-token"], True),
        ("SENTRY_ORGANIZATION_SLUG", VALID["sentry-organization-slug"], False),
        ("SENTRY_PROJECT_SLUG", VALID["sentry-project-slug"], False),
        ("SENTRY_CLIENT_SECRET", "whsec", True),
    ]


def test_an_unset_client_secret_is_left_out_so_that_esc_keeps_what_it_holds() -> None:
    assert "SENTRY_CLIENT_SECRET" not in bundle_of().keys
    assert bundle_of().keys == bundle_of(sentry_client_secret=" ").keys


def test_no_value_is_shown() -> None:
    assert VALID["sentry-dsn"] not in repr(bundle_of())
