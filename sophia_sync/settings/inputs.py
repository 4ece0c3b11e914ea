"""Read the inputs from the environment and check them all at once.

An input comes from `INPUT_<NAME>` as the runner sets it (upper case, hyphens kept), from the same name with
underscores, or from its plain variable. An empty value counts as unset. `runtime.context` reads the other variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from pydantic import AliasChoices, AliasGenerator, GetCoreSchemaHandler, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sophia_sync.runtime.errors import InputError
from sophia_sync.settings import checks, extras


class DeployWhen(StrEnum):
    """When to dispatch the deploy workflow."""

    ALWAYS = "always"
    CHANGED = "changed"
    NEVER = "never"


class PreflightMode(StrEnum):
    """What to do when Sentry refuses the new credentials."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


class ChangeRequestMode(StrEnum):
    """Whether a change may be proposed by a change request instead of being written."""

    NEVER = "never"
    ALLOWED = "allowed"
    ALWAYS = "always"


class TokenKind(StrEnum):
    """Kind of the access token that Pulumi gives in exchange for GitHub's identity token."""

    ORGANIZATION = "organization"
    TEAM = "team"
    PERSONAL = "personal"


@dataclass(frozen=True)
class TokenScope:
    """Access token to ask Pulumi for. `name` is the team or user; for the organization, it is empty or `admin`.

    Source: pulumi.com/docs, "OAuth Token Exchange".
    """

    kind: TokenKind = TokenKind.ORGANIZATION
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> TokenScope:
        """Read `team:NAME` or `user:NAME`; an empty text or `admin`, Pulumi's own word, means the organization.

        Raises:
            ValueError: The text is something else. The message doesn't show it.
        """
        if text.strip() in ("", "admin"):
            return cls(name=text.strip())
        # No comma: Pulumi would read a list of scopes.
        match = re.fullmatch(r"(team|user):([^\s,:]{1,100})", text.strip())
        if match is None or not match[2].isprintable():
            raise ValueError("is neither empty nor admin nor team:NAME nor user:NAME")
        return cls(TokenKind.TEAM if match[1] == "team" else TokenKind.PERSONAL, match[2])

    def __str__(self) -> str:
        """Return the scope as Pulumi's API takes it."""
        prefixes = {TokenKind.ORGANIZATION: "", TokenKind.TEAM: "team:", TokenKind.PERSONAL: "user:"}
        return prefixes[self.kind] + self.name


def one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """Return a check that accepts the values of an enumeration."""
    words = [member.value for member in kind]

    def check(value: str) -> StrEnum:
        if value.strip() not in words:
            raise ValueError(f"is none of {', '.join(words[:-1])} and {words[-1]}")
        return kind(value.strip())

    return check


@dataclass(frozen=True)
class Input:
    """One row of the inputs: how to check a value, and what a person does when it is missing or wrong.

    Args:
        check: Returns the value of a text, or raises `ValueError` with words that follow the input's name.
        remedy: Where the value comes from, or what it may be.
        variable: The plain variable that stands in for the input.
        yaml: What a workflow writes after the input's name, if that needs saying.
        option: The command line's option for it.
    """

    check: Callable[[str], Any]
    remedy: str
    variable: str | None = None
    yaml: str = ""
    option: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Run the check before pydantic's own."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))


def _input_names(field: str) -> tuple[str, str]:
    """Return the variables that a runner may set for a setting."""
    return f"INPUT_{field.upper().replace('_', '-')}", f"INPUT_{field.upper()}"


