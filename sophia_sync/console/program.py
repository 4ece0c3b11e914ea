"""The commands and their options. No option takes a secret: every user of a machine can read argument lists."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from sophia_sync import __version__
from sophia_sync.console.screen import Lost, Screen, discard, error_json
from sophia_sync.runtime.errors import InputError
from sophia_sync.runtime.redact import Redactor
from sophia_sync.settings import checks

F = TypeVar("F", bound=Callable[..., Any])

_NUMBER_OF_REVISIONS = click.IntRange(1, 1000)


class Address(click.ParamType[str]):
    """An address without a user or password. It may be http, because nothing secret is sent there."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parts = urlsplit(value)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        except ValueError:
            is_one = False
        if not is_one:
            self.fail("It isn't an address like http://HOST:PORT.", param, ctx)
        return value


def _workflow(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return checks.workflow(value)
    except ValueError as error:
        raise click.BadParameter(f"It {error}.") from None


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_environment = click.option(
    "-e",
    "--environment",
    "environments",
    metavar="PATH",
    multiple=True,
    help="The ESC environment, as ORG/PROJECT/ENV; several by repeating it.",
)
_cloud_url = click.option("--pulumi-cloud-url", metavar="URL", help="A self-hosted Pulumi Cloud.")
_sentry_url = click.option("--sentry-url", metavar="URL", help="A self-hosted Sentry.")
_timeout = click.option("--timeout", metavar="SECONDS", help="For everything. [default: 300]")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
_keys = click.option(
    "-k",
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    help="A key to look at instead of Sentry's; several by repeating it.",
)


_change_request = click.option(
    "--change-request",
    type=click.Choice(["never", "allowed", "always"]),
    is_flag=False,
    flag_value="allowed",
    help="Whether to propose the change by a change request; `allowed`, which the bare option means, does so where "
    "updates need an approval. [default: never]",
)


def _limit(default: int) -> Callable[[F], F]:
    return click.option(
        "--limit",
        type=_NUMBER_OF_REVISIONS,
        default=default,
        show_default=True,
        metavar="N",
        help="How many revisions are looked at, the newest first.",
    )


_esc = _options(_environment, _cloud_url, _timeout)


def _given(**options: str | Sequence[str] | None) -> dict[str, str]:
    """Return the options that were given, as inputs."""
    joined = {
        name.replace("_", "-"): value if isinstance(value, str) else "\n".join(value)
        for name, value in options.items()
        if value
    }
    if "environments" in joined:
        joined["esc-environment"] = joined.pop("environments")
    return joined


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def commands() -> None:
    """Carry Sentry credentials into a Pulumi ESC environment, and check what is there.

    Inputs are environment variables: SENTRY_DSN, SENTRY_API_TOKEN, SENTRY_ORGANIZATION_SLUG, SENTRY_PROJECT_SLUG
    and, if you verify webhooks, SENTRY_CLIENT_SECRET for plan and sync; PULUMI_ACCESS_TOKEN, or an existing
    `pulumi login`, for all. No option takes a secret, and no command shows one.

    \b
    The ESC environment is scoobyjava-org/default/sophia-ai-production, that of
    the original document, unless --environment or PULUMI_ESC_ENVIRONMENT names
    others.
    """


@commands.command()
@_esc
@_change_request
@_json
def plan(as_json: bool, **options: Any) -> int:
    """Show what a sync would change, by names and encryption.

    Writes nothing, and asks Sentry nothing.

    \b
    Exit codes: 0 nothing would change, 10 something would,
    2 an input is missing or malformed, 4 ESC can't be read.
    """
    from sophia_sync.console import plan as command  # noqa: PLC0415 - each command loads what it needs

    return command.plan(Screen(Redactor(), as_json=as_json), _given(**options))


@commands.command()
@_esc
@_sentry_url
@click.option(
    "--preflight",
    type=click.Choice(["enforce", "warn", "off"]),
    help="Whether Sentry must accept the credentials first. [default: enforce]",
)
@_change_request
@click.option(
    "--deploy",
    type=click.Choice(["always", "changed", "never"]),
    help="Whether to dispatch the deploy afterwards; needs GITHUB_TOKEN. [default: never]",
)
@click.option("--repository", "deploy_repository", metavar="OWNER/NAME", help="The repository of the deploy workflow.")
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@_json
def sync(as_json: bool, yes: bool, **options: Any) -> int:
    """Write the credentials into ESC, as the action does.

    Shows the plan and asks before it writes. Without a terminal, or with --json, pass --yes. The question and the
    work together must end within --timeout.

    \b
    Exit codes: 0 done or nothing to do, 1 you answered no,
    2 an input is missing or malformed, 3 Sentry refuses the credentials,
    4 ESC, 5 the read-back differs, 6 the deploy, 70 a defect,
    129, 130, 131 and 143 a signal.
    """
    from sophia_sync.console import sync as command  # noqa: PLC0415

    return command.sync(Screen(Redactor(), as_json=as_json), _given(**options), yes=yes)


@commands.command()
@_esc
@_sentry_url
@_keys
@_limit(100)
@click.option("--repository", "deploy_repository", metavar="OWNER/NAME", help="Where the workflows are.")
@click.option(
    "--sync-workflow",
    metavar="FILE",
    default="sync-sentry-secrets.yml",
    callback=_workflow,
    help="The workflow that syncs.",
)
@click.option("--deploy-workflow", metavar="FILE", help="The workflow that deploys.")
@click.option("--mcp-url", type=Address(), metavar="URL", help="The MCP server.")
@click.option(
    "--max-age",
    type=click.IntRange(1, 36500),
    metavar="DAYS",
    help="Also compare the age of each secret with this.",
)
@_json
def doctor(
    as_json: bool,
    keys: tuple[str, ...],
    limit: int,
    sync_workflow: str,
    mcp_url: str | None,
    max_age: int | None,
    **options: Any,
) -> int:
    """Look at every part, and say what is wrong and what to do.

    It checks the CLI and its token, the environments and their keys, the values, Sentry's view of them, the workflows
    and their secrets, and the MCP server. It gives the reason for what it can't check, and shows no value. It takes
    Sentry's credentials from ESC, so you set none.

    The age of a secret is the time since the revision that set its value. With --max-age, a secret that is older, or
    of unknown age, is bad. On a GitHub runner each bad check is an annotation.

    \b
    Unless named, the workflows are sync-sentry-secrets.yml and
    deploy-sentry-mcp.yml, and the MCP server is at http://127.0.0.1:8000.

    \b
    Exit codes: 0 nothing is bad, 1 something is,
    2 an input is malformed, 70 a defect.
    """
    from sophia_sync.console import doctor as command  # noqa: PLC0415

    screen = Screen(Redactor(), as_json=as_json)
    return command.doctor(
        screen,
        _given(**options),
        keys=keys,
        limit=limit,
        sync_workflow=sync_workflow,
        mcp_url=mcp_url,
        max_age=timedelta(days=max_age) if max_age else None,
    )


@commands.command()
@_esc
@_keys
@_limit(20)
@click.option("--all", "everything", is_flag=True, help="Also show revisions that changed none of the keys.")
@click.option("--repository", "deploy_repository", metavar="OWNER/NAME", help="For links to the workflow runs.")
@_json
def history(as_json: bool, keys: tuple[str, ...], limit: int, everything: bool, **options: Any) -> int:
    """Show which revision changed which keys, when and by whom.

    Shows the newest first. The revision tag that a sync sets names the workflow run. Retracted revisions can't be
    read and are left out.

    \b
    Exit codes: 0 done, 2 an input is malformed, 4 ESC can't be read.
    """
    from sophia_sync.console import history as command  # noqa: PLC0415

    screen = Screen(Redactor(), as_json=as_json)
    return command.history(screen, _given(**options), keys=keys, limit=limit, everything=everything)


UNPRINTED = 74
"""The exit code if the result can't be written to standard output; EX_IOERR of sysexits.h."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    Lost.why = None
    if sys.stderr is None:  # it is closed: messages must not end up in the result
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
    if sys.stdout is None:
        return _unprinted("It is closed. Nothing was done.")
    code = _run(given)
    if Lost.why is None:
        return code
    unprinted = _unprinted(f"{Lost.why}. What the command did stands.")
    return code or unprinted


def _unprinted(why: str) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"error: The result can't be written to standard output: {why}", file=sys.stderr)
    return UNPRINTED


def _run(given: list[str]) -> int:
    try:
        code = commands.main(given, prog_name="sophia-sync", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        screen = Screen(Redactor(), as_json="--json" in given)
        screen.json({"error": error_json(InputError([error.format_message()]))})
        return error.exit_code
    except click.Abort:
        return 130
    except OSError as error:  # Click could not print the help or the version; a command reports its own failures
        Lost.why = error.strerror or str(error)
        discard(sys.stdout)
        return 0
    return code if isinstance(code, int) else 0
