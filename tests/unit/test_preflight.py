"""What Sentry says about the new credentials, and what a sync does if Sentry's answer makes no sense."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import pytest
from pydantic import SecretStr

from sandbox import GitHub, Sentry
from sandbox.sentry import DEFAULT_SCOPES
from sandbox.server import Route
from sophia_sync import preflight
from sophia_sync.preflight import PAGES_OF_KEYS, Refusal, Verdict, check, heed
from sophia_sync.runtime import retries
from sophia_sync.runtime.errors import PreflightError
from sophia_sync.runtime.http import LARGEST_ANSWER
from sophia_sync.runtime.redact import forms
from sophia_sync.settings.inputs import PreflightMode
from tests.support.inputs import environment
from tests.support.raw_server import RawServer

INDEX = "GET /api/0/"
PROJECT = "GET /api/0/projects/[^/]+/[^/]+/"
KEYS = "GET /api/0/projects/[^/]+/[^/]+/keys/"
QUESTIONS = [INDEX, PROJECT, KEYS]

_numbers = itertools.count(7_000_000_001)


class PrefixedSentry(Sentry):
    """A self-hosted Sentry below a path."""

    def routes(self) -> Iterator[Route]:
        for line, answer in super().routes():
            method, path = line.split(" ", 1)
            yield f"{method} /monitoring/sentry{path}", answer


@pytest.fixture(scope="module")
def sentry_server() -> Iterator[Sentry]:
    with Sentry() as server:
        yield server


@pytest.fixture
def sentry(sentry_server: Sentry) -> Iterator[Sentry]:
    """Yield the local Sentry without the requests, changes and faults of earlier tests."""
    sentry_server.requests.clear()
    sentry_server.scopes.clear()
    sentry_server.scopes.update(DEFAULT_SCOPES)
    sentry_server.refused_tokens_are_anonymous = False
    sentry_server.has_index = True
    yield sentry_server
    sentry_server.reset_faults()


def look(
    sentry: Sentry,
    *,
    url: str | None = None,
    token: str | None = None,
    dsn: str | None = None,
    organization: str | None = None,
    project: str | None = None,
    seconds: float = 5,
) -> Verdict:
    """Check the server's own credentials, or the given ones. Assert that the verdict shows none of them."""
    token, dsn = token or sentry.token, dsn or sentry.dsn

    async def ask() -> Verdict:
        return await check(
            url or sentry.url,
            SecretStr(token),
            SecretStr(dsn),
            organization or sentry.organization,
            project or sentry.project,
        )

    with mock.patch.object(preflight, "LONGEST", min(seconds, preflight.LONGEST)):
        verdict = anyio.run(ask)
    told = "\n".join([*verdict.refused, verdict.unknown or "", *verdict.warnings, repr(verdict)])
    public_key = dsn.partition("://")[2].partition("@")[0]
    for value in (token, dsn, public_key, dsn.rpartition("/")[2]):
        assert not [form for form in forms(value) if form in told]
    return verdict


def the_refusal(verdict: Verdict) -> str:
    """Return the only refusal. Assert that nothing else stayed unknown."""
    assert verdict.unknown is None
    assert not verdict.ok
    (refused,) = verdict.refused
    return refused


def asked(sentry: Sentry) -> list[str]:
    return [f"{recorded.method} {recorded.path}" for recorded in sentry.requests]


