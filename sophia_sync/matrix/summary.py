"""How the legs ended → one summary of all. Pure, and never given a value."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass

# A summary may have a mebibyte (docs.github.com, "Workflow commands"), and there may be 256 rows.
_LONGEST_CELL = 1_500
_ICONS = {"success": "✅", "cancelled": "⏹️", "skipped": "⏭️"}


@dataclass(frozen=True)
class Ended:
    """How the leg of a GitHub environment ended.

    Attributes:
        environment: The GitHub environment.
        conclusion: GitHub's word: success, failure, cancelled, …; `missing` where there is no such job.
        messages: What the leg told.
        url: The page of its job.
    """

    environment: str
    conclusion: str
    messages: tuple[str, ...] = ()
    url: str = ""

    @property
    def is_success(self) -> bool:
        return self.conclusion == "success"


def failed(legs: Sequence[Ended]) -> list[Ended]:
    return [leg for leg in legs if not leg.is_success]


def headline(legs: Sequence[Ended]) -> str:
    """One line for a person."""
    wrong = len(failed(legs))
    return f"{wrong} of {len(legs)} environments failed" if wrong else f"All {len(legs)} environments are in order"


def markdown(legs: Sequence[Ended]) -> str:
    """The step's summary, in GitHub's Markdown: what failed stands first."""
    rows = [
        f"| {_link(leg)} | {_ICONS.get(leg.conclusion, '❌')} {_cell(leg.conclusion)} | {_cell(_text(leg))} |"
        for leg in sorted(legs, key=lambda leg: leg.is_success)
    ]
    table = ["| Environment | Result | What happened |", "| --- | --- | --- |", *rows]
    return f"## {'❌' if failed(legs) else '✅'} {headline(legs)}\n\n" + "\n".join(table) + "\n"


def results(legs: Sequence[Ended]) -> str:
    """The output `results`."""
    return json.dumps([{"environment": leg.environment, "conclusion": leg.conclusion, "url": leg.url} for leg in legs])


def _text(leg: Ended) -> str:
    return "\n".join(leg.messages) or "It told nothing: see its page."


def _link(leg: Ended) -> str:
    name = f"`{leg.environment}`"
    return f"[{name}]({leg.url})" if leg.url else name


def _cell(text: str) -> str:
    """Text of another program as it is, in one cell: nothing of it becomes a table, a link or HTML."""
    if len(text) > _LONGEST_CELL:
        text = f"{text[:_LONGEST_CELL]}…"
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return "<br>".join(html.escape(text, quote=False).splitlines())
