"""The CLI's messages become errors, and none quotes a source line of a definition."""

from __future__ import annotations

import pytest

from sophia_sync.esc import messages
from sophia_sync.runtime.errors import (
    ApprovalError,
    ConflictError,
    DefinitionError,
    EscError,
    TokenError,
    TransientError,
)

CLOUD = "https://pulumi.example"
CANARY = "canary-of-another-team"
REFUSED = f"""\
Error: unknown property "nobody"

  on web/production line 2, in values:
   2:   db_error: "error: {CANARY}"

Warning: cannot override final value

  on web/production line 3:
   3:   Warning: {CANARY}

"""


@pytest.mark.parametrize(
    ("said", "kind", "todo"),
    [
        ("error: could not determine current cloud: Unauthorized: no", TokenError, "check `pulumi-access-token`"),
        ("error: [401] Unauthorized: No credentials provided", TokenError, "check `pulumi-access-token`"),
        ("error: PULUMI_ACCESS_TOKEN must be set for login", TokenError, "check `pulumi-access-token`"),
        (
            "error: getting environment: [403] The organization enforces a max access token expiry of 14 days that "
            "your current token does not meet. Please generate a new token",
            TokenError,
            "make one that expires sooner",
        ),
        ("error: [403] Forbidden", EscError, "needs permission"),
        ("error: [404] Environment 'a/b/c' not found", EscError, "`pulumi env init`"),
        ("error: updating environment: [409] modified", ConflictError, "run again"),
        (
            "error: [409] This environment requires updates to be approved via change request. "
            "Please use the draft endpoint instead",
            ApprovalError,
            "change request",
        ),
        ("error: creating environment draft: [404] Not Found: draft", EscError, "Enterprise"),
        ("error: creating environment draft: [409] modified", ConflictError, "run again"),
        ("error: submitting change request: [503] Service Unavailable", TransientError, "is up"),
        ("error: [403] opens must be approved", EscError, "pulumi env open-request"),
        ("error: unmarshaling environment definition: yaml: line 2", DefinitionError, "isn't valid YAML"),
        ('error: unknown command "env" for "pulumi"', EscError, "too old for Pulumi ESC"),
        (
            f"error: could not determine current cloud: getting user info from {CLOUD}: [404] 404 page not found",
            EscError,
            "check `pulumi-cloud-url`",
        ),
        ("error: [400] Bad Request", EscError, "run again"),
        ("error: [429] Too Many Requests", TransientError, "is up"),
        ("error: [500] Internal Server Error", TransientError, "is up"),
        ("error: dial tcp 127.0.0.1:1: connect: connection refused", TransientError, "is up"),
        ("", TransientError, "is up"),
    ],
)
def test_the_error_is_chosen_by_what_was_said(said: str, kind: type[EscError], todo: str) -> None:
    error = messages.failure("read a/b/c", f"warning: x\n{said}\n", 1, CLOUD)
    assert type(error) is kind
    assert error.what.startswith("Could not read a/b/c: ")
    assert todo in error.todo
    assert error.what.endswith(".")
    assert (said.removeprefix("error: ") or "warning: x") in error.what


@pytest.mark.parametrize(
    "said",
    [
        "error: getting user info: invalid character '<' looking for beginning of value",
        f"error: getting user info from {CLOUD}: [404] <!DOCTYPE html><html><body>{CANARY}</body></html>",
    ],
)
def test_the_address_of_the_console(said: str) -> None:
    error = messages.failure("read a/b/c", said, 1, CLOUD)
    assert "must be the address of the API (https://api.pulumi.com), not of the console" in error.todo
    assert CANARY not in str(error)
    assert "<" not in error.what


def test_a_web_page_instead_of_a_change_request_tells_nothing() -> None:
    """The change request may have been created. Only another look at ESC can tell."""
    said = "error: creating environment draft: unmarshalling response object: invalid character '<' looking for …"
    assert type(messages.failure("propose", said, 1, CLOUD)) is TransientError


def test_the_first_error_line_is_told_and_no_source_line() -> None:
    assert messages.reason(f"error: first\n  4:   A: error: {CANARY}\nerror: second\n") == "error: first"
    assert messages.reason(f"  4:   A: error: {CANARY}\n") == "it gave no reason"
    assert CANARY not in messages.reason(REFUSED)


def test_a_value_that_yaml_quotes_is_blotted_out() -> None:
    said = f"Error: cannot decode !!str `{CANARY}` as a !!int\n"
    assert messages.diagnostics(said) == ["cannot decode !!str `…` as a !!int"]
    assert CANARY not in messages.reason(f"error: cannot decode !!str `{CANARY}` as a !!int")


def test_a_reason_is_one_line_of_some_length() -> None:
    error = messages.failure("read a/b/c", "error: bad" + "!" * 5000 + "\n", 1, CLOUD)
    assert "\n" not in str(error)
    assert len(str(error)) < 800


def test_a_cli_that_says_nothing() -> None:
    assert "it gave no reason (exit code 7)" in messages.failure("read a/b/c", "", 7, CLOUD).what


def test_diagnostics_come_without_their_source_lines() -> None:
    assert messages.diagnostics(REFUSED) == ['unknown property "nobody"']
    assert messages.diagnostics(REFUSED, "Warning") == ["cannot override final value"]
    assert messages.diagnostics('web/production:11:15: unknown property "nobody"\n') == ['unknown property "nobody"']


@pytest.mark.parametrize(
    ("problem", "todo"),
    [
        ('unknown property "x"', "Repair that in the environment"),
        (
            "[403] you may not open acme/shared/common",
            "Let the access token open the environments that this one imports",
        ),
    ],
)
def test_an_environment_that_can_not_be_evaluated(problem: str, todo: str) -> None:
    what, remedy = messages.not_evaluated("a/b/c", (problem,))
    assert what == f"ESC can't evaluate a/b/c, so what it holds can't be compared: {problem}."
    assert todo in remedy


def test_one_without_a_diagnostic() -> None:
    assert "`pulumi env open` shows what is wrong" in messages.not_evaluated("a/b/c", ())[1]
