"""What makes a release of the action: the image first, its SBOM and provenance, then the tags. See docs/release.md.

A program for the release workflow, its tests and a person; not part of the installed package.
"""
