"""`doctor` as a real child process: what it prints, its exit code, and that it never prints a value."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from sandbox import Sandbox
from sophia_sync.console.diagnosis import Check, Diagnosis, Section, State, summary
from sophia_sync.console.doctor import mcp
from sophia_sync.runtime import http as web
from tests.support.docker_leaks import held_by
from tests.support.laptop import PROGRAM, Laptop
from tests.support.raw_server import RawServer
from tests.support.remains import private_folders, processes_with

pytestmark = pytest.mark.pulumi

SERVER = Path(__file__).resolve().parents[2] / "mcp-servers" / "sentry" / "sentry_mcp_server.py"
JSON = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n%s"
NOBODY = "http://127.0.0.1:9"


@contextmanager
def mcp_server(variables: dict[str, str]) -> Iterator[str]:
    """Run the real MCP server over HTTP. Yield its address."""
    command = [sys.executable, str(SERVER), "--transport", "http", "--port", "0"]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        try:
            lines = iter(child.stderr.readline, "")
            yield next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        finally:
            child.kill()


def readiness(url: str | None) -> Check:
    (section,) = anyio.run(mcp.sections, url)
    (check,) = section.checks
    return check


class TestTheMcpServer:
    def without_pulumi(self, laptop: Laptop, **changes: str | None) -> dict[str, str]:
        return laptop.with_variables({"PATH": "/usr/bin:/bin", "PULUMI_ACCESS_TOKEN": None, **changes})

    def test_is_ready(self, laptop: Laptop) -> None:
        with mcp_server(self.without_pulumi(laptop)) as url:
            assert readiness(f"{url}/") == Check("readiness", State.GOOD, f"ready ({url}/readyz)")

    @pytest.mark.full
    def test_has_no_credentials(self, laptop: Laptop) -> None:
        with mcp_server(self.without_pulumi(laptop, SENTRY_API_TOKEN=None)) as url:
            found = readiness(url)
        assert found.state is State.BAD
        assert "says `credentials`" in found.what
        assert "docker logs sentry-mcp" in found.todo

    @pytest.mark.full
    def test_can_not_reach_sentry(self, laptop: Laptop) -> None:
        with mcp_server(self.without_pulumi(laptop, SENTRY_URL=NOBODY)) as url:
            found = readiness(url)
        assert found.state is State.BAD
        assert "says `sentry`" in found.what

    def test_is_not_there_where_it_is_said_to_be(self) -> None:
        found = readiness(NOBODY)
        assert found.state is State.BAD
        assert "can't be reached" in found.what
        assert "docker ps" in found.todo

    def test_is_not_there_where_it_usually_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mcp, "DEFAULT_URL", NOBODY)
        found = readiness(None)
        assert found.state is State.NOT_CHECKED
        assert "--mcp-url" in found.todo

    @pytest.mark.parametrize(
        ("answer", "state", "what"),
        [
            (JSON % (b"503 No", b'{"reason": "something"}'), State.WARNING, "HTTP 503"),
            (JSON % (b"200 OK", b""), State.GOOD, "ready"),
            (JSON % (b"404 No", b"<html>"), State.WARNING, "HTTP 404"),
            (JSON % (b"404 No", b"[" * 30_000), State.WARNING, "HTTP 404"),
            (JSON % (b"503 No", b'{"reason": "' + b"x" * 70_000 + b'"}'), State.WARNING, "HTTP 503"),
            (b"garbage\r\n\r\n", State.BAD, "closes the connection"),
        ],
    )
    def test_is_none_of_ours(self, answer: bytes, state: State, what: str) -> None:
        with RawServer(answer) as server:
            found = readiness(server.url)
        assert found.state is state
        assert what in found.what

    def test_a_redirect_is_not_followed(self) -> None:
        with RawServer(JSON % (b"200 OK", b"{}")) as target:
            moved = f"HTTP/1.1 302 Found\r\nLocation: {target.url}/readyz\r\nContent-Length: 0\r\n\r\n".encode()
            with RawServer(moved) as server:
                found = readiness(server.url)
            assert target.requests == []
        assert (found.state, "redirects (HTTP 302)" in found.what) == (State.BAD, True)

    def test_one_that_never_comes_to_an_end_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(web, "LONGEST_REQUEST", 0.5)
        with RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", drip=b" ") as server:
            found = readiness(server.url)
        assert (found.state, "no answer in time" in found.what) == (State.BAD, True)

    def test_no_token_is_sent_there(self) -> None:
        with RawServer(JSON % (b"200 OK", b"{}")) as server:
            readiness(server.url)
            (request,) = server.requests
        assert b"authorization" not in request.lower()


class TestTheCommand:
    def test_all_is_well(self, laptop: Laptop) -> None:
        laptop.synced()
        with RawServer(JSON % (b"200 OK", b"{}")) as server:
            shown = laptop.child(
                "doctor", "--mcp-url", server.url, "--repository", laptop.repository, GITHUB_TOKEN=None
            )
        assert shown.code == 0
        lines = shown.out.splitlines()
        assert [line for line in lines if line and not line.startswith(" ")] == [
            "Pulumi",
            laptop.environment,
            "GitHub",
            "GitHub's secrets",
            "MCP server",
            "13 good, 2 not checked.",
        ]
        assert "  ✓ access token              works, and belongs to sandbox" in lines
        assert max(map(len, lines)) <= 80
        assert "\x1b" not in shown.out

    def test_something_is_bad(self, laptop: Laptop) -> None:
        shown = laptop.child("doctor")
        assert shown.code == 1
        assert "✗ environment" in shown.out
        assert "pulumi env init" in shown.words

    @pytest.mark.full
    def test_on_a_terminal_it_has_colours_and_fits(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.on_terminal("doctor", GITHUB_TOKEN=None)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.out)
        assert "\x1b[32m✓" in re.sub(r"\x1b\[22m", "", shown.out)
        assert max(map(len, plain.splitlines())) <= 80

    def test_json_has_one_shape(self, laptop: Laptop) -> None:
        laptop.synced()
        with RawServer(JSON % (b"200 OK", b"{}")) as server:
            shown = laptop.child("doctor", "--json", "--mcp-url", server.url, GITHUB_TOKEN=None)
        assert shown.code == 0
        assert set(shown.json) == {"ok", "counts", "checks", "error"}
        assert set(shown.json["counts"]) == {"good", "warning", "bad", "not checked"}
        assert sum(shown.json["counts"].values()) == len(shown.json["checks"]) == 25
        assert {frozenset(check) for check in shown.json["checks"]} == {
            frozenset({"section", "name", "state", "what", "todo"})
        }
        assert shown.json["ok"] is True
        assert shown.json["error"] is None

    def test_json_keeps_its_own_words_whatever_the_secrets_are(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        theirs = "".join(f"  THEIRS_{word}: {{fn::secret: {word}}}\n" for word in ("good", "SENTRY", "Pulumi", "acme"))
        box.esc.save(laptop.environment, box.esc.decrypted(laptop.environment) + theirs)
        shown = laptop.run("doctor", "--json", "--mcp-url", NOBODY, GITHUB_TOKEN=None)
        checks = {(check["section"], check["name"]): check["state"] for check in shown.json["checks"]}
        assert checks[laptop.environment, "SENTRY_DSN"] == "good"

    def test_with_nothing_at_all(self, laptop: Laptop) -> None:
        kept = {"PATH": "/nowhere", "HOME": laptop.variables["HOME"], "PULUMI_HOME": laptop.variables["PULUMI_HOME"]}
        laptop.variables = kept
        shown = laptop.child("doctor", "--json", "--mcp-url", NOBODY)
        assert shown.code == 1
        counts = shown.json["counts"]
        assert (counts["good"], counts["warning"], counts["bad"]) == (0, 0, 2)
        assert shown.err == "Looking at Pulumi ESC, Sentry, GitHub and the MCP server …\n"

    @pytest.mark.full
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("service", ["esc", "github"])
    def test_a_signal_ends_it_whatever_it_waits_for(
        self, laptop: Laptop, box: Sandbox, service: str, number: signal.Signals
    ) -> None:
        laptop.synced()
        asked = threading.Event()
        server, request = (box.esc, "GET .*/versions") if service == "esc" else (box.github, "GET /repos/.*")
        server.before(request, asked.set)
        server.fail(request, kind="hang", times=None)
        command = [str(PROGRAM), "doctor", "--json"]
        with subprocess.Popen(command, env=laptop.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert asked.wait(60)
            child.send_signal(number)
            out, _ = child.communicate(timeout=60)
        assert child.returncode == 128 + number
        assert json.loads(out)["error"]["what"] == f"{number.name} ended the run."

    @pytest.mark.full
    def test_a_slow_service_leaves_the_rest(self, laptop: Laptop) -> None:
        laptop.synced()
        with RawServer(b"HTTP/1.1 200 OK\r\nX-Drops: ", drip=b".") as server:
            shown = laptop.run("doctor", "--json", "--timeout", "5", GITHUB_API_URL=server.url)
        found = {check["name"]: check for check in shown.json["checks"] if check["section"] == "GitHub"}
        assert {check["state"] for check in found.values()} == {"not checked"}
        assert found["repository"]["what"] == "GitHub gives no answer in time."
        assert shown.json["error"] is None
        assert any(check["section"] == laptop.environment for check in shown.json["checks"])

    @pytest.mark.full
    def test_what_it_began_does_not_go_on_after_it(self, laptop: Laptop, box: Sandbox, tmp_path: Path) -> None:
        laptop.synced()
        began = time.time()
        opening = threading.Event()
        box.esc.before("POST .*/open", opening.set)
        box.esc.fail("POST .*/open", kind="hang", times=None)
        box.esc.before("GET .*/decrypt", lambda: opening.wait(60))
        box.esc.fail("GET .*/decrypt", status=403, times=None)
        marker = str(tmp_path / "marker")
        shown = laptop.child("doctor", GITHUB_TOKEN=None, PATH=f"{laptop.variables['PATH']}:{marker}")
        assert opening.is_set()
        assert shown.code == 1
        assert "The environment can't be read." in shown.words
        assert processes_with(marker) == []
        assert private_folders(box.esc.url, began) == []

    def test_an_option_that_is_malformed(self, laptop: Laptop) -> None:
        shown = laptop.run("doctor", "--json", "--repository", "nonsense")
        assert shown.code == 2
        assert set(shown.json) == {"error"}
        assert "GITHUB_REPOSITORY or --repository" in shown.json["error"]["what"]

    @pytest.mark.parametrize("url", ["ftp://a", "nonsense", "http://user:secret@a/", "http://[", "file:///etc/passwd"])
    def test_an_address_that_is_none(self, laptop: Laptop, url: str) -> None:
        shown = laptop.run("doctor", "--mcp-url", url)
        assert shown.code == 2
        assert "secret" not in shown.err

    @pytest.mark.full
    def test_as_a_module(self, laptop: Laptop) -> None:
        command = [sys.executable, "-m", "sophia_sync", "doctor", "--json"]
        done = subprocess.run(command, env=laptop.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert '"ok": false' in done.stdout

    @pytest.mark.full
    @pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"]])
    def test_on_a_full_disk(self, laptop: Laptop, arguments: list[str]) -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            done = subprocess.run(
                [PROGRAM, *arguments], env=laptop.variables, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        told = " ".join(done.stderr.split())
        assert "The result can't be written to standard output: No space left on device." in told
        assert "Traceback" not in done.stderr

    def test_with_a_login_elsewhere(self, laptop: Laptop) -> None:
        folder = laptop.home / "credentials"
        folder.mkdir()
        account = {"accessToken": laptop.box.esc.token}
        url = laptop.box.esc.url
        credentials = {"current": url, "accessTokens": {url: laptop.box.esc.token}, "accounts": {url: account}}
        (folder / "credentials.json").write_text(json.dumps(credentials))
        where = {"PULUMI_CREDENTIALS_PATH": str(folder), "PULUMI_ACCESS_TOKEN": None, "PULUMI_BACKEND_URL": None}
        assert "(from `pulumi login`)" in laptop.run("doctor", **where).words


def test_the_summary_counts_what_there_is() -> None:
    assert summary([State.GOOD, State.GOOD, State.NOT_CHECKED]) == "2 good, 1 not checked."
    assert summary([State.WARNING]) == "1 warning."
    assert summary([State.WARNING, State.WARNING, State.BAD]) == "2 warnings, 1 bad."
    assert not Diagnosis((Section("a", (Check("b", State.BAD, ""),)),)).ok


@pytest.mark.full
class TestNoValueIsEverShown:
    """The output has no value from ESC, from the environment or from a service's answer. Each value is unique."""

    @pytest.fixture
    def canaries(self, laptop: Laptop, box: Sandbox) -> list[str]:
        """Give the laptop unique values and store them in ESC. Return them."""
        mark = secrets.token_hex(6)
        organization, project, number = f"org-{mark}", f"project-{mark}", 4_507_321
        box.sentry.add_project(organization, project, number)
        token = f"sntryu_{secrets.token_hex(20)}"
        box.sentry.add_token(token, ["project:read", "project:write", "event:read", "event:write"])
        values = {
            "SENTRY_DSN": box.sentry.dsn_of(box.sentry.add_key(organization, project), number),
            "SENTRY_API_TOKEN": token,
            "SENTRY_ORGANIZATION_SLUG": organization,
            "SENTRY_PROJECT_SLUG": project,
        }
        laptop.variables |= values
        client = f"webhook-{secrets.token_hex(12)}"
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, f"{held}  SENTRY_CLIENT_SECRET: {client}\n  OTHER: {{fn::secret: o-{mark}}}\n")
        return [*values.values(), client, f"o-{mark}", laptop.variables["PULUMI_ACCESS_TOKEN"], laptop.token]

    @pytest.mark.parametrize("wrong", ["nothing", "token", "project", "dsn", "scopes", "echo", "esc", "github"])
    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_whatever_is_wrong(
        self, laptop: Laptop, box: Sandbox, canaries: list[str], wrong: str, form: list[str]
    ) -> None:
        everything = " ".join(canaries)
        token = laptop.variables["SENTRY_API_TOKEN"]
        match wrong:
            case "token":
                del box.sentry.tokens[token]
            case "project":
                held = box.esc.decrypted(laptop.environment)
                box.esc.save(laptop.environment, held.replace("SLUG: project-", "SLUG: another-"))
                canaries.append(laptop.variables["SENTRY_PROJECT_SLUG"].replace("project-", "another-"))
            case "dsn":
                held = box.esc.decrypted(laptop.environment)
                box.esc.save(laptop.environment, held.replace("/4507321", "/4507999"))
            case "scopes":
                box.sentry.tokens[token] = {"event:read"}
            case "echo":
                box.sentry.fail("GET .*", status=403, body={"detail": everything}, times=None)
            case "esc":
                body = {"code": 403, "message": everything}
                box.esc.fail("GET .*/decrypt", status=403, body=body, times=None)
            case "github":
                box.github.fail("GET .*", status=403, body={"message": everything}, times=None)
        shown = laptop.child("doctor", *form)
        hidden = [*canaries]
        if wrong == "esc":  # without the values, doctor can't recognise them in an answer
            hidden = [laptop.variables[name] for name in ("SENTRY_DSN", "SENTRY_API_TOKEN", "PULUMI_ACCESS_TOKEN")]
        if wrong == "github":  # slugs aren't secret, and a service that quotes them knows them
            hidden = [value for value in canaries if not value.startswith(("org-", "project-"))]
        assert held_by(shown.out + shown.err, hidden) == []
        assert "encrypted" in shown.out or wrong == "esc"
