"""Values survive exactly: what goes in as an input comes out of the real `pulumi env open`."""

from __future__ import annotations

import random

import pytest

from tests.support.action import Action
from tests.support.definitions import value as random_value
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

# Text that breaks naive writers of YAML, shell commands and workflow commands.
EVERYTHING = "\n".join(
    [
        "-----BEGIN EC PRIVATE KEY-----",
        "MHcCAQEEIBase64+/=",
        "-----END EC PRIVATE KEY-----",
        """it's "quoted" 'twice' ""and"" ''again''""",
        "ab #cd # ef",
        "a: b:c ::d",
        "%41 %0A 100% %%",
        "\\ \\\\ \\n \\x41 C:\\new",
        "é ü 日本語 🔑 \u2028 \x85 \ufeff end",
        "a\x01\x1b[31m\x7f\tb",
        "---",
        "{fn::secret: x}",
        "- &a *a !t |",
        ">",
        "$a $$b $(c) `d` $",
        "::error::x",
        "##[error]y",
        "$HOME `id` $(id) ; | & > < * ?",
        "one\r",
        "\r",
        "  end",
    ]
)
# Values that a naive writer doesn't write as strings.
ALONE = ["@/etc/passwd", "0123", "12345", "true", "null", "2001-01-01", "---\n---\nx\n---"]
LARGE = "".join(random.Random(64).choices("abcdefghij klmnop\n'\"\\#:%{}é", k=60_000)).strip()  # noqa: S311
LARGE = f"{LARGE}{'x' * (65_536 - len(LARGE.encode()))}"


def synced(action: Action, value: str) -> None:
    ran = action.run(sentry_client_secret=value)
    assert (value, ran.code, ran.outputs.get("result")) == (value, 0, "synced")
    assert action.is_encrypted("SENTRY_CLIENT_SECRET")


@pytest.mark.full
@pytest.mark.parametrize("value", [EVERYTHING, LARGE], ids=["everything", "64 KiB"])
def test_a_secret_through_a_sync_and_back(action: Action, value: str) -> None:
    action.create("values:\n  A: 1\n")
    synced(action, value)
    assert action.open()["SENTRY_CLIENT_SECRET"] == value
    assert action.run(sentry_client_secret=value).outputs["result"] == "unchanged"


@pytest.mark.full
def test_each_secret_in_the_place_of_another(action: Action) -> None:
    action.create("values:\n  A: 1\n")
    for value in ALONE:
        synced(action, value)
        assert action.values["SENTRY_CLIENT_SECRET"] == value


@pytest.mark.full
def test_random_secrets(action: Action) -> None:
    action.create("values:\n  A: 1\n")
    rng = random.Random(17)  # noqa: S311 - the same each time
    for _ in range(5):
        value = f"q{random_value(rng)}q"
        synced(action, value)
        assert action.values["SENTRY_CLIENT_SECRET"] == value


@pytest.mark.parametrize("slug", ["0123", "true", "null"])
def test_a_slug_that_yaml_would_take_for_something_else(action: Action, slug: str) -> None:
    action.create()
    assert action.run(sentry_project_slug=slug).code == 0
    assert action.values["SENTRY_PROJECT_SLUG"] == slug
    assert action.run(sentry_project_slug=slug).outputs["result"] == "unchanged"


def test_a_value_that_the_cli_showed_otherwise_is_still_the_same(action: Action) -> None:
    """The CLI reformats what it shows: a plain `0123` in ESC is a number, not our slug."""
    action.create("values:\n  SENTRY_PROJECT_SLUG: 0123\n")
    ran = action.run(sentry_project_slug="0123")
    assert "SENTRY_PROJECT_SLUG" in ran.outputs["changed-keys"]
    assert action.values["SENTRY_PROJECT_SLUG"] == "0123"
    assert action.values["SENTRY_DSN"] == VALID["sentry-dsn"]
