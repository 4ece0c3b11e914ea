"""The list of environments → the legs of the matrix. Pure; everything that is wrong is told at once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sophia_sync import checks
from sophia_sync.errors import InputError

MOST_LEGS = 256
"""The jobs that GitHub makes of a matrix at most. Source: docs.github.com, "Actions limits"."""

# GitHub allows more; these are safe in a job's name, a concurrency group and a Markdown table.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,254}")
_KEYS = ("environment", "esc-environment")
_FORM = '[{"environment": "production", "esc-environment": "acme/default/production"}]'
_SPLIT = (
    'Give several ESC environments to one entry, "esc-environment": ["acme/default/a", "acme/default/b"]: they get '
    "the secrets of that GitHub environment and are synced eight at a time. Or split the list over several workflows."
)


@dataclass(frozen=True)
class Leg:
    """One job of the matrix: a GitHub environment, and the ESC environments that get its secrets."""

    environment: str
    esc_environments: tuple[str, ...]


def parse(text: str) -> tuple[Leg, ...]:
    """Read the input `environments`.

    Raises:
        InputError: With every problem of every entry.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError([f"`environments` is no JSON. Give a list such as {_FORM}."]) from None
    if not isinstance(entries, list) or not entries:
        raise InputError([f"`environments` is no list with at least one entry. Give one such as {_FORM}."])
    problems: list[str] = []
    if len(entries) > MOST_LEGS:
        problems.append(
            f"`environments` has {len(entries)} entries; GitHub makes at most {MOST_LEGS} jobs of a matrix. {_SPLIT}"
        )
    legs = []
    for number, entry in enumerate(entries, 1):
        try:
            legs.append(_leg(entry))
        except ValueError as error:
            problems.append(f"Entry {number} of `environments` {error}.")
    problems += _twice([leg.environment.lower() for leg in legs], "GitHub environment", _SPLIT)
    problems += _twice(
        [name for leg in legs for name in leg.esc_environments],
        "ESC environment",
        "Two legs would write to it, each its own secrets: give it to one.",
    )
    if problems:
        raise InputError(problems)
    return tuple(legs)


def matrix(legs: Sequence[Leg]) -> str:
    """The value of `strategy.matrix`; several ESC environments are one a line, as the action takes them."""
    rows = [{"environment": leg.environment, "esc-environment": "\n".join(leg.esc_environments)} for leg in legs]
    return json.dumps({"include": rows})


def names(legs: Sequence[Leg]) -> str:
    """The GitHub environments alone, which `gather` needs: the matrix may be too long for a variable."""
    return json.dumps([leg.environment for leg in legs])


def count(legs: Sequence[Leg]) -> str:
    """One line for the log."""
    environments = sum(len(leg.esc_environments) for leg in legs)
    return f"Legs of the matrix: {len(legs)}; ESC environments: {environments}"


def _leg(entry: Any) -> Leg:
    if not isinstance(entry, dict):
        raise ValueError('is no object with "environment" and "esc-environment"')
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise ValueError(f'has {", ".join(map(repr, unknown))}; it takes "environment" and "esc-environment" only')
    name = entry.get("environment")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(" "):
        raise ValueError(
            'has no "environment" of letters, digits, blanks and . _ / -, the name of a GitHub environment'
        )
    given = entry.get("esc-environment")
    lines: list[Any] = given if isinstance(given, list) else [given]
    if not lines or not all(isinstance(line, str) for line in lines):
        raise ValueError(f'({name}) has no "esc-environment", organisation/project/environment, or a list of them')
    try:
        return Leg(name, checks.environments("\n".join(lines)))
    except ValueError as error:
        raise ValueError(f'({name}) has an "esc-environment" that {error}') from None


def _twice(found: Sequence[str], kind: str, todo: str) -> list[str]:
    twice = sorted(one for one, count in Counter(found).items() if count > 1)
    return [f"`environments` has the {kind} {', '.join(twice)} twice. {todo}"] if twice else []
