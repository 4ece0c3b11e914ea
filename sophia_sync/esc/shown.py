"""Parse what `env get ENV --show-secrets` prints: what consumers get, and what is written.

Source: github.com/pulumi/esc v0.26.0, `cmd/esc/cli/templates/env-get.tmpl` and `env_get.go`: off a terminal, the CLI
prints the evaluated values as JSON, then the definition as YAML, then a line break. For an empty definition that is
the line break alone. For one that ESC can't evaluate, it prints nothing at all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from sophia_sync.esc import definition
from sophia_sync.esc.definition import ENVIRONMENT_VARIABLES, Exported, Held, Name

_VALUE = "# Value\n```json\n"
_DEFINITION = "# Definition\n```yaml\n"
_END = "\n```\n"


class UnknownOutputError(ValueError):
    """Raised for output that `env get` doesn't print. Its text quotes nothing."""


@dataclass(frozen=True)
class Shown:
    """An environment as the CLI shows it. No `repr` shows a value.

    Attributes:
        definition: The decrypted definition.
        values: The evaluated values; strings, numbers, booleans, lists and mappings as JSON has them.
        is_evaluated: False where the CLI printed nothing.
    """

    definition: str = field(default="", repr=False)
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_evaluated: bool = True


def parse(printed: str) -> Shown:
    """Parse what the CLI printed.

    Raises:
        UnknownOutputError: It isn't the output of `env get`.
    """
    if not printed:
        return Shown(is_evaluated=False)
    values: Mapping[str, Any] = {}
    rest = printed.removesuffix("\n")
    if rest.startswith(_VALUE):
        try:
            values, at = json.JSONDecoder().raw_decode(rest, len(_VALUE))
        except (ValueError, RecursionError):
            raise UnknownOutputError("the values aren't JSON") from None
        if not isinstance(values, dict) or not rest.startswith(_END, at):
            raise UnknownOutputError("the values aren't a JSON object")
        rest = rest[at + len(_END) :]
    if not rest:
        return Shown("", values)
    if not rest.startswith(_DEFINITION) or not rest.endswith(_END):
        raise UnknownOutputError("there is no definition")
    return Shown(rest[len(_DEFINITION) : -len(_END)], values)


@dataclass(frozen=True)
class Holding:
    """What an environment holds for some entries.

    Attributes:
        entries: How each entry is written. An entry that isn't there is left out.
        consumed: The string that consumers get for each entry. One that isn't a string is left out.
        is_evaluated: False where ESC can't evaluate the environment, or the CLI doesn't tell.
        secrets: Every secret of the definition, other teams' included: for the redactor.
    """

    entries: Mapping[Name, Held]
    consumed: Mapping[Name, SecretStr]
    is_evaluated: bool = True
    secrets: tuple[SecretStr, ...] = ()


def holding(shown: Shown, names: Collection[Name]) -> Holding:
    """Return what an environment holds for `names`.

    Raises:
        DefinitionError: The definition can't be parsed.
    """
    document = definition.parse(shown.definition)
    strings = {name: value for name in names if isinstance(value := _value(shown.values, name), str)}
    consumed = {name: SecretStr(value) for name, value in strings.items()}
    return Holding(document.held(names), consumed, shown.is_evaluated, document.secrets)


def _value(values: Mapping[str, Any], name: Name) -> Any:
    if not isinstance(name, Exported):
        return values.get(name)
    exported = values.get(ENVIRONMENT_VARIABLES)
    return exported.get(name.key) if isinstance(exported, dict) else None
