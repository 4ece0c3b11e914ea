"""What is in an image: read in a container of it, and out of the binary that it holds."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.docker import Docker
from deploy.errors import ImageError
from release import licences
from tools.go_build import BuildError, toolchain

PULUMI = "/usr/local/bin/pulumi"
_GO_TIMEOUT = 120

# Python of the image, which is not ours: only what 3.11 has. It prints one JSON object.
_PROBE = r"""
import email, importlib.metadata, json, pathlib, platform, subprocess

def fields(found):
    said = found.metadata
    return {
        "name": said["Name"], "version": found.version, "classifiers": said.get_all("Classifier") or [],
        "expression": said.get("License-Expression"), "license": said.get("License"),
    }

def package(file):
    said = email.message_from_string(file.read_text(encoding="utf-8"))
    source, _, version = (said["Source"] or said["Package"]).partition(" (")
    return [said["Package"], said["Version"], said["Architecture"], source, version.rstrip(")") or said["Version"]]

# distroless has no dpkg, and of its database a file for each package.
debian = [package(file) for file in pathlib.Path("/var/lib/dpkg/status.d").iterdir() if file.suffix != ".md5sums"]
pulumi = subprocess.run(["/usr/local/bin/pulumi", "version"], check=True, capture_output=True, text=True)
release = platform.freedesktop_os_release()
print(json.dumps({
    "python": platform.python_version(),
    "packages": [fields(found) for found in importlib.metadata.distributions()],
    "debian": debian,
    "pulumi": pulumi.stdout.strip(),
    "system": [release["ID"], release.get("VERSION_ID", ""), release.get("VERSION_CODENAME", "")],
}))
"""


@dataclass(frozen=True)
class PythonPackage:
    """A package that Python of the image finds."""

    name: str
    version: str
    licence: str
    """As an SPDX expression."""


@dataclass(frozen=True)
class DebianPackage:
    """A Debian package in the image."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


@dataclass(frozen=True)
class GoModule:
    """A module that is compiled into the Pulumi CLI."""

    path: str
    version: str


@dataclass(frozen=True)
class Contents:
    """What is in an image."""

    image_id: str
    platform: str
    """As `linux/amd64`."""
    created: str
    """When, in ISO 8601."""
    labels: dict[str, str]
    python: str
    packages: tuple[PythonPackage, ...]
    debian: tuple[DebianPackage, ...]
    system: tuple[str, str, str]
    """The system's id, version and code name, as os-release(5) has them."""
    pulumi: str
    pulumi_sha256: str
    go: str
    """The version of Go that compiled the Pulumi CLI."""
    go_modules: tuple[GoModule, ...]


def platform_of(details: dict[str, Any]) -> str:
    """The platform that an image's details or configuration state."""
    return f"{details.get('Os') or details.get('os')}/{details.get('Architecture') or details.get('architecture')}"


def read(docker: Docker, image: str) -> Contents:
    """Look into an image.

    Raises:
        DockerError: No container of it can be run.
        ImageError: It holds a binary that Go didn't make.
        LicenceError: A package states no licence that is known.
    """
    [details] = json.loads(docker.run("image", "inspect", image))
    entrypoint = ("--entrypoint", "/usr/bin/python3.13")
    said = json.loads(docker.run("run", "--rm", "--network", "none", *entrypoint, image, "-I", "-B", "-c", _PROBE))
    sha256, go, modules = _binary(docker, image)
    packages = (
        PythonPackage(each["name"], each["version"], licences.of(each["name"], licences.Stated.of(each)))
        for each in said["packages"]
    )
    return Contents(
        image_id=details["Id"],
        platform=platform_of(details),
        created=details["Created"],
        labels=details["Config"]["Labels"] or {},
        python=said["python"],
        packages=tuple(sorted(packages, key=lambda package: package.name.lower())),
        debian=tuple(DebianPackage(*fields) for fields in sorted(said["debian"])),
        system=tuple(said["system"]),
        pulumi=said["pulumi"].removeprefix("v"),
        pulumi_sha256=sha256,
        go=go,
        go_modules=modules,
    )


def _binary(docker: Docker, image: str) -> tuple[str, str, tuple[GoModule, ...]]:
    """The SHA-256 of the Pulumi CLI in the image, the version of Go, and the modules, as Go wrote them into it."""
    container = docker.run("create", image).strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "pulumi")
            docker.run("cp", f"{container}:{PULUMI}", str(copy))
            with copy.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            listed = _go_version(copy)
    finally:
        docker.remove(container)
    modules: list[GoModule] = []
    for kind, path, version in re.findall(r"^\t(dep|=>)\t(\S+)(?:\t(\S+))?", listed, re.MULTILINE):
        # A module that is replaced by another is followed by that one, which is what was compiled.
        if kind == "=>":
            modules.pop()
        modules.append(GoModule(path, version))
    return sha256, listed.splitlines()[0].rpartition(": go")[2], tuple(modules)


def _go_version(binary: Path) -> str:
    try:
        go = toolchain(Path(__file__).resolve().parents[1] / "tools" / "pulumi-cli")
        command = [str(go), "version", "-m", str(binary)]
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_GO_TIMEOUT)  # noqa: S603 - Go
    except (BuildError, OSError, subprocess.SubprocessError) as error:
        raise ImageError(f"What the Pulumi CLI was compiled from can't be told: {error}", "See the error.") from None
    return told.stdout
