"""`doctor`: check the values that ESC holds, and ask Sentry about them. No value is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from sophia_sync.console.diagnosis import Check, State, bad, good, none_of, not_checked, warning
from sophia_sync.console.session import Session
from sophia_sync.esc.opened import Opened
from sophia_sync.runtime.errors import EscError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import checks as inputs_checks
from sophia_sync.sync.bundle import OPTIONAL_KEYS, SENTRY_KEYS

CONSUMERS, VALUES, SENTRY = "consumers' view", "values", "Sentry"
NAMES = (CONSUMERS, VALUES, SENTRY)

_CHECKS: Mapping[str, Callable[[str], str]] = {
    "SENTRY_DSN": inputs_checks.dsn,
    "SENTRY_API_TOKEN": inputs_checks.sentry_token,
    "SENTRY_ORGANIZATION_SLUG": inputs_checks.organization_slug,
    "SENTRY_PROJECT_SLUG": inputs_checks.project_slug,
    "SENTRY_CLIENT_SECRET": inputs_checks.secret,
}
_NEEDED = [key for key in SENTRY_KEYS if key not in OPTIONAL_KEYS]
_CREDENTIALS = [key for key, secret in SENTRY_KEYS.items() if secret]
_REPAIR = "Correct it where it comes from, GitHub's organization secrets, and sync."


async def checks(session: Session, opened: Mapping[str, Opened] | EscError) -> list[Check]:
    """Return the checks of the values that consumers get: their form, and Sentry's view of them."""
    if isinstance(opened, EscError):
        return [bad(CONSUMERS, opened.what, opened.todo), *none_of([VALUES, SENTRY], "The values can't be opened.")]
    values = {key: opened[key].text for key in SENTRY_KEYS if key in opened}
    for key in _CREDENTIALS:
        if key in values:  # it may be in plain text, and `open_values` hides only encrypted values
            session.screen.redact.add(values[key])
    found = [_consumers(values), _agree(values)]
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        return [*found, not_checked(SENTRY, f"Without {', '.join(missing)} there is nothing to show to Sentry.")]
    if found[-1].state is not State.GOOD:
        return [*found, not_checked(SENTRY, "What is malformed is not shown to Sentry.")]
    return [*found, *await _asked(session, values)]


def _consumers(values: Mapping[str, SecretStr]) -> Check:
    there = [key for key in _NEEDED if key in values]
    if len(there) == len(_NEEDED):
        return good(CONSUMERS, "`pulumi env open` gives all that the backend and the MCP server need")
    missing = ", ".join(key for key in _NEEDED if key not in values)
    return bad(CONSUMERS, f"`pulumi env open` gives no {missing}", "`sophia-sync sync` writes what is missing.")


def _agree(values: Mapping[str, SecretStr]) -> Check:
    """Check that each value has the form of its key, and that no two are the same."""
    wrong = [f"{key} {problem}" for key, value in values.items() if (problem := _problem(key, value))]
    credentials = [key for key in _CREDENTIALS if key in values]
    wrong += [
        f"{first} and {second} hold the same value"
        for place, first in enumerate(credentials)
        for second in credentials[place + 1 :]
        if values[first].get_secret_value() == values[second].get_secret_value()
    ]
    if wrong:
        return bad(VALUES, "; ".join(wrong), _REPAIR)
    if not values:
        return not_checked(VALUES, "There are none.")
    return good(VALUES, "each is of the form that its key asks for, and no credential stands in two places")


def _problem(key: str, value: SecretStr) -> str | None:
    text = value.get_secret_value()
    if text != text.strip():
        return "has white space at its ends"
    try:
        _CHECKS[key](text)
    except ValueError as error:
        return str(error)
    return None


async def _asked(session: Session, values: Mapping[str, SecretStr]) -> list[Check]:
    """Ask Sentry about the values that ESC holds. Return the checks."""
    from sophia_sync import preflight  # noqa: PLC0415 - it brings `requests`

    texts = {key: value.get_secret_value() for key, value in values.items()}
    verdict = await preflight.check(
        session.access.sentry_url,
        values["SENTRY_API_TOKEN"],
        values["SENTRY_DSN"],
        texts["SENTRY_ORGANIZATION_SLUG"],
        texts["SENTRY_PROJECT_SLUG"],
    )
    hide = Redactor(value for value in values.values() if value.get_secret_value() not in _host(session))

    def told(text: str) -> str:
        # ESC's values aren't new. Hide slugs, too, unless they are a part of Sentry's host name.
        return hide(text.replace("the new ", "the "))

    found = [bad(SENTRY, told(refusal.what), told(refusal.todo)) for refusal in verdict.refusals]
    found += [warning(SENTRY, told(each), _REPAIR) for each in verdict.warnings]
    if verdict.unknown is not None:
        todo = "Run it again where Sentry can be reached; a self-hosted one is named by --sentry-url."
        found.append(not_checked(SENTRY, told(verdict.unknown), todo))
    return found or [
        good(SENTRY, "accepts the token with all scopes, shows the project, and the DSN is an active key of it")
    ]


def _host(session: Session) -> str:
    return urlsplit(session.access.sentry_url).hostname or ""
