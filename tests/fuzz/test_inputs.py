"""Any environment gives settings with the exact values, or an `InputError` that shows no value."""

from __future__ import annotations

import ast
import base64
import inspect
import json
import os
import re
import traceback
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.runtime import errors
from sophia_sync.runtime.errors import InputError
from sophia_sync.settings import checks, inputs
from sophia_sync.settings.inputs import PLAIN_VARIABLES, SENTRY_INPUTS, Settings, TokenScope
from tests.support import inputs as support
from tests.support.examples import CASES
from tests.support.inputs import as_runner, environment

EXAMPLES = settings(
    max_examples=max(1, CASES // 20),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(lambda text: "${" not in text)
URLS = matching(r"https://[a-z]{3,9}\.example(:[1-9][0-9]{1,3})?(/[a-z]{1,5})?/?|http://127\.0\.0\.1:[1-9][0-9]{3}")
PRIVATE_KEYS = matching(
    r"-----BEGIN (RSA )PRIVATE KEY-----\n([A-Za-z0-9+/]{8,20}\n){1,3}-----END RSA PRIVATE KEY-----\n?"
)
BOOLEANS = st.sampled_from(["true", "false", "True", "FALSE", " true\n"])


def further_keys(first: str) -> st.SearchStrategy[str]:
    """Generate dotenv lines whose keys begin with `first`."""
    value = matching(r"[A-Za-z0-9+/=_-]{8,40}")
    keys = st.dictionaries(matching(f"{first}[A-Z0-9_]{{0,9}}"), value, min_size=1, max_size=3)
    return keys.map(lambda found: "\n".join(f"{key}={text}" for key, text in found.items()))


# The inputs that a sync needs, with a GitHub App.
GIVEN = support.VALID | {
    "github-app-id": "17",
    "github-app-private-key": "-----BEGIN RSA PRIVATE KEY-----\nbm90IGEga2V5\n-----END RSA PRIVATE KEY-----\n",
}

# Valid values of each input.
VALID: dict[str, st.SearchStrategy[str]] = {
    "sentry-dsn": matching(
        r"https://[0-9a-f]{8,32}(:[0-9a-f]{8})?@[a-z]{3,9}\.example(:[1-9][0-9]{1,3})?/[1-9][0-9]{0,6}"
    ),
    "sentry-api-token": matching(r"sntry[su]_[A-Za-z0-9+/=_-]{6,60}|[0-9a-f]{64}"),
    "sentry-organization-slug": matching(r"org-[a-zA-Z0-9-]{0,30}"),
    "sentry-project-slug": matching(r"project-[a-z0-9_-]{0,30}"),
    "sentry-client-secret": WORDS.map(lambda text: f"a-key {text}"),
    "extra-secrets": further_keys("S"),
    "extra-variables": further_keys("V"),
    "export-environment-variables": BOOLEANS,
    "esc-environment": st.lists(
        matching(r"acme/[A-Za-z0-9_][A-Za-z0-9_-]{0,8}/[A-Za-z0-9_][A-Za-z0-9_-]{0,8}(\.[a-z]{1,3})?"),
        min_size=1,
        max_size=4,
        unique=True,
    ).map("\n".join),
    "pulumi-access-token": matching(r"pul-[0-9a-f]{16,40}"),
    "pulumi-token-scope": matching(r"(team|user):[a-zA-Z0-9_-]{1,20}"),
    "pulumi-cloud-url": URLS,
    "sentry-url": URLS,
    "preflight": st.sampled_from(["enforce", "warn", "off", " off\n"]),
    "change-request": st.sampled_from(["never", "allowed", "always", " always\n"]),
    "dry-run": BOOLEANS,
    "tag-revision": BOOLEANS,
    "deploy": st.sampled_from(["always", "changed", "never", " never\n"]),
    "deploy-workflow": matching(r"[a-z-]{1,20}\.ya?ml|[0-9]{1,9}"),
    "deploy-repository": matching(r"[A-Za-z0-9-]{1,9}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,9}"),
    "deploy-ref": matching(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,9}(/[A-Za-z0-9_-]{1,9})?"),
    "deploy-inputs": st.dictionaries(WORDS, WORDS | st.integers() | st.booleans(), max_size=3).map(json.dumps),
    "deploy-wait": BOOLEANS,
    "deploy-timeout": st.integers(1, 21600).map(str),
    "github-token": matching(r"gh[ps]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,40}"),
    "github-app-id": matching(r"[1-9][0-9]{0,8}|Iv1\.[0-9a-f]{16}"),
    "github-app-private-key": PRIVATE_KEYS | PRIVATE_KEYS.map(lambda key: key.replace("\n", "\\n")),
    "timeout": st.integers(1, 3600).map(str),
}
SECRET = [name for name, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)]
LINES = re.compile(r"^ *(\w+) *= *(\S+) *$", re.MULTILINE)
ODD = st.sampled_from([
    "***", "${{ secrets.X }}", "${x}", "https://", "https://[", "https://a@b:x/1", "https://k@h.example:99999/1",
    "{", "[]", "[" * 9999, '{"a": NaN}', '{"a": 1e999}', "1e3", "-1", "0", "\u0663", "\u00b2", "00000001", "9" * 5000,
    "team:", "team:a,b", "user:\u2028", "a/../b", "x" * (checks.LARGEST + 1), "-----BEGIN PRIVATE KEY-----", "pul-",
    "\udcff" * 9, "\x85", "\ufeff", "true\u2029",
])  # fmt: skip
# A variable can hold any bytes but NUL.
ANYTHING = st.binary(max_size=60).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
SPACE = st.text(st.sampled_from(" \t\r\n\v\f\x1c\x85\u2028"), max_size=3)


@st.composite
def nearly(draw: st.DrawFn, valid: st.SearchStrategy[str]) -> str:
    """Generate a valid value with a piece of it replaced."""
    text = draw(valid)
    start = draw(st.integers(0, len(text)))
    return text[:start] + draw(ANYTHING | SPACE | ODD) + text[start + draw(st.integers(0, 3)) :]


def variables(name: str) -> list[str]:
    """Return the variables that an input is read from, in order. Written from the contract, not from the code."""
    hyphens = f"INPUT_{name.upper()}"
    return [hyphens, hyphens.replace("-", "_"), *([PLAIN_VARIABLES[name]] if name in PLAIN_VARIABLES else [])]


@st.composite
def environments(draw: st.DrawFn) -> dict[str, str]:
    """Generate all inputs that a sync needs, and replace the values of a few.

    The new value is empty, valid, nearly valid, another input's, odd, or arbitrary bytes. It may stand in any variable
    that the input is read from.
    """
    found = as_runner(GIVEN)
    for name in draw(st.lists(st.sampled_from(sorted(VALID)), unique=True, max_size=5)):
        valid = VALID[name]
        others = VALID[draw(st.sampled_from(sorted(VALID)))]
        for variable in draw(st.lists(st.sampled_from(variables(name)), unique=True)):
            found[variable] = draw(st.just("") | valid | nearly(valid) | others | ODD | ANYTHING)
    return found


@st.composite
def right_environments(draw: st.DrawFn) -> dict[str, str]:
    """Generate valid environments with random values of a few inputs. SENTRY_INPUTS may have white space around."""
    names = draw(st.lists(st.sampled_from(sorted(VALID)), unique=True, min_size=1, max_size=6))
    found = as_runner({name: text for name, text in GIVEN.items() if name not in names})
    for name in names:
        space = SPACE if name in SENTRY_INPUTS else st.just("")
        found[draw(st.sampled_from(variables(name)))] = draw(space) + draw(VALID[name]) + draw(space)
    return found


def given_values(variables_: dict[str, str]) -> dict[str, str]:
    """Return the value of every input that has one."""
    first = {name: next((variables_[at] for at in variables(name) if variables_.get(at)), None) for name in VALID}
    return {name: text for name, text in first.items() if text is not None}


def fixed_texts() -> str:
    """Return all strings of the modules that make the error's text. A value that is part of one counts as hidden."""
    trees = [ast.parse(inspect.getsource(module)) for module in (inputs, checks, errors)]
    constants = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = [f"`{field.replace('_', '-')}` {field.upper()}" for field in Settings.model_fields]
    return "\n".join([*names, *(node.value for node in constants if isinstance(node.value, str))])


FIXED = fixed_texts()


def check_hidden(values: Iterable[str], *texts: str) -> None:
    """Assert that no text holds a value, with or without the white space at its ends."""
    for value in values:
        for form in {value, value.strip()}:
            if len(form) >= 6 and form not in FIXED:
                assert not any(form in text for text in texts)


def plain(found: object) -> Any:
    """Return a setting's value without the type that hides or wraps it."""
    if isinstance(found, SecretStr):
        return found.get_secret_value()
    if isinstance(found, StrEnum | TokenScope):
        return str(found)
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    return found


def check_exact(loaded: Settings, values: dict[str, str]) -> None:
    """Assert that every value is what was given; pasted values lose only the white space at their ends."""
    for name, raw in values.items():
        found = plain(getattr(loaded, name.replace("-", "_")))
        text = raw.strip()
        if name == "github-app-private-key":
            assert found == raw.replace("\\n", "\n")
        elif name.endswith("url"):
            assert found == text.rstrip("/")
        elif isinstance(found, tuple):
            assert list(found) == raw.split()
        elif name.startswith("extra-"):
            assert found.items() >= dict(LINES.findall(raw)).items()
        elif isinstance(found, dict):
            assert found == json.loads(raw)
        elif isinstance(found, bool):
            assert str(found).lower() == text.lower()
        elif isinstance(found, int):
            assert found == int(text)
        elif isinstance(found, str):
            assert found == text
        else:
            assert found is None
            assert text == ""


def test_every_input_is_fuzzed() -> None:
    assert [name.replace("-", "_") for name in sorted(VALID)] == sorted(Settings.model_fields)


@EXAMPLES
@given(environments())
def test_any_environment_makes_settings_or_an_input_error(variables_: dict[str, str]) -> None:
    values = given_values(variables_)
    try:
        with environment(variables_):
            loaded, warnings = inputs.load()
    except InputError as error:
        refused = error
    else:
        check_exact(loaded, values)
        shown = " ".join(str(getattr(loaded, field)) for field in Settings.model_fields if field not in SECRET)
        secrets = {values[field.replace("_", "-")] for field in SECRET if field.replace("_", "-") in values}
        check_hidden({value for value in secrets if value.strip() not in shown}, repr(loaded))
        check_hidden(variables_.values(), *warnings)
        return
    assert refused.problems
    check_hidden(variables_.values(), repr(refused), *refused.problems, *traceback.format_exception(refused))


@EXAMPLES
@given(right_environments())
def test_right_values_survive_exactly(variables_: dict[str, str]) -> None:
    with environment(variables_):
        loaded, warnings = inputs.load()
    values = given_values(variables_)
    check_exact(loaded, values)
    pasted = [name for name in SENTRY_INPUTS if name in values and values[name] != values[name].strip()]
    assert [warning.partition(":")[0] for warning in warnings] == [f"`{name}`" for name in pasted]
    check_hidden(variables_.values(), *warnings)


@EXAMPLES
@given(st.sampled_from(sorted(VALID)), st.data())
def test_a_wrong_value_is_told_with_the_name_of_its_input(name: str, data: st.DataObject) -> None:
    wrong = data.draw(nearly(VALID[name]) | ODD | ANYTHING)
    refused: InputError | None = None
    try:
        with environment(as_runner(GIVEN | {name: wrong})):
            inputs.load()
    except InputError as error:
        refused = error
    if refused is not None:
        assert f"`{name}`" in str(refused)
        check_hidden([wrong], str(refused))


@EXAMPLES
@given(st.binary(min_size=49, max_size=200), st.integers(8, 48))
def test_no_line_of_an_unquoted_base64_value_is_told(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    given_ = as_runner(GIVEN | {"extra-secrets": "CERT=" + "\n".join(lines)})
    refused: InputError | None = None
    with environment(given_):
        hidden = {value.get_secret_value() for value in inputs.raw_secrets()}
        try:
            inputs.load()
        except InputError as error:
            refused = error
    assert {*lines, *(line.rstrip("=") for line in lines if line.strip("="))} <= hidden
    assert "`extra-secrets` has a line 2 " in str(refused)
    check_hidden(lines, str(refused))
