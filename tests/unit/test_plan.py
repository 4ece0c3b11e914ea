"""What ESC holds and what it should hold → what to do about each key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.bundle import Bundle, Entry
from sophia_sync.esc.definition import Held, HeldKind
from sophia_sync.plan import Action, make_plan, same


def held(kind: HeldKind, value: str | None = None) -> Held:
    return Held(kind, None if value is None else SecretStr(value))


@pytest.mark.parametrize(
    ("now", "for_a_secret", "for_plain_text"),
    [
        (held(HeldKind.ABSENT), Action.ADD, Action.ADD),
        (held(HeldKind.PLAIN, "value"), Action.ENCRYPT, Action.UNCHANGED),
        (held(HeldKind.SECRET, "value"), Action.UNCHANGED, Action.DECRYPT),
        (held(HeldKind.PLAIN, "another"), Action.CHANGE, Action.CHANGE),
        (held(HeldKind.SECRET, "another"), Action.CHANGE, Action.CHANGE),
        (held(HeldKind.PLAIN, ""), Action.CHANGE, Action.CHANGE),
        (held(HeldKind.CIPHERTEXT), Action.CHANGE, Action.CHANGE),
        (held(HeldKind.OTHER), Action.CHANGE, Action.CHANGE),
    ],
)
def test_what_is_done_about_a_key(now: Held, for_a_secret: Action, for_plain_text: Action) -> None:
    for secret, action in ((True, for_a_secret), (False, for_plain_text)):
        plan = make_plan(Bundle((Entry("KEY", SecretStr("value"), secret),)), {"KEY": now, "OTHER": now})
        assert [(step.name, step.action, step.secret) for step in plan.steps] == [("KEY", action, secret)]
        assert plan.changed_keys == (() if action is Action.UNCHANGED else ("KEY",))


def test_a_key_that_is_not_there_is_added() -> None:
    plan = make_plan(Bundle((Entry("KEY", SecretStr("value"), secret=True),)), {})
    assert [step.action for step in plan.steps] == [Action.ADD]


def test_steps_are_in_the_order_of_the_bundle() -> None:
    keys = ("C", "A", "B")
    bundle = Bundle(tuple(Entry(key, SecretStr("value"), secret=False) for key in keys))
    plan = make_plan(bundle, {"A": held(HeldKind.PLAIN, "value"), "B": held(HeldKind.PLAIN, "value")})
    assert tuple(step.name for step in plan.steps) == keys
    assert plan.changed_keys == ("C",)


def test_a_plan_holds_no_value() -> None:
    plan = make_plan(Bundle((Entry("KEY", SecretStr("canary"), secret=True),)), {"KEY": held(HeldKind.PLAIN, "bird")})
    assert "canary" not in repr(plan)
    assert "bird" not in repr(plan)


@given(st.text(), st.text())
def test_values_are_the_same_only_if_every_character_is(left: str, right: str) -> None:
    assert same(left, right) == (left == right)
    assert same(left, left)


def test_values_that_are_no_valid_text_can_be_compared() -> None:
    assert same("a\udcff", "a\udcff")
    assert not same("a\udcff", "a\udcfe")
