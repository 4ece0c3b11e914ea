"""The SBOM lists what is in the image: nothing less and nothing more. The image is looked at here by other means."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from release import lock
from release.__main__ import main
from release.settings import LOCK, ROOT
from tests.support.docker_engine import docker

pytestmark = pytest.mark.docker

PACKAGES = "usr/local/lib/python3.13/dist-packages/"
PULUMI = "usr/local/bin/pulumi"


class Files:
    """The files of an image, from its root."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members = {member.name: member for member in tar}

    def read(self, name: str, size: int = -1) -> bytes:
        file = self._tar.extractfile(self.members[name])
        assert file is not None, name
        return file.read(size)

    @cached_property
    def debian(self) -> list[dict[str, str]]:
        """Return the packages by the fields of dpkg's database, which distroless keeps as one file a package."""
        files = [name for name in self.members if re.fullmatch(r"var/lib/dpkg/status\.d/[^/]+(?<!\.md5sums)", name)]
        return [dict(re.findall(r"^([\w-]+): (.*)$", self.read(name).decode(), re.MULTILINE)) for name in files]

    @cached_property
    def of_debian(self) -> set[str]:
        """Return the files that Debian's packages brought; where /bin and the like are links, under /usr."""
        lists = [name for name in self.members if re.fullmatch(r"var/lib/dpkg/status\.d/[^/]+\.md5sums", name)]
        paths = {line.split(maxsplit=1)[1] for name in lists for line in self.read(name).decode().splitlines()}
        return {re.sub(r"^(s?bin|lib\w*)/", r"usr/\1/", path) for path in paths}


@dataclass(frozen=True)
class Listed:
    """What an SBOM says."""

    said: Mapping[str, Any]

    def purls(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The components of a kind, at any depth, by their package URLs without qualifiers."""
        every = [
            *self.said["components"],
            *(inner for each in self.said["components"] for inner in each.get("components", ())),
        ]
        found = [(unquote(each.get("purl", "").partition("?")[0]), each) for each in every]
        kept = {purl: each for purl, each in found if purl.startswith(f"pkg:{kind}/")}
        assert len(kept) == sum(purl.startswith(f"pkg:{kind}/") for purl, _ in found)
        return kept


@pytest.fixture(scope="module")
def files(image: str) -> Iterator[Files]:
    container = docker("create", image).stdout.strip()
    try:
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True, timeout=120)
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as tar:
        yield Files(tar)


@pytest.fixture(scope="module")
def written(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sbom") / "image.cdx.json"
    assert main(["sbom", "--image", image, "--output", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def listed(written: Path) -> Listed:
    return Listed(json.loads(written.read_text(encoding="utf-8")))


def test_it_is_valid(written: Path) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written.read_text(encoding="utf-8")) is None


def test_made_again_it_is_the_same(written: Path, image: str, tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    assert main(["sbom", "--image", image, "--output", str(again)]) == 0
    assert again.read_bytes() == written.read_bytes()


def test_the_python_packages_are_those_that_are_found_anywhere_in_the_image(files: Files, listed: Listed) -> None:
    found = set()
    for name in files.members:
        if re.search(r"\.(dist|egg)-info/(METADATA|PKG-INFO)$|\.egg-info$", name) and name not in files.of_debian:
            assert name.startswith(PACKAGES), name
            said = dict(re.findall(r"^(Name|Version): (.*)$", files.read(name).decode(), re.MULTILINE))
            found.add(f"pkg:pypi/{canonicalize_name(said['Name'])}@{said['Version']}")
    assert found == set(listed.purls("pypi"))
    assert len(found) > 10


def test_each_python_package_has_its_licence_and_the_hashes_that_are_locked(listed: Listed) -> None:
    locked = {f"pkg:pypi/{each.name}@{each.version}": set(each.hashes) for each in lock.read(LOCK)}
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    for purl, component in listed.purls("pypi").items():
        [files] = component["externalReferences"]
        assert {each["content"] for each in files["hashes"]} == locked[purl]
        [licence] = component["licenses"]
        licence_text = licence.get("expression") or licence["license"]["id"]
        assert f"| {component['name']} | {component['version']} | {licence_text} |" in page


def test_debians_packages_are_those_that_dpkg_has_installed(files: Files, listed: Listed) -> None:
    installed = {f"pkg:deb/debian/{each['Package']}@{each['Version']}" for each in files.debian}
    assert installed == set(listed.purls("deb"))
    assert len(installed) > 30


def test_debians_packages_bring_their_licences(files: Files) -> None:
    """That is what docs/licences.md says of them."""
    for each in files.debian:
        folder = f"usr/share/doc/{each['Package']}"
        is_link = folder in files.members and files.members[folder].issym()
        assert is_link or f"{folder}/copyright" in files.members, each["Package"]


def test_the_pulumi_cli_is_the_file_that_is_there(files: Files, listed: Listed, image: str) -> None:
    [pulumi] = listed.purls("github").values()
    data = files.read(PULUMI)
    assert pulumi["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "pulumi", image, "version").stdout.strip()
    assert f"v{pulumi['version']}" == told


def test_its_modules_are_those_that_go_wrote_into_it(files: Files, listed: Listed) -> None:
    lines = re.findall(rb"^(dep|=>)\t([^\t\n]+)\t([^\t\n]*)", files.read(PULUMI), re.MULTILINE)
    modules: list[str] = []
    for kind, path, version in lines:
        if kind == b"=>":
            modules.pop()
        modules.append(f"pkg:golang/{path.decode()}" + (f"@{version.decode()}" if version else ""))
    in_sbom = {purl for purl in listed.purls("golang") if not purl.startswith("pkg:golang/stdlib@")}
    assert {module.lower() for module in modules} == {purl.lower() for purl in in_sbom}
    assert any("github.com/pulumi/" in module for module in modules)


def test_every_other_program_is_debians_or_pythons(files: Files) -> None:
    """What no list above would show: a binary that came from elsewhere."""
    strange = []
    for name, member in files.members.items():
        is_pythons = re.match(r"usr/local/(bin/python3?(\.\d+)?$|lib/(libpython|python3))", name)
        if member.isfile() and name not in files.of_debian and not is_pythons and files.read(name, 4) == b"\x7fELF":
            strange.append(name)
    assert strange == [PULUMI]


def test_the_base_images_are_those_of_the_dockerfile(listed: Listed) -> None:
    named = set(re.findall(r"^FROM ([^\s@]+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    containers = {
        f"{each['name']}:{each['version']}" for each in listed.said["components"] if each["type"] == "container"
    }
    assert containers == named


def test_all_is_part_of_the_image(listed: Listed) -> None:
    [whole] = [each for each in listed.said["dependencies"] if each["ref"] == "image"]
    assert set(whole["dependsOn"]) == {each["bom-ref"] for each in listed.said["components"]}
