"""Run the parts of `doctor` in this process, and return the checks of each."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from sophia_sync.console.diagnosis import Check, Section
from sophia_sync.console.doctor import esc, github
from sophia_sync.console.screen import Screen
from sophia_sync.console.session import Session, session
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.tasks import in_thread
from sophia_sync.sync.bundle import SENTRY_KEYS
from tests.support.inputs import environment
from tests.support.laptop import SYNC_WORKFLOW, Laptop

T = TypeVar("T")


def looked(laptop: Laptop, look: Callable[[Session], Awaitable[T]], **changes: str | None) -> T:
    """Return what `look` finds in a session with the laptop's variables."""

    async def run() -> T:
        screen = Screen(Redactor(), out=io.StringIO(), err=io.StringIO())
        async with session(screen, {}) as looking:
            return await look(looking)

    with environment(laptop.with_variables(changes)):
        return anyio.run(run)


def by_name(sections: Iterable[Section]) -> dict[str, Check]:
    """Return the checks by name; each name must occur only once."""
    checks = [check for section in sections for check in section.checks]
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    for check in checks:
        assert check.what, check
    return found


def esc_checks(laptop: Laptop, limit: int = 20, **changes: str | None) -> dict[str, Check]:
    """Return the checks of Pulumi, of the environment and of the values in it."""
    return by_name(looked(laptop, lambda session: esc.sections(session, list(SENTRY_KEYS), limit), **changes))


def github_checks(laptop: Laptop, **changes: str | None) -> tuple[dict[str, Check], dict[str, Check]]:
    """Return the checks of the workflows, and those of the secrets."""
    workflows, secrets = looked(
        laptop, lambda session: in_thread(lambda: github.sections(session, SYNC_WORKFLOW)), **changes
    )
    return by_name([workflows]), by_name([secrets])
