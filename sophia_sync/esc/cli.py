"""Pulumi's ESC, through the commands of its CLI: the one module that knows the commands, flags and messages.

Source: github.com/pulumi/esc v0.26.0, `cmd/esc/cli` (`env_get.go`, `env_edit.go`, `env_version.go`,
`env_version_history.go`, `env_version_tag.go`, `env_ls.go`, `login.go`); the same code is in the full Pulumi CLI.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from sophia_sync import interrupts, process
from sophia_sync.errors import ConflictError, DefinitionError, EscError, TransientError
from sophia_sync.process import Child, CutError, Deadline, Finished
from sophia_sync.redact import Redactor

if TYPE_CHECKING:
    from sophia_sync.esc.opened import Opened
    from sophia_sync.esc.revisions import Revision

# The editor that `env edit` runs. It prints the name of the CLI's file, which lies in our private folder, and waits
# until we have written it. It fails unless we confirm, for instance because we were killed; then the CLI saves nothing.
# It is Python without its `site` module, because the container image has no shell.
_EDITOR = (
    '"{python}" -I -S -c "'
    "import os, sys; "
    r"os.write(1, b'{mark} ' + os.fsencode(os.path.basename(sys.argv[1])) + b'\n'); "
    r"sys.exit(os.read(0, 64) != b'{mark}\n')"
    '"'
)
# The CLI puts what is wrong with the definition, or the evaluated environment, below it, and cuts that off again.
_TRAILER = re.compile(rb"^---\n# (?:Diagnostics|Please edit the environment definition above\.)\n", re.MULTILINE)
_BELOW = re.compile(rb"(?:#[^\n]*\n)*(?:# |\n(?P<evaluated>\{.*))", re.DOTALL)
# A call is short: Go's garbage collector, left alone, takes a tenth of its time.
_GOGC = "400"
_REVISION = re.compile(rb"^Revision (\d+)$", re.MULTILINE)
_SAVED = re.compile(rb"\(revision (\d+)\)")


@contextlib.contextmanager
def private_folder(deadline: Deadline) -> Iterator[Path]:
    """A folder that only we can read, in memory where the machine offers that, and that is gone afterwards.

    Args:
        deadline: That of what works in the folder: what still runs on leaving it is cut. A CLI that nobody waits for
            any more would make its files anew, with the access token in them.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder itself is made by mkdtemp, mode 0700
    path = _new_folder(memory if memory.is_dir() else None)
    try:
        yield path
    finally:
        deadline.cut(interrupts.GRACE)
        shutil.rmtree(path, ignore_errors=True)


def _new_folder(parent: Path | None) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="sentry-esc-sync-", dir=parent))
    except OSError:  # /dev/shm may be there but not for us
        return Path(tempfile.mkdtemp(prefix="sentry-esc-sync-"))


def editor_would_cut(text: str) -> bool:
    """Whether `env edit` would take a line of this definition for the end of it, and lose what follows.

    It looks at the first `---` in the text, wherever that is, and cuts there if it is a line of its own
    (`envEditCommand.editWithYAMLEditor`).
    """
    at = text.find("---")
    if at == -1:
        return False
    return (at == 0 or text[at - 1] == "\n") and text[at + 3 : at + 4] in ("", "\n")


