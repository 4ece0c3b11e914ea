"""Run the whole program as a child process, in its own place, and find what it leaves there.

A place has its own local services, its own HOME and TMPDIR, and secrets that occur nowhere else. We look for remains
everywhere that the program can reach. We find its processes by a folder on their PATH that no others have, and its
files in HOME, TMPDIR and the memory file system.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import Sandbox, Server
from sandbox.github.sign_in import SigningKey
from sophia_sync.runtime.redact import forms
from tests.support.remains import private_folders, processes_with
from tests.support.runner import commands, parse_outputs
from tools import pulumi_cli

ENTRYPOINT = Path(__file__).resolve().parents[2] / "entrypoint.py"

ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"
WORKFLOW = "deploy-sentry-mcp.yml"
OURS = (
    "SENTRY_DSN",
    "SENTRY_API_TOKEN",
    "SENTRY_ORGANIZATION_SLUG",
    "SENTRY_PROJECT_SLUG",
    "SENTRY_CLIENT_SECRET",
)
ENCRYPTED = ("SENTRY_DSN", "SENTRY_API_TOKEN", "SENTRY_CLIENT_SECRET")

Line = tuple[str, str]
"""A service, and a pattern of its requests."""

# Our keys among others: one is encrypted, one is in plain text, the rest are missing.
DEFINITION = """\
# Whoever edits this leaves a note in the wiki.
imports:
  - shared/common

values:
  database:
    host: db.internal.example   # the blue one
    password:
      fn::secret: {foreign}
  SENTRY_DSN:
    fn::secret: {old}
  "quoted": 'it''s'
  SENTRY_PROJECT_SLUG: old-project   # since 2019

  last: [1, 2]
"""


# Made once: making a key takes as long as a sync.
_KEY = SigningKey()
# What every JSON web token begins with.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8}")


@dataclass(frozen=True)
class Ended:
    """How one run ended. `code` is None if it didn't end by itself and was killed."""

    code: int | None
    log: str
    summary: str
    output_file: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        return [command.data for command in commands(self.log, "error")]

    @property
    def warnings(self) -> list[str]:
        return [command.data for command in commands(self.log, "warning")]

    @property
    def outputs(self) -> dict[str, str]:
        return parse_outputs(self.output_file)

    @property
    def told(self) -> str:
        """Everything that the run told, except the masks, which hold secrets by nature."""
        lines = [line for line in self.log.splitlines() if not line.startswith("::add-mask::")]
        return "\n".join([*lines, self.summary, self.output_file])


