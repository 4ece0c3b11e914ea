"""Every block of every page is run or linted. A block that no test knows fails here."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docs import test_commands, test_troubleshooting, test_workflows  # noqa: F401 - each registers the blocks that it runs
from tests.docs.pages import ALL_BLOCKS, PAGES, ROOT, SHELL, Block, blocks
from tests.docs.registry import RUN_ELSEWHERE, RUN_HERE
from tools import mcp_clients

# Checks that don't matter for a line that a person types.
SHELLCHECK_EXCLUDES = "SC1091,SC2034,SC2046,SC2155"

every_block = pytest.mark.parametrize("block", ALL_BLOCKS, ids=str)
every_shell_block = pytest.mark.parametrize("block", [each for each in ALL_BLOCKS if each.language in SHELL], ids=str)


def test_the_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/quick-start.md", "docs/operations.md"} <= set(PAGES)
    assert len(ALL_BLOCKS) > 50


@every_block
def test_every_block_is_one_that_a_test_knows(block: Block) -> None:
    if block.page in RUN_ELSEWHERE:
        return
    if block.language in SHELL:
        assert block in RUN_HERE, "no test runs it: register it in tests/docs"
    else:
        # Other tests cover all blocks of these languages.
        assert block.language in ("yaml", "mermaid", "json"), f"no test knows what to do with {block.language!r}"


@pytest.mark.parametrize("page", RUN_ELSEWHERE)
def test_the_register_names_pages_that_exist(page: str) -> None:
    assert page in PAGES


@pytest.mark.parametrize("page", RUN_ELSEWHERE)
def test_what_runs_a_page_elsewhere_names_it_and_knows_its_blocks(page: str) -> None:
    module, languages = RUN_ELSEWHERE[page]
    text = (ROOT / module).read_text(encoding="utf-8")
    assert Path(page).name in text or Path(page).parent.name in text
    assert languages in (None, Counter(block.language for block in blocks(page)))


@every_shell_block
def test_every_command_is_clean_shell(block: Block) -> None:
    # On a terminal, only what was typed is shell code.
    typed = re.findall(r"^\w*\$ +(.*\n)", block.code, re.MULTILINE)
    code = "".join(typed) if block.language == "console" else block.code
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = subprocess.run(
        [shellcheck, "--shell=bash", "--severity=warning", f"--exclude={SHELLCHECK_EXCLUDES}", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def _mermaid(code: str) -> None:
    """Parse a diagram as GitHub's renderer does. Without a browser, nothing needs to be sanitized."""
    try:
        clients = mcp_clients.ensure()
    except mcp_clients.NoClientsError as error:
        pytest.skip(str(error))
    script = """
        import DOMPurify from "dompurify"; import mermaid from "mermaid"; import { readFileSync } from "node:fs";
        DOMPurify.addHook = () => {}; DOMPurify.sanitize = (text) => text;
        await mermaid.parse(readFileSync(0, "utf8"));
    """
    command = [clients.node, "--input-type=module", "--eval", script]
    parsed = subprocess.run(command, input=code, cwd=clients.folder, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr


PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "python": ast.parse,
    "yaml": lambda code: list(yaml.safe_load_all(textwrap.dedent(code))),
    "mermaid": _mermaid,
}


@pytest.mark.parametrize("block", [each for each in ALL_BLOCKS if each.language in PARSERS], ids=str)
def test_every_block_can_be_parsed(block: Block) -> None:
    PARSERS[block.language](block.code)
