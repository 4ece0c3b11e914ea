"""Parts of the documentation's pages: blocks of code, commands in the text, headings, links."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("bash", "sh", "console")

_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: str
    line: int
    language: str
    code: str

    @property
    def first_line(self) -> str:
        """The first line that isn't a comment. Tests name a block by it."""
        return next(line.strip() for line in self.code.splitlines() if not line.lstrip().startswith("#"))

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.first_line}"


def _is_ours(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return not any(part.startswith(".") or part in ("mutants", "build", "node_modules") for part in parts)


PAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if _is_ours(path))


@cache
def _tokens(page: str) -> list[Token]:
    flat = []
    for token in _PARSER.parse((ROOT / page).read_text(encoding="utf-8")):
        flat.append(token)
        flat.extend(token.children or [])
    return flat


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, including indented ones."""
    return [
        Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for token in _tokens(page)
        if token.type in ("fence", "code_block")
    ]


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


def sections(page: str) -> dict[str, str]:
    """Return the text under each second-level heading, by heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in f"\n{text}".split("\n## ")[1:])
    return {heading: body for heading, _, body in parts}


def code_in(text: str) -> list[str]:
    """Return the code of the fenced blocks in a part of a page."""
    return [token.content for token in _PARSER.parse(text) if token.type == "fence"]


def inline_code_in(text: str) -> list[str]:
    """Return what stands between backquotes in a part of a page."""
    return [
        child.content for token in _PARSER.parse(text) for child in token.children or [] if child.type == "code_inline"
    ]


def inline_code(page: str) -> list[str]:
    """Return what stands between backquotes on a page."""
    return [token.content for token in _tokens(page) if token.type == "code_inline"]


def links(page: str) -> list[str]:
    """Return the targets of a page's links and pictures."""
    markdown = [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for token in _tokens(page)
        if token.type in ("link_open", "image")
    ]
    html = "".join(token.content for token in _tokens(page) if token.type in ("html_inline", "html_block"))
    return markdown + re.findall(r'(?:src|href)="([^"]+)"', html)


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    tokens = _tokens(page)
    for heading, inline in pairwise(tokens):
        if heading.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
