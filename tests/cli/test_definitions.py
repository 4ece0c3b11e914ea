"""Definitions in every style through the real Pulumi CLI: in what we send, our entries change and no other byte."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sandbox import Sandbox
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

# Our entries as we send them.
SLUGS = f'  SENTRY_ORGANIZATION_SLUG: "{ORGANIZATION}"\n  SENTRY_PROJECT_SLUG: "{PROJECT}"\n'
BLOCK = f'  {DSN}:\n    fn::secret: "{RIGHT[DSN]}"\n  {TOKEN}:\n    fn::secret: "{RIGHT[TOKEN]}"\n{SLUGS}'
FLOW_DSN, FLOW_TOKEN = (f'{{fn::secret: "{RIGHT[key]}"}}' for key in (DSN, TOKEN))
FLOW_SLUGS = f'SENTRY_ORGANIZATION_SLUG: "{ORGANIZATION}", SENTRY_PROJECT_SLUG: "{PROJECT}"'
FLOW = f"{DSN}: {FLOW_DSN}, {TOKEN}: {FLOW_TOKEN}, {FLOW_SLUGS}"
AFTER_DSN = BLOCK.partition(f"  {TOKEN}")[1] + BLOCK.partition(f"  {TOKEN}")[2]


def expected(before: str, changes: tuple[tuple[str, str], ...]) -> str:
    """Return the stored text with patterns replaced, each of which stands in it once."""
    text = before
    for old, new in changes:
        text, times = re.subn(old, new.replace("\\", "\\\\"), text, flags=re.DOTALL)
        assert times == 1, f"{old!r} stands {times} times in {before!r}"
    return text


END = r"\Z"
CASES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    # Nothing there yet.
    "empty": ("", ((END, f"values:\n{BLOCK}"),)),
    "no values": (f"imports:\n  - {COMMON.partition('/')[2]} # ours\n", ((END, f"values:\n{BLOCK}"),)),
    "values {}": ("values: {} # soon\n", (("{}", f"{{{FLOW}}}"),)),
    # Others' entries in every style.
    "flow": ('values: {A: 1, "B": [x, "y"]} # end\n', (("{A", f"{{{FLOW}, A"),)),
    "json": ('{"values":{"A":"1"}}\n', (('"A"', f'{FLOW}, "A"'),)),
    "flow over lines": ("values: {\n    # c\n    A: 1,\n  }\n", (("{\n", f"{{{FLOW}, \n"),)),
    "comments everywhere": (
        "# head\n\nvalues: # a\n  # b\n  A: 1 # c\n\n  # d\n  B:\n    # e\n    - x # f\n  # g\n\n# end\n",
        (("- x # f\n", f"- x # f\n{BLOCK}"),),
    ),
    "deep indentation, quotes and tags": (
        "values:\n      'A' : \"x\\ty\"\n      ? B\n      : !!str 12\n",
        ((END, re.sub("^", "    ", BLOCK, flags=re.MULTILINE)[:-4]),),
    ),
    "anchors": ("values:\n  A: &a {x: 1}\n  B: &b\n    - y\n", ((END, BLOCK),)),
    "secrets of others": (
        "values:\n  A:\n    fn::secret: theirs # keep\n  B: {fn::secret: theirs}\n",
        ((END, BLOCK),),
    ),
    "imports and references": (
        f"imports:\n  - {COMMON.partition('/')[2]}\nvalues:\n  A: ${{shared}} and ${{B}}\n  B: x\n",
        ((END, BLOCK),),
    ),
    "block scalars that hold ---": (
        "values:\n  A: |\n    x\n    ---\n    # no comment\n  B: >-\n    ---\n\n    y\n",
        ((END, BLOCK),),
    ),
    "a block scalar with blank lines at its end": ("values:\n  A: |+\n    x\n\n\n", ((END, BLOCK),)),
    "windows line ends": (
        "# head\r\nvalues:\r\n  A: 1 # c\r\n",
        ((END, BLOCK.replace("\n", "\r\n")),),
    ),
    "windows line ends and a leading ---": (
        "---\r\nvalues:\r\n  A: 1\r\n",
        ((END, BLOCK.replace("\n", "\r\n")),),
    ),
    "a byte order mark": ("\ufeffvalues:\n  A: 1\n", ((END, BLOCK),)),
    "keys of our names elsewhere": (
        f"values:\n  {DSN}: x\n  environmentVariables:\n    {DSN}: ${{{DSN}}}\n    {TOKEN}: other\n",
        ((f"\n  {DSN}: x", f"\n  {DSN}: {FLOW_DSN}"), (END, AFTER_DSN)),
    ),
    # No final line break: the CLI's editor hands every text over with one.
    "no final line break": ("values:\n  A: 1", ((END, f"\n{BLOCK}"),)),
    "no final line break, flow": ("values: {A: 1}", (("{A", f"{{{FLOW}, A"), (END, "\n"))),
    # Our own entries in every style.
    "ours in plain text": (
        f"values:\n  {DSN}: old # a\n  {TOKEN}: 'old' # b\n  A: 1\n",
        (("old # a", f"{FLOW_DSN} # a"), ("'old' # b", f"{FLOW_TOKEN} # b"), (END, SLUGS)),
    ),
    "ours in plain text, right but to be encrypted": (
        f"values:\n  {DSN}: {RIGHT[DSN]} # a\n  SENTRY_PROJECT_SLUG: {PROJECT} # b\n",
        ((re.escape(RIGHT[DSN]), FLOW_DSN), (END, f"  {TOKEN}:{SECRET}\n{SLUGS.splitlines()[0]}\n")),
    ),
    "ours in block scalars": (
        f"values:\n  {DSN}: |\n    old\n\n    lines\n\n  {TOKEN}: >-\n    old\n  # theirs\n",
        ((r"\|\n.*lines", FLOW_DSN), (r">-\n    old\n", f"{FLOW_DSN}\n{SLUGS}")),
    ),
    "ours encrypted": (
        f"values:\n  {DSN}:\n    # why\n    fn::secret: old # a\n  A: 1\n  {TOKEN}: {{fn::secret: old}} # b\n",
        (
            (r"why\n    fn::secret:\n      ciphertext: [^ ]+", "why\n    fn::secret:\n      ciphertext: …"),
            (r"\{fn::secret: [^ ]+ [^ ]+\}", FLOW_DSN),
            (END, SLUGS),
        ),
    ),
    "ours as expressions and calls": (
        f"values:\n  {DSN}: ${{A}} # a\n  {TOKEN}:\n    fn::open::test:\n      x: 1 # b\n  A: x\n"
        "  SENTRY_PROJECT_SLUG:\n    fn::toJSON: {x: 1}\n",
        (
            (r"\$\{A\}", FLOW_DSN),
            (r"    fn::open::test:\n      x: 1", "    fn::secret:\n      ciphertext: …"),
            (r"SLUG:\n    fn::toJSON: \{x: 1\}", f'SLUG: "{PROJECT}"'),
            (END, SLUGS.splitlines()[0] + "\n"),
        ),
    ),
    "ours as numbers, lists and nothing": (
        f"values:\n  SENTRY_PROJECT_SLUG: 12 # a\n  {DSN}: [1, 2] # b\n  {TOKEN}: # c\n  SENTRY_ORGANIZATION_SLUG:\n"
        "    - x # d\n  A: 1\n",
        (
            ("12 # a", f'"{PROJECT}" # a'),
            (r"\[1, 2\]", FLOW_DSN),
            (f"{TOKEN}:", f"{TOKEN}: {FLOW_DSN}"),
            (r"SLUG:\n    - x", f'SLUG: "{ORGANIZATION}"'),
        ),
    ),
    "ours in flow style": (
        f'values: {{{TOKEN}: old, A: 1, "{DSN}": {{fn::secret: old}}, SENTRY_PROJECT_SLUG: , }} # end\n',
        (
            (f'"{DSN}": {{fn::secret: [^}}]+}}}}', f'"{DSN}": {FLOW_DSN}'),
            (f"{{{TOKEN}: old", f'{{SENTRY_ORGANIZATION_SLUG: "{ORGANIZATION}", {TOKEN}: {FLOW_DSN}'),
            ("PROJECT_SLUG: ,", f'PROJECT_SLUG: "{PROJECT}" ,'),
        ),
    ),
    "ours with a question mark": (
        f"values:\n  ? {DSN}\n  : old # a\n  A: 1\n",
        (("old # a", f"{FLOW_DSN} # a"), (END, AFTER_DSN)),
    ),
}


@pytest.fixture(autouse=True)
def common(box: Sandbox) -> None:
    """An environment that others import."""
    if COMMON not in {environment.path for environment in box.esc.environments}:
        box.esc.create(COMMON, "values:\n  shared: from afar\n")


def foreign(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in RIGHT and key != "environmentVariables"}


@pytest.mark.parametrize("name", CASES)
def test_our_entries_change_and_nothing_else(action: Action, name: str) -> None:
    text, changes = CASES[name]
    action.create(text)
    before, values = action.stored, action.values
    ran = action.run()
    assert (ran.code, ran.annotations) == (0, [])
    assert action.sent == expected(before, changes)
    assert foreign(action.values) == foreign(values)
    assert {key: value for key, value in action.values.items() if key in RIGHT} == RIGHT
    assert [action.is_encrypted(key) for key in RIGHT] == [True, True, False, False]


def test_a_thousand_keys(action: Action) -> None:
    lines = [f"  KEY_{number}: {{a: {number}}} # c{number}\n" for number in range(1000)]
    action.create("values:\n" + "".join(lines))
    before = action.stored
    assert action.run().code == 0
    assert action.sent == before + BLOCK
    assert len(action.values) == 1004


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\nvalues:\n  A: 1\n", "a line '---', at which the Pulumi CLI's editor would cut it off"),
        ("values:\n  A: 1\n---\nvalues:\n  B: 2\n", "more than one YAML document"),
        ("values:\n  A: 1\n---\n", "more than one YAML document"),
        ("# theirs\n---\nvalues:\n  A: 1\n", "a line '---', at which the Pulumi CLI's editor would cut it off"),
    ],
)
def test_what_the_editor_can_not_carry_is_refused(action: Action, text: str, reason: str) -> None:
    action.create(text)
    before = action.revision, action.stored
    ran = action.run(deploy="always")
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert reason in ran.annotations[0]
    assert "run again" in ran.annotations[0]
    assert (action.revision, action.stored) == before
    assert not any(request.method == "PATCH" for request in action.box.esc.requests)
    assert action.box.github.requests == []


def test_a_definition_that_esc_can_not_evaluate_is_left_alone(action: Action, box: Sandbox) -> None:
    gone = f"{action.environment}-import"
    box.esc.create(gone, "values: {A: 1}\n")
    action.create(f"imports:\n  - {gone.partition('/')[2]}\nvalues:\n  B: ${{A}}\n")
    box.esc.delete(gone)
    before = action.revision, action.stored
    ran = action.run(deploy="always")
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert "ESC can't evaluate this environment" in ran.annotations[0]
    assert "`pulumi env open` shows what is wrong" in ran.annotations[0]
    assert (action.revision, action.stored) == before


@pytest.mark.parametrize("name", ["windows line ends", "ours as expressions and calls"])
def test_a_second_sync_finds_nothing_to_do(action: Action, name: str) -> None:
    action.create(CASES[name][0])
    assert action.run().outputs["result"] == "synced"
    ran = action.run()
    assert (ran.outputs["result"], ran.commands) == ("unchanged", [READ])