@dataclass(frozen=True)
class Pulumi:
    """The CLI, signed in to one Pulumi Cloud for one run.

    Args:
        home: A private folder; becomes PULUMI_HOME, HOME and TMPDIR of every call.
        cloud_url: Where ESC is; with `login` it may be empty, for where that is.
        access_token: Reaches the CLI by its environment, the only way that it has.
        environ: What else the CLI may see of our environment.
        deadline: When all calls must be done.
        redact: Hides secrets in the CLI's messages.
        executable: The `pulumi` to run; looked up on PATH.
        login: The folder of an existing `pulumi login`, which is PULUMI_HOME where there is no access token.
        tries: How many calls that hang the time is to be enough for.
    """

    home: Path
    cloud_url: str
    access_token: SecretStr | None
    environ: Mapping[str, str]
    deadline: Deadline
    redact: Redactor
    executable: str = "pulumi"
    login: Path | None = None
    tries: int = 4

    def prepare(self, organization: str) -> None:
        """Tell the CLI its default organisation beforehand, which saves a request in every call.

        An existing login's configuration is its owner's, and stays as it is.
        """
        if self._pulumi_home != self.home:
            return
        config = {"backends": {self.cloud_url: {"defaultOrg": organization}}}
        (self.home / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def read(self, environment: str, version: str = "") -> str:
        """The definition with its secrets in plain text, as the CLI formats it: one call.

        It is empty for an empty definition, and also, which can't be told apart here, for one that ESC can't
        evaluate (`env get` ignores the diagnostics).

        Args:
            environment: `organisation/project/environment`.
            version: A revision number or revision tag; the latest revision if empty.

        Raises:
            TransientError: It can't be read now.
            EscError: It can't be read.
        """
        target = f"{environment}@{version}" if version else environment
        return self._ask(f"read {target}", "env", "get", target, "--definition", "--show-secrets")

    def open_values(self, environment: str) -> dict[str, Opened]:
        """What a consumer sees, imports and providers evaluated, by key: one call.

        Raises:
            TransientError: It can't be opened now.
            EscError: It can't be opened.
        """
        from sophia_sync.esc import opened  # noqa: PLC0415 - a sync opens nothing

        # The format `json` doesn't tell what is secret.
        with self._start("env", "open", environment, "--format", "detailed") as child:
            finished = child.finish()
        if finished.code != 0 or finished.timed_out:
            raise self._failure(f"open {environment}", finished)
        try:
            return opened.parse(_decode(finished.stdout))
        except ValueError:  # an environment with errors: the CLI prints them, no values, and exits 0
            raise EscError(
                f"Could not open {environment}: {self._last_line(finished.stderr)}.",
                "Repair the environment in the Pulumi console; `pulumi env open` shows what is wrong with it.",
            ) from None

    def edit(
        self, environment: str, change: Callable[[str], str], on_saved: Callable[[int], None] = lambda _: None
    ) -> int:
        """Change the definition in one transaction, safe against other writers: one call, one new revision.

        Args:
            environment: `organisation/project/environment`.
            change: Gets the stored text, secrets as ciphertext, and returns the new one. What it raises
                is passed on, and then nothing is saved.
            on_saved: Told the new revision's number at once, before a signal that came meanwhile is raised.

        Returns:
            The number of the new revision.

        Raises:
            ConflictError: Somebody else saved a revision in the meantime; nothing of ours was saved.
            DefinitionError: ESC or its CLI would not take the new text; nothing was saved.
            TransientError: It isn't known whether the new text was saved.
            EscError: Anything else; nothing was saved.
        """
        mark = os.urandom(8).hex()
        with self._start("env", "edit", environment, "--editor", _editor(mark)) as child:
            name = _file_of_editor(child, mark)
            if name is None:
                raise self._failure(f"read {environment} for the change", child.finish())
            file = self.home / name
            new = change(_decode(_without_trailer(file.read_bytes())))
            if editor_would_cut(new):
                raise DefinitionError(
                    "The definition has a line '---', at which the Pulumi CLI's editor would cut it off.",
                    "YAML doesn't need that line at the top of a definition: remove it in the "
                    "Pulumi console and run again.",
                )
            with child.shielded():
                try:
                    file.write_bytes(new.encode())
                except OSError as error:
                    raise EscError(
                        f"Could not hand the new definition to the Pulumi CLI: {error.strerror}.",
                        "Make room for it, in memory (/dev/shm) or in TMPDIR, and run again.",
                    ) from None
                child.send(f"{mark}\n".encode())
                finished = child.finish()
                saved = _SAVED.search(finished.stdout)
                if saved:
                    on_saved(int(saved[1]))
        if saved:
            return int(saved[1])
        if finished.code == 0:
            raise DefinitionError(
                f"ESC refused the new definition of {environment}: {self._last_line(finished.stderr)}",
                "Check the environment with `pulumi env get`: its definition must be free of "
                "errors before and after the sync.",
            )
        raise self._failure(f"write {environment}", finished)

    def latest_revision(self, environment: str) -> int:
        """The number of the newest revision: one call.

        Raises:
            EscError: It can't be read.
        """
        with self._start("env", "version", f"{environment}@latest") as child:
            finished = child.finish()
        found = _REVISION.search(finished.stdout)
        if finished.code != 0 or finished.timed_out or not found:
            raise self._failure(f"read the newest revision of {environment}", finished)
        return int(found[1])

    def tag(self, environment: str, name: str, revision: int | None = None) -> None:
        """Make a revision tag, or move it, to `revision` (None: the latest): one call.

        Raises:
            EscError: It could not be set.
        """
        version = [f"@{revision}"] if revision is not None else []
        doing = f"set the revision tag {name} of {environment}"
        self._ask(doing, "env", "version", "tag", f"{environment}@{name}", *version)

    def version(self) -> str:
        """The CLI's own version, such as `v3.243.0`: one call, which asks nobody.

        Raises:
            EscError: There is no CLI, or it doesn't run.
        """
        return self._ask("ask the Pulumi CLI for its version", "version").strip()

    def account(self) -> str:
        """Whose the access token or the login is: one call.

        Raises:
            EscError: It is refused, or can't be shown.
        """
        return self._ask("ask whose access token it is", "whoami").strip()

    def environments(self, organization: str) -> list[str]:
        """The environments of an organisation that can be seen, as `organisation/project/environment`: one call.

        Raises:
            EscError: There is no such organisation, or they can't be listed.
        """
        listed = self._ask(f"list the environments of {organization}", "env", "ls", "--organization", organization)
        # The CLI leaves out an organisation that is the user's own.
        return [name if name.count("/") == 2 else f"{organization}/{name}" for name in listed.split()]

    def revisions(self, environment: str) -> list[Revision]:
        """All revisions of an environment, newest first, with their tags: one call.

        Raises:
            EscError: They can't be listed.
        """
        from sophia_sync.esc import revisions  # noqa: PLC0415 - nor does it list any

        doing = f"list the revisions of {environment}"
        return revisions.parse(self._ask(doing, "env", "version", "history", environment, "--utc", "--pager", "cat"))

    @property
    def _pulumi_home(self) -> Path:
        return self.login if self.access_token is None and self.login is not None else self.home

    @property
    def _cloud(self) -> str:
        return self.cloud_url or "Pulumi Cloud"

    def _ask(self, doing: str, *arguments: str) -> str:
        """What a call prints."""
        with self._start(*arguments) as child:
            finished = child.finish()
        if finished.code != 0 or finished.timed_out:
            raise self._failure(doing, finished)
        return _decode(finished.stdout)

    @contextlib.contextmanager
    def _start(self, *arguments: str) -> Iterator[Child]:
        environ = {
            **self.environ,
            "HOME": str(self.home),
            "PULUMI_HOME": str(self._pulumi_home),
            "TMPDIR": str(self.home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "GOGC": _GOGC,
        }
        if self.access_token is not None:
            environ["PULUMI_ACCESS_TOKEN"] = self.access_token.get_secret_value()
        if self.cloud_url:
            environ["PULUMI_BACKEND_URL"] = self.cloud_url
        executable = shutil.which(self.executable, path=self.environ.get("PATH"))
        if executable is None:
            raise EscError(
                "The Pulumi CLI isn't installed: there is no `pulumi` on PATH.",
                "Use the action's container image, which has it, or install it from pulumi.com.",
            )
        argv = [executable, *arguments, "--non-interactive", "--color", "never"]
        with contextlib.ExitStack() as stack:
            try:
                child = stack.enter_context(process.start(argv, environ, self.deadline.part(self._longest_call)))
            except CutError:
                raise EscError("The Pulumi CLI was not started: the run is being ended.", "Run again.") from None
            except (OSError, RuntimeError) as error:  # the last: no more threads can be had
                why = (isinstance(error, OSError) and error.strerror) or str(error)
                raise EscError(
                    f"The Pulumi CLI can't be started: {why}.",
                    "Run again. If that stays so, see whether `pulumi version` runs on this machine.",
                ) from None
            yield child

    @property
    def _longest_call(self) -> float:
        """Seconds for one call: the CLI itself waits for ever, and one connection that hangs shall not be the end."""
        return self.deadline.seconds / self.tries

    def _last_line(self, stderr: str) -> str:
        """The CLI's own words on a failure: one line, without what it quotes of the definition."""
        lines = [line.strip() for line in self.redact(stderr).splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"error:", line, re.IGNORECASE)]
        return (errors or lines or ["it gave no reason"])[-1][:500]

    def _failure(self, doing: str, finished: Finished) -> EscError:
        """Tell why a call failed, from the exit code and messages of the CLI."""
        if finished.timed_out and self.deadline.remaining() > 0:
            return TransientError(
                f"Could not {doing}: no answer within {self._longest_call:.0f} seconds.",
                f"Check that {self._cloud} is up, and run again.",
            )
        if finished.timed_out:
            return TransientError(
                f"Could not {doing}: not done within the {self.deadline.seconds:.0f} seconds of `timeout`.",
                "Run again; if ESC is slow, give a larger `timeout`.",
            )
        reason = self._last_line(finished.stderr)
        for pattern, error, todo in _FAILURES:
            # The reason alone: what comes before it (that the CLI logs in with PULUMI_ACCESS_TOKEN) is no failure.
            if re.search(pattern, reason, re.IGNORECASE):
                return error(f"Could not {doing}: {reason}.".replace("..", "."), todo.format(url=self._cloud))
        return TransientError(
            f"Could not {doing}: {reason} (exit code {finished.code}).",
            f"Check that {self._cloud} is up, and run again.",
        )


_FAILURES: tuple[tuple[str, type[EscError], str], ...] = (
    (
        r"unmarshaling environment definition",
        DefinitionError,
        "The environment's definition isn't valid YAML: repair it in the Pulumi console and run again.",
    ),
    (
        r"unauthorized|\[401\]|no credentials|invalid access token|must be set for login|PULUMI_ACCESS_TOKEN",
        EscError,
        "{url} refused the access token: check `pulumi-access-token` (expired, or of another organisation?).",
    ),
    (
        r"\[403\]|forbidden",
        EscError,
        "The access token may not do this: its team needs permission to open and edit the environment.",
    ),
    (
        r"\[404\]",
        EscError,
        "Check `esc-environment`; make the environment with `pulumi env init` if it doesn't exist yet.",
    ),
    (r"\[409\]", ConflictError, "Somebody else changed the environment at the same time; run again."),
    (r"\[(?!408|425|429)4\d\d\]", EscError, "Check the inputs, and that the CLI is not too old for {url}; run again."),
)


def _editor(mark: str) -> str:
    """Return the editor's command as the CLI takes it apart: words in double quotes, with `\\"` for a quote in them."""
    return _EDITOR.format(python=sys.executable.replace('"', r"\""), mark=mark)


def _file_of_editor(child: Child, mark: str) -> str | None:
    """The name of the file that holds the definition, or None if the CLI ended before it came to that."""
    for line in iter(child.stdout.readline, b""):
        said, _, name = line.decode(errors="replace").rstrip("\n").partition(" ")
        if said == mark:
            return name
    return None


def _without_trailer(stored: bytes) -> bytes:
    """The definition alone, without what the CLI puts below it."""
    for found in reversed(list(_TRAILER.finditer(stored))):
        below = _BELOW.fullmatch(stored, found.end())
        if below is None:
            continue
        with contextlib.suppress(ValueError):
            if below["evaluated"] is None or isinstance(json.loads(below["evaluated"]), dict):
                return stored[: found.start()]
    return stored


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DefinitionError(
            "The environment's definition isn't valid UTF-8.",
            "Repair it in the Pulumi console and run again.",
        ) from None
