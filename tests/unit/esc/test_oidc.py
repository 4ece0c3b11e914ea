"""Sign in to Pulumi with the stored token, or exchange GitHub's identity token for a Pulumi token."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sandbox import Esc, GitHub, Sandbox
from sophia_sync.esc.oidc import SHORTEST_LIFE, access_token, exchange
from sophia_sync.runtime import retries
from sophia_sync.runtime.context import OidcRequest, RunContext, run_context
from sophia_sync.runtime.errors import EscError, InputError, SignInError
from sophia_sync.runtime.limits import TimeLimit
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import Settings, TokenKind, TokenScope
from tests.support.inputs import VALID, as_runner, environment

ORGANIZATION = "acme"
ID_TOKEN = "GET /actions/id-token"
EXCHANGE = "POST /api/oauth/token"
TEAM = TokenScope.parse("team:web")
USER = TokenScope.parse("user:sandbox")


@pytest.fixture(scope="module")
def services() -> Iterator[Sandbox]:
    with Sandbox() as box:
        box.github.add_repository("acme/sophia")
        box.esc.create("acme/default/production")
        box.esc.teams.add("web")
        yield box


@pytest.fixture
def box(services: Sandbox) -> Iterator[Sandbox]:
    """Yield the local services without the requests and faults of earlier tests."""
    for server in services.servers:
        server.requests.clear()
    yield services
    for server in services.servers:
        server.reset_faults()


class Job:
    """A job with the permission `id-token: write`. It records the tokens that it hides."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.hidden: list[SecretStr] = []
        self.request = OidcRequest(box.github.id_token_url, SecretStr(box.github.id_token_request_token))

    def sign_in(self, scope: TokenScope | None = None, seconds: float = 10, organization: str = ORGANIZATION) -> str:
        scope = scope or TokenScope()
        deadline = TimeLimit(seconds)
        token = exchange(self.box.esc.url, organization, scope, self.request, deadline, self.hidden.append)
        return token.get_secret_value()

    def refusal(self, **how: Any) -> SignInError:
        """Return the error that sign-in raises. Assert that its traceback shows no token."""
        with pytest.raises(SignInError) as error:
            self.sign_in(**how)
        told = "".join(traceback.format_exception(error.value))
        assert told == Redactor([self.request.token, *self.hidden])(told)
        assert error.value.__cause__ is None
        assert error.value.exit_code == 4
        assert "`pulumi-access-token`" in error.value.todo
        return error.value


@pytest.fixture
def job(box: Sandbox) -> Job:
    return Job(box)


def asked(server: Esc | GitHub) -> list[str]:
    return [f"{recorded.method} {recorded.path}" for recorded in server.requests]


class TestTheExchange:
    def test_gives_a_token_of_the_organization(self, job: Job) -> None:
        token = job.sign_in()
        grant = job.box.esc.accounts.grants[token]
        assert (grant.organization, grant.team) == (ORGANIZATION, None)
        assert asked(job.box.github) == [ID_TOKEN]
        assert job.box.github.requests[0].query["audience"] == "urn:pulumi:org:acme"
        assert job.box.github.requests[0].query["api-version"] == "2.0"
        assert asked(job.box.esc) == [EXCHANGE]

    def test_gives_a_token_of_a_team(self, job: Job) -> None:
        assert job.box.esc.accounts.grants[job.sign_in(TEAM)].team == "web"

    def test_gives_a_token_of_a_user(self, job: Job) -> None:
        assert job.box.esc.tokens[job.sign_in(USER)] == "sandbox"

    @pytest.mark.parametrize(("seconds", "life"), [(30, SHORTEST_LIFE), (300, SHORTEST_LIFE), (3600, 7200)])
    def test_gives_a_token_that_outlives_the_run_and_not_much_else(self, job: Job, seconds: float, life: int) -> None:
        left = job.box.esc.accounts.grants[job.sign_in(seconds=seconds)].expires - time.time()
        assert life - 5 < left <= life

    def test_hides_each_token_before_the_next_step(self, job: Job) -> None:
        hidden_then: list[int] = []
        job.box.github.before(ID_TOKEN, lambda: hidden_then.append(len(job.hidden)))
        job.box.esc.before(EXCHANGE, lambda: hidden_then.append(len(job.hidden)))
        token = job.sign_in()
        assert hidden_then == [1, 2]
        request_token, id_token, last = (secret.get_secret_value() for secret in job.hidden)
        assert request_token == job.box.github.id_token_request_token
        assert id_token.startswith("ey")
        assert last == token

    def test_asks_with_an_address_that_has_no_query(self, job: Job) -> None:
        job.request = OidcRequest(job.request.url.partition("?")[0], job.request.token)
        assert job.sign_in()
        assert job.box.github.requests[0].query == {"audience": "urn:pulumi:org:acme"}

    def test_takes_no_credentials_from_a_netrc_of_the_machine(self, job: Job, tmp_path: Path) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login somebody password something\n")
        with environment({"NETRC": str(netrc)}):
            assert job.sign_in()
        assert job.box.github.requests[0].headers["Authorization"] == "Bearer …"
        assert "Authorization" not in job.box.esc.requests[0].headers


