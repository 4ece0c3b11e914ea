"""What an image's packages must be, for it to have an SBOM at all."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from release import licences, lock, sbom
from release.contents import Contents, DebianPackage, GoModule, PythonPackage
from release.errors import DifferentError
from release.settings import LOCK

PACKAGES = tuple(
    PythonPackage(name, version, licence) for name, version, licence in sorted(set(licences.packages(LOCK)))
)
CONTENTS = Contents(
    image_id=f"sha256:{'a' * 64}",
    platform="linux/amd64",
    created="2026-11-24T12:00:00.123456789Z",
    labels={"org.opencontainers.image.version": "1.2.0"},
    python="3.13.15",
    packages=PACKAGES,
    debian=(DebianPackage("libc6", "2.41-12", "amd64", "glibc", "2.41-12"),),
    system=("debian", "13", "trixie"),
    pulumi="3.243.0",
    pulumi_sha256="b" * 64,
    go="1.26.8",
    go_modules=(GoModule("github.com/pulumi/esc", "v0.26.0"),),
)
IDNA = next(package for package in PACKAGES if package.name == "idna")


def others() -> tuple[PythonPackage, ...]:
    return tuple(package for package in PACKAGES if package is not IDNA)


def test_the_locked_packages_make_one() -> None:
    said = json.loads(sbom.of(CONTENTS, LOCK, {"python:3.13.15-slim-trixie": f"sha256:{'c' * 64}"}))
    listed = {each["name"] for each in said["components"]}
    assert listed == {*(each.name for each in PACKAGES), "python", "pulumi", "debian", "libc6"}
    assert len(PACKAGES) == sum(licences.is_in_the_image(each.marker) for each in lock.read(LOCK))
    assert said["metadata"]["timestamp"].startswith("2026-11-24T12:00:00")


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (others(), "idna is missing in the image"),
        ((*others(), dataclasses.replace(IDNA, version="0.1")), "idna is 0.1 in the image"),
        ((*PACKAGES, PythonPackage("left-pad", "1.3.0", "MIT")), "left-pad is 1.3.0 in the image, and not locked"),
    ],
)
def test_other_packages_than_the_locked_ones_make_none(packages: tuple[PythonPackage, ...], words: str) -> None:
    with pytest.raises(DifferentError, match=re.escape(words)):
        sbom.of(dataclasses.replace(CONTENTS, packages=packages), LOCK, {})