class TestGoodCredentials:
    def test_are_found_good_with_three_questions(self, sentry: Sentry) -> None:
        verdict = look(sentry)
        assert verdict.ok
        assert verdict == Verdict()
        project = f"/api/0/projects/{sentry.organization}/{sentry.project}/"
        assert asked(sentry) == [INDEX, f"GET {project}", f"GET {project}keys/"]
        assert {recorded.headers["Authorization"] for recorded in sentry.requests} == {"Bearer …"}

    def test_at_a_self_hosted_sentry_below_a_path(self) -> None:
        with PrefixedSentry() as sentry:
            assert look(sentry, url=f"{sentry.url}/monitoring/sentry").ok

    def test_with_options_in_an_old_dsn(self, sentry: Sentry) -> None:
        assert look(sentry, dsn=f"{sentry.dsn}?timeout=5&verify_ssl=0").ok

    def test_with_a_dsn_of_the_old_form_that_holds_a_secret(self, sentry: Sentry) -> None:
        assert look(sentry, dsn=sentry.dsn.replace("@", ":0123456789abcdef@")).ok

    def test_with_leading_zeros_in_the_dsn(self, sentry: Sentry) -> None:
        assert look(sentry, dsn=sentry.dsn.replace(f"/{sentry.project_id}", f"/00{sentry.project_id}")).ok


class TestTheToken:
    def test_is_refused_by_sentry(self, sentry: Sentry) -> None:
        refused = the_refusal(look(sentry, token="sntrys_f00d"))
        assert sentry.url in refused
        assert "HTTP 401: Invalid token" in refused
        assert "`sentry-api-token`" in refused
        assert asked(sentry) == [INDEX], "what can't be answered is not asked"

    def test_is_not_known_to_a_sentry_that_then_answers_as_to_anybody(self, sentry: Sentry) -> None:
        sentry.refused_tokens_are_anonymous = True
        assert "doesn't know it" in the_refusal(look(sentry, token="sntrys_f00d"))

    @pytest.mark.parametrize("before", ["", "x" * 290])
    def test_quoted_by_sentry_is_not_told_nor_a_part_of_it(self, sentry: Sentry, before: str) -> None:
        sentry.fail(INDEX, status=401, body={"detail": before + sentry.token + sentry.dsn})
        refused = the_refusal(look(sentry))
        assert f"{before}***" in refused
        assert sentry.token[:12] not in refused
        assert sentry.public_key[:8] not in refused

    def test_for_one_organization_is_good_though_the_index_refuses_it(self, sentry: Sentry) -> None:
        limited = {"detail": "This token access is limited to organization endpoints."}
        sentry.fail(INDEX, status=401, body=limited, times=None)
        verdict = look(sentry)
        assert not verdict.refused
        assert not verdict.ok
        assert "doesn't tell the scopes" in str(verdict.unknown)
        verdict = look(sentry, project="no-such-project")
        assert "says there is none" in verdict.refused[0]
        assert "doesn't tell the scopes" in str(verdict.unknown)


class TestARegionWithoutAnIndex:
    """A region such as https://de.sentry.io: the scopes stay unknown, and everything else is checked."""

    @pytest.fixture(params=["no index", "forbidden", "forbidden in HTML"])
    def region(self, sentry: Sentry, request: pytest.FixtureRequest) -> Sentry:
        if request.param == "no index":
            sentry.has_index = False
        else:
            kind: Any = "empty" if request.param == "forbidden" else "garbage"
            sentry.fail(INDEX, kind=kind, status=403, times=None)
        return sentry

    def test_takes_good_credentials(self, region: Sentry) -> None:
        verdict = look(region)
        assert verdict.refused == verdict.warnings == ()
        assert "doesn't tell the scopes of the new token" in str(verdict.unknown)
        assert len(region.requests) == 3

    def test_refuses_a_revoked_token(self, region: Sentry) -> None:
        (refused,) = look(region, token="sntrys_f00d").refused
        assert "refuses the new token for it (HTTP 401: Invalid token)" in refused
        assert "Custom Integrations" in refused

    def test_refuses_the_dsn_of_another_project(self, region: Sentry) -> None:
        number, key = look(region, dsn=region.dsn_of("f00d", 1)).refused
        assert "isn't the one in the new DSN" in number
        assert "none of them" in key


