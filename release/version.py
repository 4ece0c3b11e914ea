"""The version of a release, its tags, and what the source says about it."""

from __future__ import annotations

import datetime
import re
import tomllib
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path

from packaging.version import InvalidVersion
from packaging.version import Version as PythonVersion

from release.errors import UnfitError

SOURCE_TAG = "release-"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_FORM = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-(?:alpha|beta|rc)\.{_NUMBER})?")
_SECTION = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<rest>.*)$", re.MULTILINE)
_DATE = re.compile(r" - (\d{4}-\d{2}-\d{2})")


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version as in semver.org, of which only these forms are used: 1.2.3 and 1.2.3-rc.4 (or alpha, beta)."""

    text: str

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(self.text):
            raise ValueError("must be of the form 1.2.3 or 1.2.3-rc.4")

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: Version) -> bool:
        return self.python < other.python

    @property
    def python(self) -> PythonVersion:
        """As Python packages spell it: 1.2.3rc4."""
        return PythonVersion(self.text)

    @property
    def prerelease(self) -> bool:
        return self.python.is_prerelease

    @property
    def source_tag(self) -> str:
        """The tag that a maintainer puts on a commit of main, which starts the release."""
        return f"{SOURCE_TAG}{self}"

    @property
    def tag(self) -> str:
        """The tag of the release commit, which never moves."""
        return f"v{self}"

    @property
    def major_tag(self) -> str:
        """The tag that moves to each new release, which users name."""
        return f"v{self.python.major}"


def of_source_tag(tag: str) -> Version:
    """Read the version from the tag that starts a release.

    Raises:
        ValueError: It is no such tag.
    """
    if not tag.startswith(SOURCE_TAG):
        raise ValueError(f"must be of the form {SOURCE_TAG}1.2.3")
    return Version(tag.removeprefix(SOURCE_TAG))


def of_tag(tag: str) -> Version | None:
    """The version that a release commit's tag stands for; None if it is no such tag."""
    try:
        return Version(tag[1:]) if tag.startswith("v") else None
    except ValueError:
        return None


def notes(tree: Path, version: Version) -> str:
    """What the changelog of a source tree says about a version, which is checked against what else the tree says.

    Raises:
        UnfitError: With everything that doesn't fit.
    """
    problems: list[str] = []
    text = ""
    try:
        text = section((tree / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except ValueError as error:
        problems.append(f"CHANGELOG.md {error}.")
    project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    code = (tree / "sophia_sync" / "__init__.py").read_text(encoding="utf-8")
    stated = re.search(r'^__version__ = "(.*)"$', code, re.MULTILINE)
    for where, said in (("pyproject.toml", project), ("sophia_sync.__version__", stated[1] if stated else "")):
        if not _same(said, version):
            problems.append(f"{where} says version {said or 'nothing'}, but the tag says {version}.")
    if problems:
        raise UnfitError(problems)
    return text


def section(changelog: str, version: Version) -> str:
    """The text of a version's dated section.

    Raises:
        ValueError: There is none, or it has no date or no text; the message goes on from the file's name.
    """
    found = list(_SECTION.finditer(changelog))
    for place, heading in enumerate(found):
        if heading["version"] != version.text:
            continue
        dated = _DATE.fullmatch(heading["rest"].rstrip())
        try:
            datetime.date.fromisoformat(dated[1] if dated else "")
        except ValueError:
            raise ValueError(f"gives no date for [{version}]: it must be ## [{version}] - YYYY-MM-DD") from None
        end = found[place + 1].start() if place + 1 < len(found) else len(changelog)
        text = re.split(r"^\[[^\]]+\]: ", changelog[heading.end() : end], maxsplit=1, flags=re.MULTILINE)[0].strip()
        if not re.search(r"^[-*] \S", text, re.MULTILINE):
            raise ValueError(f"lists nothing under [{version}]")
        return text
    raise ValueError(f"has no section ## [{version}] - YYYY-MM-DD")


def _same(said: str, version: Version) -> bool:
    try:
        return PythonVersion(said) == version.python
    except InvalidVersion:
        return False
