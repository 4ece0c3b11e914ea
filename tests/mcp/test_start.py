"""How the server is configured, and with which configurations it refuses to start."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Iterator
from unittest import mock

import pytest
from sentry_mcp import VERSION, esc
from sentry_mcp.credentials import EscSource
from sentry_mcp.main import RedactingFormatter, main
from sentry_mcp.settings import Settings, from_command_line

from tests.mcp.support import Values
from tests.support.docker_engine import ROOT


@pytest.fixture(autouse=True)
def a_process_of_its_own() -> Iterator[None]:
    """Undo what a start changes in this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    names = [name for name in os.environ if name.startswith("SENTRY_")]
    with mock.patch.dict(os.environ):
        for name in names:
            del os.environ[name]
        yield
    root.handlers[:], root.level = handlers, level
    for number, handler in signals.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        ("--transport http --host 0.0.0.0 --port 0", {}, "has no SENTRY_MCP_TOKEN that its clients must show"),
        ("--port 0 --host 0.0.0.0", {"SENTRY_MCP_TRANSPORT": "http"}, "has no SENTRY_MCP_TOKEN"),
        ("--transport http --host 192.0.2.1", {}, "error: The server can't listen on 192.0.2.1, port 8000: "),
        ("--transport carrier-pigeon", {}, "transport: Input should be 'stdio' or 'http'"),
        ("--port http", {}, "error: The settings make no sense: port: Input should be a valid integer"),
        ("--sentry-url ftp://x", {}, "sentry_url: Value error, isn't an address like https://HOST"),
        ("--sentry-url http://sentry.example", {}, "isn't https: the token would travel in the clear"),
        ("--sentry-url https://x:port", {}, "isn't an address like https://HOST"),
        ("", {"SENTRY_URL": "https://user:pw@x"}, "sentry_url: Value error, isn't an address like https://HOST"),
        ("", {"SENTRY_URL": "https://:pw@x"}, "sentry_url: Value error, isn't an address like"),
        ("", {"SENTRY_URL": "https://@x"}, "sentry_url: Value error, isn't an address like"),
        ("", {"SENTRY_MCP_READ_ONLY": "perhaps"}, "read_only: Input should be a valid boolean"),
    ],
)
def test_what_it_doesnt_start_with(
    arguments: str, variables: dict[str, str], told: str, values: Values, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ.update(variables)
    assert main(arguments.split(), values) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert told in shown.err
    assert "pw" not in shown.err


def test_a_token_that_is_too_short(values: Values, capsys: pytest.CaptureFixture[str]) -> None:
    values.read["SENTRY_MCP_TOKEN"] = "short"
    assert main(["--transport", "http", "--port", "0"], values) == 2
    assert "SENTRY_MCP_TOKEN is too short" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--token", "x"], ["carrier-pigeon"]])
def test_options_that_there_arent(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_help_names_the_options_and_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    page = (ROOT / "docs" / "mcp-server.md").read_text(encoding="utf-8")
    variables = set(re.findall(r"`((?:PULUMI|SENTRY)_[A-Z_]+)`", page))
    assert variables - set(re.findall(r"[A-Z_]+", told)) == set()
    options = set(re.findall(r"--[a-z-]+", told))
    assert options == {
        "--help", "--transport", "--host", "--port", "--allowed-hosts", "--read-only", "--no-read-only", "--sentry-url",
    }  # fmt: skip


def test_the_defaults() -> None:
    assert from_command_line([]) == Settings(
        sentry_url="https://sentry.io",
        transport="stdio",
        host="127.0.0.1",
        port=8000,
        allowed_hosts="",
        read_only=False,
    )


def test_options_win_over_variables_and_empty_ones_count_for_none() -> None:
    os.environ.update(
        {
            "SENTRY_URL": "https://sentry.example/",
            "SENTRY_MCP_TRANSPORT": "http",
            "SENTRY_MCP_PORT": "9000",
            "SENTRY_MCP_READ_ONLY": "true",
            "SENTRY_MCP_ALLOWED_HOSTS": "a.example, b.example:8000",
            "SENTRY_MCP_HOST": "",
        }
    )
    settings = from_command_line(["--port", "9001", "--no-read-only"])
    assert (settings.sentry_url, settings.transport) == ("https://sentry.example", "http")
    assert (settings.port, settings.read_only, settings.host) == (9001, False, "127.0.0.1")
    assert settings.names == ["a.example", "b.example:8000"]


def test_logs_hold_no_secret() -> None:
    formatter = RedactingFormatter(lambda text: text.replace("sntrys_x", "***"))
    record = logging.LogRecord("name", logging.INFO, "", 1, "token %s", ("sntrys_x",), None)
    assert formatter.format(record).endswith("INFO name: token ***")


ESC = "acme/default/production"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PULUMI_ACCESS_TOKEN": "pul-x"}, "PULUMI_ORG and PULUMI_ENVIRONMENT must be set"),
        ({"PULUMI_ORG": "acme"}, "PULUMI_ENVIRONMENT must be set"),
        ({"PULUMI_ENVIRONMENT": "production"}, "PULUMI_ORG must be set"),
        ({"PULUMI_ENVIRONMENT": "a/b c/d", "PULUMI_ORG": "acme"}, "PULUMI_ENVIRONMENT isn't a path like"),
        ({"PULUMI_ENVIRONMENT": "a/b/c@-x"}, "PULUMI_ENVIRONMENT has a version that is neither a revision number nor"),
        ({"PULUMI_ENVIRONMENT": "a/b/c@"}, "PULUMI_ENVIRONMENT has a version that is neither a revision number nor a"),
    ],
)
def test_what_is_missing_to_name_an_esc_environment(variables: dict[str, str], told: str) -> None:
    with pytest.raises(esc.EscError, match=told):
        esc.environment_path(variables)


