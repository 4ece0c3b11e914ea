"""The checks and tags of a release, which no maintained action makes. See docs/maintainers/release.md."""
