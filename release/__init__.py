"""The steps of a release that no maintained action has: the checks and the tags. See docs/release.md."""