def test_the_esc_environment_that_the_variables_name() -> None:
    assert esc.environment_path({"PULUMI_ORG": "acme", "PULUMI_ENVIRONMENT": "production"}) == ESC
    assert esc.environment_path({"PULUMI_ENVIRONMENT": ESC}) == ESC
    assert (
        esc.environment_path({"PULUMI_ORG": "acme", "PULUMI_ENVIRONMENT": "shop/production"}) == "acme/shop/production"
    )


@pytest.mark.anyio
async def test_plain_variables_need_nothing_of_pulumis(caplog: pytest.LogCaptureFixture) -> None:
    variables = {"SENTRY_API_TOKEN": "sntrys_of_the_environment", "PULUMI_ORG": " ", "HOME": "/nowhere", "PATH": ""}
    source = EscSource(variables)
    assert await source.values() == {"SENTRY_API_TOKEN": "sntrys_of_the_environment"}
    assert [secret.get_secret_value() for secret in source.secrets()] == ["sntrys_of_the_environment"]
    assert (await source.refresh(), caplog.text) == (True, "")


@pytest.mark.anyio
@pytest.mark.parametrize(("setting", "reads"), [("1", 2), ("0.5", 1), ("86401", 1), ("nan", 1), ("5m", 1), ("", 1)])
async def test_a_time_out_of_range_counts_as_the_default(
    setting: str, reads: int, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    variables = {"PULUMI_ACCESS_TOKEN": "pul-x", "PULUMI_ENVIRONMENT": ESC, "PATH": ""}
    source = EscSource(variables | {"PULUMI_ESC_CACHE_SECONDS": setting}, clock=lambda: now)
    await source.values()
    now = 1.1
    await source.values()
    assert caplog.text.count("Pulumi ESC could not be read") == reads


def test_the_version_is_the_projects() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_both_images_are_built_on_the_same() -> None:
    lines = [
        [
            line
            for line in (ROOT / folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
            if "FROM " in line[:5]
        ]
        for folder in (".", "mcp-servers/sentry")
    ]
    assert lines[0] == lines[1]
