"""Sentry's scopes, pages and slugs, which the preflight and the MCP server share."""

from __future__ import annotations

from typing import Any

import pytest

from sophia_sync.sentry import (
    allows,
    is_organization_slug,
    is_project_slug,
    next_cursor,
    scope,
    scopes_of,
    withholds_scopes,
)


class TestScopes:
    @pytest.mark.parametrize(
        ("scopes", "needed"),
        [
            ({"event:read"}, "event:read"),
            ({"event:write"}, "event:read"),
            ({"event:admin"}, "event:write"),
            ({"event:read"}, "issue:read"),
        ],
    )
    def test_a_scope_implies_the_lower_ones_of_its_kind(self, scopes: set[str], needed: str) -> None:
        assert allows(frozenset(scopes), needed)

    @pytest.mark.parametrize("scopes", [set(), {"event:read"}, {"project:admin"}])
    def test_a_scope_implies_no_higher_one_and_no_other_kind(self, scopes: set[str]) -> None:
        assert not allows(frozenset(scopes), "event:write")

    def test_the_names_of_documents_are_aliases(self) -> None:
        assert [scope(f"issue:{level}") for level in ("read", "write")] == ["event:read", "event:write"]
        assert scope("project:read") == "project:read"

    def test_are_those_that_the_index_lists(self) -> None:
        index = {"version": "0", "auth": {"scopes": ["project:read", "issue:write", "no scope"]}}
        assert scopes_of(index) == frozenset({"project:read", "event:write"})

    def test_are_none_where_the_index_sees_no_token(self) -> None:
        assert scopes_of({"version": "0", "auth": None}) is None

    @pytest.mark.parametrize(
        "index",
        [
            None,
            [],
            {"version": "0"},
            {"auth": None},
            {"version": "0", "auth": []},
            {"version": "0", "auth": {"scopes": "project:admin"}},
            {"version": "0", "auth": {"scopes": [1]}},
        ],
    )
    def test_are_not_read_from_another_service(self, index: Any) -> None:
        with pytest.raises(ValueError, match=r"not Sentry's index|no list of scopes"):
            scopes_of(index)

    @pytest.mark.parametrize(
        ("status", "said"),
        [(404, ""), (403, ""), (401, "This token access is limited to organization endpoints.")],
    )
    def test_are_withheld(self, status: int, said: str) -> None:
        assert withholds_scopes(status, said)

    @pytest.mark.parametrize(("status", "said"), [(401, "Invalid token"), (200, ""), (500, "")])
    def test_are_not_withheld(self, status: int, said: str) -> None:
        assert not withholds_scopes(status, said)


class TestPages:
    def test_the_next_page_has_a_cursor(self) -> None:
        assert next_cursor({"next": {"results": "true", "cursor": "0:100:0"}}) == "0:100:0"
        assert next_cursor({"next": {"results": "true", "cursor": "1764000000000.5:-1:1"}}) == "1764000000000.5:-1:1"

    def test_the_last_page_has_none(self) -> None:
        assert next_cursor({}) is None
        assert next_cursor({"next": {"results": "false", "cursor": "0:100:0"}}) is None

    @pytest.mark.parametrize("cursor", [{}, {"cursor": ""}, {"cursor": "https://sentry.example/"}])
    def test_a_cursor_of_another_form_is_refused(self, cursor: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="no cursor"):
            next_cursor({"next": {"results": "true", **cursor}})


class TestSlugs:
    @pytest.mark.parametrize("slug", ["pay-ready", "Pay-Ready", "a", "0", "4711", "acme-", "x" * 100])
    def test_of_organizations(self, slug: str) -> None:
        assert is_organization_slug(slug)

    @pytest.mark.parametrize("slug", ["", "-acme", "pay_ready", "pay ready", "a/b", "..", "ä", "a\n", "x" * 101])
    def test_of_no_organization(self, slug: str) -> None:
        assert not is_organization_slug(slug)

    @pytest.mark.parametrize("slug", ["frontend", "frontend-", "_x", "-x", "a_b-1", "4711", "x" * 100])
    def test_of_projects(self, slug: str) -> None:
        assert is_project_slug(slug)

    @pytest.mark.parametrize("slug", ["", "Frontend", "a/b", ".", "a b", "ä", "a\n", "x" * 101])
    def test_of_no_project(self, slug: str) -> None:
        assert not is_project_slug(slug)
