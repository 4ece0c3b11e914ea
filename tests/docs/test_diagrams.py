"""Every diagram is rendered by Mermaid itself, in a headless browser, and shows all its words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ALL_BLOCKS, Block
from tools import mermaid
from tools.mermaid import Rendered

DIAGRAMS = [block for block in ALL_BLOCKS if block.language == "mermaid"]
_BREAK = re.compile(r"<br */?>")


@pytest.fixture(scope="module")
def rendered(mermaid_script: Path) -> dict[Block, Rendered]:
    return dict(zip(DIAGRAMS, mermaid.render([block.code for block in DIAGRAMS], mermaid_script), strict=True))


def words(block: Block) -> list[str]:
    """The texts that a reader should see: labels of nodes and arrows, participants, messages, notes."""
    found = re.findall(r'"([^"]+)"', block.code) + re.findall(r"\|([^|\"\n]+)\|", block.code)
    if block.code.startswith("sequenceDiagram"):
        found += re.findall(r"participant \w+ as (.+)", block.code)
        found += re.findall(r"(?:-?->>?|Note over) ?[\w,]+: ?(.+)", block.code)
        found += re.findall(r"^ *(?:opt|alt|else) (.+)", block.code, re.MULTILINE)
    return [_BREAK.sub("", text) for text in found]


def test_there_is_a_picture_of_the_whole_and_one_of_a_sync() -> None:
    kinds = [block.code.split()[0] for block in DIAGRAMS if block.page == "docs/architecture.md"]
    assert kinds == ["flowchart", "sequenceDiagram"]


@pytest.mark.parametrize("block", DIAGRAMS, ids=str)
def test_every_diagram_is_rendered_with_all_its_words(block: Block, rendered: dict[Block, Rendered]) -> None:
    picture = rendered[block]
    assert picture.error == ""
    assert "<svg" in picture.svg
    assert "Syntax error" not in picture.svg
    assert len(words(block)) > 5
    for text in words(block):
        assert re.sub(r"\s", "", text) in picture.text, text


def test_a_diagram_that_is_wrong_is_told(mermaid_script: Path) -> None:
    good, bad = mermaid.render(["flowchart LR\n a[one] --> b[two]", "flowchart LR\n a[one --> b[two]"], mermaid_script)
    assert (good.error, good.text) == ("", "onetwo")
    assert bad.svg == ""
    assert "Parse error" in bad.error


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "mermaid.tgz"
    package.write_bytes(b"not what npm published")
    with pytest.raises(mermaid.MermaidRefusedError, match="not sha512-"):
        mermaid.unpack(package, tmp_path)
