"""The software bill of materials of an image, in CycloneDX's JSON form.

What it lists was found in the image itself. For each Python package the hashes come from the lock file, which pip held
the download to; a package that isn't locked, or is locked and missing, ends the release.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from deploy.docker import without_tag
from release import licences, lock
from release.contents import Contents
from release.errors import DifferentError
from release.lock import Locked

MEDIA_TYPE = "application/vnd.cyclonedx+json"
NAME = "sentry-esc-sync"
_LICENCE = "Apache-2.0"


def of(contents: Contents, locked: Path, bases: Mapping[str, str]) -> bytes:
    """The bill of materials; the same for the same image.

    Args:
        contents: What is in the image.
        locked: The lock file that its Python packages are installed from.
        bases: The base images by their versions, with the digest of each; empty where it isn't known.

    Raises:
        DifferentError: The image's Python packages aren't those that are locked.
    """
    version = contents.labels.get("org.opencontainers.image.version")
    image = Component(
        name=NAME,
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        licenses=_licences(_LICENCE),
        hashes=[_sha256(contents.image_id.removeprefix("sha256:"))],
        properties=[Property(name="platform", value=contents.platform)],
    )
    bom = Bom(
        # Out of what was found, not out of chance and the clock: made again, it is the same.
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, contents.image_id),
        metadata=BomMetaData(component=image, timestamp=datetime.datetime.fromisoformat(contents.created)),
        components=[
            *_bases(bases),
            *_python(contents, lock.read(locked)),
            *_pulumi(contents),
            *_debian(contents),
        ],
    )
    bom.register_dependency(image, bom.components)
    said = json.loads(JsonV1Dot6(bom).output_as_string())
    return (json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _bases(bases: Mapping[str, str]) -> Iterator[Component]:
    for image, digest in bases.items():
        name = without_tag(image.partition("@")[0])
        version = image.partition("@")[0][len(name) + 1 :]
        qualifiers = {"repository_url": name, "tag": version}
        yield Component(
            name=name,
            version=version,
            type=ComponentType.CONTAINER,
            bom_ref=f"base:{name}",
            hashes=[_sha256(digest.removeprefix("sha256:"))] if digest else [],
            purl=PackageURL("oci", None, name.rpartition("/")[2], digest or None, qualifiers),
        )


def _python(contents: Contents, locked: Iterable[Locked]) -> Iterator[Component]:
    yield Component(
        name="python",
        version=contents.python,
        type=ComponentType.PLATFORM,
        bom_ref="python",
        licenses=_licences("PSF-2.0"),
        purl=PackageURL("generic", None, "python", contents.python),
    )
    wanted = {
        str(package.name): package for package in locked if licences.is_in_the_image(package.marker, contents.platform)
    }
    found = {str(canonicalize_name(package.name)): package for package in contents.packages}
    different = [
        f"{name} is {found[name].version if name in found else 'missing'} in the image, "
        f"and {wanted[name].version if name in wanted else 'not'} locked"
        for name in sorted(wanted.keys() | found.keys())
        if name not in found or name not in wanted or found[name].version != wanted[name].version
    ]
    if different:
        raise DifferentError(
            f"The image's packages aren't those that are locked: {'; '.join(different)}.", "Build the image anew."
        )
    for name, package in found.items():
        purl = PackageURL("pypi", None, name, package.version)
        # The file that was installed is one of those: which one depends on the platform.
        files = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(purl.to_string()),
            comment="installed by pip with --require-hashes from one of the files with these hashes",
            hashes=[_sha256(each) for each in wanted[name].hashes],
        )
        yield Component(
            name=package.name,
            version=package.version,
            bom_ref=purl.to_string(),
            licenses=_licences(package.licence),
            purl=purl,
            external_references=[files],
        )


def _pulumi(contents: Contents) -> Iterator[Component]:
    yield Component(
        name="pulumi",
        version=contents.pulumi,
        type=ComponentType.APPLICATION,
        bom_ref="pulumi",
        licenses=_licences("Apache-2.0"),
        hashes=[_sha256(contents.pulumi_sha256)],
        purl=PackageURL("github", "pulumi", "pulumi", f"v{contents.pulumi}"),
        components=[
            Component(
                name="stdlib",
                version=contents.go,
                bom_ref="go:stdlib",
                purl=PackageURL("golang", None, "stdlib", contents.go),
            ),
            *(
                Component(
                    name=module.path,
                    version=module.version,
                    bom_ref=f"go:{module.path}",
                    purl=PackageURL("golang", *_split(module.path), module.version or None),
                )
                for module in contents.go_modules
            ),
        ],
    )


def _debian(contents: Contents) -> Iterator[Component]:
    system, version, codename = contents.system
    yield Component(
        name=system,
        version=version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref="system",
        properties=[Property(name="codename", value=codename)],
    )
    for package in contents.debian:
        qualifiers = {"arch": package.architecture, "distro": f"{system}-{version}" if version else system}
        if (package.source, package.source_version) != (package.name, package.version):
            qualifiers["upstream"] = f"{package.source}@{package.source_version}"
        purl = PackageURL("deb", system, package.name, package.version, qualifiers)
        yield Component(name=package.name, version=package.version, bom_ref=purl.to_string(), purl=purl)


def _split(path: str) -> tuple[str, str]:
    """A Go module's path as a package URL has it: name space and name."""
    namespace, _, name = path.rpartition("/")
    return namespace, name


def _licences(expression: str) -> list[License]:
    return [LicenseFactory().make_from_string(expression)]


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)