class _PlainVariables(PydanticBaseSettingsSource):
    """The source of inputs that are unset, but have a plain variable that is set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = _row(field).variable
        return os.environ.get(variable or "") or None, _input_names(field_name)[0], False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None and not any(os.environ.get(each) for each in _input_names(name)):
                found[key] = value
        return found


def _row(field: FieldInfo) -> Input:
    return next(item for item in field.metadata if isinstance(item, Input))


class Access(BaseSettings):
    """All that it takes to read ESC, GitHub and Sentry: addresses and sign-in. Read it with `load_access`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda field: AliasChoices(*_input_names(field))),
        case_sensitive=True,
        enable_decoding=False,  # every input is text; its check parses it
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the parameters are the base class's
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the runner's variables, then the plain ones; no `.env` file and no folder of secrets."""
        return env_settings, _PlainVariables(settings_cls)

    esc_environment: Annotated[
        tuple[str, ...],
        Input(
            checks.environments,
            "Give it as `organization/project/environment`, several one a line.",
            variable="PULUMI_ESC_ENVIRONMENT",
            option="--environment",
        ),
    ] = ("scoobyjava-org/default/sophia-ai-production",)
    pulumi_access_token: Annotated[
        SecretStr | None,
        Input(
            checks.pasted(checks.pulumi_token, required=False),
            "Create one in Pulumi Cloud → user menu → Personal access tokens, and keep it as the organization secret "
            "PULUMI_ACCESS_TOKEN.",
            variable="PULUMI_ACCESS_TOKEN",
            yaml="${{ secrets.PULUMI_ACCESS_TOKEN }}",
        ),
    ] = None
    pulumi_token_scope: Annotated[
        TokenScope,
        Input(TokenScope.parse, "Give admin, team:NAME or user:NAME, or leave it out for a token of the organization."),
    ] = TokenScope()
    pulumi_cloud_url: Annotated[
        str,
        Input(
            checks.url,
            "Give an address such as https://api.pulumi.com.",
            variable="PULUMI_BACKEND_URL",
            option="--pulumi-cloud-url",
        ),
    ] = "https://api.pulumi.com"
    sentry_url: Annotated[
        str,
        Input(
            checks.url,
            "Give the address of your Sentry, such as https://sentry.io.",
            variable="SENTRY_URL",
            option="--sentry-url",
        ),
    ] = "https://sentry.io"
    deploy_workflow: Annotated[
        str,
        Input(
            checks.workflow,
            "Give the workflow's file name, such as deploy-sentry-mcp.yml, or its number.",
            option="--deploy-workflow",
        ),
    ] = "deploy-sentry-mcp.yml"
    deploy_repository: Annotated[
        str | None,
        Input(checks.repository, "Give it as `owner/name`.", variable="GITHUB_REPOSITORY", option="--repository"),
    ] = None
    deploy_ref: Annotated[str | None, Input(checks.ref, "Give the name of a branch or tag.")] = None
    deploy_inputs: Annotated[
        dict[str, Any],
        Input(
            checks.deploy_inputs,
            'Give a JSON object of the workflow\'s inputs, such as {"revision": "{revision}"}.',
        ),
    ] = {}
    github_token: Annotated[
        SecretStr | None,
        Input(
            checks.pasted(checks.github_token, required=False),
            "Leave the input out to use the workflow's own token, or set `deploy: never`.",
            variable="GITHUB_TOKEN",
        ),
    ] = None
    github_app_id: Annotated[
        str | None,
        Input(checks.app_id, "It stands on the App's settings page; give `github-app-private-key` with it."),
    ] = None
    github_app_private_key: Annotated[
        SecretStr | None,
        Input(checks.private_key, "Make one on the App's settings page, and give `github-app-id` with it."),
    ] = None
    timeout: Annotated[
        int,
        Input(partial(checks.seconds, largest=3600), "Give a number of seconds from 1 to 3600.", option="--timeout"),
    ] = 300

    @property
    def has_github_access(self) -> bool:
        """Whether there is a token or a GitHub App to ask GitHub with."""
        return self.github_token is not None or None not in (self.github_app_id, self.github_app_private_key)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Every secret among the settings, to be hidden wherever it turns up."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, SecretStr))