class TestTheScopes:
    @pytest.mark.parametrize(
        "scopes",
        [
            {"project:admin", "event:admin"},
            {"project:write", "event:write"},
            {"project:admin", "event:read", "event:write", "org:read"},
            {"project:write", "issue:write"},
            {"project:read", "project:write", "issue:read", "issue:write"},
            {"project:write", "issue:admin"},
        ],
    )
    def test_suffice(self, sentry: Sentry, scopes: set[str]) -> None:
        sentry.add_token("sntryu_other", scopes)
        assert look(sentry, token="sntryu_other").ok

    @pytest.mark.parametrize(
        ("scopes", "missing"),
        [
            ({"project:read", "event:admin"}, "project:write is missing (it has: event:admin, project:read)."),
            ({"project:admin"}, "event:read, event:write are missing (it has: project:admin)."),
            ({"project:write", "issue:read"}, "event:write is missing (it has: event:read, project:write)."),
            (
                {"project:read", "event:read", "org:admin", "team:admin"},
                "project:write, event:write are missing (it has: event:read, org:admin, project:read, team:admin).",
            ),
        ],
    )
    def test_are_too_few(self, sentry: Sentry, scopes: set[str], missing: str) -> None:
        sentry.add_token("sntryu_other", scopes)
        refused = the_refusal(look(sentry, token="sntryu_other"))
        assert missing in refused
        assert "Custom Integrations" in refused

    @pytest.mark.parametrize("scopes", [set(), {"event:admin", "project:releases"}])
    def test_don_t_let_the_project_be_seen_which_is_said_once(self, sentry: Sentry, scopes: set[str]) -> None:
        sentry.add_token("sntryu_other", scopes)
        refused = the_refusal(look(sentry, token="sntryu_other", dsn=sentry.dsn_of("f00d", 1)))
        assert "project:read, project:write" in refused
        assert "the DSN was not checked" in refused
        assert asked(sentry) == [INDEX]

    def test_that_quote_a_credential_are_not_told(self, sentry: Sentry) -> None:
        sentry.add_token("sntryu_other", {"project:read", "lettersonly:read"})
        dsn = sentry.dsn_of("lettersonly", sentry.project_id)
        assert "***:read, project:read" in look(sentry, token="sntryu_other", dsn=dsn).refused[0]

    def test_are_those_of_an_organization_token(self, sentry: Sentry) -> None:
        sentry.add_token("sntrys_ci", {"org:ci"})
        assert "for uploads from CI only" in the_refusal(look(sentry, token="sntrys_ci"))

    def test_and_the_dsn_are_both_wrong_and_both_told(self, sentry: Sentry) -> None:
        sentry.add_token("sntryu_other", {"project:read", "event:write"})
        verdict = look(sentry, token="sntryu_other", dsn=sentry.dsn_of("f00d", 1))
        scopes, number, key = verdict.refused
        assert "project:write is missing" in scopes
        assert "the number of the project" in number
        assert "none of them" in key
        assert verdict.unknown is None


class TestTheProject:
    @pytest.mark.parametrize("slugs", [{"organization": "no-such-org"}, {"project": "no-such-project"}])
    def test_is_not_there(self, sentry: Sentry, slugs: dict[str, Any]) -> None:
        refused = the_refusal(look(sentry, **slugs))
        assert next(iter(slugs.values())) in refused
        assert "HTTP 404: The requested resource does not exist" in refused
        assert "`sentry-organization-slug` and `sentry-project-slug`" in refused
        assert len(sentry.requests) == 2, "the keys of no project are not asked for"

    def test_is_of_an_organization_that_the_token_isn_t_of(self, sentry: Sentry) -> None:
        sentry.fail(PROJECT, status=403, body={"detail": "You do not have permission to perform this action."})
        refused = the_refusal(look(sentry))
        assert "doesn't let the new token see it (HTTP 403: You do not have permission" in refused

    def test_is_of_an_organization_that_wants_another_sign_in(self, sentry: Sentry) -> None:
        detail = {"code": "sso-required", "message": "Must login via SSO", "extra": {"loginUrl": "/auth/login/"}}
        sentry.fail(PROJECT, status=401, body={"detail": detail})
        assert "HTTP 401: Must login via SSO" in the_refusal(look(sentry))

    def test_was_renamed_and_the_new_slug_is_named(self, sentry: Sentry) -> None:
        number = next(_numbers)
        sentry.add_project(sentry.organization, "checkout", number)
        dsn = sentry.dsn_of(sentry.add_key(sentry.organization, "checkout"), number)
        sentry.rename_project(sentry.organization, "checkout", "payments")
        refused = the_refusal(look(sentry, project="checkout", dsn=dsn))
        assert "was renamed to payments" in refused
        assert "Give `payments` as `sentry-project-slug`." in refused
        assert look(sentry, project="payments", dsn=dsn).ok

    def test_may_be_given_by_its_number(self, sentry: Sentry) -> None:
        assert look(sentry, project=str(sentry.project_id)).ok


