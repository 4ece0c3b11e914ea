"""Parse a step's log and its output file as a GitHub runner does.

Written from the runner's own parsers: github.com/actions/runner, `src/Runner.Common/ActionCommand.cs` (`TryParseV2` and
`TryParse`) and `src/Runner.Worker/FileCommandManager.cs` (the heredoc form of a file command).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COMMANDS = frozenset({"add-mask", "debug", "endgroup", "error", "group", "notice", "stop-commands", "warning"})


@dataclass(frozen=True)
class Command:
    """A workflow command as the runner understands it."""

    name: str
    data: str
    properties: dict[str, str] = field(default_factory=dict)


def parse_command(line: str) -> Command | None:
    """Return the command in a line of the log, in either of the two notations; None for an ordinary line."""
    return _double_colon(line) or _bracket(line)


def _double_colon(line: str) -> Command | None:
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, properties = line[2:end].partition(" ")
    if name not in COMMANDS:
        return None
    return Command(name, _unescape(line[end + 2 :], ""), _properties(properties.strip(), ",", ":,"))


def _bracket(line: str) -> Command | None:
    """Parse the runner's older notation, `##[name property=value;…]data`, which may begin anywhere in a line."""
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name, _, properties = line[start + 3 : end].partition(" ")
    if name not in COMMANDS:
        return None
    return Command(name, _unescape(line[end + 1 :], ";]"), _properties(properties, ";", ";]"))


def _properties(text: str, separator: str, escaped: str) -> dict[str, str]:
    pairs = (pair.split("=", 1) for pair in text.split(separator) if pair)
    return {pair[0]: _unescape(pair[1], escaped) for pair in pairs if len(pair) == 2 and all(pair)}


def _unescape(text: str, others: str) -> str:
    """Replace one token after the other, `%` last, as the runner does."""
    for character in f"\r\n{others}%":
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def parse_log(text: str) -> list[Command | str]:
    """Return a step's log, line by line: commands, and ordinary lines as they are."""
    lines = re.split(r"\r\n|\n|\r", text)
    return [parse_command(line) or line for line in lines[: -1 if lines[-1] == "" else None]]


def commands(text: str, name: str) -> list[Command]:
    """Return the commands of one name in a step's log."""
    return [entry for entry in parse_log(text) if isinstance(entry, Command) and entry.name == name]


def parse_outputs(text: str) -> dict[str, str]:
    """Return the outputs in the text of a step's output file.

    Raises:
        ValueError: The runner would fail the step: a line is neither `name=value` nor the start of a heredoc, or a
            heredoc doesn't end.
    """
    found: dict[str, str] = {}
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line:
            continue
        name, equals, value = line.partition("=")
        heredoc_name, heredoc, delimiter = line.partition("<<")
        if heredoc and len(heredoc_name) < len(name):
            if not heredoc_name or not delimiter:
                raise ValueError(f"no name or no delimiter: {line!r}")
            if delimiter not in lines[at:]:
                raise ValueError(f"no line {delimiter!r}")
            end = lines.index(delimiter, at)
            found[heredoc_name] = "\n".join(lines[at:end])
            at = end + 1
        elif equals:
            found[name] = value
        else:
            raise ValueError(f"not an output: {line!r}")
    return found