class Settings(Access):
    """The action's inputs, checked. Read them with `load`."""

    sentry_dsn: Annotated[
        SecretStr,
        Input(
            checks.pasted(checks.dsn),
            "Copy it from Sentry → Project Settings → Client Keys (DSN) into the organization secret SENTRY_DSN.",
            variable="SENTRY_DSN",
            yaml="${{ secrets.SENTRY_DSN }}",
        ),
    ]
    sentry_api_token: Annotated[
        SecretStr,
        Input(
            checks.pasted(checks.sentry_token),
            "Create an internal integration in Sentry → Settings → Custom Integrations, and keep its token as the "
            "organization secret SENTRY_API_TOKEN. Settings → Auth Tokens makes another kind, which doesn't suffice.",
            variable="SENTRY_API_TOKEN",
            yaml="${{ secrets.SENTRY_API_TOKEN }}",
        ),
    ]
    sentry_organization_slug: Annotated[
        str,
        Input(
            checks.pasted(checks.organization_slug),
            "It is the first part of Sentry's address, https://SLUG.sentry.io.",
            variable="SENTRY_ORGANIZATION_SLUG",
            yaml="${{ vars.SENTRY_ORGANIZATION_SLUG }}",
        ),
    ]
    sentry_project_slug: Annotated[
        str,
        Input(
            checks.pasted(checks.project_slug),
            "It stands in Sentry → Project Settings → General.",
            variable="SENTRY_PROJECT_SLUG",
            yaml="${{ vars.SENTRY_PROJECT_SLUG }}",
        ),
    ]
    sentry_client_secret: Annotated[
        SecretStr | None,
        Input(
            checks.pasted(checks.secret, required=False),
            "Copy it from Sentry → Settings → Custom Integrations, or leave the input out.",
            variable="SENTRY_CLIENT_SECRET",
        ),
    ] = None
    extra_secrets: Annotated[
        dict[str, SecretStr],
        Input(
            extras.secrets,
            "Give one KEY=value a line; single quotes around a value keep all of it as it is: "
            "KEY='${{ secrets.KEY }}'.",
        ),
    ] = {}
    extra_variables: Annotated[
        dict[str, str],
        Input(
            extras.variables,
            "Give one KEY=value a line; single quotes around a value keep all of it as it is.",
        ),
    ] = {}
    preflight: Annotated[
        PreflightMode, Input(one_of(PreflightMode), "Choose enforce, warn or off.", option="--preflight")
    ] = PreflightMode.ENFORCE
    change_request: Annotated[
        ChangeRequestMode,
        Input(one_of(ChangeRequestMode), "Choose never, allowed or always.", option="--change-request"),
    ] = ChangeRequestMode.NEVER
    dry_run: Annotated[bool, Input(checks.boolean, "Choose true or false.")] = False
    export_environment_variables: Annotated[bool, Input(checks.boolean, "Choose true or false.")] = False
    tag_revision: Annotated[bool, Input(checks.boolean, "Choose true or false.")] = True
    deploy: Annotated[DeployWhen, Input(one_of(DeployWhen), "Choose always, changed or never.", option="--deploy")] = (
        DeployWhen.ALWAYS
    )
    deploy_wait: Annotated[bool, Input(checks.boolean, "Choose true or false.")] = False
    deploy_timeout: Annotated[
        int, Input(partial(checks.seconds, largest=21600), "Give a number of seconds from 1 to 21600.")
    ] = 900

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Every secret among the settings, the further keys' included."""
        return (*super().secrets, *self.extra_secrets.values())

    @property
    def may_deploy(self) -> bool:
        """Whether a deploy can follow a verified sync."""
        return not self.dry_run and self.deploy is not DeployWhen.NEVER


PLAIN_VARIABLES: dict[str, str] = {
    name.replace("_", "-"): variable
    for name, field in Settings.model_fields.items()
    if (variable := _row(field).variable) is not None
}
"""The plain variable of each input that has one."""

SENTRY_INPUTS = tuple(name for name in PLAIN_VARIABLES if name.startswith("sentry-") and name != "sentry-url")
"""The five inputs from whose ends white space is removed."""


def raw_secrets() -> tuple[SecretStr, ...]:
    """Return every secret input as it was given, well-formed or not: hide them before anything is printed."""
    found = []
    for name, field in Settings.model_fields.items():
        value = _given(name)
        if value is not None and "SecretStr" in str(field.annotation):
            found.append(SecretStr(value))
        if value is not None and name == "extra_secrets":
            found += extras.values(value)
    return tuple(found)


