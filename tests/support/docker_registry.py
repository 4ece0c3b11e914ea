"""A real image registry on the loopback, where Docker needs no TLS, and its images on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.docker_engine import docker, missing_engine

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Run a registry that keeps its images in `folder`; yield its address."""
    command = shutil.which("docker-registry")
    if command is None:
        pytest.skip("there is no docker-registry (Debian's package of that name)")
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        transport = httpx2.HTTPTransport(retries=8)
        with httpx2.Client(transport=transport, trust_env=False) as http:
            assert http.get(f"http://{address}/v2/").status_code == 200, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait()
        if missing_engine() is None:
            drop_images(address)


def push(image: str, to: str) -> str:
    """Push a local image under a tag; return its reference by digest."""
    docker("tag", image, to)
    digest = re.findall(r"digest: (sha256:[0-9a-f]{64})", docker("push", to).stdout)[-1]
    return f"{to.rpartition(':')[0]}@{digest}"


def push_as(image: str, platform: str) -> tuple[str, str]:
    """Push an image of the registry again, as if it were for another platform.

    Returns:
        The image by its digest, and an index by its digest: of this image and an attestation, as Buildx adds one.
    """
    name, _, digest = image.partition("@")
    address, _, path = name.partition("/")
    system, _, architecture = platform.partition("/")
    with httpx2.Client(base_url=f"http://{address}/v2/{path}", trust_env=False) as http:

        def put(kind: str, content: dict[str, Any]) -> tuple[str, int]:
            data = json.dumps(content).encode()
            found = f"sha256:{hashlib.sha256(data).hexdigest()}"
            if kind == "blob":
                upload = http.post("/blobs/uploads/").headers["Location"]
                answer = http.put(httpx2.URL(upload).copy_add_param("digest", found), content=data)
            else:
                answer = http.put(f"/manifests/{found}", content=data, headers={"Content-Type": kind})
            assert answer.status_code == 201, answer.text
            return found, len(data)

        manifest = http.get(f"/manifests/{digest}", headers={"Accept": _MANIFEST}).json()
        config = http.get(f"/blobs/{manifest['config']['digest']}").json()
        ours, size = put("blob", {**config, "os": system, "architecture": architecture})
        manifest["config"] |= {"digest": ours, "size": size}
        other, size = put(_MANIFEST, manifest)
        entry = {"mediaType": _MANIFEST, "digest": other, "size": size}
        entry["platform"] = {"os": system, "architecture": architecture}
        attestation = {**entry, "platform": {"os": "unknown", "architecture": "unknown"}}
        index, _ = put(_INDEX, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [attestation, entry]})
    return f"{name}@{other}", f"{name}@{index}"


def by_digest(name: str) -> set[str]:
    """Return this machine's images of a registry's repository. `*` in the name stands for any part of a path."""
    form = "{{.Repository}}@{{.Digest}}"
    listed = docker("image", "ls", "--digests", "--format", form, "--filter", f"reference={name}").stdout.split()
    return {image for image in listed if "@sha256:" in image}


def drop_images(registry: str) -> None:
    """Remove a registry's images from this machine."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={registry}/*/*")
    tags = {image for image in listed.stdout.split() if not image.endswith(":<none>")}
    for image in tags | by_digest(f"{registry}/*/*"):
        docker("image", "rm", image, check=False)
