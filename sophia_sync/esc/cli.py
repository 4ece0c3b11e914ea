"""Pulumi's ESC, through the commands of its CLI: the one module that knows the commands, flags and messages.

Source: github.com/pulumi/pulumi/pkg/v3 v3.274.1, `cmd/esc/cli` (`env_get.go`, `env_edit.go`, `env_version.go`,
`env_version_history.go`, `env_version_tag.go`, `env_ls.go`, `login.go`; of change requests, `updateEnvironment` in
`env.go`). Comments say where older releases differ (tests: `tests/cli/test_pulumi_versions.py`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from pydantic import SecretStr

from sophia_sync.esc import editor, messages, opening
from sophia_sync.esc.editor import Stored
from sophia_sync.runtime import processes
from sophia_sync.runtime.context import shared_certificates
from sophia_sync.runtime.errors import ConflictError, DefinitionError, EscError, TransientError
from sophia_sync.runtime.processes import Child, Finished
from sophia_sync.runtime.redact import Redactor
from sophia_sync.runtime.run import GRACE
from sophia_sync.runtime.tasks import finish_within

if TYPE_CHECKING:
    from sophia_sync.esc.opened import Opened
    from sophia_sync.esc.revisions import Revision

SENDS_IF_MATCH = (3, 274)
"""The oldest release that is known to send a write's precondition in the header that Pulumi's API documents."""
# The editor that `env edit` runs. It prints the name of the CLI's file, which lies in our private folder, and waits
# until we have written it. If we don't confirm, for example because we were killed, it fails: the CLI saves nothing.
# It is Python without its `site` module, because the container image has no shell.
_EDITOR = (
    '"{python}" -I -S -c "'
    "import os, sys; "
    r"os.write(1, b'{mark} ' + os.fsencode(os.path.basename(sys.argv[1])) + b'\n'); "
    r"sys.exit(os.read(0, 64) != b'{mark}\n')"
    '"'
)
# Parent of the private folder, if it has room. mkdtemp makes the folder, with mode 0700.
_MEMORY = Path("/dev/shm")  # noqa: S108
# Maximum size of a run's private files, in bytes: the CLI's configuration, and a definition with its evaluation for
# each environment that is written at the same time. A Docker container has 64 MiB of this memory by default.
_ROOM = 16 * 1024 * 1024
_REVISION = re.compile(rb"^Revision (\d+)$", re.MULTILINE)
_SAVED = re.compile(rb"\(revision (\d+)\)")
# Releases up to v3.250 print no revision number: their ESC code is older than github.com/pulumi/esc v0.26.0.
_SAVED_WITHOUT_NUMBER = b"Environment updated."
_CREATED = re.compile(rb"^Change request created: ([A-Za-z0-9_-]{1,100})$", re.MULTILINE)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only we can read, in memory if there is room. Remove it at the end.

    Until then, requests and PyGithub trust the certificates that the Pulumi CLI is told to trust.

    Raises:
        EscError: No folder can be made.
    """
    path = _new_folder(_MEMORY if _has_room(_MEMORY) else None)
    try:
        with shared_certificates(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Return whether a folder exists and has room for the private files."""
    try:
        return shutil.disk_usage(folder).free >= _ROOM
    except OSError:
        return False


def _new_folder(memory: Path | None) -> Path:
    for parent in (memory, None):  # we may lack the permission to write to /dev/shm
        try:
            return Path(tempfile.mkdtemp(prefix="sentry-esc-sync-", dir=parent))
        except OSError as error:
            reason = error.strerror
    raise EscError(
        f"There is no room for the Pulumi CLI's private files: {reason}.",
        "Make room in /dev/shm or in TMPDIR, and run again.",
        title="No temporary folder can be made",
    )


@dataclass(frozen=True)
class Saved:
    """The result of an edit.

    Attributes:
        revision: The new revision. None if the CLI is an older one that doesn't print the number.
        warnings: ESC's warnings, one line each.
    """

    revision: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pulumi:
    """The CLI, signed in to one Pulumi Cloud for one run.

    Args:
        home: A private folder; becomes PULUMI_HOME, HOME and TMPDIR of every call.
        cloud_url: The address of Pulumi Cloud. With `login` it may be empty: then the login's address counts.
        access_token: Passed in the CLI's environment, the only way that the CLI takes it.
        environ: The other variables of our environment that the CLI may see.
        redact: Hides secrets in the CLI's messages.
        longest_call: Time limit of one call, in seconds. The CLI has none, and a connection that hangs must leave time
            for a retry.
        executable: The `pulumi` to run; looked up on PATH.
        login: The folder of an existing `pulumi login`: PULUMI_HOME if there is no access token.
        by_oidc: Whether the access token was exchanged for an OIDC token.
    """

    home: Path
    cloud_url: str
    access_token: SecretStr | None
    environ: Mapping[str, str]
    redact: Redactor
    longest_call: float = 75.0
    executable: str = "pulumi"
    login: Path | None = None
    by_oidc: bool = False

    def prepare(self, organization: str) -> None:
        """Configure the CLI's default organization, which saves a request in every call.

        Leave the configuration of an existing login alone: it belongs to a person.

        Raises:
            EscError: There is no room for the file.
        """
        if self._pulumi_home != self.home:
            return
        _write(self.home / "config.json", opening.configuration(self.cloud_url, organization).encode())

    async def read(self, environment: str, version: str = "") -> str:
        """Return what the CLI shows of an environment, for `shown.parse`: its values and its definition. One call.

        Args:
            environment: `organization/project/environment`.
            version: A revision number or revision tag; the latest revision if empty.

        Raises:
            TransientError: It can't be read now.
            EscError: It can't be read.
        """
        target = f"{environment}@{version}" if version else environment
        return await self._ask(f"read {target}", "env", "get", target, "--show-secrets")

    async def open_values(self, environment: str, draft: str = "") -> dict[str, Opened]:
        """Return the values that a consumer sees, by key, with imports and providers evaluated. One call.

        All secrets among them are hidden from then on, other teams' included.

        Args:
            environment: `organization/project/environment`.
            draft: The change request whose draft to open instead.

        Raises:
            TransientError: It can't be opened now.
            EscError: It can't be opened.
        """
        from sophia_sync.esc import opened  # noqa: PLC0415 - a sync opens nothing

        doing = f"open {environment}" + (f" as change request {draft} has it" if draft else "")
        finished = await self._call(doing, *opening.arguments(environment, draft))
        # If an environment has errors, the CLI prints them and no values. v3.274.1 then exits 1, v3.260 exits 0.
        problems = tuple(messages.diagnostics(self.redact(finished.stderr)))
        broken = EscError(*messages.not_evaluated(environment, problems))
        if finished.code != 0:
            raise broken if problems else self._failure(doing, finished)
        try:
            values = opened.parse(editor.decode(finished.stdout))
        except ValueError:
            raise broken from None
        for secret in (secret for value in values.values() for secret in value.secrets):
            self.redact.add(secret)
        return values

    async def edit(
        self, environment: str, change: Callable[[Stored], str], on_saved: Callable[[int], None] = lambda _: None
    ) -> Saved:
        """Change the definition in one transaction, safe against other writers. One call saves one new revision.

        A cancellation before the new text is handed over saves nothing. After that, the CLI has `GRACE` seconds to
        save it, and `on_saved` still gets the revision.

        Args:
            environment: `organization/project/environment`.
            change: Gets the stored definition and returns the new text. If it raises, nothing is saved and the error is
                passed on.
            on_saved: Called with the new revision's number at once.

        Raises:
            ConflictError: Somebody else saved a revision in the meantime; nothing of ours was saved.
            DefinitionError: ESC or its CLI would not take the new text; nothing was saved.
            TransientError: It isn't known whether the new text was saved.
            EscError: Anything else; nothing was saved.
        """
        revision: int | None = None

        def told(printed: bytes) -> None:
            nonlocal revision
            saved = _SAVED.search(printed)
            if saved:
                revision = int(saved[1])
                on_saved(revision)

        reading = f"read {environment} for the change"
        finished = await self._edit(environment, change, told, reading, f"write {environment}")
        said = self.redact(finished.stderr)
        if revision is not None or _SAVED_WITHOUT_NUMBER in finished.stdout:
            return Saved(revision, tuple(messages.diagnostics(said, "Warning")))
        raise self._refusal(f"write {environment}", environment, finished)

    async def propose(
        self, environment: str, change: Callable[[Stored], str], on_created: Callable[[str], None]
    ) -> str:
        """Open a change request with a changed definition, and submit it. Return its id. One call.

        The environment itself stays as it is. A cancellation works as with `edit`.

        Args:
            environment: `organization/project/environment`.
            change: As with `edit`.
            on_created: Called with the id at once, even if the change request can't be submitted afterwards.

        Raises:
            ConflictError: Somebody saved a revision or opened another change request in the meantime.
            DefinitionError: ESC or its CLI would not take the new text.
            TransientError: It isn't known whether the change request was created, or whether it was submitted.
            EscError: It was refused.
        """
        identifier = ""

        def told(printed: bytes) -> None:
            nonlocal identifier
            created = _CREATED.search(printed)
            if created:
                identifier = created[1].decode()
                on_created(identifier)

        reading, doing = f"read {environment} for the change", f"open a change request for {environment}"
        finished = await self._edit(environment, change, told, reading, doing, "--draft")
        if not identifier:
            raise self._refusal(doing, environment, finished)
        if finished.code != 0:
            raise self._failure(f"submit change request {identifier} of {environment}", finished)
        return identifier

    async def draft(self, environment: str, identifier: str) -> Stored:
        """Return the definition that a change request proposes, with secrets as ciphertext. One call; nothing is saved.

        Raises:
            TransientError: It can't be read now.
            EscError: It can't be read.
        """
        found: list[Stored] = []

        def look(stored: Stored) -> str:
            found.append(stored)
            raise _LookedError

        with contextlib.suppress(_LookedError):
            doing = f"read change request {identifier} of {environment}"
            await self._edit(environment, look, lambda _: None, doing, doing, f"--draft={identifier}")
        return found[0]

    async def _edit(
        self,
        environment: str,
        change: Callable[[Stored], str],
        told: Callable[[bytes], None],
        reading: str,
        writing: str,
        *options: str,
    ) -> Finished:
        """Run one `env edit` to its end.

        Args:
            environment: `organization/project/environment`.
            change: As with `edit`.
            told: Called with what the CLI printed until it ended or was killed.
            reading: What the first half of the edit does, for an error.
            writing: What the second half does.
            options: Options of the command.
        """
        mark = os.urandom(8).hex()
        finished: Finished | None = None
        doing = reading
        with self._time_limit() as call:
            async with self._start("env", "edit", environment, *options, "--editor", _editor(mark)) as child:
                name = await _file_of_editor(child, mark)
                if name is None:
                    raise self._failure(doing, await child.finish())
                file = self.home / name
                new = change(editor.parse(file.read_bytes()))
                if editor.would_cut(new):
                    raise DefinitionError(
                        "The definition has a line '---', at which the Pulumi CLI's editor would cut it off.",
                        "YAML doesn't need that line at the top of a definition: remove it in the "
                        "Pulumi console and run again.",
                    )

                async def hand_over() -> None:
                    nonlocal finished
                    _write(file, new.encode())
                    await child.send(f"{mark}\n".encode())
                    try:
                        finished = await child.finish()
                    finally:
                        told(child.output)

                doing = writing
                await finish_within(GRACE, hand_over)
        if finished is None:
            raise self._too_late(doing) if call.cancelled_caught else AssertionError("no end of the edit")
        return finished

    def _refusal(self, doing: str, environment: str, finished: Finished) -> EscError:
        """Return why an edit saved nothing."""
        if finished.code != 0:
            return self._failure(doing, finished)
        said = self.redact(finished.stderr)
        if messages.CHANGED in said:
            return ConflictError(f"Could not {doing}: the definition changed after it was read.", messages.RUN_AGAIN)
        why = next(iter(messages.diagnostics(said)), "") or messages.reason(said)
        return DefinitionError(
            f"ESC refused the new definition of {environment}: {why}.",
            "Check the environment with `pulumi env get`: its definition must be free of "
            "errors before and after the sync.",
        )

    async def latest_revision(self, environment: str) -> int:
        """Return the number of the newest revision. One call.

        Raises:
            EscError: It can't be read.
        """
        doing = f"read the newest revision of {environment}"
        finished = await self._call(doing, "env", "version", f"{environment}@latest")
        found = _REVISION.search(finished.stdout)
        if finished.code != 0 or not found:
            raise self._failure(doing, finished)
        return int(found[1])

    async def tag(self, environment: str, name: str, revision: int | None = None) -> None:
        """Set a revision tag to `revision` (None: the latest), or move it there. One call.

        Raises:
            EscError: It could not be set.
        """
        version = [f"@{revision}"] if revision is not None else []
        doing = f"set the revision tag {name} of {environment}"
        await self._ask(doing, "env", "version", "tag", f"{environment}@{name}", *version)

    async def version(self) -> str:
        """Return the CLI's own version, such as `v3.274.1`. One call, which sends no request.

        Raises:
            EscError: There is no CLI, or it doesn't run.
        """
        return (await self._ask("ask the Pulumi CLI for its version", "version")).strip()

    async def account(self) -> str:
        """Return the owner of the access token or login. One call.

        Raises:
            EscError: The token is refused, or its owner can't be shown.
        """
        return (await self._ask("ask for the owner of the access token", "whoami")).strip()

    async def environments(self, organization: str) -> list[str]:
        """List an organization's environments that can be seen, as `organization/project/environment`. One call.

        Raises:
            EscError: There is no such organization, or they can't be listed.
        """
        doing = f"list the environments of {organization}"
        listed = await self._ask(doing, "env", "ls", "--organization", organization)
        # The CLI omits the organization if it is the user's own.
        return [name if name.count("/") == 2 else f"{organization}/{name}" for name in listed.split()]

    async def revisions(self, environment: str) -> list[Revision]:
        """List all revisions of an environment with their tags, newest first. One call.

        Raises:
            EscError: They can't be listed.
        """
        from sophia_sync.esc import revisions  # noqa: PLC0415 - nor does it list any

        doing = f"list the revisions of {environment}"
        listed = await self._ask(doing, "env", "version", "history", environment, "--utc", "--pager", "cat")
        return revisions.parse(listed)

    @property
    def _pulumi_home(self) -> Path:
        return self.login if self.access_token is None and self.login is not None else self.home

    @property
    def _cloud(self) -> str:
        return self.cloud_url or "Pulumi Cloud"

    async def _ask(self, doing: str, *arguments: str) -> str:
        """Return what a call prints."""
        finished = await self._call(doing, *arguments)
        if finished.code != 0:
            raise self._failure(doing, finished)
        return editor.decode(finished.stdout)

    async def _call(self, doing: str, *arguments: str) -> Finished:
        """Run one call to its end.

        Raises:
            TransientError: It took too long.
            EscError: It can't be started.
        """
        finished: Finished | None = None
        with self._time_limit():
            async with self._start(*arguments) as child:
                finished = await child.finish()
        if finished is None:
            raise self._too_late(doing)
        return finished

    def _time_limit(self) -> anyio.CancelScope:
        return anyio.move_on_after(self.longest_call)

    def _too_late(self, doing: str) -> TransientError:
        return TransientError(
            f"Could not {doing}: no answer within {self.longest_call:g} seconds.",
            f"Check that {self._cloud} is up, and run again.",
        )

    @contextlib.asynccontextmanager
    async def _start(self, *arguments: str) -> AsyncIterator[Child]:
        environ = opening.variables(self.environ, self.home, self._pulumi_home, self.access_token, self.cloud_url)
        executable = shutil.which(self.executable, path=self.environ.get("PATH"))
        if executable is None:
            raise EscError(
                "The Pulumi CLI isn't installed: there is no `pulumi` on PATH.",
                "Use the action's container image, which has it, or install it from pulumi.com.",
                title="The Pulumi CLI isn't installed",
            )
        argv = [executable, *arguments, *opening.GLOBAL_OPTIONS]
        async with contextlib.AsyncExitStack() as stack:
            try:
                child = await stack.enter_async_context(processes.start(argv, environ))
            except (OSError, RuntimeError) as error:  # RuntimeError: no more threads can be started
                why = (isinstance(error, OSError) and error.strerror) or str(error)
                raise EscError(
                    f"The Pulumi CLI can't be started: {why}.",
                    "Run again. If that stays so, see whether `pulumi version` runs on this machine.",
                    title="The Pulumi CLI can't be started",
                ) from None
            yield child

    def _failure(self, doing: str, finished: Finished) -> EscError:
        """Return why a call failed, from the exit code and messages of the CLI."""
        return messages.failure(doing, self.redact(finished.stderr), finished.code, self._cloud, by_oidc=self.by_oidc)


class _LookedError(Exception):
    """Raised to end an edit that only reads. Nothing is saved."""


def _editor(mark: str) -> str:
    """Return the editor's command as the CLI parses it: words in double quotes, with `\\"` for a quote in them."""
    return _EDITOR.format(python=sys.executable.replace('"', r"\""), mark=mark)


async def _file_of_editor(child: Child, mark: str) -> str | None:
    """Wait for the name of the file that holds the definition. Return None if the CLI ends before that."""
    while True:
        is_open = await child.more()
        lines = child.output.decode(errors="replace").split("\n")
        for line in lines[:-1]:
            said, _, name = line.partition(" ")
            if said == mark:
                return name
        if not is_open:
            return None


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise EscError(
            f"Could not write the Pulumi CLI's private files: {error.strerror}.",
            "Make room in memory (/dev/shm) or in TMPDIR, and run again.",
            title="No room for temporary files",
        ) from None