class TestTheDsn:
    def test_has_the_number_of_another_project(self, sentry: Sentry) -> None:
        refused = the_refusal(look(sentry, dsn=sentry.dsn_of(sentry.public_key, 4242)))
        assert "isn't the one in the new DSN" in refused
        assert "`sentry-dsn`" in refused

    def test_has_a_number_that_no_number_type_holds(self, sentry: Sentry) -> None:
        assert "isn't the one" in the_refusal(look(sentry, dsn=sentry.dsn_of(sentry.public_key, 1) + "0" * 5000))

    def test_has_a_key_of_no_project_or_another(self, sentry: Sentry) -> None:
        refused = the_refusal(look(sentry, dsn=sentry.dsn_of("0123456789abcdef0123456789abcdef", sentry.project_id)))
        assert "the new DSN's is none of them" in refused

    def test_has_a_key_that_is_disabled(self, sentry: Sentry) -> None:
        key = sentry.add_key(sentry.organization, sentry.project, active=False)
        refused = the_refusal(look(sentry, dsn=sentry.dsn_of(key, sentry.project_id)))
        assert "disabled" in refused
        assert "Enable it" in refused

    def test_has_a_key_on_the_third_page(self, sentry: Sentry) -> None:
        number, keys = a_project_with_keys(sentry, 250)
        assert look(sentry, project="crowded", dsn=sentry.dsn_of(keys[249], number)).ok
        assert [recorded.query.get("cursor") for recorded in sentry.requests[2:]] == [None, "0:100:0", "0:200:0"]

    def test_has_a_key_on_no_page(self, sentry: Sentry) -> None:
        number, _ = a_project_with_keys(sentry, 250)
        assert "none of them" in the_refusal(look(sentry, project="crowded", dsn=sentry.dsn_of("f00d", number)))
        assert len(sentry.requests) == 5

    def test_is_not_refused_where_there_are_more_pages_than_are_read(self, sentry: Sentry) -> None:
        number, _ = a_project_with_keys(sentry, 100 * PAGES_OF_KEYS + 1)
        verdict = look(sentry, project="crowded", dsn=sentry.dsn_of("f00d", number))
        assert not verdict.refused
        assert "has more client keys" in str(verdict.unknown)
        assert len(sentry.requests) == 2 + PAGES_OF_KEYS

    def test_has_another_host_than_its_key_which_is_a_warning(self, sentry: Sentry) -> None:
        verdict = look(sentry, dsn=sentry.dsn.replace(sentry.ingest_host, "o4504765715316736.ingest.sentry.oi"))
        (warning,) = verdict.warnings
        assert f"gives the host {sentry.ingest_host} for the client key of the new DSN" in warning
        assert not verdict.ok
        assert verdict.refused == ()
        assert verdict.unknown is None

    def test_has_the_host_of_its_key_in_capitals(self, sentry: Sentry) -> None:
        assert look(sentry, dsn=sentry.dsn.replace(sentry.ingest_host, sentry.ingest_host.upper())).ok

    @pytest.mark.parametrize("dsn", [None, {}, [], {"public": None}, {"public": ""}, {"public": "https://a@[/1"}])
    def test_has_a_key_without_a_host_to_compare_with(self, sentry: Sentry, dsn: Any) -> None:
        sentry.fail(KEYS, status=200, body=[{"public": sentry.public_key, "isActive": True, "dsn": dsn}])
        assert look(sentry).ok

    def test_has_a_key_beside_one_without_a_public_part(self, sentry: Sentry) -> None:
        other = {"public": None, "isActive": True, "dsn": {"public": "https://None@sentry.example/1"}}
        sentry.fail(KEYS, status=200, body=[other, {"public": sentry.public_key, "isActive": True}])
        assert look(sentry).ok

    def test_keys_that_the_token_may_not_list(self, sentry: Sentry) -> None:
        sentry.fail(KEYS, status=403)
        assert "was asked for the client keys" in the_refusal(look(sentry))


