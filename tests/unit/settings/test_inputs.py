"""The environment becomes settings, or one error that lists every problem."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from sophia_sync.runtime.context import child_environment, run_context
from sophia_sync.runtime.errors import InputError
from sophia_sync.settings import inputs
from sophia_sync.settings.inputs import PLAIN_VARIABLES, DeployWhen, Settings
from tests.support.examples import examples
from tests.support.inputs import VALID, as_runner, environment

REQUIRED = [
    "sentry-dsn",
    "sentry-api-token",
    "sentry-organization-slug",
    "sentry-project-slug",
]
SENTRY = [*REQUIRED, "sentry-client-secret"]
ODD_HOSTS = ("x,y.example", '"{sentry.example', "..", ".example", "a..b", "-", "[::1")
SECRET = ["sentry-dsn", "sentry-api-token", "sentry-client-secret", "pulumi-access-token", "github-token"]

PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nbm90IGEga2V5\n-----END RSA PRIVATE KEY-----\n"
APP = {"github-app-id": "17", "github-app-private-key": PRIVATE_KEY}

# Two different valid values for each input that has a plain variable.
TWO_VALUES = {
    "sentry-dsn": ("https://a@one.example/1", "https://b@two.example/2"),
    "sentry-api-token": ("token-one", "token-two"),
    "sentry-organization-slug": ("org-one", "org-two"),
    "sentry-project-slug": ("project-one", "project-two"),
    "sentry-client-secret": ("client-one", "client-two"),
    "esc-environment": ("one/one/one", "two/two/two"),
    "pulumi-access-token": ("pul-one", "pul-two"),
    "pulumi-cloud-url": ("https://one.example", "https://two.example"),
    "sentry-url": ("https://one.example", "https://two.example"),
    "deploy-repository": ("one/one", "two/two"),
    "github-token": ("ghs_one", "ghs_two"),
}


def load(**changes: str | None) -> tuple[Settings, list[str]]:
    """Return the settings and warnings of the valid inputs with `changes`. None removes an input."""
    return load_inputs(VALID | {name.replace("_", "-"): value for name, value in changes.items()})


def load_inputs(given: dict[str, Any]) -> tuple[Settings, list[str]]:
    with environment(as_runner({name: value for name, value in given.items() if value is not None})):
        return inputs.load()


def refusal(**changes: str | None) -> InputError:
    """Return the error that the valid inputs with `changes` raise."""
    with pytest.raises(InputError) as error:
        load(**changes)
    return error.value


def value_of(loaded: Settings, name: str) -> object:
    """Return an input's value from the settings, with a secret in plain text."""
    value = getattr(loaded, name.replace("-", "_"))
    if isinstance(value, tuple):
        return "\n".join(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


class TestWhereAnInputIsReadFrom:
    @pytest.mark.parametrize("name", VALID)
    def test_the_runner_keeps_the_hyphens_of_a_name(self, name: str) -> None:
        assert value_of(load()[0], name) == VALID[name]

    def test_a_shell_needs_underscores_instead(self) -> None:
        with environment({f"INPUT_{name.upper().replace('-', '_')}": value for name, value in VALID.items()}):
            loaded, _ = inputs.load()
        assert {name: value_of(loaded, name) for name in VALID} == VALID

    @pytest.mark.parametrize("name", PLAIN_VARIABLES)
    def test_the_hyphens_win_over_the_underscores_and_these_over_a_plain_variable(self, name: str) -> None:
        first, second = TWO_VALUES[name]
        hyphens = f"INPUT_{name.upper()}"
        underscores = hyphens.replace("-", "_")
        others = as_runner({other: value for other, value in VALID.items() if other != name})

        def found(given: dict[str, str]) -> object:
            with environment(others | given):
                return value_of(inputs.load()[0], name)

        plain = PLAIN_VARIABLES[name]
        assert found({plain: first}) == first
        assert found({underscores: first, plain: second}) == first
        assert found({hyphens: "", underscores: "", plain: first}) == first
        assert found({hyphens: first, plain: second}) == first
        assert found({hyphens: first, underscores: second}) == first
        assert found({hyphens: "", underscores: first}) == first

    @pytest.mark.parametrize("name", PLAIN_VARIABLES)
    def test_what_is_wrong_with_a_plain_variable_is_told_of_the_input(self, name: str) -> None:
        others = as_runner({other: value for other, value in VALID.items() if other != name})
        variables = others | {PLAIN_VARIABLES[name]: "${{ secrets.MISSING }}"}
        with environment(variables), pytest.raises(InputError) as error:
            inputs.load()
        assert f"`{name}` " in str(error.value)

    def test_at_a_terminal_a_problem_names_the_variable_and_the_option(self) -> None:
        with environment({"SENTRY_URL": "ftp://sentry.example"}), pytest.raises(InputError) as error:
            inputs.load(at_terminal=True)
        told = [problem.split(" is")[0] for problem in error.value.problems]
        assert {"SENTRY_DSN", "SENTRY_URL or --sentry-url", "GITHUB_TOKEN"} <= set(told)
        assert "${{" not in str(error.value)
        assert "`sentry-" not in str(error.value)

    def test_names_are_upper_case(self) -> None:
        given = as_runner(VALID | {"sentry-project-slug": ""}) | {"input_sentry-project-slug": "lower"}
        with environment(given), pytest.raises(InputError, match="sentry-project-slug"):
            inputs.load()

    @pytest.mark.parametrize("name", REQUIRED)
    def test_an_empty_required_input_is_missing(self, name: str) -> None:
        with pytest.raises(InputError) as error:
            load_inputs(VALID | {name: ""})
        assert len(error.value.problems) == 1
        assert error.value.problems[0].startswith(f"`{name}` is not set")

    def test_an_empty_optional_input_has_its_default(self) -> None:
        optional = [field.replace("_", "-") for field in Settings.model_fields if field.replace("_", "-") not in VALID]
        empty, _ = load_inputs(VALID | dict.fromkeys([*optional, "esc-environment"], ""))
        absent, _ = load(esc_environment=None)
        assert empty == absent
        assert empty.esc_environment == ("scoobyjava-org/default/sophia-ai-production",)

    def test_defaults(self) -> None:
        loaded, warnings = load()
        assert warnings == []
        assert loaded.sentry_client_secret is None
        assert loaded.pulumi_cloud_url == "https://api.pulumi.com"
        assert loaded.deploy is DeployWhen.ALWAYS
        assert loaded.deploy_workflow == "deploy-sentry-mcp.yml"
        assert loaded.deploy_ref is None
        assert loaded.deploy_inputs == {}
        assert loaded.timeout == 300
        assert (loaded.dry_run, loaded.tag_revision) == (False, True)


class TestWhatIsAccepted:
    @pytest.mark.parametrize(
        "dsn",
        [
            "https://0a1b2c3d@o4507.ingest.us.sentry.io/4507123",
            "http://key@localhost:9000/1",
            "https://key:legacy-secret@sentry.example/7",
            "https://key@sentry.example/below/a/path/7",
            "https://key@[::1]:9000/7",
            "https://key:legacy-secret@sentry.example/7?timeout=5&verify_ssl=0",
        ],
    )
    def test_dsn(self, dsn: str) -> None:
        assert value_of(load(sentry_dsn=dsn)[0], "sentry-dsn") == dsn

    @pytest.mark.parametrize(
        ("organization", "project"), [("a", "a"), ("Pay-Ready", "_x-1"), ("0123", "0123"), ("a" * 100, "a" * 100)]
    )
    def test_slugs(self, organization: str, project: str) -> None:
        loaded, _ = load(sentry_organization_slug=organization, sentry_project_slug=project)
        assert (loaded.sentry_organization_slug, loaded.sentry_project_slug) == (organization, project)

    @pytest.mark.parametrize(("given", "path"), [("a/b/c", "a/b/c"), (" A-1/b_2/c.3 ", "A-1/b_2/c.3")])
    def test_environment(self, given: str, path: str) -> None:
        assert load(esc_environment=given)[0].esc_environment == (path,)

    def test_several_environments_one_a_line(self) -> None:
        loaded, _ = load(esc_environment="\n  a/b/two\n\n a/b/one \r\nc/d/e\n")
        assert loaded.esc_environment == ("a/b/two", "a/b/one", "c/d/e")

    @pytest.mark.parametrize(
        ("given", "url"),
        [
            ("https://pulumi.example.com/", "https://pulumi.example.com"),
            ("https://pulumi.example.com:8443/api", "https://pulumi.example.com:8443/api"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("http://localhost:5000", "http://localhost:5000"),
            ("http://[::1]:5000", "http://[::1]:5000"),
        ],
    )
    def test_cloud_url(self, given: str, url: str) -> None:
        assert load(pulumi_cloud_url=given)[0].pulumi_cloud_url == url

    @pytest.mark.parametrize(
        ("given", "held"), [("true", True), ("false", False), ("True", True), ("FALSE", False), (" true\n", True)]
    )
    def test_booleans(self, given: str, held: bool) -> None:
        loaded, _ = load(dry_run=given, tag_revision=given)
        assert (loaded.dry_run, loaded.tag_revision) == (held, held)

    @pytest.mark.parametrize("when", DeployWhen)
    def test_deploy(self, when: DeployWhen) -> None:
        assert load(deploy=f" {when.value}\n")[0].deploy is when

    @pytest.mark.parametrize("workflow", ["deploy.yml", "deploy-it.yaml", "123456"])
    def test_workflow(self, workflow: str) -> None:
        assert load(deploy_workflow=f"{workflow} ")[0].deploy_workflow == workflow

    @pytest.mark.parametrize("ref", ["main", "release/1.2", "v1.0.0", "refs/heads/main", "é"])
    def test_ref(self, ref: str) -> None:
        assert load(deploy_ref=f"{ref}\n")[0].deploy_ref == ref

    def test_deploy_inputs(self) -> None:
        given = {"revision": "{revision}", "loud": True, "count": 3, "ratio": 0.5, "text": "a: b # ü"}
        assert load(deploy_inputs=json.dumps(given))[0].deploy_inputs == given

    @pytest.mark.parametrize("app", ["17", "Iv1.8a61f9b3a7aba766", "Iv23liAbCd"])
    @pytest.mark.parametrize("key", [PRIVATE_KEY, PRIVATE_KEY.replace("\n", "\\n"), PRIVATE_KEY.strip()])
    def test_github_app(self, app: str, key: str) -> None:
        loaded, _ = load(github_app_id=f"{app} ", github_app_private_key=key, github_token=None)
        assert loaded.github_app_id == app
        assert str(value_of(loaded, "github-app-private-key")).strip() == PRIVATE_KEY.strip()

    @pytest.mark.parametrize(("given", "seconds"), [("1", 1), ("3600", 3600), (" 60\n", 60), ("0060", 60)])
    def test_timeout(self, given: str, seconds: int) -> None:
        assert load(timeout=given)[0].timeout == seconds

    @settings(max_examples=examples(200), deadline=None)
    @given(
        space=st.text(" \t\r\n", max_size=2),
        text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
    def test_a_client_secret_is_any_text_but_for_the_white_space_at_its_ends(self, space: str, text: str) -> None:
        text = f"{space}four{text.replace('${', '')}"
        loaded, warnings = load(sentry_client_secret=text)
        assert value_of(loaded, "sentry-client-secret") == text.strip()
        assert bool(warnings) == (text != text.strip())


class TestWhiteSpace:
    @pytest.mark.parametrize("name", SENTRY)
    @pytest.mark.parametrize("around", [("", "\n"), ("  ", "\t\r\n"), ("\u00a0", "")])
    def test_is_removed_from_the_ends_of_a_pasted_value_with_a_warning(
        self, name: str, around: tuple[str, str]
    ) -> None:
        value = (VALID | {"sentry-client-secret": "whsec 1\n2"})[name]
        loaded, warnings = load_inputs(VALID | {name: around[0] + value + around[1]})
        assert value_of(loaded, name) == value
        assert len(warnings) == 1
        assert f"`{name}`" in warnings[0]
        assert "white space" in warnings[0]
        assert value not in warnings[0]

    def test_every_pasted_value_has_its_warning(self) -> None:
        _, warnings = load_inputs({name: f"{value}\n" if name in SENTRY else value for name, value in VALID.items()})
        assert len(warnings) == 4

    def test_a_client_secret_of_nothing_else_is_unset(self) -> None:
        loaded, _ = load(sentry_client_secret=" \n")
        assert loaded.sentry_client_secret is None

    @pytest.mark.parametrize("name", REQUIRED)
    def test_a_required_value_of_nothing_else_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match=rf"`{name}` holds nothing but white space"):
            load_inputs(VALID | {name: " \t\n"})


# Refused values: the input, the value, and words of the reason. No error may show CANARY.
CANARY = "Kanarienvogel"
REFUSED = [
    ("sentry-api-token", "vog", "fewer than 4 characters"),
    ("sentry-client-secret", " v\ng ", "fewer than 4 characters: no log could hide it"),
    ("pulumi-access-token", "vog", "fewer than 4 characters"),
    ("github-token", "vog", "fewer than 4 characters"),
    ("extra-secrets", "A=vog", "fewer than 4 characters"),
    ("sentry-dsn", f"{CANARY}", "doesn't begin with https://"),
    ("sentry-dsn", f"ftp://key@{CANARY}/1", "doesn't begin with https://"),
    ("sentry-dsn", f"https://{CANARY}/1", "no public key"),
    ("sentry-dsn", f"https://{CANARY}+1@sentry.example/1", "no public key"),
    ("sentry-dsn", f"https://:{CANARY}@sentry.example/1", "no public key"),
    ("sentry-dsn", f"https://{CANARY}@/1", "no host"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example", "project's number"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/", "project's number"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/1/", "project's number"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/web", "project's number"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/1#a", "project's number"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example:port/1", "isn't an address"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example:99999/1", "isn't an address"),
    ("sentry-dsn", f"https://[{CANARY}@sentry.example/1", "isn't an address"),
    *(("sentry-dsn", f"https://{CANARY}@{host}/1", "no host") for host in ODD_HOSTS if host != "[::1"),
    ("sentry-dsn", f"https://{CANARY}@\u200bsentry.example/1", "characters that no address has"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/1\nhttps://b@sentry.example/2", "line break within it"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/${{1}}", "`${`"),
    ("sentry-api-token", f"{CANARY} {CANARY}", "white space or a line break within it"),
    ("sentry-api-token", f"{CANARY}\n{CANARY}", "white space or a line break within it"),
    ("sentry-api-token", f"{CANARY}${{A}}", "`${`"),
    ("sentry-api-token", f"{CANARY}\udcff", "isn't valid UTF-8"),
    ("sentry-client-secret", f"{CANARY}${{A}}", "`${`"),
    ("sentry-client-secret", f"{CANARY}\udcff", "isn't valid UTF-8"),
    ("sentry-organization-slug", f"{CANARY}_x", "isn't an organization's slug"),
    ("sentry-organization-slug", f"{CANARY.lower()} x", "isn't an organization's slug"),
    ("sentry-organization-slug", f"-{CANARY.lower()}", "isn't an organization's slug"),
    ("sentry-organization-slug", f"{CANARY.lower()}\nx", "isn't an organization's slug"),
    ("sentry-project-slug", f"{CANARY}", "isn't a project's slug"),
    ("sentry-project-slug", f"{CANARY.lower()}/x", "isn't a project's slug"),
    ("sentry-project-slug", f"https://{CANARY.lower()}.sentry.io", "looks like an address"),
    ("sentry-project-slug", f"{CANARY.lower()}{'a' * 100}", "isn't a project's slug"),
    ("esc-environment", f"{CANARY}", "isn't a path"),
    ("esc-environment", f"{CANARY}/production", "isn't a path"),
    ("esc-environment", f"a/b/c/{CANARY}", "isn't a path"),
    ("esc-environment", f"a//{CANARY}", "isn't a path"),
    ("esc-environment", f"a/../{CANARY}", "nothing but dots"),
    ("esc-environment", f"a/b/{CANARY} c", "isn't a path"),
    ("esc-environment", f"-h/b/{CANARY}", "begins with a hyphen"),
    ("esc-environment", f"a/-b/{CANARY}", "begins with a hyphen"),
    ("esc-environment", f"a/b/c\na/b/--{CANARY}", "has a line 2 that has a part that begins with a hyphen"),
    ("esc-environment", f"a/b/{CANARY}@3", "names a version"),
    ("esc-environment", "   \n", "nothing but white space"),
    ("esc-environment", f"a/b/c\n\na/b/{CANARY}@3\n", "has a line 2 that names a version"),
    ("esc-environment", "a/b/c\nx/y/z\na/b/c\n", "has a/b/c twice"),
    ("pulumi-access-token", f"{CANARY} {CANARY}", "white space or a line break within it"),
    ("pulumi-access-token", f"{CANARY}\x7f", "characters that no token has"),
    ("pulumi-access-token", f"{CANARY}é", "characters that no token has"),
    ("pulumi-access-token", f"{CANARY}\udcff", "isn't valid UTF-8"),
    ("pulumi-cloud-url", f"{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"ftp://{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"https:///{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"https://user:{CANARY}@pulumi.example", "isn't an address"),
    ("pulumi-cloud-url", f"https://:{CANARY}@pulumi.example", "isn't an address"),
    ("pulumi-cloud-url", f"https://pulumi.example/?{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"https://pulumi.example/#{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"https://pulumi.example:{CANARY}", "isn't an address"),
    ("pulumi-cloud-url", f"http://{CANARY}.example", "isn't https"),
    ("pulumi-token-scope", f"{CANARY}", "neither empty nor admin nor team:NAME nor user:NAME"),
    ("pulumi-token-scope", f"team:{CANARY},admin", "neither empty nor admin nor team:NAME nor user:NAME"),
    ("pulumi-token-scope", f"user:{CANARY} x", "neither empty nor admin nor team:NAME nor user:NAME"),
    ("sentry-url", f"http://{CANARY}.example", "isn't https"),
    *(
        (name, f"https://{host}/{CANARY}", "an address")
        for name in ("sentry-url", "pulumi-cloud-url")
        for host in ODD_HOSTS
    ),
    ("sentry-url", f"https://sentry .example/{CANARY}", "white space"),
    ("sentry-url", f"https://sentry.example\thttps://{CANARY}", "white space"),
    ("sentry-url", f"https://\u200bsentry.example/{CANARY}", "characters that no address has"),
    *(("sentry-api-token", f"{mark}{CANARY}", "characters that no token has") for mark in "\ufeff\u200b\x07"),
    *(
        (name, f"{mark}{CANARY}{mark}", "stands in quotation marks")
        for name in ("sentry-api-token", "pulumi-access-token", "github-token")
        for mark in "\"'"
    ),
    ("preflight", f"{CANARY}", "none of enforce, warn and off"),
    ("dry-run", f"{CANARY}", "neither true nor false"),
    ("dry-run", "yes", "neither true nor false"),
    ("tag-revision", "1", "neither true nor false"),
    ("deploy", f"{CANARY}", "none of always, changed and never"),
    ("deploy", "Always", "none of always, changed and never"),
    ("deploy-workflow", f"{CANARY}", "isn't a workflow's file name or number"),
    ("deploy-workflow", f".github/workflows/{CANARY}.yml", "isn't a workflow's file name or number"),
    ("deploy-workflow", f"{CANARY} it.yml", "isn't a workflow's file name or number"),
    ("deploy-workflow", f"{CANARY}.yml?x=1.yml", "isn't a workflow's file name or number"),
    ("deploy-workflow", f"{CANARY}#x.yml", "isn't a workflow's file name or number"),
    ("deploy-workflow", f"{CANARY}\udcff.yml", "isn't valid UTF-8"),
    ("deploy-repository", f"{CANARY}/..", "isn't a repository"),
    ("deploy-repository", "../..", "isn't a repository"),
    ("deploy-repository", f"./{CANARY}", "isn't a repository"),
    ("deploy-repository", f"{CANARY}", "isn't a repository"),
    ("deploy-repository", f"https://github.com/{CANARY}/x", "isn't a repository"),
    ("deploy-repository", f"{CANARY}/x y", "isn't a repository"),
    ("deploy-ref", f"{CANARY} x", "isn't the name of a branch or tag"),
    ("deploy-ref", f"{CANARY}~1", "isn't the name of a branch or tag"),
    ("deploy-ref", f"{CANARY}^", "isn't the name of a branch or tag"),
    ("deploy-ref", f"{CANARY}:x", "isn't the name of a branch or tag"),
    ("deploy-ref", f"{CANARY}/../x", "isn't the name of a branch or tag"),
    ("deploy-ref", f"{CANARY}.lock", "isn't the name of a branch or tag"),
    ("deploy-ref", f"/{CANARY}", "isn't the name of a branch or tag"),
    ("deploy-ref", f"-{CANARY}", "isn't the name of a branch or tag"),
    ("deploy-ref", " ", "isn't the name of a branch or tag"),
    ("deploy-inputs", f"{CANARY}", "isn't JSON"),
    ("deploy-inputs", f'{{"{CANARY}": NaN}}', "isn't JSON"),
    ("deploy-inputs", f'{{"{CANARY}": 1e400}}', "isn't JSON"),
    ("deploy-inputs", f'{{"{CANARY}": "\\ud800"}}', "half of a surrogate pair"),
    ("deploy-inputs", json.dumps({f"{CANARY}{number}": "x" for number in range(26)}), "26 inputs"),
    ("deploy-inputs", f'["{CANARY}"]', "isn't a JSON object"),
    ("deploy-inputs", f'"{CANARY}"', "isn't a JSON object"),
    ("deploy-inputs", f'{{"a": {{"{CANARY}": 1}}}}', "isn't a JSON object"),
    ("deploy-inputs", f'{{"{CANARY}": null}}', "isn't a JSON object"),
    ("github-token", f"{CANARY} {CANARY}", "white space or a line break within it"),
    ("pulumi-access-token", "***", "masked it"),
    ("pulumi-access-token", f"ghp_{CANARY}", "looks like a GitHub token"),
    ("sentry-dsn", "***", "masked it"),
    ("sentry-dsn", f"sntrys_{CANARY}", "looks like a Sentry token"),
    ("sentry-dsn", f"${{{{ secrets.{CANARY} }}}}", "which GitHub did not fill in"),
    ("sentry-dsn", f"https://examplePublicKey@{CANARY}/0", "is a placeholder"),
    ("sentry-dsn", f"https://{CANARY}@sentry.example/{'1' * 131_072}", "is larger than"),
    ("sentry-api-token", f"https://{CANARY}@sentry.example/1", "looks like a Sentry DSN"),
    ("sentry-api-token", f"<{CANARY}>", "is a placeholder"),
    ("sentry-client-secret", f"pul-{'c0ffee' * 4}", "looks like a Pulumi token"),
    ("sentry-client-secret", "changeme", "is a placeholder"),
    ("sentry-client-secret", CANARY * 20_000, "is larger than"),
    ("sentry-project-slug", f"{CANARY.lower()}\nx", "isn't a project's slug"),
    ("esc-environment", f"https://{CANARY}@sentry.example/1", "looks like a Sentry DSN"),
    ("github-token", f"pul-{'c0ffee' * 4}", "looks like a Pulumi token"),
    ("github-app-id", f"{CANARY}", "isn't a GitHub App's id"),
    ("github-app-private-key", f"{CANARY}", "isn't a private key"),
    ("github-app-private-key", f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}", "isn't a private key"),
    ("deploy-wait", f"{CANARY}", "neither true nor false"),
    ("deploy-timeout", "0", "isn't a number of seconds"),
    ("deploy-timeout", "21601", "isn't a number of seconds"),
    ("deploy-inputs", "[" * 100_000, "isn't JSON"),
    ("timeout", f"{CANARY}", "isn't a number of seconds"),
    ("timeout", "0", "isn't a number of seconds"),
    ("timeout", "-1", "isn't a number of seconds"),
    ("timeout", "3601", "isn't a number of seconds"),
    ("timeout", "99999", "isn't a number of seconds"),
    ("timeout", "1.5", "isn't a number of seconds"),
    ("timeout", "٣", "isn't a number of seconds"),
]


class TestWhatIsRefused:
    @pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
    def test_names_the_input_the_reason_and_a_remedy_but_never_the_value(
        self, name: str, value: str, reason: str
    ) -> None:
        app = APP if name in APP else {}
        with pytest.raises(InputError) as error:
            load_inputs(VALID | app | {name: value})
        assert len(error.value.problems) == 1
        problem = error.value.problems[0]
        assert problem.startswith(f"`{name}` ")
        assert reason in problem
        assert re.search(r"[.?] [A-Z].{20,}", problem), "no remedy"
        assert CANARY.lower() not in str(error.value).lower()
        assert len(value) < 6 or value not in str(error.value)
        assert error.value.exit_code == 2
        assert error.value.__cause__ is None

    @pytest.mark.parametrize("name", ["sentry-dsn", "sentry-api-token", "sentry-client-secret", "pulumi-access-token"])
    def test_a_nul_byte(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # A real variable holds no NUL byte. The check protects a program that reads only to the first NUL.
        monkeypatch.setattr(os, "environ", as_runner(VALID | {name: f"{CANARY}\0x"}))
        with pytest.raises(InputError) as error:
            inputs.load()
        assert f"`{name}` holds a NUL byte" in error.value.problems[0] or "no token has" in error.value.problems[0]
        assert CANARY not in str(error.value)

    def test_every_problem_is_told_at_once(self) -> None:
        given = {name: value for name, value, _ in REFUSED if value != "***"}
        with pytest.raises(InputError) as error:
            load_inputs(given)
        assert sorted(problem.split("`")[1] for problem in error.value.problems) == sorted(given)
        assert CANARY.lower() not in str(error.value).lower()

    def test_the_same_value_twice(self) -> None:
        error = refusal(sentry_client_secret=CANARY, sentry_api_token=f"{CANARY}\n")
        assert error.problems[0].startswith("`sentry-client-secret` holds the same value as `sentry-api-token`. ")
        assert CANARY not in str(error)

    def test_everything_that_is_missing_is_told_at_once(self) -> None:
        with environment({}), pytest.raises(InputError) as error:
            inputs.load()
        told = [problem.split("`")[1] for problem in error.value.problems]
        assert {*REQUIRED, "deploy-repository", "github-token"} <= set(told)
        assert "Nothing was contacted" in str(error.value)

    @settings(max_examples=examples(400), deadline=None)
    @given(
        name=st.sampled_from(sorted(field.replace("_", "-") for field in Settings.model_fields)),
        before=st.text(st.characters(exclude_characters="\0", max_codepoint=0xD7FF), max_size=8),
        after=st.text(st.characters(exclude_characters="\0", max_codepoint=0xD7FF), max_size=8),
    )
    def test_no_text_of_ours_ever_holds_a_value(self, name: str, before: str, after: str) -> None:
        try:
            _, told = load_inputs(VALID | {name: before + CANARY + after})
        except InputError as error:
            told = [str(error), repr(error)]
        assert CANARY not in "".join(told)

    def test_settings_are_not_shown_and_not_changed(self) -> None:
        loaded, _ = load(sentry_client_secret=CANARY)
        assert CANARY not in f"{loaded!r}{loaded}"
        assert VALID["sentry-dsn"] not in f"{loaded!r}{loaded}"
        with pytest.raises(ValidationError):
            setattr(loaded, "timeout", 1)  # noqa: B010 - a type checker would refuse the plain assignment


class TestWhatADeployNeeds:
    @pytest.mark.parametrize(
        ("missing", "nothing"), [("deploy-repository", ""), ("github-token", ""), ("github-token", " \n")]
    )
    def test_is_told_where_it_is_missing(self, missing: str, nothing: str) -> None:
        with pytest.raises(InputError) as error:
            load_inputs(VALID | {missing: nothing})
        assert [problem.split("`")[1] for problem in error.value.problems] == [missing]
        assert "the deploy needs it" in error.value.problems[0]

    @pytest.mark.parametrize(
        ("name", "value"), [("deploy", "never"), ("deploy", " never\n"), ("dry-run", "true"), ("dry-run", " TRUE ")]
    )
    def test_is_not_asked_for_where_nothing_is_deployed(self, name: str, value: str) -> None:
        loaded, _ = load_inputs(VALID | {"deploy-repository": "", "github-token": "", name: value})
        assert loaded.github_token is None

    def test_the_repository_is_this_one_where_none_is_given(self) -> None:
        with environment(as_runner(VALID | {"deploy-repository": ""}) | {"GITHUB_REPOSITORY": "acme/here"}):
            loaded, _ = inputs.load()
        assert loaded.deploy_repository == "acme/here"


class TestSecrets:
    def test_are_known_before_anything_is_checked(self) -> None:
        given = {name: f"{CANARY}\n{name}" for name in SECRET}
        with environment(as_runner(given)):
            raw = {secret.get_secret_value() for secret in inputs.raw_secrets()}
        assert raw >= set(given.values())

    def test_are_known_in_whichever_variable_they_are(self) -> None:
        with environment({"SENTRY_DSN": "one", "INPUT_SENTRY_API_TOKEN": "two", "INPUT_GITHUB-TOKEN": ""}):
            raw = {secret.get_secret_value() for secret in inputs.raw_secrets()}
        assert raw == {"one", "two"}

    def test_are_known_as_they_are_used(self) -> None:
        loaded, _ = load(sentry_client_secret="whsec\n")
        assert {secret.get_secret_value() for secret in loaded.secrets} == {
            *(VALID[name] for name in SECRET if name in VALID),
            "whsec",
        }


class TestRunContext:
    def test_outside_of_a_runner_nothing_is_known(self) -> None:
        with environment({}):
            context = run_context()
        assert not context.on_runner
        assert context.output_path is None
        assert context.summary_path is None
        assert context.run_id is None
        assert context.run_attempt is None
        assert context.run_url is None
        assert context.api_url == "https://api.github.com"

    def test_on_a_runner(self) -> None:
        given = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": "/runner/output",
            "GITHUB_STEP_SUMMARY": "/runner/summary",
            "GITHUB_API_URL": "https://github.example/api/v3",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "acme/sophia",
            "GITHUB_RUN_ID": "17",
            "GITHUB_RUN_ATTEMPT": "2",
        }
        with environment(given):
            context = run_context()
        assert context.on_runner
        assert context.output_path == Path("/runner/output")
        assert context.summary_path == Path("/runner/summary")
        assert context.api_url == "https://github.example/api/v3"
        assert (context.run_id, context.run_attempt) == ("17", "2")
        assert context.run_url == "https://github.example/acme/sophia/actions/runs/17"

    @pytest.mark.parametrize("value", ["", "false", "1", "TRUE"])
    def test_only_the_word_of_the_runner_says_that_it_is_one(self, value: str) -> None:
        with environment({"GITHUB_ACTIONS": value}):
            assert not run_context().on_runner


class TestChildEnvironment:
    def test_holds_what_programs_and_networks_need_and_nothing_else(self) -> None:
        allowed = {
            "PATH": "/usr/bin",
            "HTTPS_PROXY": "http://proxy.example",
            "no_proxy": "localhost",
            "SSL_CERT_FILE": "/etc/ca.pem",
        }
        given = as_runner(VALID | {"sentry-client-secret": CANARY})
        given |= {"SENTRY_DSN": CANARY, "GITHUB_TOKEN": CANARY, "PULUMI_ACCESS_TOKEN": CANARY, "HOME": "/root"}
        given |= {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "LD_PRELOAD": "/x.so"}
        with environment(allowed | given):
            assert child_environment() == allowed

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_a_child_gets_the_ca_bundle_of_requests(self, variable: str, tmp_path: Path) -> None:
        assert child_environment({variable: "/ca.pem"}) == {"SSL_CERT_FILE": "/ca.pem"}
        assert child_environment({variable: str(tmp_path)}) == {"SSL_CERT_DIR": str(tmp_path)}
        assert child_environment({variable: "/ca.pem", "SSL_CERT_FILE": "/own.pem"}) == {"SSL_CERT_FILE": "/own.pem"}
