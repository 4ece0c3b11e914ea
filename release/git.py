"""Run Git: make the release commit, read and push the remote's tags. No other module knows Git's commands."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from deploy import commands
from deploy.commands import CommandError
from release.errors import OutsideError

# GitHub's own account for the commits of workflows.
_NAME = "github-actions[bot]"
_EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"
_NOTHING = "0" * 40


@dataclass(frozen=True)
class Tag:
    """A tag of the remote repository: the object that it names, and the commit behind that object."""

    object: str
    commit: str


class Git:
    """A clone of the repository.

    Args:
        folder: The clone's working tree.
        remote: Where tags are pushed to: a remote's name or an address.
    """

    def __init__(self, folder: Path, remote: str) -> None:
        self.folder = folder
        self.remote = remote

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command and return its standard output, without white space around it.

        Raises:
            OutsideError: It failed.
        """
        return self._said(*arguments, environ=environ).strip()

    def _said(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command and return its standard output unchanged.

        Raises:
            OutsideError: It failed.
        """
        ours = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        argv = ["git", *arguments]
        try:
            return commands.run(argv, environ={**os.environ, **ours, **(environ or {})}, folder=self.folder)
        except CommandError as error:
            todo = "Remove the cause that Git names, and run the job again."
            raise OutsideError(str(error), todo, "What was pushed before stays.", title="Git failed") from None

    def commit(self, revision: str) -> str | None:
        """Return the commit that a name stands for in this clone. Return None if there is none."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except OutsideError:
            return None

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether a commit is reachable from another."""
        try:
            self.run("merge-base", "--is-ancestor", commit, of)
        except OutsideError:
            return False
        return True

    def changes(self) -> str:
        """Return the uncommitted changes of the working tree."""
        return self.run("status", "--porcelain")

    def remote_tags(self) -> dict[str, Tag]:
        """Return the tags of the remote repository."""
        tags: dict[str, Tag] = {}
        for line in self.run("ls-remote", "--tags", self.remote).splitlines():
            there, _, ref = line.partition("\t")
            name = ref.removeprefix("refs/tags/").removesuffix("^{}")
            # An annotated tag is listed twice: as itself, and then as the commit that it stands for.
            tags[name] = Tag(tags[name].object, there) if ref.endswith("^{}") else Tag(there, there)
        return tags

    def fetch_tag(self, tag: str) -> None:
        """Fetch the commit of a remote tag. No tag of the clone is touched."""
        self.run("fetch", "--quiet", "--no-tags", self.remote, f"refs/tags/{tag}")

    def show(self, commit: str, path: str) -> str:
        """Return the text of a file in a commit, unchanged."""
        return self._said("show", f"{commit}:{path}")

    def files(self, commit: str, *patterns: str) -> list[str]:
        """Return the paths in a commit that match one of the patterns. `*` also matches `/`."""
        listed = self.run("ls-tree", "-r", "--name-only", commit).splitlines()
        return [path for path in listed if any(fnmatchcase(path, pattern) for pattern in patterns)]

    def release_commit(self, source: str, changed: Mapping[str, str], message: str) -> str:
        """Return a commit on top of `source` that replaces the texts of files. `changed` has the new texts by path.

        The same source, texts and message make the same commit, so that a second run can compare.
        """
        when = f"{self.run('show', '--no-patch', '--format=%ct', source)} +0000"
        person = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", _NAME), ("EMAIL", _EMAIL), ("DATE", when))
        }
        with tempfile.TemporaryDirectory() as made:
            file, index = Path(made, "file"), {"GIT_INDEX_FILE": str(Path(made, "index"))}
            self.run("read-tree", source, environ=index)
            for path, text in changed.items():
                file.write_text(text, encoding="utf-8")
                blob = self.run("hash-object", "-w", "--no-filters", "--", str(file))
                self.run("update-index", "--cacheinfo", f"100644,{blob},{path}", environ=index)
            tree = self.run("write-tree", environ=index)
        return self.run("commit-tree", "--no-gpg-sign", tree, "-p", source, "-m", message, environ=person)

    def push_tag(self, tag: str, commit: str, *, instead_of: Tag | None) -> None:
        """Set the remote's tag to a commit, if it still is `instead_of`. None means that there is no tag yet.

        The remote compares and sets in one step, and so refuses one of two concurrent pushes.
        """
        lease = f"--force-with-lease=refs/tags/{tag}:{instead_of.object if instead_of else _NOTHING}"
        self.run("push", "--quiet", "--atomic", lease, self.remote, f"{commit}:refs/tags/{tag}")
