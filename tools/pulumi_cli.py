"""Find a `pulumi` command for this machine, or make one.

`python -m tools.pulumi_cli` prints its path. It tries, in this order: `pulumi` on PATH; the official release, checked
against its published checksum; and, if that can't be reached, the same release compiled from its Go modules.
`tools/pulumi-cli` locks the modules. `.cache/pulumi` keeps what was downloaded or compiled.
"""

import contextlib
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tools.go_build import CACHE, ROOT, BuildError, build, key_of, locked, put, scratch_beside
from tools.progress import Progress, say

MODULE = ROOT / "tools" / "pulumi-cli"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
DOCKERFILE = ROOT / "Dockerfile"
INSTALL_PAGE = "https://www.pulumi.com/docs/install/"
# Architectures, by Python's names: the names in Pulumi's releases.
ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}

# Time without a byte after which a release server counts as unreachable, in seconds.
NETWORK_TIMEOUT = 10
CHUNK = 1 << 20


class NoPulumiError(Exception):
    """No `pulumi` command can be found or made. The text says why and what to do."""


class ReleaseRefusedError(NoPulumiError):
    """The downloaded release is not the published one."""


@dataclass(frozen=True)
class Release:
    """An official release for one platform, and the addresses of its archives and checksums.

    Archives and checksums are on different hosts, so that nobody who can change one of them can change both.
    """

    version: str
    platform: str
    archives: str = "https://get.pulumi.com/releases/sdk"
    checksums: str = "https://github.com/pulumi/pulumi/releases/download"

    @property
    def archive_name(self) -> str:
        return f"pulumi-v{self.version}-{self.platform}.tar.gz"

    @property
    def archive_url(self) -> str:
        return f"{self.archives}/{self.archive_name}"

    @property
    def checksums_url(self) -> str:
        return f"{self.checksums}/v{self.version}/pulumi-{self.version}-checksums.txt"


def ensure(release: Release | None = None, *, cache: Path = CACHE, path: str | None = None) -> Path:
    """Return the path of a `pulumi` command that runs here. If there is none, download or compile it at the first call.

    Args:
        release: The release to download; by default the one that the Dockerfile takes its CLI from.
        cache: The folder that keeps what is downloaded or compiled.
        path: Where to look for `pulumi` and `go`; by default PATH.

    Raises:
        NoPulumiError: There is none, and none can be downloaded or compiled.
    """
    installed = _installed(path)
    if installed is not None:
        return installed
    release = release or pinned_release()
    downloaded = cache / "pulumi" / f"release-{release.version}-{release.platform}" / "pulumi"
    compiled = cache / "pulumi" / f"module-{key_of(MODULE)}-{release.platform}" / "pulumi"
    with locked(cache / "pulumi"):
        for made in (downloaded, compiled):
            if made.exists():
                return made
        try:
            return download(release, downloaded)
        except OSError as error:
            say(f"Pulumi {release.version} can't be downloaded here ({getattr(error, 'reason', error)}).")
        try:
            variables = {VERSION: f"v{locked_version()}"}
            return build(MODULE, compiled, PACKAGE, variables=variables, cache=cache, path=path)
        except BuildError as error:
            raise NoPulumiError(f"{error}\nInstall the Pulumi CLI: {INSTALL_PAGE}") from error


def pinned_release() -> Release:
    """Return the release that the image holds. One line of the Dockerfile pins the CLI everywhere."""
    found = re.search(r"^FROM pulumi/pulumi-base:(\d+\.\d+\.\d+)", DOCKERFILE.read_text(), re.MULTILINE)
    if found is None:
        raise NoPulumiError(f"{DOCKERFILE} names no release of pulumi/pulumi-base.")
    machine = platform.machine().lower()
    return Release(found[1], f"{sys.platform}-{ARCHITECTURES.get(machine, machine)}")


def locked_version() -> str:
    """Return the version of the release whose Go modules `tools/pulumi-cli` locks."""
    found = re.search(r"github\.com/pulumi/pulumi/pkg/v3 v([\d.]+)", (MODULE / "go.mod").read_text())
    if found is None:
        raise NoPulumiError(f"{MODULE / 'go.mod'} names no release of Pulumi.")
    return found[1]


def _installed(path: str | None) -> Path | None:
    found = shutil.which("pulumi", path=path)
    if found is None:
        return None
    try:
        subprocess.run([found, "version"], check=True, capture_output=True, timeout=30)  # noqa: S603 - the user's own
    except (OSError, subprocess.SubprocessError) as error:
        say(f"{found} doesn't run ({error}); looking further.")
        return None
    return Path(found).resolve()


def download(release: Release, target: Path) -> Path:
    """Download the official release to `target`. Write the file only if the checksum is right.

    Raises:
        OSError: The release can't be reached, or isn't published for this platform.
        ReleaseRefusedError: The archive isn't the one in the release's checksum file.
    """
    expected = _published_checksum(release)
    with scratch_beside(target) as scratch:
        archive = scratch / release.archive_name
        actual = _fetch_archive(release, archive)
        if actual != expected:
            raise ReleaseRefusedError(
                f"{release.archive_url} has the SHA-256 {actual}, but {release.checksums_url} "
                f"lists {expected}. It was thrown away unopened. "
                f"Try again later, or install the Pulumi CLI: {INSTALL_PAGE}"
            )
        say(f"Pulumi {release.version} is downloaded; its checksum is right.")
        return put(_extract(archive, scratch / "pulumi"), target)


def _published_checksum(release: Release) -> str:
    with _open(release.checksums_url) as answer:
        listing = answer.read(CHUNK).decode("utf-8", "replace")
    for line in listing.splitlines():
        checksum, _, name = line.partition(" ")
        if name.strip(" *") == release.archive_name and re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
            return checksum.lower()
    raise FileNotFoundError(f"{release.checksums_url} doesn't list {release.archive_name}")


def _fetch_archive(release: Release, archive: Path) -> str:
    """Write the archive to a file and return its SHA-256."""
    digest = hashlib.sha256()
    received = 0
    progress = Progress()
    with _open(release.archive_url) as answer, archive.open("wb") as file:
        announced = int(answer.headers.get("Content-Length", -1))
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            received += len(chunk)
            progress.show(f"Downloading Pulumi {release.version}: {received >> 20} of {announced >> 20} MB")
    if announced not in {-1, received}:
        raise ConnectionError(f"{release.archive_url} ended after {received} of {announced} bytes")
    return digest.hexdigest()


@contextlib.contextmanager
def _open(url: str) -> Iterator[HTTPResponse]:
    """Yield the answer from an address. Raise an OSError for every failure on the way."""
    try:
        with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT) as answer:  # noqa: S310 - a Release's address
            yield answer
    except urllib.error.HTTPError as error:
        error.close()
        raise FileNotFoundError(f"{url}: HTTP {error.code}") from None
    except HTTPException as error:
        raise ConnectionError(f"{url}: {error!r}") from error


def _extract(archive: Path, target: Path) -> Path:
    """Extract `pulumi`, the one file that is needed, to `target`."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("pulumi/pulumi")
            if member is None:
                raise ReleaseRefusedError(f"In {archive.name}, pulumi/pulumi is no file.")
            with member, target.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (KeyError, tarfile.TarError) as error:
        raise ReleaseRefusedError(f"{archive.name} holds no pulumi/pulumi: {error}") from error
    return target


def main() -> int:
    try:
        sys.stdout.write(f"{ensure()}\n")
    except NoPulumiError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
