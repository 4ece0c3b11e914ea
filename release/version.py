"""The version of a release, its tags, and what the source says about it."""

from __future__ import annotations

import datetime
import re
import tomllib
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path

from release.errors import UnfitError

SOURCE_TAG = "release-"
_NUMBER = r"(0|[1-9][0-9]*)"
_FORM = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-(alpha|beta|rc)\.{_NUMBER})?")
_PYTHON = {"alpha": "a", "beta": "b", "rc": "rc"}
_SECTION = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<rest>.*)$", re.MULTILINE)
_DATE = re.compile(r" - (\d{4}-\d{2}-\d{2})")


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version as semver.org defines it, in one of two forms: 1.2.3, and 1.2.3-rc.4 (or alpha, beta)."""

    text: str

    def __post_init__(self) -> None:
        """Raise ValueError if the text has another form."""
        if not _FORM.fullmatch(self.text):
            raise ValueError("must be of the form 1.2.3 or 1.2.3-rc.4")

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: Version) -> bool:
        return self._order < other._order

    @property
    def _parts(self) -> tuple[str | None, ...]:
        found = _FORM.fullmatch(self.text)
        return found.groups() if found else ()

    @property
    def _order(self) -> tuple[int, int, int, str, int]:
        major, minor, patch, kind, number = self._parts
        # The names of the kinds are in alphabetical order; a release comes after all of them.
        return int(major or 0), int(minor or 0), int(patch or 0), kind or "~", int(number or 0)

    @property
    def python(self) -> str:
        """Return the version as Python packages spell it, such as 1.2.3rc4."""
        *_, kind, number = self._parts
        return self.text.partition("-")[0] + (f"{_PYTHON[kind]}{number}" if kind else "")

    @property
    def prerelease(self) -> bool:
        """Return whether the version is a prerelease."""
        return "-" in self.text

    @property
    def source_tag(self) -> str:
        """Return the tag that a maintainer puts on a commit of main. It starts the release."""
        return f"{SOURCE_TAG}{self}"

    @property
    def tag(self) -> str:
        """Return the tag of the release commit. It never moves."""
        return f"v{self}"

    @property
    def major_tag(self) -> str:
        """Return the tag that users name. It moves to each new release."""
        return f"v{self._parts[0]}"


def of_source_tag(tag: str) -> Version:
    """Return the version of a tag that starts a release.

    Raises:
        ValueError: The tag has another form.
    """
    if not tag.startswith(SOURCE_TAG):
        raise ValueError(f"must be of the form {SOURCE_TAG}1.2.3")
    return Version(tag.removeprefix(SOURCE_TAG))


def of_tag(tag: str) -> Version | None:
    """Return the version of a release commit's tag. Return None for another tag."""
    try:
        return Version(tag[1:]) if tag.startswith("v") else None
    except ValueError:
        return None


def notes(tree: Path, version: Version) -> str:
    """Check that the files of the tree state this version. Return the changelog's section about it.

    Raises:
        UnfitError: They don't. The error lists all problems.
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
    for where, said in (("pyproject.toml", project), ("sophia_sync.__version__", stated[1] if stated else "nothing")):
        if said not in (str(version), version.python):
            problems.append(f"{where} says version {said}, but the tag says {version}.")
    if problems:
        raise UnfitError(problems)
    return text


def section(changelog: str, version: Version) -> str:
    """Return the text of a version's dated section.

    Raises:
        ValueError: There is none, or it has no date or no entry. The message continues the file's name.
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
