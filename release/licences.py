"""The licences of what is in the two images: read from the packages, held to those that may be shipped, and listed.

`python -m release.licences` (which is `make licences`) writes docs/licences.md.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from release import bases, lock
from sophia_sync.errors import SyncError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
IMAGES = {
    "The action": (ROOT / "Dockerfile", ROOT / "requirements" / "runtime.txt"),
    "The Sentry MCP server": (ROOT / "mcp-servers" / "sentry" / "Dockerfile", ROOT / "requirements" / "mcp.txt"),
}
ALLOWED = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
)
# The markers of lock files are judged for the images' Python and system, whatever runs this program.
_IMAGE = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
_IMAGE |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
_PYTHON = re.compile(r"^FROM \S*\bpython:(\d+\.\d+)", re.MULTILINE)
_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}

# What packages write that state no SPDX expression.
_SPDX = {
    "Apache-2.0": "Apache-2.0",
    "BSD-3-Clause": "BSD-3-Clause",
    "MIT": "MIT",
    "MPL-2.0": "MPL-2.0",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# What no field of the package tells exactly, as its licence files and sources do.
_READ = {"pygithub": "LGPL-3.0-or-later"}


class LicenceError(SyncError):
    """A package may not be shipped, or states no licence that is known."""

    exit_code = 3
    title = "Licences"


@dataclass(frozen=True)
class Stated:
    """What a package says about its licence in its metadata."""

    expression: str | None
    licence: str | None
    classifiers: tuple[str, ...]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Stated:
        return cls(fields["expression"], fields["license"], tuple(fields["classifiers"]))


def of(name: str, stated: Stated) -> str:
    """A package's licence as an SPDX expression.

    Raises:
        LicenceError: It states none that is known.
    """
    if stated.expression:
        return stated.expression
    if name.lower() in _READ:
        return _READ[name.lower()]
    found = {_SPDX[said] for said in (stated.licence, *stated.classifiers) if said in _SPDX}
    if len(found) != 1:
        raise LicenceError(f"{name} states no licence that is known: {stated}.", "Read its licence, and add it here.")
    return found.pop()


def may_be_shipped(expression: str) -> bool:
    """Whether every licence that must be kept may be: of alternatives, one is enough.

    Source: the SPDX specification, annex "SPDX license expressions"; AND binds more than OR.
    """
    words = re.findall(r"[()]|[^\s()]+", expression)
    try:
        return _any_of(words) and not words
    except IndexError:  # it ends where something must follow
        return False


def _any_of(words: list[str]) -> bool:
    """Judge the beginning of an expression, which is taken off."""
    found = _all_of(words)
    while words[:1] == ["OR"]:
        del words[0]
        found |= _all_of(words)
    return found


def _all_of(words: list[str]) -> bool:
    found = _one_of(words)
    while words[:1] == ["AND"]:
        del words[0]
        found &= _one_of(words)
    return found


def _one_of(words: list[str]) -> bool:
    word = words.pop(0)
    if word != "(":
        return word in ALLOWED  # of one WITH an exception, what follows is left over
    found = _any_of(words)
    return words.pop(0) == ")" and found


def is_in_the_image(marker: str, platform: str = "linux/amd64") -> bool:
    """Whether a locked package is for the images' Python and system, on one of their platforms."""
    parsed = Requirement(f"any; {marker}").marker if marker else None
    python = _PYTHON.search((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    if parsed is None or python is None:
        return parsed is None
    return parsed.evaluate({**_IMAGE, "python_version": python[1], "platform_machine": _MACHINES[platform]})


def packages(locked: Path) -> Iterator[tuple[str, str, str]]:
    """Name, version and licence of each package that a lock file puts into an image.

    Raises:
        LicenceError: One may not be shipped, or isn't installed here with that version.
    """
    for package in lock.read(locked):
        if not is_in_the_image(package.marker):
            continue
        try:
            here = importlib.metadata.distribution(package.name)
        except importlib.metadata.PackageNotFoundError:
            here = None
        if here is None or here.version != package.version:
            raise LicenceError(f"{package.name} {package.version} isn't installed here.", "Run `make setup`.")
        said = here.metadata
        expression, text = (said.get_all(field) or [None] for field in ("License-Expression", "License"))
        stated = Stated(expression[0], text[0], tuple(said.get_all("Classifier") or ()))
        licence = of(package.name, stated)
        if not may_be_shipped(licence):
            raise LicenceError(f"{package.name} is under {licence}, which may not be shipped.", "Do without it.")
        yield said["Name"], package.version, licence


def page() -> str:
    """The text of docs/licences.md."""
    parts = [_HEAD]
    for title, (dockerfile, locked) in IMAGES.items():
        rows = [f"| {name} | {version} | {licence} |" for name, version, licence in packages(locked)]
        images = bases.named(dockerfile.read_text(encoding="utf-8"))
        # pip of the image `python` installs the packages; nothing of that image is shipped.
        rows += [_base(image.partition("@")[0]) for image in images if not image.startswith("python:")]
        parts += [f"## {title}\n", "| what | version | licence |", "|---|---|---|", *rows, ""]
    return "\n".join([*parts, _FOOT])


def _base(image: str) -> str:
    name, _, version = image.partition(":")
    try:
        what, licence = _BASES[name]
    except KeyError:
        raise LicenceError(f"The licence of the base image {name} isn't known.", "Read it, and add it here.") from None
    return f"| {what} out of `{name}` | {version} | {licence} |"


_HEAD = """\
# Licences

What is in the two images, and under which licences. `make licences` writes this page from the lock files, the
Dockerfiles and the packages' own metadata; a test holds it to them. Nothing else is shipped than what is under one of
{allowed}.
""".format(allowed=", ".join(sorted(ALLOWED)))
_BASES = {
    "pulumi/pulumi-base": ("Pulumi CLI,", "Apache-2.0"),
    "gcr.io/distroless/python3-debian13": ("Python and Debian,", "PSF-2.0, and Debian's packages as below"),
}
_FOOT = """\
## Notes

- **PyGithub** is under the LGPL. It is imported, never changed, and lies in the image as its own wheel holds it:
  whoever has the image can put another version in its place.
- **certifi** and other packages under the MPL are shipped unchanged; their sources are where the lock file got them.
- **cryptography**, **PyNaCl** and **PyYAML** hold compiled OpenSSL (Apache-2.0), libsodium (ISC) and libyaml (MIT).
- The **Pulumi CLI** is compiled from Go modules; the SBOM of each release lists them.
- **Debian's packages** come with the base image, each with its licence in `/usr/share/doc/PACKAGE/copyright` there.
  They are programs of their own beside ours, in one image. The SBOM lists them with their versions and source packages.
- What this project itself is under: [LICENSE](../LICENSE).
"""


if __name__ == "__main__":
    text = page()
    PAGE.write_text(text, encoding="utf-8")
    sys.stderr.write(f"{PAGE.relative_to(ROOT)} is written.\n")
