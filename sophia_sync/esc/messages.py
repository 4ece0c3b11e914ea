"""Read the messages of the Pulumi CLI and ESC, and choose the error. Pure.

ESC quotes source lines, which may hold other teams' plain values. So no source line is ever repeated.

Sources: github.com/pulumi/pulumi/pkg/v3 v3.274.1, `cmd/esc/cli/env.go` (`writeYAMLEnvironmentDiagnostics`),
`cmd/esc/cli/env_edit.go` and `cmd/esc/cli/client/client.go`.
"""

from __future__ import annotations

import re

from sophia_sync.runtime.errors import (
    ApprovalError,
    ConflictError,
    DefinitionError,
    EscError,
    TokenError,
    TransientError,
)

_LONGEST = 500
_SUMMARY = re.compile(r"^(?P<severity>Error|Warning): (?P<summary>.+)$", re.MULTILINE)
# `env open` gives a place instead of the severity: `web/production:11:13: unknown property "x"`.
_PLACED = re.compile(r"^[^\s:]+(?:/[^\s:]+)*:\d+:\d+: (?P<summary>.+)$", re.MULTILINE)
_FIRST_ERROR = re.compile(r"^error: .+$", re.MULTILINE | re.IGNORECASE)
# yaml.v3 quotes a scalar that it can't decode: cannot decode !!str `…` as a !!int.
_QUOTED = re.compile(r"`[^`\n]*`?")
_WEB_PAGE = re.compile(r"invalid character '<'|<!doctype|<html", re.IGNORECASE)

CHANGED = "Your edits were not saved because the definition changed after it was read"
"""`env edit` of v3.274.1 says this after any 409 and ends with exit code 0. v3.260 still shows the 409 itself."""
NEEDS_APPROVAL = (
    "Updates of this environment need an approval. Give `change-request: allowed` (on the command line "
    "`--change-request`), and a change request is opened for a person to approve."
)
"""What to do if a write is refused because it needs an approval."""
RUN_AGAIN = "Somebody else changed the environment at the same time; run again."
"""What to do about a conflict."""
FINAL = "cannot override final value"
"""ESC's warning where an import declares a key `fn::final`."""


def diagnostics(said: str, severity: str = "Error") -> list[str]:
    """Return ESC's diagnostics of one severity, without the source lines that it shows below each."""
    found = [match["summary"] for match in _SUMMARY.finditer(said) if match["severity"] == severity]
    if severity == "Error":
        found += [match["summary"] for match in _PLACED.finditer(said)]
    return [_without_quotes(summary) for summary in dict.fromkeys(found)]


def reason(said: str) -> str:
    """Return ESC's first diagnostic, else the CLI's first error line, else another line that isn't a source line."""
    errors = [found[0] for found in _FIRST_ERROR.finditer(said)]
    placed = [found["summary"] for found in _PLACED.finditer(said)]
    lines = [line for line in said.splitlines() if line.strip() and not line[0].isspace()]
    first = next(iter([*placed, *errors, *lines[-1:]]), "it gave no reason")
    if _WEB_PAGE.search(first):
        first = re.split(r"[:\s]+(?=invalid character|<)", first, maxsplit=1)[0] + ": the answer is a web page"
    return _without_quotes(first.strip())


def _without_quotes(line: str) -> str:
    return _QUOTED.sub("`…`", line)[:_LONGEST]


def failure(doing: str, said: str, code: int | None, cloud: str, *, by_oidc: bool = False) -> EscError:
    """Return the error for a CLI call that failed.

    Args:
        doing: What the call was to do, as words that follow "Could not".
        said: What the CLI printed on standard error, already redacted.
        code: Its exit code.
        cloud: The address of Pulumi Cloud.
        by_oidc: Whether the access token was exchanged for an OIDC token.
    """
    why = reason(said)
    for pattern, error, todo in _FAILURES:
        # Search only the reason. The line before it, that the CLI logs in with PULUMI_ACCESS_TOKEN, is no failure.
        if re.search(pattern, why, re.IGNORECASE):
            remedy = _EXPIRED if todo is _REFUSED and by_oidc else todo
            return error(f"Could not {doing}: {why.rstrip('.')}.", remedy.format(url=cloud))
    return TransientError(f"Could not {doing}: {why} (exit code {code}).", f"Check that {cloud} is up, and run again.")


