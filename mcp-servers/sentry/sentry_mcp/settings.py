"""The server's settings: environment variables, and command line options, which override them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from sophia_sync.settings import checks

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Settings(BaseSettings):
    """An MCP server for one Sentry project.

    Credentials come from environment variables:
    SENTRY_API_TOKEN, SENTRY_ORGANIZATION_SLUG and SENTRY_PROJECT_SLUG say which project, and with which token.
    SENTRY_CLIENT_SECRET verifies Sentry's webhooks. SENTRY_MCP_TOKEN is the bearer token of clients over HTTP.
    Or they come from a Pulumi ESC environment, which PULUMI_ORG, PULUMI_PROJECT (default: default) and
    PULUMI_ENVIRONMENT name; PULUMI_ACCESS_TOKEN or a `pulumi login` opens it. PULUMI_BACKEND_URL is the address of a
    Pulumi Cloud of your own. PULUMI_ESC_CACHE_SECONDS (default: 300) is how long what was read counts.
    Every option has a variable too: SENTRY_MCP_TRANSPORT, SENTRY_MCP_HOST, SENTRY_MCP_PORT,
    SENTRY_MCP_ALLOWED_HOSTS, SENTRY_MCP_READ_ONLY, and SENTRY_URL.
    """

    model_config = SettingsConfigDict(
        env_prefix="SENTRY_MCP_",
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
        extra="ignore",
        cli_prog_name="sentry-mcp",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    sentry_url: Annotated[str, AfterValidator(checks.url)] = Field(
        "https://sentry.io",
        validation_alias=AliasChoices("sentry_url", "SENTRY_URL"),
        description="address of Sentry, also of your own or of a region",
    )
    transport: Literal["stdio", "http"] = Field("stdio", description="how clients talk to the server")
    host: str = Field("127.0.0.1", description="address to listen on, over HTTP")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    allowed_hosts: str = Field(
        "", description="names, each with its port or :*, by which clients may call; separated by commas"
    )
    read_only: CliImplicitFlag[bool] = Field(False, description="leave out the tools that write")

    @property
    def names(self) -> list[str]:
        """Return the names by which clients may call."""
        return self.allowed_hosts.replace(",", " ").split()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def from_command_line(arguments: Sequence[str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        pydantic.ValidationError: One of them makes no sense.
        SystemExit: An option makes no sense, or help was asked for.
    """
    given: Any = True if arguments is None else list(arguments)
    return Settings(_cli_parse_args=given)
