"""The one place that knows Git's commands: the release commit, and the tags of the remote repository."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from release.errors import GitError
from sophia_sync import process
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor

# GitHub's own account for what a workflow commits.
_NAME = "github-actions[bot]"
_EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"
_NOTHING = "0" * 40
_LONGEST_QUOTE = 20


@dataclass(frozen=True)
class Tag:
    """A tag of the remote repository: what it names, and the commit that this stands for (most often the same)."""

    object: str
    commit: str


class Git:
    """A clone of the repository.

    Args:
        folder: The clone's working tree.
        remote: Where tags are pushed to: a remote's name or an address.
        environ: What Git sees.
        deadline: Ends each command that is still running.
        redact: Hides secrets in what Git says.
    """

    def __init__(
        self, folder: Path, remote: str, environ: Mapping[str, str], deadline: Deadline, redact: Redactor
    ) -> None:
        self.folder = folder
        self.remote = remote
        self._environ = {**environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        self._deadline = deadline
        self._redact = redact

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run one command; its standard output, less white space around it.

        Raises:
            GitError: It failed; the text ends with what it said last.
        """
        return self._said(*arguments, environ=environ).strip()

    def _said(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """As `run`, every byte of it.

        Raises:
            GitError: It failed; the text ends with what it said last.
        """
        argv = ["git", "-C", str(self.folder), *arguments]
        try:
            done = process.run(argv, {**self._environ, **(environ or {})}, self._deadline)
        except OSError as error:
            raise GitError(f"`git` can't be started: {error.strerror}.", "Install Git.") from None
        if done.code == 0 and not done.timed_out:
            return done.stdout.decode("utf-8", "replace")
        why = "was not done in time" if done.timed_out else f"failed with exit code {done.code}"
        said = self._redact(done.stdout.decode("utf-8", "replace") + done.stderr).strip()
        last = "\n".join(said.splitlines()[-_LONGEST_QUOTE:])
        raise GitError(f"`git {arguments[0]}` {why}:\n{last}", "See what it says there, then run again.") from None

    def commit(self, revision: str) -> str | None:
        """The commit that a name stands for in this clone; None if there is none."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except GitError:
            return None

    def is_ancestor(self, commit: str, of: str) -> bool:
        try:
            self.run("merge-base", "--is-ancestor", commit, of)
        except GitError:
            return False
        return True

    def changes(self) -> str:
        """What isn't committed in the working tree."""
        return self.run("status", "--porcelain")

    def remote_tags(self) -> dict[str, Tag]:
        """The tags of the remote repository."""
        tags: dict[str, Tag] = {}
        for line in self.run("ls-remote", "--tags", self.remote).splitlines():
            there, _, ref = line.partition("\t")
            name = ref.removeprefix("refs/tags/").removesuffix("^{}")
            # An annotated tag is listed twice: as itself, and then as the commit that it stands for.
            tags[name] = Tag(tags[name].object, there) if ref.endswith("^{}") else Tag(there, there)
        return tags

    def fetch_tag(self, tag: str) -> None:
        """Have the commit of a remote tag in this clone; no tag of the clone is touched."""
        self.run("fetch", "--quiet", "--no-tags", self.remote, f"refs/tags/{tag}")

    def show(self, commit: str, path: str) -> str:
        """A file of a commit, as it is."""
        return self._said("show", f"{commit}:{path}")

    def files(self, commit: str, *patterns: str) -> list[str]:
        """The paths in a commit that match one of the patterns, in which `*` also stands for `/`."""
        listed = self.run("ls-tree", "-r", "--name-only", commit).splitlines()
        return [path for path in listed if any(fnmatchcase(path, pattern) for pattern in patterns)]

    def release_commit(self, source: str, changed: Mapping[str, str], message: str) -> str:
        """A commit on top of the source in which some files, by their paths, have another text.

        The same source, texts and message make the same commit: whoever makes it again can compare.
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
        """Let the remote's tag stand for a commit, if it is `instead_of` until then; None: if there is none.

        The remote compares and sets in one step: of two that push at once, one is refused.
        """
        lease = f"--force-with-lease=refs/tags/{tag}:{instead_of.object if instead_of else _NOTHING}"
        self.run("push", "--quiet", "--atomic", lease, self.remote, f"{commit}:refs/tags/{tag}")
