"""Environment → settings. The only module that reads the environment; everything is checked here, at once.

Every input is read from `INPUT_<NAME>` as the runner sets it (upper case, hyphens kept), from the same with
underscores, and from a plain variable where it has one. An empty value counts as unset.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from sophia_sync import checks, extras
from sophia_sync.errors import InputError


class DeployWhen(StrEnum):
    """When the deploy workflow is dispatched."""

    ALWAYS = "always"
    CHANGED = "changed"
    NEVER = "never"


class PreflightMode(StrEnum):
    """What is done when Sentry refuses the new credentials."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


class TokenKind(StrEnum):
    """Whose access token Pulumi gives for an identity token of GitHub's."""

    ORGANIZATION = "organization"
    TEAM = "team"
    PERSONAL = "personal"


@dataclass(frozen=True)
class TokenScope:
    """The access token to ask of Pulumi; `name` is that of the team or user, for the organisation empty or `admin`.

    Source: pulumi.com/docs, "OAuth Token Exchange".
    """

    kind: TokenKind = TokenKind.ORGANIZATION
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> TokenScope:
        """Read `team:NAME` or `user:NAME`; `admin`, Pulumi's own word, or nothing is the organisation.

        Raises:
            ValueError: It is none of them; the text doesn't show it.
        """
        if text.strip() in ("", "admin"):
            return cls(name=text.strip())
        # No comma: Pulumi takes a list of scopes.
        match = re.fullmatch(r"(team|user):([^\s,:]{1,100})", text.strip())
        if match is None or not match[2].isprintable():
            raise ValueError("is neither empty nor admin nor team:NAME nor user:NAME")
        return cls(TokenKind.TEAM if match[1] == "team" else TokenKind.PERSONAL, match[2])

    def __str__(self) -> str:
        """As Pulumi's `scope` has it."""
        prefixes = {TokenKind.ORGANIZATION: "", TokenKind.TEAM: "team:", TokenKind.PERSONAL: "user:"}
        return prefixes[self.kind] + self.name


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
    "sentry-url": ("SENTRY_URL",),
    "deploy-repository": ("GITHUB_REPOSITORY",),
    "github-token": ("GITHUB_TOKEN",),
}
SENTRY_INPUTS = tuple(name for name in PLAIN_VARIABLES if name.startswith("sentry-") and name != "sentry-url")

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
    "extra-secrets": "Give one KEY=value a line; single quotes around a value keep all of it as it is: "
    "KEY='${{ secrets.KEY }}'.",
    "extra-variables": "Give one KEY=value a line; single quotes around a value keep all of it as it is.",
    "esc-environment": "Give it as `organisation/project/environment`, several one a line.",
    "pulumi-access-token": "Create one in Pulumi Cloud → Access Tokens, keep it as the organisation secret "
    "PULUMI_ACCESS_TOKEN, and pass `pulumi-access-token: ${{ secrets.PULUMI_ACCESS_TOKEN }}`.",
    "pulumi-token-scope": "Give admin, team:NAME or user:NAME, or leave it out for a token of the organisation.",
    "pulumi-cloud-url": "Give an address such as https://api.pulumi.com.",
    "sentry-url": "Give the address of your Sentry, such as https://sentry.io.",
    "preflight": "Choose enforce, warn or off.",
    "github-token": "Leave the input out to use the workflow's own token, or set `deploy: never`.",
    "deploy-repository": "Give it as `owner/name`.",
    "deploy-workflow": "Give the workflow's file name, such as deploy-sentry-mcp.yml, or its number.",
    "deploy-ref": "Give the name of a branch or tag.",
    "deploy-inputs": 'Give a JSON object of the workflow\'s inputs, such as {"revision": "{revision}"}.',
    "deploy": "Choose always, changed or never.",
    "dry-run": "Choose true or false.",
    "export-environment-variables": "Choose true or false.",
    "tag-revision": "Choose true or false.",
    "deploy-wait": "Choose true or false.",
    "deploy-timeout": "Give a number of seconds from 1 to 21600.",
    "github-app-id": "It stands on the App's settings page; give `github-app-private-key` with it.",
    "github-app-private-key": "Make one on the App's settings page, and give `github-app-id` with it.",
    "timeout": "Give a number of seconds from 1 to 3600.",
}


