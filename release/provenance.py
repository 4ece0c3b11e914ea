"""Where an image comes from, as an in-toto statement with SLSA's predicate. Source: slsa.dev/spec/v1.0/provenance.

This one is not signed. The release workflow lets GitHub sign one of its own, which is what a user verifies; this one
names besides what that can't know: the base images and the lock file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from release.registry import Content
from release.version import Version

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD = "https://github.com/ai-cherry/sentry-esc-sync/blob/main/docs/release.md"


def of(
    name: str,
    index: Content,
    version: Version,
    commit: str,
    bases: Mapping[str, str],
    locked: Path,
    run_url: str | None,
) -> bytes:
    """The statement about an image's index; the same for the same index.

    Args:
        name: The image's, without tag or digest.
        index: Its index.
        version: Of the release.
        commit: Of the source.
        bases: The base images by their versions, with the digest of each.
        locked: The lock file of its Python packages.
        run_url: The run that made it, where there is one.
    """
    source = "https://github.com/ai-cherry/sentry-esc-sync"
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": _digest(index.digest)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": {"version": str(version), "tag": version.source_tag},
                "resolvedDependencies": [
                    {"uri": f"git+{source}", "digest": {"gitCommit": commit}},
                    *({"uri": f"docker://{image}", "digest": _digest(digest)} for image, digest in bases.items()),
                    {"name": locked.name, "digest": {"sha256": hashlib.sha256(locked.read_bytes()).hexdigest()}},
                ],
            },
            "runDetails": {
                "builder": {"id": f"{source}/blob/main/.github/workflows/release.yml"},
                **({"metadata": {"invocationId": run_url}} if run_url else {}),
            },
        },
    }
    return (json.dumps(statement, indent=1, sort_keys=True) + "\n").encode()


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}
