"""Measure an image's download size: its layers compressed with gzip, as a registry keeps them.

The base image's layers count at gzip's default level; a release compresses the other layers at the highest level.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.support.docker_engine import docker

BASE = "gcr.io/distroless/python3-debian13:latest"
CLI = "usr/local/bin/pulumi"


@dataclass(frozen=True)
class Sizes:
    """The compressed size of an image's layers, in bytes."""

    base: int
    cli: int
    ours: int

    @property
    def total(self) -> int:
        return self.base + self.cli + self.ours


def compressed(image: str, base: str) -> Sizes:
    """Return the sizes of the base image's layers, of the layer with the Pulumi CLI, and of all others."""
    [details] = json.loads(docker("image", "inspect", base).stdout)
    from_base = len(details["RootFS"]["Layers"])
    sizes = [0, 0, 0]
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "image.tar")
        docker("save", "--output", str(saved), image)
        with tarfile.open(saved) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest
            [entry] = json.load(manifest)
            for number, name in enumerate(entry["Layers"]):
                is_base = number < from_base
                size, files = _layer(tar, name, level=6 if is_base else 9)
                kind = 0 if is_base else 1 if CLI in files else 2
                sizes[kind] += size
    return Sizes(*sizes)


def _layer(tar: tarfile.TarFile, name: str, *, level: int) -> tuple[int, set[str]]:
    """Return the compressed size of a layer, and its files' paths."""
    data = tar.extractfile(name)
    assert data
    packer, size = zlib.compressobj(level=level, wbits=31), 0
    while chunk := data.read(1 << 20):
        size += len(packer.compress(chunk))
    data.seek(0)
    with tarfile.open(fileobj=data) as layer:
        files = {member.name for member in layer}
    return size + len(packer.flush()), files