@dataclass
class Running:
    """A run that was started: its process, and the files that it writes to."""

    popen: subprocess.Popen[bytes]
    folder: Path
    began: float
    log: bytearray = field(default_factory=bytearray)

    def first_line(self) -> str:
        """Wait for the first line of the log."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        self.log += line
        return line.decode()

    def end(self, limit: float) -> Ended:
        """Wait for the end; kill the process after `limit` seconds."""
        try:
            rest, _ = self.popen.communicate(timeout=limit)
            code: int | None = self.popen.returncode
        except subprocess.TimeoutExpired:
            self.popen.kill()
            rest, _ = self.popen.communicate()
            code = None
        took = time.monotonic() - self.began
        log = (self.log + rest).decode("utf-8", "replace")
        return Ended(code, log, _text(self.folder / "summary"), _text(self.folder / "output"), took)


class Place:
    """Where a program runs: the local services and what they hold, and the program's inputs.

    Args:
        box: Running local services.
        folder: An empty folder.
        inputs: Changes to the inputs of a complete sync with a deploy; an empty value removes one.
        is_new: Whether to create the environment and the repository.
    """

    def __init__(
        self, box: Sandbox, folder: Path, inputs: Mapping[str, str] | None = None, *, is_new: bool = True
    ) -> None:
        self.box = box
        self.folder = folder
        self.canaries = {
            "foreign": f"correct-horse-{secrets.token_hex(12)}",
            "old": f"https://{secrets.token_hex(16)}@o1.ingest.sentry.example/1",
            "client": f"-----BEGIN-{secrets.token_hex(12)}\n{{'quo\"ted': \\%41&{secrets.token_hex(12)}}}",
            "dsn": box.sentry.dsn,
            "sentry": box.sentry.token,
            "pulumi": box.esc.token,
            "github": box.github.token,
        }
        self._marker = folder / f"marker-{secrets.token_hex(8)}"
        self._began = time.time()
        self._job: dict[str, str] = {}
        self._inputs = self._complete() | dict(inputs or {})
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        if is_new:
            self._prepare()
        self.before = box.esc.definition(ENVIRONMENT)

    def _complete(self) -> dict[str, str]:
        return {
            "sentry-dsn": self.box.sentry.dsn,
            "sentry-api-token": self.box.sentry.token,
            "sentry-organization-slug": self.box.sentry.organization,
            "sentry-project-slug": self.box.sentry.project,
            "sentry-client-secret": self.canaries["client"],
            "sentry-url": self.box.sentry.url,
            "esc-environment": ENVIRONMENT,
            "pulumi-access-token": self.box.esc.token,
            "pulumi-cloud-url": self.box.esc.url,
            "deploy": "changed",
            "deploy-wait": "true",
            "deploy-repository": REPOSITORY,
            "github-token": self.box.github.token,
            "timeout": "60",
        }

    def _prepare(self) -> None:
        esc, github = self.box.esc, self.box.github
        esc.create("acme/shared/common", "values:\n  region: eu-central-1\n")
        esc.create(ENVIRONMENT, DEFINITION.format(**self.canaries))
        github.add_repository(REPOSITORY)
        github.add_workflow(REPOSITORY, WORKFLOW)
        github.run_script = ["completed"]

    def sign_in_by_identity(self) -> None:
        """Use a job with the permission `id-token: write` instead of a stored access token."""
        self.box.github.id_token_key = _KEY
        self._inputs["pulumi-access-token"] = ""
        self.canaries["request"] = self.box.github.id_token_request_token
        self._job = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": self.box.github.id_token_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.box.github.id_token_request_token,
        }

    def sign_in_as_app(self) -> None:
        """Use a GitHub App instead of GitHub's token."""
        app = self.box.github.add_app([REPOSITORY])
        app.key = _KEY
        self._inputs |= {"github-token": "", "github-app-id": str(app.id), "github-app-private-key": app.private_key}
        self.canaries["app"] = app.private_key

    def lose_the_answer(self) -> None:
        """Lose the answer to the write, so that the program asks for the new revision's number."""
        self.box.esc.fail(f"PATCH /api/esc/environments/{ENVIRONMENT}", kind="close", after=True)

    def hold_everything(self) -> None:
        """Leave nothing to do: sync and deploy everything in a run before this one."""
        ended = self.run()
        assert ended.code == 0, ended.log
        self.before = self.box.esc.definition(ENVIRONMENT)
        self.box.github.dispatches.clear()
        for server in self.box.servers:
            server.requests.clear()

    def need_approvals(self) -> None:
        """Require an approval for updates of the environment, and let the program propose its change."""
        self.box.esc.gate(ENVIRONMENT)
        self._inputs["change-request"] = "allowed"

    # A run.

    def start(self, inputs: Mapping[str, str] | None = None) -> Running:
        """Start the program; `inputs` override those of the place."""
        for name in ("summary", "output"):
            (self.folder / name).write_text("", encoding="utf-8")
        popen = subprocess.Popen(
            [sys.executable, str(ENTRYPOINT)],
            env=self.environ(inputs),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,  # reading the first line must not take anything of the rest
        )
        return Running(popen, self.folder, time.monotonic())

    def run(self, inputs: Mapping[str, str] | None = None, limit: float = 120) -> Ended:
        """Run the program to its end, or for `limit` seconds."""
        return self.start(inputs).end(limit)

    @property
    def inputs(self) -> dict[str, str]:
        """The inputs of its runs, as a workflow gives them."""
        return dict(self._inputs)

    def environ(self, inputs: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that a runner gives to the program, and nothing else."""
        given = self._inputs | dict(inputs or {})
        path = (str(pulumi_cli.ensure().parent), os.environ.get("PATH", os.defpath), str(self._marker))
        return {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.box.github.url,
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "4711",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            **self._job,
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
        }

    # What ESC holds.

    @property
    def wanted(self) -> dict[str, str]:
        """The complete set of our keys that a sync with the inputs of this place writes."""
        return {name: self._inputs[name.lower().replace("_", "-")] for name in OURS}

    def state(self) -> str:
        """Return `old` or `new` if ESC holds that completely; otherwise return what is wrong."""
        return state(self.box, self.before, self.wanted)

    # What is left behind.

    def leaks(self, ended: Ended) -> list[str]:
        """Return the names of the secrets that the run told, in any form."""
        told = ended.told
        exchanged = {f"token {number}": token for number, token in enumerate(self.box.esc.tokens)}
        secrets = {**self.canaries, **exchanged}
        found = [name for name, secret in secrets.items() if any(form in told for form in forms(secret))]
        return found + (["JSON web token"] if _JWT.search(told) else [])

    def processes(self) -> list[str]:
        """Return the command lines of what still runs: the program and all that it started."""
        return [_command_line(process) for process in processes_with(str(self._marker))]

    def files(self) -> list[str]:
        """Return the files and folders that the program has left, except its outputs and its summary."""
        left = [path for name in ("home", "tmp") for path in (self.folder / name).rglob("*")]
        return [str(path) for path in [*left, *self._private_folders()]]

    def _private_folders(self) -> list[Path]:
        return private_folders(self.box.esc.url, self._began)

    def clean(self) -> None:
        """End the processes and remove the folders that a killed run left."""
        for process in processes_with(str(self._marker)):
            with contextlib.suppress(OSError):
                os.kill(int(process.name), signal.SIGKILL)
        for folder in self._private_folders():
            shutil.rmtree(folder, ignore_errors=True)


def in_order(box: Sandbox, lines: Sequence[Line], call: Callable[[], object]) -> None:
    """Call `call` once these requests have been carried out in this order, before the last of them is answered."""
    if not lines:
        call()
        return
    service, pattern = lines[0]
    server: Server = getattr(box, service)
    server.after(pattern, lambda: in_order(box, lines[1:], call))


def untruths(errors: Iterable[str], state: str, revisions: int) -> Iterable[str]:
    """Yield what error annotations say wrongly of the write, or leave out.

    Args:
        errors: Their texts.
        state: What ESC holds, `old` or `new`.
        revisions: The number of our new revisions.
    """
    for error in errors:
        says_nothing = re.search(r"[Nn]othing was (written|changed|saved)", error)
        says_saved = re.search(r"[Rr]evision (\d+ )?was saved(?! isn't known)", error)
        if (says_nothing and state != "old") or (says_saved and state != "new"):
            yield f"ESC holds {state}, and the annotation says: {error}"
        if revisions and not re.search(r"was saved|isn't known|The sync succeeded", error):
            yield f"there is a new revision, and the annotation doesn't say so: {error}"


def state(box: Sandbox, before: str, wanted: Mapping[str, str]) -> str:
    """Return what ESC holds: `old`, every byte as before; `new`, our keys complete and all else as before."""
    now = box.esc.definition(ENVIRONMENT)
    if now == before:
        return "old"
    values = box.esc.values(ENVIRONMENT)
    wrong = [name for name in OURS if values.get(name) != wanted[name]]
    wrong += [name for name in OURS if box.esc.is_secret(ENVIRONMENT, name) != (name in ENCRYPTED)]
    if wrong:
        return f"neither: {', '.join(wrong)}"
    return "new" if without_ours(now) == without_ours(before) else "neither: other lines have changed"


def without_ours(definition: str) -> str:
    """Return a definition in block style, such as `DEFINITION`, without the entries of our keys."""
    kept = []
    inside = False
    for line in definition.splitlines(keepends=True):
        if re.match(r"  \S", line) or re.match(r"\S", line):
            inside = re.match(rf"  ({'|'.join(OURS)}):", line) is not None
        if not inside or not line.strip():
            kept.append(line)
    return "".join(kept)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _command_line(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return process.name
