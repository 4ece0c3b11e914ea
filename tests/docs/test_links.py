"""Links within the documentation lead to pages and headings that exist, and every page can be reached."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links

every_page = pytest.mark.parametrize("page", PAGES)


def target_of(page: str, link: str) -> tuple[str, str]:
    """Return the file that a link leads to, relative to the root, and its anchor."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
    return str(target.relative_to(ROOT)), anchor


def within(page: str) -> list[str]:
    return [link for link in links(page) if not re.match(r"[a-z]+:", link)]


@every_page
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    for link in within(page):
        target, anchor = target_of(page, link)
        assert (ROOT / target).exists(), link
        if anchor:
            assert anchor in anchors(target), link


@every_page
def test_links_to_others_are_encrypted(page: str) -> None:
    assert not [link for link in links(page) if link.startswith("http:")]


@every_page
def test_pages_that_are_named_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`(docs/[\w./-]+\.md)`", text):
        assert name in PAGES


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, found = {"README.md"}, {"README.md"}
    while found:
        found = {target for page in found for link in within(page) if (target := target_of(page, link)[0]) in PAGES}
        found -= reached
        reached |= found
    assert {page for page in PAGES if not page.startswith("tests/")} <= reached


def test_an_anchor_is_what_github_makes_of_a_heading() -> None:
    assert "1-make-the-sentry-token" in anchors("docs/quick-start.md")
    assert "history-the-audit-trail" in anchors("docs/command-line.md")