class TestARefusal:
    def test_by_pulumi_names_issuer_audience_and_subject(self, job: Job, github: GitHub) -> None:
        github.add_repository("mallory/sophia")
        job.request = OidcRequest(github.id_token_url, SecretStr(github.id_token_request_token))
        error = job.refusal()
        assert "HTTP 401: Unauthorized: the identity token is not trusted" in error.what
        for hint in (
            f"issuer {github.id_token_issuer} in Pulumi Cloud",  # as in the token: GitHub Enterprise Server has its own
            "urn:pulumi:org:acme",
            "repo:OWNER/REPOSITORY:*",
            "repo:OWNER@OWNER_ID/REPOSITORY@REPOSITORY_ID:*",
            "token type organization",
            "`pulumi-token-scope`",
        ):
            assert hint in error.todo

    @pytest.mark.parametrize("token", ["opaque", "a.b.c", "e30.e30.x", "e30.W10.x", "e30.eyJpc3MiOiAzfQ.x"])
    def test_of_a_token_that_names_no_issuer_names_that_of_github_com(self, job: Job, token: str) -> None:
        job.box.github.fail(ID_TOKEN, status=200, body={"value": token})
        assert "issuer https://token.actions.githubusercontent.com in Pulumi Cloud" in job.refusal().todo

    @pytest.mark.parametrize(
        ("scope", "hint"), [("team:strangers", "for the team strangers"), ("user:stranger", "for the user stranger")]
    )
    def test_of_a_team_or_user_names_them(self, job: Job, scope: str, hint: str) -> None:
        error = job.refusal(scope=TokenScope.parse(scope))
        assert "HTTP 403" in error.what
        assert hint in error.todo

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_is_not_asked_for_twice(self, job: Job, status: int) -> None:
        description = {"error": "invalid_request", "error_description": "no policy allows it"}
        job.box.esc.fail(EXCHANGE, status=status, body=description, times=None)
        assert f"(HTTP {status}: no policy allows it)" in job.refusal().what
        assert asked(job.box.esc) == [EXCHANGE]

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"code": 400, "message": "Bad Request:\n 'scope'"}, "(HTTP 400: Bad Request: 'scope')"),
            ({"error": "invalid_grant"}, "(HTTP 400: invalid_grant)"),
            ({"error": {"code": 1}}, "(HTTP 400)"),
            (["no"], "(HTTP 400)"),
            ("<html>no</html>", "(HTTP 400)"),
            ({"message": "no " * 1000}, "no…)"),
        ],
        ids=str,
    )
    def test_is_told_in_pulumi_s_own_words(self, job: Job, body: Any, told: str) -> None:
        job.box.esc.fail(EXCHANGE, status=400, body=body)
        assert told in job.refusal().what

    @pytest.mark.parametrize("which", [0, 1])
    @pytest.mark.parametrize("before", ["", "x" * 290])
    def test_that_quotes_a_token_is_told_without_a_part_of_it(self, job: Job, which: int, before: str) -> None:
        body: dict[str, str] = {}
        job.box.esc.fail(EXCHANGE, status=400, body=body)
        # The token to quote exists only when the exchange is asked for.
        job.box.esc.before(EXCHANGE, lambda: body.update(message=before + job.hidden[which].get_secret_value()))
        what = job.refusal().what
        assert f"{before}***" in what
        assert job.hidden[which].get_secret_value()[:8] not in what

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_by_github_shows_the_permission_to_add(self, job: Job, status: int) -> None:
        body = {"message": f"no token for {job.request.token.get_secret_value()}"}
        job.box.github.fail(ID_TOKEN, status=status, body=body, times=None)
        error = job.refusal()
        assert f"(HTTP {status}: no token for ***)" in error.what
        assert "permissions:\n  id-token: write\n" in error.todo
        assert asked(job.box.github) == [ID_TOKEN]
        assert not job.box.esc.requests