_REFUSED = "{url} refused the access token: check `pulumi-access-token` (expired, or of another organization?)."
_EXPIRED = (
    "{url} refused the access token that it gave for GitHub's OIDC token: it has expired, or was revoked. Run again."
)
_FAILURES: tuple[tuple[str, type[EscError], str], ...] = (
    (
        r"unknown command .?env\b",
        EscError,
        "The `pulumi` on PATH is too old for Pulumi ESC: install a newer one, or use the action's image.",
    ),
    (
        # The request may have succeeded: this response isn't ESC's own.
        r"creating environment draft: (unmarshalling|reading) response",
        TransientError,
        "Check that {url} is up, and run again.",
    ),
    (
        r"the answer is a web page",
        EscError,
        "{url} answers with a web page: `pulumi-cloud-url` must be the address of the API (https://api.pulumi.com), "
        "not of the console.",
    ),
    (
        r"(getting user info|current cloud|logging in).*\[404\]",
        EscError,
        "There is no Pulumi Cloud API at {url}: check `pulumi-cloud-url`.",
    ),
    (
        r"unmarshaling environment definition",
        DefinitionError,
        "The environment's definition isn't valid YAML: repair it in the Pulumi console and run again.",
    ),
    (
        r"approved via change request|use the draft endpoint",
        ApprovalError,
        NEEDS_APPROVAL,
    ),
    (
        r"creating environment draft: \[(400|402|403|404)\]",
        EscError,
        "Pulumi Cloud takes no change request for this environment: approvals are a feature of Pulumi's Pro and "
        "Enterprise editions, and the access token needs permission to edit the environment.",
    ),
    (
        r"opens must be approved|open.*approv",
        EscError,
        "Opening this environment needs an approval: ask for it with `pulumi env open-request`, or let this token "
        "open it without one.",
    ),
    (
        r"unauthorized|\[401\]|no credentials|invalid access token|must be set for login|requires logging in|"
        r"PULUMI_ACCESS_TOKEN",
        TokenError,
        _REFUSED,
    ),
    (
        # pulumi.com/docs/administration/concepts/access-tokens, "Access token expiry policy"
        r"max access token expiry",
        TokenError,
        "The organization's access token expiry policy refuses tokens that live too long, or for ever: make one that "
        "expires sooner, and set `pulumi-access-token` to it.",
    ),
    (
        r"\[403\]|forbidden",
        EscError,
        "The access token may not do this: its team needs permission to open and edit the environment.",
    ),
    (
        r"\[404\]",
        EscError,
        "Check `esc-environment`; make the environment with `pulumi env init` if it doesn't exist yet.",
    ),
    (r"\[409\]", ConflictError, RUN_AGAIN),
    (r"\[(?!408|425|429)4\d\d\]", EscError, "Check the inputs, and that the CLI is not too old for {url}; run again."),
)


def not_evaluated(environment: str, problems: tuple[str, ...]) -> tuple[str, str]:
    """Return the text and the remedy for an environment that ESC can't evaluate."""
    what = f"ESC can't evaluate {environment}, so what it holds can't be compared"
    if not problems:
        return f"{what}.", _SHOWS
    if re.search(r"\[403\]|forbidden|permission|not authorized|may not", problems[0], re.IGNORECASE):
        todo = "Let the access token open the environments that this one imports, and run again."
    else:
        todo = "Repair that in the environment, and run again."
    return f"{what}: {problems[0].rstrip('.')}.", todo


_SHOWS = "`pulumi env open` shows what is wrong with its definition; repair that and run again."
