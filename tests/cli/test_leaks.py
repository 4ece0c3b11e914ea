"""Give the action values that occur nowhere else: no form of them comes out or is left behind."""

from __future__ import annotations

import ast
import base64
import contextlib
import gzip
import io
import json
import secrets
import stat
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Request

from sandbox import Sandbox
from sandbox.server import Server
from sophia_sync.runtime.redact import forms
from tests.support.action import Action, Ran

pytestmark = pytest.mark.pulumi

MEMORY = Path("/dev/shm")  # noqa: S108 - where private folders lie
MASK = "::add-mask::"


def simple_forms(value: str) -> Iterator[str]:
    """Yield the most obvious forms, made without the product's code."""
    yield from (value, *(line for line in value.splitlines() if line))
    yield base64.b64encode(value.encode()).decode().rstrip("=")[:-1]
    yield base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")[:-1]
    yield urllib.parse.quote(value)
    yield urllib.parse.quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]


@dataclass(frozen=True)
class Canaries:
    """A run's inputs with values that occur nowhere else, and all forms of these values."""

    inputs: dict[str, str]
    sentry: frozenset[str]
    tokens: frozenset[str]

    @property
    def quoted(self) -> str:
        """All credentials, as a service may quote them in its errors."""
        credentials = [value for name, value in self.inputs.items() if name.endswith(("-dsn", "-token", "-secret"))]
        return " ".join([*credentials, *map(urllib.parse.quote, credentials), json.dumps(credentials)])

    def found_in(self, text: str, *, tokens: bool = True) -> set[str]:
        return {form for form in (self.sentry | self.tokens if tokens else self.sentry) if form in text}


@pytest.fixture
def canaries(action: Action, box: Sandbox) -> Canaries:
    unique = secrets.token_hex(6)
    organization, project = f"org-{unique}", f"project-{unique}"
    box.sentry.add_project(organization, project, 4_507_000)
    token = f"sntryu_{secrets.token_hex(20)}"
    box.sentry.add_token(token, ["project:read", "project:write", "event:read", "event:write"])
    sentry = {
        "sentry-dsn": box.sentry.dsn_of(box.sentry.add_key(organization, project), 4_507_000),
        "sentry-api-token": token,
        "sentry-organization-slug": organization,
        "sentry-project-slug": project,
        "sentry-client-secret": f'wh/{unique}+&<>"ü\nsecond line {unique[::-1]} \\ 100%',
    }
    tokens = {"pulumi-access-token": box.esc.token, "github-token": box.github.token}
    inputs = action.inputs() | sentry | tokens | {"preflight": "enforce", "deploy": "changed", "tag-revision": "true"}

    def all_forms(values: dict[str, str]) -> frozenset[str]:
        return frozenset(form for value in values.values() for form in (*forms(value), *simple_forms(value)))

    return Canaries(inputs, all_forms(sentry), all_forms(tokens))


def texts_in(folder: Path) -> Iterator[str]:
    """Yield the names and contents of all files in a folder."""
    for path in folder.rglob("*"):
        yield str(path)
        with contextlib.suppress(OSError):  # others' files come and go
            if path.is_file():
                yield path.read_bytes().decode("utf-8", "replace")


def private_folders(ran: Ran) -> set[Path]:
    return {Path(call.environ["PULUMI_HOME"]) for call in ran.calls}


def assert_no_canary_is_left(ran: Ran, action: Action, canaries: Canaries) -> None:
    told = "\n".join(line for line in ran.log.splitlines() if not line.startswith(MASK))
    assert canaries.found_in(told) == set()
    assert canaries.found_in(ran.errors) == set()
    assert canaries.found_in(ran.summary + json.dumps(ran.outputs)) == set()
    for folder in (action.home, action.temporary):
        assert list(folder.rglob("*")) == []
    for path in action.folder.glob("[so]u*-*"):  # the files of the summary and of the outputs
        assert canaries.found_in(path.read_text(encoding="utf-8")) == set()
    assert [folder for folder in private_folders(ran) if folder.exists()] == []
    assert canaries.found_in("\n".join(texts_in(MEMORY))) == set()


