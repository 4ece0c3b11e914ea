"""The parts of a release that no maintained action does: the checks before it, and its tags. See docs/maintainers/release.md."""