def a_project_with_keys(sentry: Sentry, count: int) -> tuple[int, list[str]]:
    number = next(_numbers)
    sentry.add_project(sentry.organization, "crowded", number)
    return number, [sentry.add_key(sentry.organization, "crowded") for _ in range(count)]


class TestASentryThatFails:
    """A failure of Sentry refuses nothing: the sync goes on."""

    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize(
        ("fault", "why"),
        [
            ({"status": 500}, "answers HTTP 500"),
            ({"status": 503, "headers": {"Retry-After": "3600"}}, "answers HTTP 503"),
            ({"status": 429, "headers": {"Retry-After": "3600"}}, "answers HTTP 429"),
            ({"status": 429}, "answers HTTP 429"),
            ({"kind": "close"}, "can't be reached, or closes the connection"),
            ({"kind": "truncate"}, "breaks off in the middle"),
            ({"kind": "hang"}, "gives no answer in time"),
            ({"kind": "empty"}, "isn't Sentry's (HTTP 200)"),
            ({"kind": "garbage"}, "isn't Sentry's (HTTP 200)"),
            ({"status": 200, "body": "[" * 200_000}, "isn't Sentry's (HTTP 200)"),
            ({"status": 200, "body": " " * (LARGEST_ANSWER + 1)}, "sends an answer of more than"),
            ({"kind": "empty", "status": 401}, "isn't Sentry's (HTTP 401)"),
            ({"status": 401, "body": {"error": "who are you?"}}, "isn't Sentry's (HTTP 401)"),
            ({"status": 401, "body": {"detail": 1}}, "isn't Sentry's (HTTP 401)"),
            ({"status": 400}, "isn't Sentry's (HTTP 400)"),
            ({"status": 409}, "isn't Sentry's (HTTP 409)"),
            ({"status": 200, "body": "null"}, "isn't Sentry's (HTTP 200)"),
        ],
        ids=str,
    )
    def test_for_ever(
        self, sentry: Sentry, question: str, fault: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retries, "SHARE", 0.05)
        sentry.fail(question, **fault, times=None)
        verdict = look(sentry, seconds=0.25 if fault.get("kind") == "hang" else 10)
        assert not verdict.refused
        assert not verdict.ok
        assert why in str(verdict.unknown)
        assert sentry.url in str(verdict.unknown)
        assert "`sentry-url`" in str(verdict.unknown)

    @pytest.mark.parametrize("question", [PROJECT, KEYS])
    @pytest.mark.parametrize("status", [403, 404])
    def test_with_a_page_of_a_proxy(self, sentry: Sentry, question: str, status: int) -> None:
        sentry.fail(question, kind="garbage", status=status)
        verdict = look(sentry)
        assert not verdict.refused
        assert f"isn't Sentry's (HTTP {status})" in str(verdict.unknown)

    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize(
        "fault",
        [{"status": 502}, {"status": 429, "headers": {"Retry-After": "0"}}, {"kind": "close"}, {"kind": "truncate"}],
        ids=str,
    )
    def test_once_is_asked_again(self, sentry: Sentry, question: str, fault: dict[str, Any]) -> None:
        sentry.fail(question, **fault)
        assert look(sentry).ok
        assert len(sentry.requests) == 4

    @pytest.mark.parametrize(
        ("question", "body"),
        [
            (INDEX, {"version": "0"}),
            (INDEX, {"auth": None}),
            (INDEX, {"version": "0", "auth": []}),
            (INDEX, {"version": "0", "auth": {"scopes": "project:admin"}}),
            (INDEX, {"version": "0", "auth": {"scopes": [1]}}),
            (PROJECT, {"id": None}),
            (PROJECT, {"id": "pay-ready"}),
            (PROJECT, {"id": "1"}),
            (PROJECT, {"id": "1", "slug": "[not](a slug)"}),
            (PROJECT, ["id"]),
            (KEYS, {"detail": "no keys today"}),
            (KEYS, ["public"]),
            (KEYS, [{"public": 1, "isActive": True}]),
            (KEYS, [{"public": "f00d"}]),
            (KEYS, [{"isActive": True}]),
        ],
        ids=str,
    )
    def test_by_an_answer_that_isn_t_what_it_should_be(self, sentry: Sentry, question: str, body: Any) -> None:
        sentry.fail(question, status=200, body=body)
        verdict = look(sentry)
        assert not verdict.refused
        assert "isn't Sentry's (HTTP 200)" in str(verdict.unknown)

    def test_by_a_link_that_leads_nowhere(self, sentry: Sentry) -> None:
        link = '<https://sentry.example/>; rel="next"; results="true"'
        sentry.fail(KEYS, status=200, body=[{"public": "f00d", "isActive": True}], headers={"Link": link})
        assert "isn't Sentry's" in str(look(sentry).unknown)

    def test_and_asks_for_a_longer_wait_than_there_is_time_is_not_asked_again(self, sentry: Sentry) -> None:
        sentry.fail(INDEX, status=429, headers={"Retry-After": "3600"}, times=None)
        assert look(sentry, seconds=300).unknown
        assert len(sentry.requests) == 1

    def test_where_nobody_listens(self, sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retries, "SHARE", 0.05)
        sentry.down()
        verdict = look(sentry)
        assert not verdict.refused
        assert "can't be reached" in str(verdict.unknown)

    def test_after_a_fact_was_found_wrong_which_is_told_all_the_same(self, sentry: Sentry) -> None:
        sentry.fail(KEYS, kind="garbage")
        verdict = look(sentry, dsn=sentry.dsn_of(sentry.public_key, 4242))
        assert len(verdict.refused) == 1
        assert "isn't Sentry's" in str(verdict.unknown)
        assert not verdict.ok