def assert_no_child_saw_too_much(ran: Ran, canaries: Canaries) -> None:
    assert ran.calls
    for call in ran.calls:
        assert canaries.found_in(" ".join(call.arguments)) == set()
        seen = dict(call.environ)
        assert seen.pop("PULUMI_ACCESS_TOKEN") == canaries.inputs["pulumi-access-token"]
        assert canaries.found_in(json.dumps(seen, ensure_ascii=False)) == set()
        assert [name for name in seen if name.startswith(("INPUT_", "SENTRY_", "GITHUB_", "ACTIONS_"))] == []


def break_nothing(_: Sandbox, __: Canaries) -> None:
    pass


def let_esc_refuse(box: Sandbox, canaries: Canaries) -> None:
    body = {"code": 400, "message": canaries.quoted, "diagnostics": [{"summary": canaries.quoted}]}
    box.esc.fail("PATCH /api/esc/environments/[^/]*/[^/]*/[^/]*", status=400, body=body, times=None)


def let_github_refuse(box: Sandbox, canaries: Canaries) -> None:
    box.github.fail(r"POST .*/dispatches", status=422, body={"message": canaries.quoted}, times=None)


def let_sentry_refuse(box: Sandbox, canaries: Canaries) -> None:
    box.sentry.fail(r"GET .*", status=401, body={"detail": canaries.quoted}, times=None)


CASES: list[tuple[Callable[[Sandbox, Canaries], None], int]] = [
    (break_nothing, 0),
    (let_sentry_refuse, 3),
    (let_esc_refuse, 4),
    (let_github_refuse, 6),
]


@pytest.mark.parametrize("on_runner", [True, False])
@pytest.mark.parametrize(("breaking", "code"), CASES)
def test_a_run_leaves_no_form_of_a_secret(
    action: Action,
    box: Sandbox,
    canaries: Canaries,
    breaking: Callable[[Sandbox, Canaries], None],
    code: int,
    on_runner: bool,
) -> None:
    action.create("values:\n  A: 1\n")
    breaking(box, canaries)
    variables = action.variables(canaries.inputs) | {"SENTRY_TOKEN": canaries.inputs["sentry-api-token"]}
    if not on_runner:
        del variables["GITHUB_ACTIONS"]
    ran = action.run_child(variables)
    assert ran.code == code
    assert_no_canary_is_left(ran, action, canaries)
    assert_no_child_saw_too_much(ran, canaries)
    assert all(canaries.found_in(json.dumps(dispatch.inputs)) == set() for dispatch in box.github.dispatches)

    lines = ran.log.splitlines()
    masks = [line for line in lines if line.startswith(MASK)]
    assert lines[: len(masks)] == masks, "something was told before the masks"
    assert bool(masks) == on_runner
    assert on_runner or not any(line.startswith("::") for line in lines)


@pytest.mark.full
def test_a_run_that_finds_nothing_to_do(action: Action, canaries: Canaries) -> None:
    action.create()
    action.run_with(action.variables(canaries.inputs))
    ran = action.run_child(action.variables(canaries.inputs))
    assert (ran.code, ran.outputs["result"]) == (0, "unchanged")
    assert_no_canary_is_left(ran, action, canaries)
    assert_no_child_saw_too_much(ran, canaries)