class TestAServiceThatFails:
    @pytest.mark.parametrize("question", [ID_TOKEN, EXCHANGE])
    @pytest.mark.parametrize(
        ("fault", "why"),
        [
            ({"status": 500}, "answers HTTP 500"),
            ({"status": 503, "headers": {"Retry-After": "3600"}}, "answers HTTP 503"),
            ({"status": 429}, "answers HTTP 429"),
            ({"kind": "close"}, "can't be reached, or closes the connection"),
            ({"kind": "truncate", "after": True}, "breaks off in the middle"),
            ({"kind": "hang"}, "gives no answer in time"),
            ({"kind": "empty"}, "without"),
            ({"kind": "garbage"}, "without"),
            ({"status": 200, "body": ["no token"]}, "without"),
            ({"status": 200, "body": {"value": "", "access_token": ""}}, "without"),
            ({"status": 200, "body": {"value": 1, "access_token": 1}}, "without"),
            ({"status": 200, "body": {"value": "a b", "access_token": "a\nb"}}, "without"),
            ({"status": 200, "body": {"value": "é", "access_token": "é"}}, "without"),
            ({"status": 302, "headers": {"Location": "https://sentry.example/"}}, "redirects to another address"),
        ],
        ids=str,
    )
    def test_for_ever(
        self, job: Job, question: str, fault: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retries, "SHARE", 0.05)
        server = job.box.github if question == ID_TOKEN else job.box.esc
        server.fail(question, **fault, times=None)
        error = job.refusal(seconds=0.25 if fault.get("kind") == "hang" else 10)
        assert why in error.what
        assert ("Pulumi Cloud at" if question == EXCHANGE else "GitHub's identity token could not be had") in error.what

    @pytest.mark.parametrize("question", [ID_TOKEN, EXCHANGE])
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 502},
            {"status": 429, "headers": {"Retry-After": "0"}},
            {"kind": "close"},
            {"kind": "truncate", "after": True},
        ],
        ids=str,
    )
    def test_once_is_asked_again(self, job: Job, question: str, fault: dict[str, Any]) -> None:
        server = job.box.github if question == ID_TOKEN else job.box.esc
        server.fail(question, **fault)
        assert job.sign_in() in job.box.esc.tokens
        assert asked(server) == [question, question]

    @pytest.mark.parametrize("question", [ID_TOKEN, EXCHANGE])
    def test_where_nobody_listens(self, job: Job, question: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "SHARE", 0.05)
        (job.box.github if question == ID_TOKEN else job.box.esc).down()
        assert "can't be reached" in job.refusal().what


class TestRedirects:
    @pytest.mark.parametrize("question", [ID_TOKEN, EXCHANGE])
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_server_get_no_token(self, job: Job, github: GitHub, question: str, status: int) -> None:
        server = job.box.github if question == ID_TOKEN else job.box.esc
        server.fail(question, status=status, headers={"Location": f"{github.url}/actions/id-token"})
        assert "redirects to another address" in job.refusal().what
        assert not github.requests

    def test_of_the_exchange_are_not_followed_at_all(self, job: Job) -> None:
        job.box.esc.fail(EXCHANGE, status=307, headers={"Location": "/api/oauth/token"})
        assert "redirects" in job.refusal().what
        assert asked(job.box.esc) == [EXCHANGE]


