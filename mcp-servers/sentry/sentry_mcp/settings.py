"""How the server is started: environment variables, and command line options, which win over them."""

from __future__ import annotations

import ipaddress
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sophia_sync import checks

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def _names(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class Settings(BaseSettings):
    """The settings. Credentials are none of them: see `sentry_mcp.credentials`."""

    model_config = SettingsConfigDict(
        env_prefix="SENTRY_MCP_", env_ignore_empty=True, frozen=True, populate_by_name=True, extra="ignore"
    )

    sentry_url: Annotated[str, AfterValidator(checks.url)] = Field("https://sentry.io", alias="SENTRY_URL")
    transport: Literal["stdio", "http"] = "stdio"
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()
    """Names, each with its port or `:*`, by which clients may call the server besides those of the loopback."""
    read_only: bool = False

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def from_command_line(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of this process.

    Raises:
        pydantic.ValidationError: One of them makes no sense.
        SystemExit: So does an option, or help was asked for.
    """
    parser = ArgumentParser(
        prog="sentry_mcp_server.py",
        description="An MCP server for one Sentry project.",
        epilog="Each option has an environment variable too: SENTRY_MCP_TRANSPORT and so on, and SENTRY_URL.",
    )
    parser.add_argument("--transport", choices=("stdio", "http"), help="default: stdio")
    parser.add_argument("--host", help="the address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", help="default: 8000; 0: any free one")
    parser.add_argument("--allowed-hosts", help="names, each with a port or :*, by which clients may call; by commas")
    parser.add_argument("--read-only", action=BooleanOptionalAction, help="leave out the tools that write")
    parser.add_argument("--sentry-url", help="a Sentry of your own; default: https://sentry.io")
    given = vars(parser.parse_args(arguments))
    return Settings(**{name: value for name, value in given.items() if value is not None})
