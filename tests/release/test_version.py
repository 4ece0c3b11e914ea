"""Versions and their order, and what the changelog says of them."""

from __future__ import annotations

import pytest

from release.version import Version, of_source_tag, of_tag, section

CHANGELOG = """\
# Changelog

## [Unreleased]

- Something to come.

## [1.1.0] - 2026-11-24

### Added

- A thing, [explained](docs/thing.md).

### Fixed

- Another.

## [1.0.0] - 2026-10-01

- The first.

[1.1.0]: https://example.com/compare/v1.0.0...v1.1.0
"""


def test_they_are_ordered_as_semver_orders_them() -> None:
    ordered = [
        "0.9.9",
        "1.0.0-alpha.1",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.2.0",
        "1.10.0",
        "2.0.0",
    ]
    assert [str(each) for each in sorted(map(Version, reversed(ordered)))] == ordered


def test_each_has_its_three_tags() -> None:
    version = of_source_tag("release-1.2.3")
    assert (version.source_tag, version.tag, version.major_tag) == ("release-1.2.3", "v1.2.3", "v1")


@pytest.mark.parametrize(
    "text", ["1.2", "v1.2.3", "1.2.3.4", "1.02.3", "1.2.3-dev", "1.2.3-rc1", "1.2.3+build", "1.2.3 ", "1.2.٣"]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be of the form"):
        Version(text)


@pytest.mark.parametrize("tag", ["v1.2.3", "release-1.2", "release-01.2.0", "release-1.2.0+mine", "release-latest"])
def test_other_tags_start_no_release(tag: str) -> None:
    with pytest.raises(ValueError, match="must be of the form"):
        of_source_tag(tag)


@pytest.mark.parametrize("tag", ["v1", "1.2.3", "release-1.2.3", "vnext"])
def test_other_tags_are_no_releases(tag: str) -> None:
    assert of_tag(tag) is None


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.1.0", "### Added\n\n- A thing, [explained](docs/thing.md).\n\n### Fixed\n\n- Another."),
        ("1.0.0", "- The first."),
    ],
)
def test_a_section_ends_where_the_next_begins_or_the_links_do(version: str, text: str) -> None:
    assert section(CHANGELOG, Version(version)) == text