def overheard(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each request to a service from now on: its address, all its headers and its body."""
    heard, exchange = [], server.exchange

    def hear(environ: dict[str, Any]) -> Any:
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        body = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        heard.append(f"{request.url}\n{request.headers}\n{body.decode()}")
        return exchange(environ)

    monkeypatch.setattr(server, "exchange", hear)
    return heard


def test_each_service_gets_its_own_secrets_only(
    action: Action, box: Sandbox, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = {server: overheard(server, monkeypatch) for server in box.servers}
    action.create("values:\n  A: 1\n")
    ran = action.run_child(action.variables(canaries.inputs))
    assert (ran.code, ran.outputs["result"], len(box.github.dispatches)) == (0, "synced", 1)
    secret = [name for name in canaries.inputs if name.endswith(("-dsn", "-token", "-secret"))]
    got = {
        server: {
            name
            for name in secret
            if any(
                form in "\n".join(texts)
                for form in (*forms(canaries.inputs[name]), *simple_forms(canaries.inputs[name]))
            )
        }
        for server, texts in heard.items()
    }
    assert got == {
        box.esc: {"sentry-dsn", "sentry-api-token", "sentry-client-secret", "pulumi-access-token"},
        box.sentry: {"sentry-api-token"},
        box.github: {"github-token"},
    }


def test_other_secrets_of_the_environment_are_hidden_and_not_masked(action: Action, box: Sandbox) -> None:
    theirs = f"theirs/{secrets.token_hex(8)}"
    action.create(f"values:\n  database:\n    password: {{fn::secret: {theirs}}}\n")
    body = {"code": 400, "message": f"can't save {theirs}", "diagnostics": [{"summary": f"bad: {theirs}"}]}
    box.esc.fail("PATCH /api/esc/environments/[^/]*/[^/]*/[^/]*", status=400, body=body, times=None)
    ran = action.run_child(action.variables(action.inputs()))
    assert ran.code == 4
    assert "bad: ***" in ran.annotations[0]
    told = ran.log + ran.errors + ran.summary + json.dumps(ran.outputs)
    assert [form for form in forms(theirs) if form in told] == []


def test_what_esc_stores_is_encrypted(action: Action, canaries: Canaries) -> None:
    action.create()
    assert action.run_with(action.variables(canaries.inputs)).code == 0
    slugs = {value for name, value in canaries.inputs.items() if "slug" in name}
    plain = {form for slug in slugs for form in (*forms(slug), *simple_forms(slug))}
    assert canaries.found_in(action.stored) - plain == set()


# A Python that records the file that it is about to edit, then becomes the real one.
EDITOR = """\
#!{python} -IS
import os, sys
file = sys.argv[-1]
with open({log!r}, "a") as log:
    log.write(ascii((file, os.stat(file).st_mode, os.stat(os.path.dirname(file)).st_mode)) + "\\n")
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def test_the_file_that_the_cli_edits_is_ours_alone_and_in_memory(
    action: Action, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    action.create("values:\n  A: 1\n")
    log = tmp_path / "edited"
    # The CLI splits the editor's command itself: a path with spaces and quotes must stay whole.
    editor = action.bin / 'a "real" python'
    editor.write_text(EDITOR.format(python=sys.executable, log=str(log)))
    editor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(editor))
    seen: list[tuple[Path, int]] = []

    def look() -> None:
        folder = Path(action.calls()[-1].environ["TMPDIR"])
        seen.append((folder, folder.stat().st_mode))

    box.esc.before(r"PATCH .*", look)
    ran = action.run()
    assert ran.code == 0

    ((folder, mode),) = seen
    assert stat.S_IMODE(mode) == 0o700
    private = folder.parent  # it holds one for each organization
    assert private.parent == (MEMORY if MEMORY.is_dir() else action.temporary)
    file, file_mode, folder_mode = _noted(log)
    assert file.parent == folder
    assert (stat.S_IMODE(file_mode), stat.S_IMODE(folder_mode)) == (0o600, 0o700)
    assert private_folders(ran) == {folder}
    assert not private.exists()


def _noted(log: Path) -> tuple[Path, int, int]:
    ((file, mode, folder_mode),) = map(ast.literal_eval, log.read_text().splitlines())
    return Path(file), mode, folder_mode
