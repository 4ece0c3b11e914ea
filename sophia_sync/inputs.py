"""Environment → settings. The only module that reads the environment; everything is checked here, at once.

Every input is read from `INPUT_<NAME>` as the runner sets it (upper case, hyphens kept), from the same with
underscores, and from a plain variable where it has one. An empty value counts as unset.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sophia_sync.errors import InputError


class DeployWhen(StrEnum):
    """When the deploy workflow is dispatched."""

    ALWAYS = "always"
    CHANGED = "changed"
    NEVER = "never"


# The plain variables that stand in for an input which is unset or empty.
PLAIN_VARIABLES: dict[str, tuple[str, ...]] = {
    "sentry-dsn": ("SENTRY_DSN",),
    "sentry-api-token": ("SENTRY_API_TOKEN",),
    "sentry-organization-slug": ("SENTRY_ORGANIZATION_SLUG",),
    "sentry-project-slug": ("SENTRY_PROJECT_SLUG",),
    "sentry-client-secret": ("SENTRY_CLIENT_SECRET",),
    "esc-environment": ("PULUMI_ESC_ENVIRONMENT",),
    "pulumi-access-token": ("PULUMI_ACCESS_TOKEN",),
    "pulumi-cloud-url": ("PULUMI_BACKEND_URL",),
    "deploy-repository": ("GITHUB_REPOSITORY",),
    "github-token": ("GITHUB_TOKEN",),
}
SENTRY_INPUTS = tuple(name for name in PLAIN_VARIABLES if name.startswith("sentry-"))

# What the person does about an input that is missing or wrong.
_REMEDIES = {
    "sentry-dsn": "Copy it from Sentry → Project Settings → Client Keys (DSN) into the organisation secret "
    "SENTRY_DSN, and pass `sentry-dsn: ${{ secrets.SENTRY_DSN }}`.",
    "sentry-api-token": "Create one in Sentry → Settings → Auth Tokens, keep it as the organisation secret "
    "SENTRY_API_TOKEN, and pass `sentry-api-token: ${{ secrets.SENTRY_API_TOKEN }}`.",
    "sentry-organization-slug": "It is the first part of Sentry's address, https://SLUG.sentry.io; pass "
    "`sentry-organization-slug: ${{ vars.SENTRY_ORGANIZATION_SLUG }}`.",
    "sentry-project-slug": "It stands in Sentry → Project Settings → General; pass "
    "`sentry-project-slug: ${{ vars.SENTRY_PROJECT_SLUG }}`.",
    "sentry-client-secret": "Copy it from Sentry → Settings → Custom Integrations, or leave the input out.",
    "esc-environment": "Give it as `organisation/project/environment`.",
    "pulumi-access-token": "Create one in Pulumi Cloud → Access Tokens, keep it as the organisation secret "
    "PULUMI_ACCESS_TOKEN, and pass `pulumi-access-token: ${{ secrets.PULUMI_ACCESS_TOKEN }}`.",
    "pulumi-cloud-url": "Give an address such as https://api.pulumi.com.",
    "github-token": "Leave the input out to use the workflow's own token, or set `deploy: never`.",
    "deploy-repository": "Give it as `owner/name`.",
    "deploy-workflow": "Give the workflow's file name, such as deploy-sentry-mcp.yml, or its number.",
    "deploy-ref": "Give the name of a branch or tag.",
    "deploy-inputs": 'Give a JSON object of the workflow\'s inputs, such as {"revision": "{revision}"}.',
    "deploy": "Choose always, changed or never.",
    "dry-run": "Choose true or false.",
    "tag-revision": "Choose true or false.",
    "timeout": "Give a number of seconds from 1 to 3600.",
}

_SLUG = re.compile(r"[a-z0-9_][a-z0-9_-]{0,99}")
_ENVIRONMENT_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL byte")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("isn't valid UTF-8") from None
    return value


def _secret(value: str) -> str:
    if "${" in _text(value):
        raise ValueError("holds `${`, which ESC takes for a reference and refuses in a secret")
    return value


def _token(value: str) -> str:
    if any(character.isspace() for character in _secret(value)):
        raise ValueError("has white space within it")
    return value


def _header_token(value: str) -> str:
    if not _text(value).isascii() or not value.isprintable() or " " in value:
        raise ValueError("holds characters that no token has")
    return value


def _dsn(value: str) -> str:
    """Check a DSN, `https://PUBLIC_KEY@HOST/PROJECT_ID`; docs.sentry.io, "Data Source Name"."""
    if any(character.isspace() for character in _secret(value)):
        raise ValueError("has white space within it")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("isn't an address like https://PUBLIC_KEY@HOST/PROJECT_ID") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError("doesn't begin with https:// (a DSN is https://PUBLIC_KEY@HOST/PROJECT_ID)")
    if not parts.username or not re.fullmatch(r"[A-Za-z0-9_-]+", parts.username):
        raise ValueError("has no public key before the @ (a DSN is https://PUBLIC_KEY@HOST/PROJECT_ID)")
    if not host:
        raise ValueError("has no host after the @ (a DSN is https://PUBLIC_KEY@HOST/PROJECT_ID)")
    if not re.fullmatch(r"[0-9]+", parts.path.rpartition("/")[2]) or parts.query or parts.fragment:
        raise ValueError("doesn't end with the project's number (a DSN is https://PUBLIC_KEY@HOST/PROJECT_ID)")
    return value


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError("isn't a slug: lower-case letters, digits, hyphens and underscores")
    return value


def _environment(value: str) -> str:
    value = value.strip()
    parts = value.split("/")
    if "@" in value:
        raise ValueError("names a version; only the environment itself can be written")
    if len(parts) != 3 or not all(_ENVIRONMENT_PART.fullmatch(part) for part in parts):
        raise ValueError("isn't a path like organisation/project/environment")
    return value


def _url(value: str) -> str:
    value = value.strip().rstrip("/")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("isn't an address") from None
    if parts.scheme not in ("https", "http") or not host or parts.username or parts.query or parts.fragment:
        raise ValueError("isn't an address like https://HOST")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ValueError("isn't https: the token would travel in the clear")
    return value


def _repository(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", value.strip()):
        raise ValueError("isn't a repository like owner/name")
    return value.strip()


def _workflow(value: str) -> str:
    if not re.fullmatch(r"[0-9]+|[^/\\\s]+\.ya?ml", value.strip()):
        raise ValueError("isn't a workflow's file name or number")
    return value.strip()


def _ref(value: str) -> str:
    if not re.fullmatch(r"[^\s~^:?*\[\\]+", value.strip()):
        raise ValueError("isn't the name of a branch or tag")
    return value.strip()


def _no_constant(name: str) -> None:
    """Python's parser takes `NaN` and `Infinity`, which aren't JSON."""
    raise ValueError(name)


def _json_object(value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value, parse_constant=_no_constant)
    except ValueError:
        raise ValueError("isn't JSON") from None
    if not isinstance(parsed, dict) or not all(isinstance(item, str | bool | int | float) for item in parsed.values()):
        raise ValueError("isn't a JSON object of strings, numbers and booleans")
    return parsed


def _boolean(value: str) -> bool:
    words = {"true": True, "false": False}
    if value.strip().lower() not in words:
        raise ValueError("is neither true nor false")
    return words[value.strip().lower()]


def _deploy_when(value: str) -> DeployWhen:
    if value.strip() not in [when.value for when in DeployWhen]:
        raise ValueError("is none of always, changed and never")
    return DeployWhen(value.strip())


def _seconds(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", value.strip()) or not 1 <= int(value) <= 3600:
        raise ValueError("isn't a number of seconds from 1 to 3600")
    return int(value)


def _pasted(check: Callable[[str], str], *, required: bool = True) -> Callable[[str], str | None]:
    """`check` the value without the white space at its ends, which comes from pasting."""

    def strip_and_check(value: str) -> str | None:
        stripped = value.strip()
        if not stripped and required:
            raise ValueError("holds nothing but white space")
        return check(stripped) if stripped else None

    return strip_and_check


def _names(field: str) -> tuple[str, ...]:
    """The environment variables of a setting, first the one that the runner sets."""
    name = field.replace("_", "-")
    return (f"INPUT_{name.upper()}", f"INPUT_{field.upper()}", *PLAIN_VARIABLES.get(name, ()))


def _from(field: str) -> AliasChoices:
    return AliasChoices(*_names(field))


class Settings(BaseSettings):
    """The action's inputs, checked. Make one with `load`."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    sentry_dsn: Annotated[SecretStr, BeforeValidator(_pasted(_dsn))] = Field(validation_alias=_from("sentry_dsn"))
    sentry_api_token: Annotated[SecretStr, BeforeValidator(_pasted(_token))] = Field(
        validation_alias=_from("sentry_api_token")
    )
    sentry_organization_slug: Annotated[str, BeforeValidator(_pasted(_slug))] = Field(
        validation_alias=_from("sentry_organization_slug")
    )
    sentry_project_slug: Annotated[str, BeforeValidator(_pasted(_slug))] = Field(
        validation_alias=_from("sentry_project_slug")
    )
    sentry_client_secret: Annotated[SecretStr | None, BeforeValidator(_pasted(_secret, required=False))] = Field(
        None, validation_alias=_from("sentry_client_secret")
    )
    esc_environment: Annotated[str, BeforeValidator(_environment)] = Field(
        "scoobyjava-org/default/sophia-ai-production", validation_alias=_from("esc_environment")
    )
    pulumi_access_token: Annotated[SecretStr, BeforeValidator(_header_token)] = Field(
        validation_alias=_from("pulumi_access_token")
    )
    pulumi_cloud_url: Annotated[str, BeforeValidator(_url)] = Field(
        "https://api.pulumi.com", validation_alias=_from("pulumi_cloud_url")
    )
    dry_run: Annotated[bool, BeforeValidator(_boolean)] = Field(False, validation_alias=_from("dry_run"))
    tag_revision: Annotated[bool, BeforeValidator(_boolean)] = Field(True, validation_alias=_from("tag_revision"))
    deploy: Annotated[DeployWhen, BeforeValidator(_deploy_when)] = Field(
        DeployWhen.ALWAYS, validation_alias=_from("deploy")
    )
    deploy_workflow: Annotated[str, BeforeValidator(_workflow)] = Field(
        "deploy-sentry-mcp.yml", validation_alias=_from("deploy_workflow")
    )
    deploy_repository: Annotated[str | None, BeforeValidator(_repository)] = Field(
        None, validation_alias=_from("deploy_repository")
    )
    deploy_ref: Annotated[str | None, BeforeValidator(_ref)] = Field(None, validation_alias=_from("deploy_ref"))
    deploy_inputs: Annotated[dict[str, Any], NoDecode, BeforeValidator(_json_object)] = Field(
        {}, validation_alias=_from("deploy_inputs")
    )
    github_token: Annotated[SecretStr | None, BeforeValidator(_header_token)] = Field(
        None, validation_alias=_from("github_token")
    )
    timeout: Annotated[int, BeforeValidator(_seconds)] = Field(300, validation_alias=_from("timeout"))

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Every secret among the settings: what must be hidden wherever it turns up."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, SecretStr))