class TestTime:
    def test_a_run_that_has_none_left_asks_nothing_for_long(self, sentry: Sentry) -> None:
        assert "no answer in time" in str(look(sentry, seconds=0).unknown)
        assert not sentry.requests

    def test_the_check_has_a_limit_of_its_own(self, sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "LONGEST", 0.2)
        sentry.fail(INDEX, kind="hang", times=None)
        began = time.monotonic()
        assert "no answer in time" in str(look(sentry, seconds=300).unknown)
        assert time.monotonic() - began < 150

    def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(
        self, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "_GRACE", 0.1)
        with RawServer(b"HTTP/1.1 200 OK\r\nX-Drops: ", drip=b".") as server:
            assert "takes too long" in str(look(sentry, url=server.url, seconds=0.3).unknown)

    def test_a_defect_of_ours_is_no_slowness_of_sentry_s(self, sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "NEEDED_SCOPES", ("project:unheard-of",))
        with pytest.raises(ValueError, match="not in tuple"):
            look(sentry)


class TestWhatAVerdictMeans:
    GOOD = Verdict()
    TOKEN = Refusal("The token is refused.", "Replace it.")
    BAD = Verdict((TOKEN,))
    WORSE = Verdict((TOKEN, Refusal("The DSN is another's.", "Copy it.")), "Sentry is slow.")
    OPEN = Verdict((), "Sentry is slow.")
    ODD = Verdict(warnings=("The host is another.",))

    @pytest.mark.parametrize("mode", PreflightMode)
    def test_good_credentials_need_no_word(self, mode: PreflightMode) -> None:
        assert heed(self.GOOD, mode) == []

    @pytest.mark.parametrize("mode", PreflightMode)
    def test_a_sentry_that_was_not_asked_is_a_warning(self, mode: PreflightMode) -> None:
        assert heed(self.OPEN, mode) == ["Sentry is slow. The sync goes on."]

    @pytest.mark.parametrize("mode", PreflightMode)
    def test_what_looks_wrong_is_a_warning(self, mode: PreflightMode) -> None:
        assert heed(self.ODD, mode) == ["The host is another."]

    def test_a_refusal_ends_the_sync(self) -> None:
        with pytest.raises(PreflightError) as error:
            heed(self.BAD, PreflightMode.ENFORCE)
        assert error.value.exit_code == 3
        assert error.value.what == "The token is refused."
        assert error.value.todo == "Replace it. `preflight: warn` would write the credentials all the same."

    def test_several_refusals_are_told_at_once(self) -> None:
        with pytest.raises(PreflightError) as error:
            heed(self.WORSE, PreflightMode.ENFORCE)
        assert error.value.what.endswith(":\n- The token is refused.\n- The DSN is another's.")
        assert error.value.todo.startswith("Replace it. Copy it. ")

    def test_refusals_are_warnings_where_that_is_asked_for(self) -> None:
        unknown, token, dsn = heed(self.WORSE, PreflightMode.WARN)
        assert "slow" in unknown
        assert token.startswith("The token is refused.")
        assert dsn.startswith("The DSN is another's.")


