"""The image of a release: built for each platform, then one index over them, with SBOMs and provenance attached."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.docker import Docker
from deploy.errors import ImageError
from release import bases, contents, provenance, sbom
from release.contents import platform_of
from release.errors import DifferentError
from release.registry import DOCKER_INDEX, INDEXES, OCI_INDEX, OCI_MANIFEST, Content, Registry, index_of
from release.settings import DOCKERFILE, LOCK, PLATFORMS, ROOT
from release.version import Version
from sophia_sync.errors import InputError, SyncError

PLATFORM = "platform"
"""The annotation that tells which platform an SBOM is of."""
_LABEL = "org.opencontainers.image"


def build(docker: Docker, image: str, platform: str, labels: Mapping[str, str], digests: Mapping[str, str]) -> None:
    """Build the image with every base image by its digest, and see that it starts and is for the platform.

    Raises:
        ImageError: It can't be built, doesn't start, or is for another platform than this machine's.
    """
    text = DOCKERFILE.read_text(encoding="utf-8")
    options = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "Dockerfile")
        file.write_text(bases.pinned(text, digests), encoding="utf-8")
        try:
            docker.run("build", "--tag", image, *options, "--file", str(file), str(ROOT))
            docker.run("run", "--rm", "--network", "none", image, "--help")
        except SyncError as error:
            raise ImageError(error.what, "Mend the Dockerfile or the code; nothing was pushed.") from None
    [details] = json.loads(docker.run("image", "inspect", image))
    if platform_of(details) != platform:
        raise ImageError(f"This machine makes images for {platform_of(details)}.", f"Run on one for {platform}.")


def labels(version: Version, commit: str, digests: Mapping[str, str]) -> dict[str, str]:
    """What an image says about itself besides what the Dockerfile does.

    Raises:
        InputError: The digest of a base image isn't given.
    """
    named = bases.named(DOCKERFILE.read_text(encoding="utf-8"))
    missing = [each for each in named if each not in digests]
    if missing:
        raise InputError([f"`--bases` gives no digest of {each}." for each in missing])
    last = named[-1]
    return {
        f"{_LABEL}.version": str(version),
        f"{_LABEL}.revision": commit,
        f"{_LABEL}.base.name": last,
        f"{_LABEL}.base.digest": digests[last],
    }


def push(docker: Docker, registry: Registry, image: str, tag: str, digests: Mapping[str, str]) -> str:
    """Push the image of one platform and attach its SBOM; the digest under which the registry has it."""
    target = f"{registry.repository}:{tag}"
    materials = Content(sbom.MEDIA_TYPE, sbom.of(contents.read(docker, image), LOCK, digests))
    docker.run("tag", image, target)
    pushed = registry.manifest(docker.push(target))
    registry.attach(pushed, materials, {})
    return pushed.digest


def join(registry: Registry, manifests: Mapping[str, str], expected: Mapping[str, str], tag: str) -> Content:
    """Make one index over the images of all platforms.

    Args:
        registry: Where they are.
        manifests: Their digests by platform.
        expected: The labels that each must have.
        tag: What the index is called besides.

    Raises:
        DifferentError: An image isn't there, is for another platform, or out of another source or base.
    """
    entries = []
    for platform, digest in manifests.items():
        manifest = registry.manifest(digest)
        config = registry.blob(manifest.json["config"]["digest"]).json
        _check(registry, digest, config, platform, expected)
        system, _, architecture = platform.partition("/")
        entries.append(manifest.descriptor(platform={"os": system, "architecture": architecture}))
    all_oci = all(entry["mediaType"] == OCI_MANIFEST for entry in entries)
    index = index_of(entries, OCI_INDEX if all_oci else DOCKER_INDEX)
    registry.put_manifest(index, tag)
    return registry.manifest(index.digest)


def _check(
    registry: Registry, digest: str, config: Mapping[str, Any], platform: str, expected: Mapping[str, str]
) -> None:
    has = {**(config.get("config", {}).get("Labels") or {}), PLATFORM: platform_of(dict(config))}
    for name, value in {**expected, PLATFORM: platform}.items():
        if has.get(name) != value:
            raise DifferentError(
                f"{registry.repository}@{digest} has the {name} {has.get(name) or 'nothing'}, not {value}.",
                "Build and push it anew.",
            )


def attach(registry: Registry, index: Content, statement: bytes) -> dict[str, Content]:
    """Attach to the index what each platform's image has as its SBOM, and the provenance; the SBOMs by platform."""
    sboms = {platform: _sbom(registry, digest) for platform, digest in _platforms(index).items()}
    for platform, materials in sboms.items():
        registry.attach(index, materials, {PLATFORM: platform})
    said = {"in-toto.io/predicate-type": provenance.PREDICATE}
    registry.attach(index, Content(provenance.MEDIA_TYPE, statement), said)
    return sboms


def _sbom(registry: Registry, digest: str) -> Content:
    found = [each for each in registry.referrers(digest) if each.get("artifactType") == sbom.MEDIA_TYPE]
    if len(found) != 1:
        raise DifferentError(f"{registry.repository}@{digest} has {len(found)} SBOMs, not one.", "Push it anew.")
    [layer] = registry.manifest(found[0]["digest"]).json["layers"]
    return registry.blob(layer["digest"], sbom.MEDIA_TYPE)


def _platforms(index: Content) -> dict[str, str]:
    """The digest of each platform's image in an index."""
    entries = index.json.get("manifests", []) if index.media_type in INDEXES else []
    return {platform_of(entry.get("platform", {})): entry["digest"] for entry in entries}


def see_complete(registry: Registry, digest: str) -> None:
    """See that an image can be released: all platforms, an SBOM for each, and the provenance.

    Raises:
        DifferentError: Something is missing.
    """
    index = registry.manifest(digest)
    platforms = _platforms(index)
    missing = [platform for platform in PLATFORMS if platform not in platforms]
    for image in platforms.values():
        registry.manifest(image)
    referrers = registry.referrers(digest)
    has_sbom = {
        each.get("annotations", {}).get(PLATFORM) for each in referrers if each.get("artifactType") == sbom.MEDIA_TYPE
    }
    missing += [f"the SBOM for {platform}" for platform in PLATFORMS if platform not in has_sbom]
    if all(each.get("artifactType") != provenance.MEDIA_TYPE for each in referrers):
        missing.append("the provenance")
    if missing:
        raise DifferentError(
            f"{registry.repository}@{digest} lacks {', '.join(missing)}.", "Run `index` before; no tag was touched."
        )
