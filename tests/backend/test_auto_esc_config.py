"""`config` reads all keys at once, caches them for all threads, and keeps working if ESC can't be read."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import pickle
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from unittest import mock

import pytest
from sentry_mcp import esc as server_esc

from backend.core import auto_esc_config
from backend.core.auto_esc_config import AutoEscConfig
from sandbox import Esc
from tests.backend.conftest import Configure
from tests.backend.support import PATH, SECRETS, SLUGS, Clock, definition, python, reads

pytestmark = pytest.mark.pulumi

MODULE = "backend.core.auto_esc_config"
ROTATED = {**SECRETS, "SENTRY_API_TOKEN": "sntryu_rotated"}
THREADS = 16
T = TypeVar("T")


def settle(config: AutoEscConfig) -> None:
    """Wait for the background read."""
    assert config._refreshing is not None
    config._refreshing.join()


def in_threads(work: Callable[[], T]) -> list[T]:
    """Do the work in 16 threads at once, and return their results."""
    start = threading.Barrier(THREADS)

    def begin() -> T:
        start.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(begin) for _ in range(THREADS)]]


class TestReading:
    def test_takes_all_keys_from_one_call(self, esc: Esc, configure: Configure) -> None:
        config = configure()
        assert config.sentry_dsn == SECRETS["SENTRY_DSN"]
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        assert config.sentry_client_secret == SECRETS["SENTRY_CLIENT_SECRET"]
        assert config.sentry_organization_slug == SLUGS["SENTRY_ORGANIZATION_SLUG"]
        assert config.sentry_project_slug == SLUGS["SENTRY_PROJECT_SLUG"]
        assert reads(esc) == 1
        assert len(esc.requests) == 3  # the user, the opening, and the opened values

    def test_is_not_done_before_the_first_use(self, esc: Esc, configure: Configure) -> None:
        config = configure()
        assert repr(config) == f"<AutoEscConfig: 0 keys of {PATH}>"
        assert not hasattr(config, "_repr_html_")
        assert not hasattr(config, "__wrapped__")
        assert config.known_secrets
        assert esc.requests == []

    def test_counts_imports_and_references(self, esc: Esc, configure: Configure) -> None:
        esc.create("scoobyjava-org/default/shared", "values:\n  region: eu\n  LIMIT: 1\n")
        esc.save(PATH, "imports: [shared]\nvalues:\n  LIMIT: 2\n  where: sentry-${region}\n")
        config = configure()
        assert (config.region, config.limit, config.where) == ("eu", "2", "sentry-eu")

    def test_counts_what_a_provider_gives(self, esc: Esc, configure: Configure) -> None:
        esc.save(PATH, "values:\n  SENTRY_DSN:\n    fn::open::vault-secrets: {address: a}\n")
        given = {"value": "https://of-the-provider@h/1", "secret": True, "trace": {}}
        esc.fail("GET .*/open/.*", status=200, body={"properties": {"SENTRY_DSN": given}, "exprs": {}})
        config = configure()
        assert config.sentry_dsn == "https://of-the-provider@h/1"
        assert "https://of-the-provider@h/1" in [secret.get_secret_value() for secret in config.known_secrets]

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("0123", "0123"),
            (42, "42"),
            (0.5, "0.5"),
            (True, "true"),
            (["a", 1, {"b": False}], '["a", 1, {"b": false}]'),
            ({"fn::secret": "pässword"}, "pässword"),
            ("two\nlines\n", "two\nlines\n"),
        ],
    )
    def test_gives_every_value_as_a_string(self, esc: Esc, configure: Configure, value: object, text: str) -> None:
        esc.save(PATH, definition({}, {"KEY": value}))
        assert configure().key == text

    def test_prefers_the_key_that_is_spelled_as_it_is_asked_for(self, esc: Esc, configure: Configure) -> None:
        esc.save(PATH, definition({}, {"key": "lower", "KEY": "upper", "Key": "mixed", "with-hyphen": "x"}))
        config = configure()
        assert [config.get(key) for key in ("key", "KEY", "Key", "kEY")] == ["lower", "upper", "mixed", "upper"]
        assert config.get("with-hyphen") == "x"

    def test_is_done_once_for_all_threads(self, esc: Esc, configure: Configure) -> None:
        esc.latency = 0.05
        config = configure()
        assert in_threads(lambda: config.sentry_api_token) == [SECRETS["SENTRY_API_TOKEN"]] * THREADS
        assert reads(esc) == 1

    @pytest.mark.parametrize(
        "variables",
        [
            {"PULUMI_ENVIRONMENT": "blue"},
            {"PULUMI_ENVIRONMENT": "default/blue"},
            {"PULUMI_ENVIRONMENT": "scoobyjava-org/default/blue"},
            {"PULUMI_ENVIRONMENT": " blue\n", "PULUMI_ORG": "", "PULUMI_PROJECT": ""},
        ],
    )
    def test_finds_the_environment_by_its_name_or_path(
        self, esc: Esc, configure: Configure, variables: dict[str, str]
    ) -> None:
        esc.create("scoobyjava-org/default/blue", "values: {colour: blue}")
        assert configure(variables).colour == "blue"

    @pytest.mark.parametrize("name", ["blue", "web/blue", "acme/web/blue"])
    def test_takes_what_the_path_lacks_from_the_variables(self, esc: Esc, configure: Configure, name: str) -> None:
        esc.create("acme/web/blue", "values: {colour: blue}")
        project = "web" if name == "blue" else "another"
        organization = "another" if name.startswith("acme") else "acme"
        variables = {"PULUMI_ENVIRONMENT": name, "PULUMI_PROJECT": project, "PULUMI_ORG": organization}
        assert configure(variables).colour == "blue"


class TestKeeping:
    def test_lasts_as_long_as_is_set(self, esc: Esc, configure: Configure) -> None:
        clock = Clock()
        config = configure({"PULUMI_ESC_CACHE_SECONDS": "60"}, clock=clock)
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        esc.save(PATH, definition(ROTATED))
        clock.now += 59.9
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        assert reads(esc) == 1
        clock.now += 0.1
        assert in_threads(lambda: config.sentry_api_token)
        settle(config)
        assert in_threads(lambda: config.sentry_api_token) == ["sntryu_rotated"] * THREADS
        assert reads(esc) == 2

    @pytest.mark.parametrize("setting", ["", "0", "-1", "5m", "nan", "inf", "0.5", "86401"])
    def test_lasts_five_minutes_by_default(
        self, esc: Esc, configure: Configure, setting: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        clock = Clock()
        config = configure({"PULUMI_ESC_CACHE_SECONDS": setting}, clock=clock)
        assert config.sentry_dsn
        clock.now += 299
        assert config.sentry_dsn
        assert config._refreshing is None
        clock.now += 1
        assert config.sentry_dsn
        settle(config)
        assert reads(esc) == 2
        warning = "PULUMI_ESC_CACHE_SECONDS isn't a number of seconds from 1 to 86400, such as 300; 300 is used."
        assert [record.getMessage() for record in caplog.records] == [warning] * bool(setting)

    def test_holds_up_nobody_while_esc_hangs(self, esc: Esc, configure: Configure) -> None:
        clock = Clock()
        config = configure(clock=clock)
        assert config.sentry_dsn
        esc.save(PATH, definition(ROTATED))
        clock.now += 300
        others: list[str] = []
        # Before ESC answers the request, all threads and a coroutine get their values.
        esc.before("POST .*/open", lambda: others.extend(in_threads(lambda: config.sentry_api_token)))

        async def coroutine() -> str:
            return config.sentry_api_token

        assert asyncio.run(coroutine()) == SECRETS["SENTRY_API_TOKEN"]
        settle(config)
        assert others == [SECRETS["SENTRY_API_TOKEN"]] * THREADS
        assert config.sentry_api_token == "sntryu_rotated"
        assert reads(esc) == 2

    def test_ends_with_a_refresh(self, esc: Esc, configure: Configure) -> None:
        config = configure(cache_seconds=3600)
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        esc.save(PATH, definition(ROTATED))
        assert config.refresh()
        assert config.sentry_api_token == "sntryu_rotated"

    def test_refreshes_at_one_time_share_a_read(self, esc: Esc, configure: Configure) -> None:
        esc.latency = 0.05
        config = configure()
        assert in_threads(config.refresh) == [True] * THREADS
        assert reads(esc) < THREADS / 2

    def test_a_refresh_is_never_served_by_a_read_that_began_before_it(self, esc: Esc, configure: Configure) -> None:
        config = configure()

        def second() -> str:
            config.refresh()
            return config.sentry_api_token

        with ThreadPoolExecutor(1) as pool:
            later = []

            def rotate() -> None:
                esc.save(PATH, definition(ROTATED))
                later.append(pool.submit(second))

            esc.after("GET .*/open/.*", rotate)
            assert config.refresh()
            assert later[0].result() == "sntryu_rotated"

    def test_a_key_that_is_gone_from_esc_is_gone(self, esc: Esc, configure: Configure) -> None:
        config = configure()
        assert hasattr(config, "sentry_client_secret")
        esc.save(PATH, definition({"SENTRY_DSN": SECRETS["SENTRY_DSN"]}))
        config.refresh()
        assert not hasattr(config, "sentry_client_secret")


class TestFailing:
    def test_keeps_the_last_good_values(self, esc: Esc, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
        clock = Clock()
        config = configure(clock=clock)
        assert config.sentry_dsn
        config._timeout = 1
        esc.down()
        clock.now += 300
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        settle(config)
        assert not config.refresh()
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, MODULE)] * 2
        assert "not done within the 1 seconds" in caplog.text
        assert "The values from before are kept." in caplog.text

    def test_asks_again_soon(self, esc: Esc, configure: Configure) -> None:
        clock = Clock()
        config = configure(clock=clock)
        assert config.sentry_dsn
        token, login = next(iter(esc.tokens.items()))
        del esc.tokens[token]
        clock.now += 300
        assert config.sentry_api_token == SECRETS["SENTRY_API_TOKEN"]
        settle(config)
        asked = len(esc.requests)
        clock.now += auto_esc_config.RETRY_AFTER - 1
        assert config.sentry_dsn
        assert len(esc.requests) == asked
        esc.tokens[token] = login
        esc.save(PATH, definition(ROTATED))
        clock.now += 1
        assert config.sentry_dsn
        settle(config)
        assert config.sentry_api_token == "sntryu_rotated"

    def test_from_the_start_leaves_the_environment_variables(
        self, esc: Esc, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        esc.down()
        config = configure({"SENTRY_DSN": "https://fallback@h/1", "SENTRY_API_TOKEN": ""}, timeout=1)
        assert in_threads(lambda: config.sentry_dsn) == ["https://fallback@h/1"] * THREADS
        assert not hasattr(config, "sentry_api_token")
        assert len(caplog.records) == 1
        assert "Environment variables stand in for it." in caplog.text
        assert "fallback@h" not in caplog.text

    def test_for_want_of_threads_is_told(
        self, configure: Configure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        clock = Clock()
        config = configure(clock=clock)
        assert config.sentry_dsn
        monkeypatch.setattr(threading.Thread, "start", start)
        clock.now += 300
        assert [config.sentry_dsn, config.sentry_dsn] == [SECRETS["SENTRY_DSN"]] * 2
        assert [record.getMessage() for record in caplog.records] == [
            "Pulumi ESC can't be read again: can't start new thread."
        ]

    def test_the_first_read_has_a_limit_of_its_own(
        self, esc: Esc, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        esc.down()
        config = configure({"PULUMI_ESC_FIRST_READ_SECONDS": "1", "SENTRY_DSN": "of-the-machine"})
        assert config.sentry_dsn == "of-the-machine"
        assert "not done within the 1 seconds" in caplog.text

    def test_of_one_key_leaves_its_environment_variable(self, esc: Esc, configure: Configure) -> None:
        esc.save(PATH, definition({"SENTRY_DSN": "", "SENTRY_API_TOKEN": "in-esc"}, {"NOTHING": None}))
        config = configure({"SENTRY_DSN": "of-the-machine", "SENTRY_API_TOKEN": "of-the-machine", "NOTHING": "here"})
        assert (config.sentry_dsn, config.sentry_api_token, config.nothing) == ("of-the-machine", "in-esc", "here")

    def test_by_a_refused_token_is_told_without_it(
        self, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        token = "pul-" + "ab" * 20
        config = configure({"PULUMI_ACCESS_TOKEN": token, "SENTRY_DSN": "of-the-machine"})
        assert config.sentry_dsn == "of-the-machine"
        assert "Unauthorized" in caplog.text
        assert token not in caplog.text

    def test_of_an_import_is_no_empty_environment(
        self, esc: Esc, configure: Configure, caplog: pytest.LogCaptureFixture
    ) -> None:
        esc.create("scoobyjava-org/default/shared", "values: {SENTRY_DSN: x}")
        esc.save(PATH, "imports: [shared]\nvalues: {KEY: value}\n")
        config = configure()
        assert config.key == "value"
        esc.delete("scoobyjava-org/default/shared")
        assert not config.refresh()
        assert config.key == "value"
        assert "environment 'scoobyjava-org/default/shared' not found" in caplog.text

    @pytest.mark.parametrize(
        ("variables", "said"),
        [
            (
                {"PULUMI_ENVIRONMENT": "a/b/c/d"},
                "PULUMI_ENVIRONMENT isn't a path like organization/project/environment.",
            ),
            ({"PULUMI_ENVIRONMENT": "../.."}, "PULUMI_ENVIRONMENT has a part that is nothing but dots."),
            ({"PULUMI_BACKEND_URL": "http://pulumi.invalid"}, "PULUMI_BACKEND_URL isn't https"),
            ({"PATH": ""}, "there is no `pulumi` on PATH"),
        ],
    )
    def test_by_a_wrong_setting_contacts_nobody(
        self, esc: Esc, configure: Configure, variables: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert not hasattr(configure(variables), "sentry_dsn")
        assert said in caplog.text
        assert esc.requests == []

    def test_can_be_handled_by_a_log_that_asks_for_values(self, configure: Configure) -> None:
        config = configure({"PULUMI_ACCESS_TOKEN": "pul-refused", "SENTRY_DSN": "of-the-machine"})
        asked = []

        class Asks(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                del record
                asked.append((config.sentry_dsn, len(config.known_secrets)))

        handler = Asks()
        auto_esc_config.logger.addHandler(handler)
        try:
            assert config.sentry_dsn == "of-the-machine"
        finally:
            auto_esc_config.logger.removeHandler(handler)
        assert asked == [("of-the-machine", 2)]


class TestSigningIn:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        return tmp_path / "of-the-user"

    @pytest.fixture
    def logged_in(self, esc: Esc, environ: dict[str, str], pulumi: Path, home: Path) -> dict[str, str]:
        """Run `pulumi login`. Return environment variables without an access token and an address."""
        login = environ | {"PULUMI_HOME": str(home)}
        subprocess.run([pulumi, "login", esc.url], env=login, check=True, capture_output=True, timeout=60)
        return {name: login[name] for name in ("PATH", "HOME", "PULUMI_HOME")}

    def test_takes_an_existing_login_and_its_address(self, logged_in: dict[str, str]) -> None:
        assert AutoEscConfig(logged_in).sentry_dsn == SECRETS["SENTRY_DSN"]

    def test_leaves_the_login_as_it_is(self, logged_in: dict[str, str], home: Path) -> None:
        before = json.loads((home / "credentials.json").read_text())
        assert AutoEscConfig(logged_in).refresh()
        after = json.loads((home / "credentials.json").read_text())
        assert after["accounts"].keys() == before["accounts"].keys()
        assert after["current"] == before["current"]
        assert not (home / "config.json").exists()

    def test_prefers_the_access_token(self, esc: Esc, logged_in: dict[str, str], home: Path) -> None:
        before = (home / "credentials.json").read_bytes()
        variables = {"PULUMI_ACCESS_TOKEN": "pul-refused", "PULUMI_BACKEND_URL": esc.url}
        assert not AutoEscConfig(logged_in | variables).refresh()
        assert (home / "credentials.json").read_bytes() == before

    def test_is_not_tried_without_token_and_login(
        self, esc: Esc, configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        variables = {"PULUMI_ACCESS_TOKEN": "", "PULUMI_BACKEND_URL": " ", "PULUMI_HOME": str(tmp_path / "absent")}
        assert not hasattr(configure(variables), "sentry_dsn")
        assert "There is neither PULUMI_ACCESS_TOKEN nor a `pulumi login`." in caplog.text
        assert esc.requests == []
        assert list(tmp_path.iterdir()) == []


class TestWhichEnvironment:
    @pytest.mark.parametrize(
        ("organization", "project", "environment", "path"),
        [
            (" acme ", "", "production", "acme/default/production"),
            ("acme", " web\n", " production\n", "acme/web/production"),
            ("acme", " ", "/production/", "acme/default/production"),
            ("acme", "web", "shop/production@3", "acme/shop/production@3"),
            (" ", " ", "acme/shop/production@stable", "acme/shop/production@stable"),
        ],
    )
    def test_the_variables_name_the_same_to_the_mcp_server(
        self, organization: str, project: str, environment: str, path: str
    ) -> None:
        named = {"PULUMI_ORG": organization, "PULUMI_PROJECT": project, "PULUMI_ENVIRONMENT": environment}
        assert (AutoEscConfig(named).esc_path, server_esc.environment_path(named)) == (path, path)

    def test_white_space_alone_names_none(self) -> None:
        assert AutoEscConfig({"PULUMI_ORG": " ", "PULUMI_PROJECT": "\n", "PULUMI_ENVIRONMENT": "\t"}).esc_path == PATH

    @pytest.mark.parametrize("version", ["stable", "2", "latest"])
    def test_a_tag_or_a_revision_is_read(self, esc: Esc, configure: Configure, version: str) -> None:
        esc.environments.create_revision_tag(PATH, "stable", 2, "somebody")
        esc.save(PATH, definition(ROTATED))
        config = configure({"PULUMI_ENVIRONMENT": f"sophia-ai-production@{version}"})
        expected = ROTATED if version == "latest" else SECRETS
        assert config.sentry_api_token == expected["SENTRY_API_TOKEN"]
        assert repr(config).endswith(f" keys of {PATH}@{version}>")

    @pytest.mark.parametrize("version", ["", "@", "a/b", "-x"])
    def test_what_is_neither_is_refused(
        self, esc: Esc, configure: Configure, version: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert not hasattr(configure({"PULUMI_ENVIRONMENT": f"{PATH}@{version}"}), "sentry_dsn")
        assert "PULUMI_ENVIRONMENT " in caplog.text
        assert esc.requests == []

    def test_another_one_counts_at_a_refresh(self, esc: Esc, environ: dict[str, str]) -> None:
        esc.create("scoobyjava-org/default/blue", "values: {colour: blue}")
        clock = Clock()
        config = AutoEscConfig(environ, clock=clock)
        assert config.sentry_dsn
        environ["PULUMI_ENVIRONMENT"] = "blue"
        clock.now += 300
        assert config.sentry_dsn
        settle(config)
        assert not hasattr(config, "colour")
        assert repr(config) == f"<AutoEscConfig: 5 keys of {PATH}>"
        assert config.refresh()
        assert config.colour == "blue"
        assert repr(config) == "<AutoEscConfig: 1 keys of scoobyjava-org/default/blue>"

    def test_one_that_cant_be_read_isnt_shown(self, environ: dict[str, str]) -> None:
        config = AutoEscConfig(environ)
        assert config.sentry_dsn
        environ["PULUMI_ENVIRONMENT"] = "absent"
        assert not config.refresh()
        assert config.sentry_dsn == SECRETS["SENTRY_DSN"]
        assert repr(config) == f"<AutoEscConfig: 5 keys of {PATH}>"


class TestInTestsOfAnApplication:
    @pytest.mark.parametrize("switch", ["1", "true", "yes"])
    def test_a_switch_keeps_esc_out(self, esc: Esc, configure: Configure, switch: str) -> None:
        config = configure({"PULUMI_ESC_DISABLED": switch, "SENTRY_DSN": "of-the-machine"})
        assert config.sentry_dsn == "of-the-machine"
        assert not hasattr(config, "sentry_api_token")
        assert config.refresh()
        assert esc.requests == []

    @pytest.mark.parametrize("switch", ["", "0", "false"])
    def test_it_can_be_off(self, configure: Configure, switch: str) -> None:
        assert configure({"PULUMI_ESC_DISABLED": switch}).sentry_dsn == SECRETS["SENTRY_DSN"]

    def test_it_counts_at_once(self, environ: dict[str, str]) -> None:
        config = AutoEscConfig(environ)
        assert config.sentry_dsn
        environ["PULUMI_ESC_DISABLED"] = "1"
        assert not hasattr(config, "sentry_dsn")

    def test_a_value_can_be_set_for_a_while(self, esc: Esc, configure: Configure) -> None:
        config = configure()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(config, "sentry_dsn", "https://public@test/1")
            assert config.sentry_dsn == config.get("SENTRY_DSN") == "https://public@test/1"
            assert "https://public@test/1" in [secret.get_secret_value() for secret in config.known_secrets]
        assert config.sentry_dsn == SECRETS["SENTRY_DSN"]
        esc.save(PATH, definition({"SENTRY_DSN": "rotated"}))
        assert config.refresh()
        assert config.sentry_dsn == "rotated"

    def test_a_value_can_be_deleted_for_a_while(self, configure: Configure) -> None:
        config = configure()
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(config, "sentry_dsn")
            assert not hasattr(config, "sentry_dsn")
            assert config.get("SENTRY_DSN", "default") == "default"
        assert config.sentry_dsn == SECRETS["SENTRY_DSN"]

    def test_a_value_can_be_mocked(self, configure: Configure) -> None:
        config = configure({"PULUMI_ESC_DISABLED": "1", "SENTRY_DSN": "of-the-machine"})
        with mock.patch.object(config, "sentry_dsn", "mocked"):
            assert config.sentry_dsn == "mocked"
        with mock.patch.object(config, "absent", "mocked", create=True):
            assert config.absent == "mocked"
        assert config.sentry_dsn == "of-the-machine"
        assert not hasattr(config, "absent")

    def test_what_isnt_a_value_cant_be_set(self, configure: Configure) -> None:
        with pytest.raises(AttributeError, match=r"AutoEscConfig\.refresh"):
            configure().refresh = None  # type: ignore[method-assign,assignment]
        with pytest.raises(TypeError, match="must be a string"):
            configure().sentry_dsn = None  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            del configure().absent


class TestCopies:
    def test_are_fresh(self, esc: Esc, configure: Configure) -> None:
        config = configure()
        assert config.sentry_dsn
        for fresh in (copy.copy(config), copy.deepcopy({"config": config})["config"]):
            assert repr(fresh) == f"<AutoEscConfig: 0 keys of {PATH}>"
            assert fresh.sentry_dsn == SECRETS["SENTRY_DSN"]
        assert reads(esc) == 3

    def test_of_the_modules_own_can_be_stored_without_a_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENTRY_DSN", "s3cret-of-the-machine")
        monkeypatch.setenv("PULUMI_ESC_DISABLED", "1")
        stored = pickle.dumps(AutoEscConfig(cache_seconds=60))
        assert b"s3cret" not in stored
        assert pickle.loads(stored).sentry_dsn == "s3cret-of-the-machine"  # noqa: S301
        assert pickle.loads(stored)._cache_seconds == 60  # noqa: S301

    def test_with_variables_of_their_own_are_not_stored(self, configure: Configure) -> None:
        with pytest.raises(TypeError, match="would be stored"):
            pickle.dumps(configure())


class TestSecrecy:
    def test_no_repr_shows_a_value(self, configure: Configure) -> None:
        config = configure()
        assert config.sentry_dsn
        shown = "\n".join([repr(config), str(config), repr(config.known_secrets), *map(repr, _slots(config))])
        assert repr(config) == f"<AutoEscConfig: 5 keys of {PATH}>"
        assert not [value for value in [*SECRETS.values(), *SLUGS.values()] if value in shown.replace(PATH, "")]

    def test_the_token_lies_in_a_private_folder_while_it_is_needed(
        self, esc: Esc, configure: Configure, tmp_path: Path
    ) -> None:
        seen: list[Path] = []
        esc.before("POST .*/open", lambda: seen.extend(_files_with(esc.token)))
        assert configure().sentry_dsn
        assert [file.name for file in seen] == ["credentials.json"]
        assert not seen[0].parent.exists()
        assert _files_with(esc.token) == []
        assert list(tmp_path.iterdir()) == []

    def test_former_values_are_secrets_for_an_hour(self, esc: Esc, configure: Configure) -> None:
        clock = Clock()
        config = configure({"MY_PASSWORD": "of-the-machine", "MY_TOKEN_LIFE": "3600"}, clock=clock)
        assert config.sentry_dsn
        esc.save(PATH, definition(ROTATED, {"plain_password": "not-encrypted", "token_limit": 1234}))
        config.refresh()
        now = {*ROTATED.values(), "of-the-machine", "not-encrypted", esc.token}
        assert {secret.get_secret_value() for secret in config.known_secrets} == now | {*SECRETS.values()}
        config.refresh()
        clock.now += auto_esc_config.FORMER_SECONDS
        assert {secret.get_secret_value() for secret in config.known_secrets} == now


def _slots(config: AutoEscConfig) -> list[object]:
    # The environment variables aren't the configuration's to hide: whoever passed them in can print them.
    return [getattr(config, name) for name in AutoEscConfig.__slots__ if name not in ("_environ", "__weakref__")]


def _files_with(token: str) -> list[Path]:
    found = []
    for top in ("/dev/shm", tempfile.gettempdir()):  # noqa: S108 - where private folders are made
        for file in Path(top).glob("sentry-esc-sync-*/*"):
            with contextlib.suppress(OSError):  # a file of another test, removed meanwhile
                found += [file] if token in file.read_text(errors="replace") else []
    return found


IMPORT = """
import sys
seen = []
watched = ("subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system", "socket.", "os.mkdir", "_thread.start")
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith(watched) else None)
from backend.core.auto_esc_config import config, get_pulumi_esc_value
print(seen, sorted({"pydantic", "yaml", "sophia_sync"} & set(sys.modules)))
"""


def test_importing_does_nothing(environ: dict[str, str], esc: Esc) -> None:
    done = python(IMPORT, environ)
    assert (done.stdout, done.stderr) == ("[] []\n", "")
    assert esc.requests == []


def test_one_value_comes_from_the_same_cache(environ: dict[str, str], esc: Esc) -> None:
    code = """
from backend.core.auto_esc_config import config, get_pulumi_esc_value as get
print(get("SENTRY_ORGANIZATION_SLUG") == config.sentry_organization_slug)
print(get("SENTRY_API_TOKEN") == get("sentry_api_token") == config.sentry_api_token)
print(get("ABSENT"), get("ABSENT", "default"))
"""
    done = python(code, environ)
    assert (done.stdout, done.stderr) == ("True\nTrue\nNone default\n", "")
    assert reads(esc) == 1