def _deploy_when(value: str) -> DeployWhen:
    if value.strip() not in [when.value for when in DeployWhen]:
        raise ValueError("is none of always, changed and never")
    return DeployWhen(value.strip())


def _preflight_mode(value: str) -> PreflightMode:
    if value.strip() not in [mode.value for mode in PreflightMode]:
        raise ValueError("is none of enforce, warn and off")
    return PreflightMode(value.strip())


def _run_seconds(value: str) -> int:
    return checks.seconds(value, 3600)


def _wait_seconds(value: str) -> int:
    return checks.seconds(value, 21600)


def _names(field: str) -> tuple[str, ...]:
    """The environment variables of a setting, first the one that the runner sets."""
    name = field.replace("_", "-")
    return (f"INPUT_{name.upper()}", f"INPUT_{field.upper()}", *PLAIN_VARIABLES.get(name, ()))


def _from(field: str) -> AliasChoices:
    return AliasChoices(*_names(field))


class Access(BaseModel):
    """Where ESC, GitHub and Sentry are, and how to sign in: all that it takes to look. Make one with `load_access`."""

    model_config = ConfigDict(
        defer_build=True,  # a sync doesn't use it by itself
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    esc_environment: Annotated[tuple[str, ...], BeforeValidator(checks.environments)] = Field(
        ("scoobyjava-org/default/sophia-ai-production",), validation_alias=_from("esc_environment")
    )
    pulumi_access_token: Annotated[
        SecretStr | None, BeforeValidator(checks.pasted(checks.pulumi_token, required=False))
    ] = Field(None, validation_alias=_from("pulumi_access_token"))
    pulumi_token_scope: Annotated[TokenScope, BeforeValidator(TokenScope.parse)] = Field(
        TokenScope(), validation_alias=_from("pulumi_token_scope")
    )
    pulumi_cloud_url: Annotated[str, BeforeValidator(checks.url)] = Field(
        "https://api.pulumi.com", validation_alias=_from("pulumi_cloud_url")
    )
    sentry_url: Annotated[str, BeforeValidator(checks.url)] = Field(
        "https://sentry.io", validation_alias=_from("sentry_url")
    )
    deploy_workflow: Annotated[str, BeforeValidator(checks.workflow)] = Field(
        "deploy-sentry-mcp.yml", validation_alias=_from("deploy_workflow")
    )
    deploy_repository: Annotated[str | None, BeforeValidator(checks.repository)] = Field(
        None, validation_alias=_from("deploy_repository")
    )
    deploy_ref: Annotated[str | None, BeforeValidator(checks.ref)] = Field(None, validation_alias=_from("deploy_ref"))
    deploy_inputs: Annotated[dict[str, Any], BeforeValidator(checks.deploy_inputs)] = Field(
        {}, validation_alias=_from("deploy_inputs")
    )
    github_token: Annotated[SecretStr | None, BeforeValidator(checks.pasted(checks.github_token, required=False))] = (
        Field(None, validation_alias=_from("github_token"))
    )
    github_app_id: Annotated[str | None, BeforeValidator(checks.app_id)] = Field(
        None, validation_alias=_from("github_app_id")
    )
    github_app_private_key: Annotated[SecretStr | None, BeforeValidator(checks.private_key)] = Field(
        None, validation_alias=_from("github_app_private_key")
    )
    timeout: Annotated[int, BeforeValidator(_run_seconds)] = Field(300, validation_alias=_from("timeout"))

    @property
    def has_github_access(self) -> bool:
        """Whether there is a token or a GitHub App to ask GitHub with."""
        return self.github_token is not None or None not in (self.github_app_id, self.github_app_private_key)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Every secret among the settings: what must be hidden wherever it turns up."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, SecretStr))


class Settings(Access):
    """The action's inputs, checked. Make one with `load`."""

    model_config = ConfigDict(defer_build=False)

    sentry_dsn: Annotated[SecretStr, BeforeValidator(checks.pasted(checks.dsn))] = Field(
        validation_alias=_from("sentry_dsn")
    )
    sentry_api_token: Annotated[SecretStr, BeforeValidator(checks.pasted(checks.sentry_token))] = Field(
        validation_alias=_from("sentry_api_token")
    )
    sentry_organization_slug: Annotated[str, BeforeValidator(checks.pasted(checks.slug))] = Field(
        validation_alias=_from("sentry_organization_slug")
    )
    sentry_project_slug: Annotated[str, BeforeValidator(checks.pasted(checks.slug))] = Field(
        validation_alias=_from("sentry_project_slug")
    )
    sentry_client_secret: Annotated[SecretStr | None, BeforeValidator(checks.pasted(checks.secret, required=False))] = (
        Field(None, validation_alias=_from("sentry_client_secret"))
    )
    extra_secrets: Annotated[dict[str, SecretStr], BeforeValidator(extras.secrets)] = Field(
        {}, validation_alias=_from("extra_secrets")
    )
    extra_variables: Annotated[dict[str, str], BeforeValidator(extras.variables)] = Field(
        {}, validation_alias=_from("extra_variables")
    )
    preflight: Annotated[PreflightMode, BeforeValidator(_preflight_mode)] = Field(
        PreflightMode.ENFORCE, validation_alias=_from("preflight")
    )
    dry_run: Annotated[bool, BeforeValidator(checks.boolean)] = Field(False, validation_alias=_from("dry_run"))
    export_environment_variables: Annotated[bool, BeforeValidator(checks.boolean)] = Field(
        False, validation_alias=_from("export_environment_variables")
    )
    tag_revision: Annotated[bool, BeforeValidator(checks.boolean)] = Field(True, validation_alias=_from("tag_revision"))
    deploy: Annotated[DeployWhen, BeforeValidator(_deploy_when)] = Field(
        DeployWhen.ALWAYS, validation_alias=_from("deploy")
    )
    deploy_wait: Annotated[bool, BeforeValidator(checks.boolean)] = Field(False, validation_alias=_from("deploy_wait"))
    deploy_timeout: Annotated[int, BeforeValidator(_wait_seconds)] = Field(
        900, validation_alias=_from("deploy_timeout")
    )

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        return (*super().secrets, *self.extra_secrets.values())

    @property
    def may_deploy(self) -> bool:
        """Whether a verified sync can be followed by a deploy."""
        return not self.dry_run and self.deploy is not DeployWhen.NEVER


def raw_secrets() -> tuple[SecretStr, ...]:
    """Every secret input as it was given, well-formed or not: to be hidden before anything is printed."""
    found = []
    for field, info in Settings.model_fields.items():
        value = _given(field)
        if value is not None and "SecretStr" in str(info.annotation):
            found.append(SecretStr(value))
        if value is not None and field == "extra_secrets":
            found += extras.values(value)
    return tuple(found)


def _set() -> dict[str, str]:
    """The variables that are set: an empty value counts as unset."""
    return {name: value for name, value in os.environ.items() if value}


def _given(field: str) -> str | None:
    """The value that was given for a setting, before any check."""
    return next((os.environ[name] for name in _names(field) if os.environ.get(name)), None)


def given(name: str) -> str:
    """An input of one of the actions `plan` and `gather`, unchecked; empty if it is unset."""
    return _given(name.replace("-", "_")) or ""


def load() -> tuple[Settings, list[str]]:
    """Read and check all inputs; the second part are warnings.

    Raises:
        InputError: With every problem at once; each names its input and how to fix it, none shows a value.
    """
    problems = []
    settings = None
    try:
        settings = Settings.model_validate(_set())
    except ValidationError as error:
        problems += _problems(error)
    problems += _missing_for_deploy() + _same_twice()
    both = sorted(settings.extra_secrets.keys() & settings.extra_variables.keys()) if settings else []
    if both:
        problems.append(
            f"`extra-variables` has {', '.join(both)}, and so has `extra-secrets`. {_REMEDIES['extra-variables']}"
        )
    if settings is None or problems:
        raise InputError(problems)
    warnings = [
        f"`{name}`: white space at the ends of the value was removed; it comes from pasting."
        for name in SENTRY_INPUTS
        if (given := _given(name.replace("-", "_"))) is not None and given != given.strip()
    ]
    return settings, warnings


def load_access() -> Access:
    """Read and check only what is needed to look at ESC, GitHub and Sentry.

    Raises:
        InputError: As `load`.
    """
    try:
        return Access.model_validate(_set())
    except ValidationError as error:
        raise InputError(_problems(error)) from None


def give(inputs: Mapping[str, str]) -> None:
    """Set inputs, by their names: what was given by a command's options wins over the environment."""
    os.environ.update({f"INPUT_{name.upper()}": value for name, value in inputs.items()})


def is_given(name: str) -> bool:
    """Whether an input is set, well-formed or not."""
    return _given(name.replace("-", "_")) is not None


def _problems(error: ValidationError) -> list[str]:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return [_problem(str(detail["loc"][0]), str(detail["type"]), str(detail["msg"])) for detail in details]


def _problem(location: str, kind: str, message: str) -> str:
    """What is wrong with an input, in words; `location` is the variable that it was read from."""
    field = next(field for field in Settings.model_fields if location in _names(field))
    name = field.replace("_", "-")
    what = "is not set (a missing secret arrives as an empty string)"
    if kind != "missing":
        what = message.removeprefix("Value error, ")
    return f"`{name}` {what}{'' if what.endswith('?') else '.'} {_REMEDIES[name]}"


def _missing_for_deploy() -> list[str]:
    """What a dispatch needs and is not there; judged by the raw values, so that it is told with the rest."""
    if (_given("deploy") or "").strip() == DeployWhen.NEVER or (_given("dry_run") or "").strip().lower() == "true":
        return []
    app = ("github_app_id", "github_app_private_key")
    as_app = any(_given(field) for field in app)
    needed = ("deploy_repository", *(app if as_app else ("github_token",)))
    return [
        f"`{field.replace('_', '-')}` is not set, and the deploy needs it. {_REMEDIES[field.replace('_', '-')]}"
        for field in needed
        if not (_given(field) or "").strip()
    ]


def _same_twice() -> list[str]:
    """Inputs that hold the same value: one of them must be wrong."""
    given = {field: (_given(field) or "").strip() for field in _DIFFERENT}
    return [
        f"`{first.replace('_', '-')}` and `{second.replace('_', '-')}` hold the same value. "
        f"{_REMEDIES[second.replace('_', '-')]}"
        for place, first in enumerate(_DIFFERENT)
        for second in _DIFFERENT[place + 1 :]
        if given[first] and given[first] == given[second]
    ]


_DIFFERENT = ("sentry_dsn", "sentry_api_token", "sentry_client_secret", "pulumi_access_token", "github_token")


@dataclass(frozen=True)
class OidcRequest:
    """Where a job with the permission `id-token: write` gets its identity token, and the token to ask for it with.

    Source: docs.github.com, "OpenID Connect reference".
    """

    url: str
    token: SecretStr


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
    oidc: OidcRequest | None = None
    repository: str | None = None
    server_url: str = "https://github.com"

    @property
    def tag(self) -> str | None:
        """The name of the revision tag of this run."""
        return None if self.run_id is None else f"github-run-{self.run_id}-{self.run_attempt or 1}"


def run_context() -> RunContext:
    """Read the runner's own variables."""

    def path(name: str) -> Path | None:
        return Path(os.environ[name]) if os.environ.get(name) else None

    run_id = os.environ.get("GITHUB_RUN_ID") or None
    oidc_url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
    oidc_token = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
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
        oidc=OidcRequest(oidc_url, SecretStr(oidc_token)) if oidc_url and oidc_token else None,
        repository=repository or None,
        server_url=server,
    )


def colours_are_refused() -> bool:
    """Whether the person wants no colours, also not on a terminal; no-color.org."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def pulumi_login(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder where an existing `pulumi login` keeps its credentials; None if there are none.

    Source: github.com/pulumi/pulumi, `workspace.getCredsFilePath`: PULUMI_CREDENTIALS_PATH, then PULUMI_HOME.
    """
    try:
        # As the CLI finds it: HOME counts only for a user whom the machine doesn't know.
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        home = Path(environ.get("HOME", os.curdir))
    folder = Path(environ.get("PULUMI_CREDENTIALS_PATH") or environ.get("PULUMI_HOME") or home / ".pulumi")
    return folder if (folder / "credentials.json").is_file() else None


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


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of our environment that a child process may have."""
    return {name: environ[name] for name in _CHILD_VARIABLES if name in environ}
