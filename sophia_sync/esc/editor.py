"""Read the file that `env edit` hands to its editor, and check what it would take back. Pure.

Source: github.com/pulumi/esc v0.26.0, `cmd/esc/cli/env_edit.go`, `envEditCommand.editWithYAMLEditor`.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field

from sophia_sync.esc import messages
from sophia_sync.runtime.errors import DefinitionError

# Below the definition, the CLI writes diagnostics or the evaluated environment. It cuts that off again afterwards.
_TRAILER = re.compile(rb"^---\n# (?:Diagnostics|Please edit the environment definition above\.)\n", re.MULTILINE)
_BELOW = re.compile(rb"(?P<diagnostics>(?:#[^\n]*\n)*)(?:# |\n(?P<evaluated>\{.*))", re.DOTALL)


@dataclass(frozen=True)
class Stored:
    """A definition as ESC stores it, secrets as ciphertext.

    Attributes:
        text: The definition.
        problems: ESC's own diagnostics where it can't evaluate the definition, one line each.
    """

    text: str = field(repr=False)
    problems: tuple[str, ...] = ()


def parse(file: bytes) -> Stored:
    """Return the definition in the editor's file, without what the CLI puts below it.

    Raises:
        DefinitionError: It isn't UTF-8.
    """
    for found in reversed(list(_TRAILER.finditer(file))):
        below = _BELOW.fullmatch(file, found.end())
        if below is None:
            continue
        with contextlib.suppress(ValueError, RecursionError):
            if below["evaluated"] is None or isinstance(json.loads(below["evaluated"]), dict):
                said = below["diagnostics"].decode(errors="replace") if below["evaluated"] is None else ""
                lines = "\n".join(line.removeprefix("# ") for line in said.splitlines())
                return Stored(decode(file[: found.start()]), tuple(messages.diagnostics(lines)))
    return Stored(decode(file))


def decode(data: bytes) -> str:
    """Return a definition as text.

    Raises:
        DefinitionError: It isn't UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DefinitionError(
            "The environment's definition isn't valid UTF-8.",
            "Repair it in the Pulumi console and run again.",
        ) from None


def would_cut(text: str) -> bool:
    """Return whether `env edit` would take a line of this definition for its end, and lose the rest.

    The CLI looks at the first `---` anywhere in the text, and cuts there if it is a line of its own.
    """
    at = text.find("---")
    if at == -1:
        return False
    return (at == 0 or text[at - 1] == "\n") and text[at + 3 : at + 4] in ("", "\n")