def raw_secrets() -> tuple[SecretStr, ...]:
    """Every secret input as it was given, well-formed or not: to be hidden before anything is printed."""
    found = []
    for field, info in Settings.model_fields.items():
        value = _given(field)
        if value is not None and "SecretStr" in str(info.annotation):
            found.append(SecretStr(value))
    return tuple(found)


def _given(field: str) -> str | None:
    """The value that was given for a setting, before any check."""
    return next((os.environ[name] for name in _names(field) if os.environ.get(name)), None)


def load() -> tuple[Settings, list[str]]:
    """Read and check all inputs; the second part are warnings.

    Raises:
        InputError: With every problem at once; each names its input and how to fix it, none shows a value.
    """
    problems = []
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            problems.append(_problem(str(detail["loc"][0]), str(detail["type"]), str(detail["msg"])))
    problems += _missing_for_deploy()
    if settings is None or problems:
        raise InputError(problems)
    warnings = [
        f"`{name}`: white space at the ends of the value was removed; it comes from pasting."
        for name in SENTRY_INPUTS
        if (given := _given(name.replace("-", "_"))) is not None and given != given.strip()
    ]
    return settings, warnings


def _problem(location: str, kind: str, message: str) -> str:
    name = location.removeprefix("INPUT_").lower().replace("_", "-")
    what = "is not set (a missing secret arrives as an empty string)"
    if kind != "missing":
        what = message.removeprefix("Value error, ")
    return f"`{name}` {what}. {_REMEDIES[name]}"


