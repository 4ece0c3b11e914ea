"""The register of which test runs which block of commands. A block in no list fails test_blocks.py."""

from __future__ import annotations

import pytest

from tests.docs.pages import SHELL, Block, blocks

# Pages with a test module of their own, which names the page and runs its blocks: how many there are in each language.
# Whoever adds a block lets that module run it, and counts it here.
RUN_ELSEWHERE: dict[str, tuple[str, dict[str, int] | None]] = {
    "docs/backend.md": ("tests/backend/test_document.py", {"python": 5, "bash": 3}),
    "docs/deploy.md": ("tests/docs/test_deploy_page.py", {"yaml": 1, "text": 1, "bash": 4}),
    "docs/from-the-document.md": (
        "tests/docs/test_the_document.py",
        {"": 1, "python": 7, "yaml": 6, "bash": 9},
    ),
    "docs/mcp-server.md": ("tests/docs/test_mcp_server_page.py", {"bash": 5, "json": 8, "caddyfile": 1}),
    "docs/maintainers/release.md": ("tests/release/test_pages.py", {"sh": 1}),
    "docs/environments.md": ("tests/workflow/test_environments_page.py", {"yaml": 3}),
    "docs/command-line.md": ("tests/console/test_page.py", {"sh": 1, "console": 4, "yaml": 1, "json": 4}),
    "docs/security.md": ("tests/release/test_pages.py", {"sh": 1}),
    **{
        f"tests/contract/transcripts/{name}.md": ("tests/contract/test_cli.py", None)
        for name in ("edit", "environments", "imports", "tags", "values", "versions")
    },
}

RUN_HERE: set[Block] = set()
"""The blocks that the tests of this package run. `runs` fills it."""


def block(page: str, first_line: str) -> Block:
    """Register and return the only block of a page that begins with a command."""
    found = [each for each in blocks(page) if each.code.strip() and each.first_line == first_line]
    assert len(found) == 1, f"{page} has {len(found)} blocks that begin with {first_line!r}"
    RUN_HERE.add(found[0])
    return found[0]


def runs(page: str, *first_lines: str) -> pytest.MarkDecorator:
    """Mark a test that runs these blocks of a page. Its argument `code` is their code: one string, or a tuple."""
    found = [block(page, line) for line in first_lines]
    assert all(each.language in SHELL for each in found)
    code = found[0].code if len(found) == 1 else tuple(each.code for each in found)
    return pytest.mark.parametrize("code", [code], ids=[str(found[0])])