class TestTheAccessToken:
    def test_that_is_stored_is_used_and_nobody_is_asked(self, job: Job) -> None:
        token = access_token(self.settings(job), "acme", self.context(job), TimeLimit(10), job.hidden.append)
        assert token.get_secret_value() == VALID["pulumi-access-token"]
        assert not job.box.github.requests

    def test_that_is_not_stored_is_exchanged_for_the_environment_s_organization(self, job: Job) -> None:
        settings = self.settings(job, **{"pulumi-access-token": "", "pulumi-token-scope": "team:web"})
        token = access_token(settings, "acme", self.context(job), TimeLimit(10), job.hidden.append)
        grant = job.box.esc.accounts.grants[token.get_secret_value()]
        assert (grant.organization, grant.team) == ("acme", "web")
        assert len(job.hidden) == 3

    def test_can_t_be_had_without_the_permission(self, job: Job) -> None:
        settings = self.settings(job, **{"pulumi-access-token": ""})
        with environment({}), pytest.raises(SignInError) as error:
            access_token(settings, "acme", run_context(), TimeLimit(10), job.hidden.append)
        assert isinstance(error.value, EscError)
        assert error.value.exit_code == 4
        assert "`id-token: write`" in error.value.what
        assert "permissions:\n  id-token: write\n" in error.value.todo
        assert "`pulumi-access-token`" in error.value.todo
        assert not job.hidden

    def settings(self, job: Job, **changes: str) -> Settings:
        with environment(as_runner(VALID | {"pulumi-cloud-url": job.box.esc.url} | changes)):
            return inputs.load()[0]

    def context(self, job: Job) -> RunContext:
        variables = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": job.request.url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": job.request.token.get_secret_value(),
        }
        with environment(variables):
            return run_context()


class TestTheScope:
    @pytest.mark.parametrize(
        ("text", "kind", "name", "sent"),
        [
            ("", TokenKind.ORGANIZATION, "", ""),
            ("  ", TokenKind.ORGANIZATION, "", ""),
            ("admin", TokenKind.ORGANIZATION, "admin", "admin"),
            ("team:web", TokenKind.TEAM, "web", "team:web"),
            (" user:jane-doe\n", TokenKind.PERSONAL, "jane-doe", "user:jane-doe"),
        ],
    )
    def test_is_that_of_the_organization_a_team_or_a_user(
        self, text: str, kind: TokenKind, name: str, sent: str
    ) -> None:
        scope = TokenScope.parse(text)
        assert scope == TokenScope(kind, name)
        assert str(scope) == sent

    @pytest.mark.parametrize(
        "text",
        [
            "Kanarienvogel",
            "team:",
            "user: Kanarienvogel",
            "team:Kanarienvogel,user:root",
            "Team:Kanarienvogel",
            "runner:Kanarienvogel",
            "team:Kanarienvogel:more",
            "team:Kanarien\x07vogel",
            f"team:Kanarienvogel{'x' * 100}",
        ],
    )
    def test_is_nothing_else(self, text: str) -> None:
        with environment(as_runner(VALID | {"pulumi-token-scope": text})), pytest.raises(InputError) as error:
            inputs.load()
        assert "`pulumi-token-scope` is neither empty nor admin nor team:NAME nor user:NAME" in str(error.value)
        assert "Kanarien" not in str(error.value)


class TestTheRunnersOffer:
    URL = "https://pipelines.actions.githubusercontent.com/x/idtoken?api-version=2.0"

    def test_is_an_address_and_a_token(self) -> None:
        variables = {"ACTIONS_ID_TOKEN_REQUEST_URL": self.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "Kanarienvogel"}
        with environment(variables):
            offer = run_context().oidc
        assert offer == OidcRequest(self.URL, SecretStr("Kanarienvogel"))
        assert "Kanarienvogel" not in repr(offer)

    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {"ACTIONS_ID_TOKEN_REQUEST_URL": URL},
            {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"},
            {"ACTIONS_ID_TOKEN_REQUEST_URL": URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""},
        ],
    )
    def test_is_none_without_the_permission(self, variables: dict[str, str]) -> None:
        with environment(variables):
            assert run_context().oidc is None
