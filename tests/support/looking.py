"""`doctor`'s parts in this process: what each finds, check by check."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator

from sophia_sync.process import Deadline

from sophia_sync.bundle import SENTRY_KEYS
from sophia_sync.console.diagnosis import Check, Section
from sophia_sync.console.doctor import esc, github
from sophia_sync.console.screen import Screen
from sophia_sync.console.session import Session, session
from sophia_sync.redact import Redactor
from tests.support.inputs import environment
from tests.support.laptop import SYNC_WORKFLOW, Laptop


@contextlib.contextmanager
def looking(laptop: Laptop, **changes: str | None) -> Iterator[Session]:
    """A session with the laptop's variables."""
    with environment(laptop.with_variables(changes)):
        screen = Screen(Redactor(), out=io.StringIO(), err=io.StringIO())
        with session(screen, {}, Deadline(60)) as looking:
            yield looking


def by_name(sections: Iterable[Section]) -> dict[str, Check]:
    """The checks by their names; the sections that are looked at together have each name once."""
    checks = [check for section in sections for check in section.checks]
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    for check in checks:
        assert check.what, check
    return found


def esc_checks(laptop: Laptop, limit: int = 20, **changes: str | None) -> dict[str, Check]:
    """What is found about Pulumi, the environment and the values in it."""
    with looking(laptop, **changes) as session:
        return by_name(esc.sections(session, list(SENTRY_KEYS), limit))


def github_checks(laptop: Laptop, **changes: str | None) -> tuple[dict[str, Check], dict[str, Check]]:
    """What is found about the workflows, and about the secrets."""
    with looking(laptop, **changes) as session:
        workflows, secrets = github.sections(session, SYNC_WORKFLOW)
    return by_name([workflows]), by_name([secrets])
