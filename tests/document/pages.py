"""The pages of the documentation, cut into sections and their snippets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.docker_engine import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """One block of code."""

    language: str
    code: str


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level, by the heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in f"\n{text}".split("\n## ")[1:])
    return {heading: body for heading, _, body in parts}


def snippets(text: str) -> list[Snippet]:
    return [Snippet(language, code) for language, code in _FENCE.findall(text)]
