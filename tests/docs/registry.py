"""The register of which test runs which block of commands. A block in no list fails test_blocks.py."""

from __future__ import annotations

import pytest

from tests.docs.pages import SHELL, Block, blocks

# Pages with a test module of their own, which names the page and runs its blocks.
RUN_ELSEWHERE = {
    "docs/backend.md": "tests/backend/test_document.py",
    "docs/deploy.md": "tests/docs/test_deploy_page.py",
    "docs/from-the-document.md": "tests/docs/test_the_document.py",
    "docs/mcp-server.md": "tests/docs/test_mcp_server_page.py",
    "docs/maintainers/release.md": "tests/release/test_pages.py",
    "docs/environments.md": "tests/workflow/test_environments_page.py",
    "docs/command-line.md": "tests/console/test_page.py",
    "docs/security.md": "tests/release/test_pages.py",
    **{
        f"tests/contract/transcripts/{name}.md": "tests/contract/test_cli.py"
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