class TestRedirects:
    def test_to_another_server_are_not_followed(self, sentry: Sentry, github: GitHub) -> None:
        for question in QUESTIONS:
            sentry.fail(question, status=302, headers={"Location": f"{github.url}/api/0/"})
            verdict = look(sentry)
            assert not verdict.refused
            assert "redirects to another address" in str(verdict.unknown)
        assert not github.requests

    @pytest.mark.parametrize(
        "location",
        [
            "https://{host}/api/0/",
            "http://localhost:{port}/api/0/",
            "//sentry.example/api/0/",
            "http://{host}@sentry.example/",
            "http://{host}\\@sentry.example/",
            "ftp://{host}/api/0/",
            "mailto:sentry@sentry.example",
        ],
    )
    def test_to_another_scheme_host_or_port_are_not_followed(self, sentry: Sentry, location: str) -> None:
        host = sentry.url.removeprefix("http://")
        location = location.format(host=host, port=host.rpartition(":")[2])
        sentry.fail(INDEX, status=301, headers={"Location": location})
        assert "redirects to another address" in str(look(sentry).unknown)
        assert len(sentry.requests) == 1

    @pytest.mark.parametrize(
        "location", ["http://[", "http://127.0.0.1:port/", "http://127.0.0.1:99999/", f"http://{'ü' * 70}.example/"]
    )
    def test_to_no_address_are_not_followed(self, sentry: Sentry, location: str) -> None:
        with RawServer(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()) as server:
            verdict = look(sentry, url=server.url)
        assert not verdict.refused
        assert verdict.unknown
        assert len(server.requests) == 1

    def test_within_the_server_are_followed_three_times(self, sentry: Sentry) -> None:
        sentry.fail(INDEX, status=307, times=3, headers={"Location": f"{sentry.url}/api/0/"})
        assert look(sentry).ok

    def test_within_the_server_are_not_followed_for_ever(self, sentry: Sentry) -> None:
        sentry.fail(INDEX, status=308, times=None, headers={"Location": "/api/0/"})
        assert "redirects again and again" in str(look(sentry).unknown)
        assert len(sentry.requests) == 4


def test_a_netrc_of_the_machine_gives_no_credentials(sentry: Sentry, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    with environment({"NETRC": str(netrc)}):
        assert look(sentry).ok
    assert {recorded.headers["Authorization"] for recorded in sentry.requests} == {"Bearer …"}