def _missing_for_deploy() -> list[str]:
    """What a dispatch needs and is not there; judged by the raw values, so that it is told with the rest."""
    if (_given("deploy") or "").strip() == DeployWhen.NEVER or (_given("dry_run") or "").strip().lower() == "true":
        return []
    return [
        f"`{field.replace('_', '-')}` is not set, and the deploy needs it. {_REMEDIES[field.replace('_', '-')]}"
        for field in ("deploy_repository", "github_token")
        if _given(field) is None
    ]


@dataclass(frozen=True)
class RunContext:
    """What the GitHub runner tells about this run; each part is None or false outside of one.

    Source: docs.github.com, "Variables reference".
    """

    on_runner: bool
    output_path: Path | None
    summary_path: Path | None
    api_url: str
    run_id: str | None
    run_attempt: str | None
    run_url: str | None


def run_context() -> RunContext:
    """Read the runner's own variables."""

    def path(name: str) -> Path | None:
        return Path(os.environ[name]) if os.environ.get(name) else None

    run_id = os.environ.get("GITHUB_RUN_ID") or None
    repository = os.environ.get("GITHUB_REPOSITORY")
    server = os.environ.get("GITHUB_SERVER_URL") or "https://github.com"
    return RunContext(
        on_runner=os.environ.get("GITHUB_ACTIONS") == "true",
        output_path=path("GITHUB_OUTPUT"),
        summary_path=path("GITHUB_STEP_SUMMARY"),
        api_url=os.environ.get("GITHUB_API_URL") or "https://api.github.com",
        run_id=run_id,
        run_attempt=os.environ.get("GITHUB_RUN_ATTEMPT") or None,
        run_url=f"{server}/{repository}/actions/runs/{run_id}" if repository and run_id else None,
    )


# What a child may see of our environment: where programs are, and how to reach the network through a company's proxy
# and certificates. Everything else, every input among it, stays here.
_CHILD_VARIABLES = (
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


def child_environment() -> dict[str, str]:
    """The part of our environment that a child process may have."""
    return {name: os.environ[name] for name in _CHILD_VARIABLES if name in os.environ}
