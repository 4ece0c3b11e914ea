"""Parse what `env get` prints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_sync.esc import shown
from sophia_sync.esc.definition import Exported, HeldKind
from sophia_sync.esc.shown import Shown, UnknownOutputError

TEXT = st.text(st.sampled_from('`\n#- {}"yamljson Value Definition'), max_size=60)
VALUES = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none(), st.lists(TEXT, max_size=2)), max_size=3)


def printed(values: object, definition: str) -> str:
    """Return these values and this definition as the CLI's template `env-get.tmpl` prints them."""
    value = "" if values is None else f"# Value\n```json\n{json.dumps(values, indent=2)}\n```\n"
    return value + (f"# Definition\n```yaml\n{definition}\n```\n" if definition else "") + "\n"


@given(values=VALUES, definition=TEXT)
def test_values_and_definition_are_told_apart(values: dict[str, object], definition: str) -> None:
    assert shown.parse(printed(values, definition)) == Shown(definition, values)
    assert shown.parse(printed(None, definition)) == Shown(definition, {})


@pytest.mark.parametrize(
    "output",
    ["values: {}\n", "# Value\n```json\n{\n```\n", "# Value\n```json\n[]\n```\n", "# Definition\n```yaml\nx"],
)
def test_another_output_is_refused_and_not_quoted(output: str) -> None:
    with pytest.raises(UnknownOutputError) as error:
        shown.parse(output)
    assert output not in str(error.value)


def test_only_strings_of_our_entries_are_kept() -> None:
    values = {"A": "1", "B": 1, "C": "theirs", "environmentVariables": {"A": "1", "D": "theirs"}}
    definition = "values: {A: '1', B: 1, C: theirs, environmentVariables: {A: '${A}', D: theirs}}\n"
    holding = shown.holding(Shown(definition, values), ["A", "B", "X", Exported("A"), Exported("B")])
    assert {name: value.get_secret_value() for name, value in holding.consumed.items()} == {
        "A": "1",
        Exported("A"): "1",
    }
    assert {name: held.kind for name, held in holding.entries.items()} == {
        "A": HeldKind.PLAIN,
        "B": HeldKind.OTHER,
        Exported("A"): HeldKind.REFERENCES,
    }
    assert "theirs" not in repr(holding)
    assert "theirs" not in repr(Shown(definition, values))


def test_an_environment_that_can_not_be_evaluated_is_told_from_an_empty_one() -> None:
    assert not shown.holding(shown.parse(""), ["A"]).is_evaluated
    assert shown.holding(shown.parse("\n"), ["A"]).is_evaluated


def test_every_secret_of_the_definition_is_told_wherever_it_stands() -> None:
    definition = """
values:
  A: {fn::secret: ours}
  theirs: [{fn::secret: first}, {nested: {fn::secret: 12}}]
  stored: {fn::secret: {ciphertext: eA==}}
  empty: {fn::secret: ''}
  plain: fn::secret
  not-secret: ''
"""
    found = shown.holding(Shown(definition), ["A"]).secrets
    assert [secret.get_secret_value() for secret in found] == ["ours", "first", "12"]
