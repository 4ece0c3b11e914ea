"""Plan what to do about each key, from what ESC holds and what it should hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.esc import shown
from sophia_sync.esc.definition import Exported
from sophia_sync.esc.shown import Holding, Shown
from sophia_sync.sync.bundle import Bundle, Entry
from sophia_sync.sync.plan import Action, differing, listed, make_plan, same, same_entries

VALUE = "1e5"


def holding(entry: str, got: object, **more: object) -> Holding:
    """Return the holding of an environment with one entry, for which consumers get `got`."""
    values = {"KEY": got, **more}
    return shown.holding(Shown(f"values: {{{entry}}}\n", values), ["KEY", Exported("KEY")])


def action(held: Holding, *, secret: bool) -> Action:
    [step] = make_plan(Bundle((Entry("KEY", SecretStr(VALUE), secret),)), held).steps
    assert (step.name, step.secret) == ("KEY", secret)
    return step.action


@pytest.mark.parametrize(
    ("entry", "got", "for_a_secret", "for_plain_text"),
    [
        ("OTHER: 1", None, Action.ADD, Action.ADD),
        ("OTHER: 1", VALUE, Action.ADD, Action.ADD),  # from an import, which may be removed
        ("KEY: '1e5'", VALUE, Action.ENCRYPT, Action.UNCHANGED),
        ("KEY: 1e5", 100000, Action.CHANGE, Action.CHANGE),  # consumers get a number
        ("KEY: {fn::secret: 1e5}", VALUE, Action.UNCHANGED, Action.DECRYPT),
        ("KEY: {fn::secret: {ciphertext: eA==}}", VALUE, Action.UNCHANGED, Action.DECRYPT),  # compared with `got`
        ("KEY: {fn::secret: {ciphertext: eA==}}", "another", Action.CHANGE, Action.CHANGE),
        ("KEY: '1e5'", "final", Action.CHANGE, Action.CHANGE),
        ("KEY: {fn::secret: 1e5}", "final", Action.CHANGE, Action.CHANGE),
        ("KEY: {fn::secret: another}", "another", Action.CHANGE, Action.CHANGE),
        ("KEY: ''", "", Action.CHANGE, Action.CHANGE),
        ("KEY: '${OTHER}'", VALUE, Action.CHANGE, Action.CHANGE),  # the right value, but a reference
        ("KEY: {fn::concat: [1e5]}", VALUE, Action.CHANGE, Action.CHANGE),
    ],
)
def test_what_is_done_about_a_key(entry: str, got: object, for_a_secret: Action, for_plain_text: Action) -> None:
    held = holding(entry, got)
    assert (action(held, secret=True), action(held, secret=False)) == (for_a_secret, for_plain_text)


@pytest.mark.parametrize(
    ("entry", "exported", "expected"),
    [
        ("${KEY}", VALUE, Action.UNCHANGED),
        ("${KEY}", "final", Action.CHANGE),
        ("${OTHER}", VALUE, Action.CHANGE),
        ("1e5x", "1e5x", Action.CHANGE),
    ],
)
def test_an_exported_key_must_give_consumers_what_the_key_gives(entry: str, exported: str, expected: Action) -> None:
    held = holding(
        f"KEY: '1e5', environmentVariables: {{KEY: '{entry}'}}", VALUE, environmentVariables={"KEY": exported}
    )
    [step] = make_plan(Bundle((Entry(Exported("KEY"), SecretStr("${KEY}"), secret=False),)), held).steps
    assert step.action is expected


def test_steps_are_in_the_order_of_the_bundle() -> None:
    keys = ("C", "A", "B")
    bundle = Bundle(tuple(Entry(key, SecretStr("value"), secret=False) for key in keys))
    values = {"A": "value", "B": "value"}
    plan = make_plan(bundle, shown.holding(Shown("values: {A: value, B: value}\n", values), keys))
    assert tuple(step.name for step in plan.steps) == keys
    assert plan.changed_keys == ("C",)


def test_a_plan_holds_no_value() -> None:
    plan = make_plan(Bundle((Entry("KEY", SecretStr("canary"), secret=True),)), holding("KEY: bird", "bird"))
    assert "canary" not in repr(plan)
    assert "bird" not in repr(plan)


@pytest.mark.parametrize(
    ("entry", "got", "wrong"),
    [
        ("KEY: {fn::secret: 1e5}", VALUE, {}),
        ("OTHER: 1", None, {"KEY": "missing"}),
        ("KEY: {fn::secret: another}", "another", {"KEY": "another value"}),
        ("KEY: '1e5'", VALUE, {"KEY": "not encrypted"}),
        ("KEY: {fn::secret: 1e5}", "final", {"KEY": "it is written, but consumers get another value"}),
    ],
)
def test_a_key_that_differs_is_named_without_its_value(entry: str, got: object, wrong: dict[str, str]) -> None:
    found = differing(Bundle((Entry("KEY", SecretStr(VALUE), secret=True),)), holding(entry, got))
    assert found == wrong
    assert VALUE not in listed(found)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (("KEY: a", "a"), ("KEY: 'a'", "a"), True),
        (("KEY: a", "a"), ("KEY: {fn::secret: a}", "a"), False),
        (("KEY: a", "a"), ("KEY: b", "b"), False),
        (("KEY: a", "a"), ("KEY: a", "final"), False),
        (("KEY: {fn::secret: {ciphertext: eA==}}", "a"), ("KEY: {fn::secret: {ciphertext: eQ==}}", "b"), False),
        (("OTHER: 1", None), ("OTHER: 2", None), True),
    ],
)
def test_two_states_are_equal_in_what_is_written_and_in_what_consumers_get(
    left: tuple[str, object], right: tuple[str, object], equal: bool
) -> None:
    assert same_entries(holding(*left), holding(*right), ["KEY"]) == equal


@given(st.text(), st.text())
def test_values_are_the_same_only_if_every_character_is(left: str, right: str) -> None:
    assert same(left, right) == (left == right)
    assert same(left, left)


def test_values_that_are_no_valid_text_can_be_compared() -> None:
    assert same("a\udcff", "a\udcff")
    assert not same("a\udcff", "a\udcfe")