def _given(field: str) -> str | None:
    """Return the value that was given for a setting, before any check."""
    variable = _row(Settings.model_fields[field]).variable
    names = (*_input_names(field), *([variable] if variable else []))
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def load(*, at_terminal: bool = False) -> tuple[Settings, list[str]]:
    """Read and check all inputs. Return the settings and warnings.

    Args:
        at_terminal: Whether a person at a terminal reads the problems. If so, they name variables and options.

    Raises:
        InputError: Inputs are missing or malformed. Every problem names its input and the remedy; none shows a value.
    """
    problems = []
    settings = None
    problem = partial(_problem, at_terminal=at_terminal)
    try:
        settings = Settings()  # pydantic-settings fills it from the environment
    except ValidationError as error:
        problems += _problems(error, problem)
    problems += _missing_for_deploy(problem) + _same_twice(problem)
    both = sorted(settings.extra_secrets.keys() & settings.extra_variables.keys()) if settings else []
    if both:
        problems.append(problem("extra_variables", f"has {', '.join(both)}, and so has `extra-secrets`."))
    if settings is None or problems:
        raise InputError(problems)
    warnings = [
        f"`{name}`: white space at the ends of the value was removed; it comes from pasting."
        for name in SENTRY_INPUTS
        if (given := _given(name.replace("-", "_"))) is not None and given != given.strip()
    ]
    return settings, warnings


def load_access(*, at_terminal: bool = False) -> Access:
    """Read and check only what is needed to look at ESC, GitHub and Sentry.

    Raises:
        InputError: As `load`.
    """
    try:
        return Access()
    except ValidationError as error:
        raise InputError(_problems(error, partial(_problem, at_terminal=at_terminal))) from None


def give(inputs: Mapping[str, str]) -> None:
    """Set inputs by their names: a command's options win over the environment."""
    os.environ.update({f"INPUT_{name.upper()}": value for name, value in inputs.items()})


def is_given(name: str) -> bool:
    """Return whether an input is set, well-formed or not."""
    return _given(name.replace("-", "_")) is not None


_MISSING = "is not set (a missing secret arrives as an empty string)."


def _problems(error: ValidationError, problem: Callable[[str, str], str]) -> list[str]:
    found = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        field = next(name for name in Settings.model_fields if str(detail["loc"][0]) in (name, *_input_names(name)))
        text = str(detail["msg"]).removeprefix("Value error, ")
        found.append(problem(field, _MISSING if detail["type"] == "missing" else text))
    return found


def _problem(field: str, what: str, *, at_terminal: bool = False) -> str:
    """Return what is wrong with an input, and what to do about it."""
    row = _row(Settings.model_fields[field])
    name = field.replace("_", "-")
    sentence = what if what.endswith((".", "?")) else f"{what}."
    if at_terminal:
        places = [place for place in (row.variable, row.option) if place]
        place = " or ".join(places) or f"INPUT_{field.upper()}"
        return f"{place} {sentence.replace(' (a missing secret arrives as an empty string)', '')} {row.remedy}"
    how = f" Pass `{name}: {row.yaml}`." if row.yaml else ""
    return f"`{name}` {sentence} {row.remedy}{how}"


def _missing_for_deploy(problem: Callable[[str, str], str]) -> list[str]:
    """Return a problem for each input that a dispatch lacks. Judge raw values, to report all problems together."""
    if (_given("deploy") or "").strip() == DeployWhen.NEVER or (_given("dry_run") or "").strip().lower() == "true":
        return []
    app = ("github_app_id", "github_app_private_key")
    as_app = any(_given(field) for field in app)
    needed = ("deploy_repository", *(app if as_app else ("github_token",)))
    return [
        problem(field, "is not set, and the deploy needs it.") for field in needed if not (_given(field) or "").strip()
    ]


_DIFFERENT = ("sentry_dsn", "sentry_api_token", "sentry_client_secret", "pulumi_access_token", "github_token")


def _same_twice(problem: Callable[[str, str], str]) -> list[str]:
    """Return the pairs of inputs that hold the same value: one of them must be wrong."""
    given = {field: (_given(field) or "").strip() for field in _DIFFERENT}
    return [
        problem(second, f"holds the same value as `{first.replace('_', '-')}`.")
        for place, first in enumerate(_DIFFERENT)
        for second in _DIFFERENT[place + 1 :]
        if given[first] and given[first] == given[second]
    ]
