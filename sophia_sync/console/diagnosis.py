"""The checks of `doctor`, each with its state, what was found, and the next step. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sophia_sync.runtime.redact import Redactor


class State(StrEnum):
    """How a check ended."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One thing that `doctor` looked at.

    Attributes:
        name: What was looked at.
        state: The result.
        what: What was found, or why it was not checked; no secret's value.
        todo: The exact next step; empty if there is none.
    """

    name: str
    state: State
    what: str
    todo: str = ""


@dataclass(frozen=True)
class Section:
    """Checks of one place, such as an environment."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `doctor` looked at."""

    sections: tuple[Section, ...]

    def count(self, state: State) -> int:
        return sum(check.state is state for section in self.sections for check in section.checks)

    @property
    def ok(self) -> bool:
        """Whether nothing is bad."""
        return not self.count(State.BAD)

    def json(self, redact: Redactor) -> dict[str, object]:
        """Return what `doctor --json` prints. Only `what` and `todo` can hold a service's words."""
        return {
            "ok": self.ok,
            "counts": {state.value: self.count(state) for state in State},
            "checks": [
                {
                    "section": section.name,
                    "name": check.name,
                    "state": check.state.value,
                    "what": redact(check.what),
                    "todo": redact(check.todo),
                }
                for section in self.sections
                for check in section.checks
            ],
            "error": None,
        }


def summary(states: Sequence[State]) -> str:
    """Return the number of lines in each state, as one sentence."""
    counts = {state: states.count(state) for state in State}
    words = {state: state.value for state in State}
    if counts[State.WARNING] != 1:
        words[State.WARNING] = "warnings"
    return ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count) + "."


def good(name: str, what: str, todo: str = "") -> Check:
    return Check(name, State.GOOD, what, todo)


def warning(name: str, what: str, todo: str) -> Check:
    return Check(name, State.WARNING, what, todo)


def bad(name: str, what: str, todo: str) -> Check:
    return Check(name, State.BAD, what, todo)


def not_checked(name: str, why: str, todo: str = "") -> Check:
    return Check(name, State.NOT_CHECKED, why, todo)


def none_of(names: Sequence[str], why: str, todo: str = "") -> list[Check]:
    """Mark the check of each name as not checked, all for one reason. The first holds the next step."""
    return [not_checked(name, why, "" if number else todo) for number, name in enumerate(names)]
