"""Definitions in every style, through the real Pulumi CLI: what we send differs in our entries alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sandbox import Sandbox
from sophia_sync.runtime.redact import SHORTEST
from tests.support.action import Action
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

READ = "env get"
COMMON = "acme/default/common"
DSN, TOKEN = "SENTRY_DSN", "SENTRY_API_TOKEN"
ORGANIZATION = VALID["sentry-organization-slug"]
PROJECT = VALID["sentry-project-slug"]
RIGHT = {
    DSN: VALID["sentry-dsn"],
    TOKEN: VALID["sentry-api-token"],
    "SENTRY_ORGANIZATION_SLUG": ORGANIZATION,
    "SENTRY_PROJECT_SLUG": PROJECT,
}

# A definition before the sync, and patterns for the parts that we may change in it, as ESC stores it.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    # Nothing there yet.
    "empty": ("", ()),
    "no values": (f"imports:\n  - {COMMON.partition('/')[2]} # ours\n", ()),
    "values {}": ("values: {} # soon\n", ("}",)),
    "Values, as ESC takes it too": (
        f"Imports: [{COMMON.partition('/')[2]}]\nValues:\n  A: 1\n  B: {{fn::secret: s}}\n",
        (),
    ),
    # Others' entries in every style.
    "flow": ('values: {A: 1, "B": [x, "y"]} # end\n', ("(?<=values: {)",)),
    "json": ('{"values":{"A":"1"}}\n', ('(?<="values": {)',)),
    "flow over lines": ("values: {\n    # c\n    A: 1,\n  }\n", ()),
    "comments everywhere": (
        "# head\n\nvalues: # a\n  # b\n  A: 1 # c\n\n  # d\n  B:\n    # e\n    - x # f\n  # g\n\n# end\n",
        (),
    ),
    "deep indentation, quotes and tags": ("values:\n      'A' : \"x\\ty\"\n      ? B\n      : !!str 12\n", ()),
    "anchors": ("values:\n  A: &a {x: 1}\n  B: &b\n    - y\n", ()),
    "secrets of others": ("values:\n  A:\n    fn::secret: theirs # keep\n  B: {fn::secret: theirs}\n", ()),
    "imports and references": (
        f"imports:\n  - {COMMON.partition('/')[2]}\nvalues:\n  A: ${{shared}} and ${{B}}\n  B: x\n",
        (),
    ),
    "block scalars that hold ---": (
        "values:\n  A: |\n    x\n    ---\n    # no comment\n  B: >-\n    ---\n\n    y\n",
        (),
    ),
    "a block scalar with blank lines at its end": ("values:\n  A: |+\n    x\n\n\n", ()),
    "windows line ends, ---, a byte order mark": ("\ufeff---\r\nvalues:\r\n  A: 1 # c\r\n", ()),
    "keys of our names elsewhere": (
        f"values:\n  {DSN}: x\n  environmentVariables:\n    {DSN}: ${{{DSN}}}\n    {TOKEN}: other\n",
        (rf"(?<=  {DSN}: )x",),
    ),
    "no final line break": ("values:\n  A: 1", ()),
    # Our own entries in every style.
    "ours in plain text": (
        f"values:\n  {DSN}: old # a\n  {TOKEN}: 'old' # b\n  A: 1\n",
        ("old(?= # a)", "'old'"),
    ),
    "ours in plain text, right but to be encrypted": (
        f"values:\n  {DSN}: {RIGHT[DSN]} # a\n  SENTRY_PROJECT_SLUG: {PROJECT} # b\n",
        (re.escape(RIGHT[DSN]),),
    ),
    "ours in block scalars": (
        f"values:\n  {DSN}: |\n    old\n\n    lines\n\n  {TOKEN}: >-\n    old\n  # theirs\n",
        (r"\|\n    old\n\n    lines\n", ">-\n    old"),
    ),
    "ours encrypted": (
        f"values:\n  {DSN}:\n    # why\n    fn::secret: old # a\n  A: 1\n  {TOKEN}: {{fn::secret: old}} # b\n",
        (r"\n      ciphertext: \S+", r"\{'fn::secret': [^#]+\}"),
    ),
    "ours as expressions and calls": (
        f"values:\n  {DSN}: ${{A}} # a\n  {TOKEN}:\n    fn::open::test:\n      x: 1 # b\n  A: x\n"
        "  SENTRY_PROJECT_SLUG:\n    fn::toJSON: {x: 1}\n",
        (r"\$\{A\}", "fn::open::test:\n      x: 1", "\n    fn::toJSON: {x: 1}"),
    ),
    "ours as numbers, lists and nothing": (
        f"values:\n  SENTRY_PROJECT_SLUG: 12 # a\n  {DSN}: [1, 2] # b\n  {TOKEN}: # c\n  SENTRY_ORGANIZATION_SLUG:\n"
        "    - x # d\n  A: 1\n",
        ("12(?= # a)", r"\[1, 2\]", "null", "\n    - x"),
    ),
    "ours in flow style": (
        f'values: {{{TOKEN}: old, A: 1, "{DSN}": {{fn::secret: old}}, SENTRY_PROJECT_SLUG: , }} # end\n',
        ("(?<=values: {)", r"old(?=, A)", r"\{'fn::secret': [^}]+\}\}", "null"),
    ),
}


@pytest.fixture(autouse=True)
def common(box: Sandbox) -> None:
    """Create an environment that others import."""
    if COMMON not in {environment.path for environment in box.esc.environments}:
        box.esc.create(COMMON, "values:\n  shared: from afar\n")


def foreign(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in RIGHT and key != "environmentVariables"}


def keeps_all_but(ours: tuple[str, ...], before: str, sent: str) -> bool:
    """Return whether `sent` holds each line of `before`, except what is ours, in the same order."""
    at = 0
    for piece in re.split("|".join(ours) or r"\Z", before):
        for line in piece.splitlines():
            found = sent.find(line, at)
            if found < 0:
                return False
            at = found + len(line)
    return True


@pytest.mark.parametrize("name", CASES)
def test_our_entries_change_and_nothing_else(action: Action, name: str) -> None:
    text, ours = CASES[name]
    action.create(text)
    before, values = action.stored, action.values
    ran = action.run()
    assert (ran.code, ran.annotations) == (0, [])
    assert keeps_all_but(ours, before, action.sent)
    assert foreign(action.values) == foreign(values)
    assert {key: value for key, value in action.values.items() if key in RIGHT} == RIGHT
    assert [action.is_encrypted(key) for key in RIGHT] == [True, True, False, False]
    assert action.run().outputs["result"] == "unchanged"


@pytest.mark.full
def test_a_thousand_keys(action: Action) -> None:
    lines = [f"  KEY_{number}: {{a: {number}}} # c{number}\n" for number in range(1000)]
    action.create("values:\n" + "".join(lines))
    before = action.stored
    assert action.run().code == 0
    assert action.sent.startswith(before)
    assert len(action.values) == 1004


def test_a_definition_that_esc_can_not_evaluate_is_left_alone(action: Action, box: Sandbox) -> None:
    gone = f"{action.environment}-import"
    box.esc.create(gone, "values: {A: 1}\n")
    action.create(f"imports:\n  - {gone.partition('/')[2]}\nvalues:\n  B: ${{A}}\n")
    box.esc.delete(gone)
    before = action.revision, action.stored
    ran = action.run(deploy="always")
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert f"ESC can't evaluate {action.environment}" in ran.annotations[0]
    assert f"environment '{gone}' not found" in ran.annotations[0]
    assert (action.revision, action.stored) == before


@pytest.mark.parametrize(
    "value", ["yes", "No", "on", "1:30", "=", "<<", "1e5", "08", "0o17", "1234e5", "$$xy", "~", "null"]
)
def test_values_that_yaml_may_take_for_something_else(action: Action, value: str) -> None:
    action.create(f"values:\n  KEY: {value}\n")
    inputs = {
        "extra_secrets": f"SECRET='{value}'" if len(value) >= SHORTEST else "",
        "extra_variables": f"KEY='{value}'" if "$" not in value else "",
    }
    assert action.run(**inputs).outputs["result"] == "synced"
    given = [name for name, lines in zip(("SECRET", "KEY"), inputs.values(), strict=True) if lines]
    assert {action.values[name] for name in given} == {value}
    ran = action.run(**inputs)
    assert (ran.outputs["result"], ran.commands) == ("unchanged", [READ])


@pytest.mark.full
def test_a_key_that_an_import_declares_final(action: Action, box: Sandbox) -> None:
    final = f"{action.environment}-final"
    box.esc.create(final, f"values:\n  {DSN}:\n    fn::final: theirs\n")
    action.create(f"imports:\n  - {final.partition('/')[2]}\nvalues:\n  SENTRY_PROJECT_SLUG: before\n")
    before = action.stored
    ran = action.run(deploy="always")
    assert ran.code == 5
    assert len(ran.annotations) == 1
    assert f"{DSN} (it is written, but consumers get another value)" in ran.annotations[0]
    assert "An import declares these keys `fn::final`" in ran.annotations[0]
    assert TOKEN not in ran.annotations[0]
    assert action.stored == before
    assert ran.warnings == ["ESC warns: cannot override final value."]
    assert box.github.dispatches == []


def test_a_warning_of_esc_reaches_the_log(action: Action) -> None:
    action.create("colour: blue\nvalues: {A: 1}\n")
    ran = action.run()
    assert ran.code == 0
    assert "Field 'colour' does not exist" in ran.warnings[0]


def test_two_spellings_of_values_are_refused(action: Action) -> None:
    action.create("Values:\n  A: 1\nvalues:\n  B: 2\n")
    before = action.revision
    ran = action.run(deploy="always")
    assert ran.code == 4
    assert "`Values:` and `values:` are the same for ESC" in ran.annotations[0]
    assert action.revision == before


def test_environment_variables_that_are_a_reference(action: Action) -> None:
    action.create("values:\n  app: {env: {A: '1'}}\n  environmentVariables: ${app.env}\n")
    before = action.revision
    ran = action.run(export_environment_variables="true")
    assert ran.code == 4
    assert "`environmentVariables:` in the environment's definition isn't a mapping" in ran.annotations[0]
    assert "leave out `export-environment-variables`" in ran.annotations[0]
    assert action.revision == before


@pytest.mark.parametrize("value", [r"\nfirst\nsecond", r"\tfirst\nsecond"])
def test_a_secret_that_esc_could_never_show_again(action: Action, value: str) -> None:
    ran = action.run(extra_secrets=f'SECRET="{value}"')
    assert ran.code == 2
    assert "ESC can store that, but never show it again" in ran.annotations[0]
    assert ran.commands == []
