"""The list of environments → the legs of the matrix."""

from __future__ import annotations

import json

import pytest

from sophia_sync.errors import InputError
from sophia_sync.matrix import legs
from sophia_sync.matrix.legs import MOST_LEGS, Leg


def entry(environment: object = "production", esc: object = "acme/default/production") -> dict[str, object]:
    return {"environment": environment, "esc-environment": esc}


def fleet(count: int, each: int = 1) -> str:
    """A list of `count` GitHub environments with `each` ESC environments."""
    rows = [
        entry(f"e-{number}", [f"acme/default/e-{number}-{part}" for part in range(each)]) for number in range(count)
    ]
    return json.dumps(rows)


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as refused:
        legs.parse(text)
    return refused.value.problems


class TestWhatIsTaken:
    def test_one_esc_environment_or_several(self) -> None:
        text = json.dumps([entry(), entry("Test EU_1.a/b", ["acme/default/a", "acme/x/b"])])
        assert legs.parse(text) == (
            Leg("production", ("acme/default/production",)),
            Leg("Test EU_1.a/b", ("acme/default/a", "acme/x/b")),
        )

    def test_several_on_lines_as_the_action_takes_them(self) -> None:
        assert legs.parse(json.dumps([entry(esc="acme/default/a\nacme/default/b\n")]))[0].esc_environments == (
            "acme/default/a",
            "acme/default/b",
        )

    def test_as_many_legs_as_github_makes_jobs_of_a_matrix(self) -> None:
        found = legs.parse(fleet(MOST_LEGS, each=4))
        assert len(found) == 256
        assert legs.count(found) == "Legs of the matrix: 256; ESC environments: 1024"


class TestWhatIsRefused:
    @pytest.mark.parametrize("text", ["", "production", "[", "[" * 100_000], ids=["empty", "a word", "half", "deep"])
    def test_what_is_no_json(self, text: str) -> None:
        [problem] = problems(text)
        assert problem.startswith("`environments` is no JSON. Give a list such as [{")

    @pytest.mark.parametrize("text", ["{}", "[]", "null", '"a"'])
    def test_what_is_no_list_with_an_entry(self, text: str) -> None:
        assert problems(text)[0].startswith("`environments` is no list with at least one entry.")

    def test_one_leg_more_than_github_makes(self) -> None:
        [problem] = problems(fleet(MOST_LEGS + 1))
        assert "has 257 entries; GitHub makes at most 256 jobs of a matrix" in problem
        assert '"esc-environment": ["acme/default/a", "acme/default/b"]' in problem, "the way out is not told"
        assert "several workflows" in problem

    @pytest.mark.parametrize("name", [None, 7, "", " production", "production ", "a|b", "a\nb", "a`b", "ä", "x" * 256])
    def test_a_name_that_is_not_safe(self, name: object) -> None:
        [problem] = problems(json.dumps([entry(name)]))
        assert problem.startswith('Entry 1 of `environments` has no "environment" of letters')

    @pytest.mark.parametrize("esc", [None, 7, [], [None], {}])
    def test_an_esc_environment_that_is_none(self, esc: object) -> None:
        [problem] = problems(json.dumps([entry(esc=esc)]))
        assert problem.startswith('Entry 1 of `environments` (production) has no "esc-environment"')

    @pytest.mark.parametrize("esc", ["", "acme/production", ["acme/default/a", "acme/default/b@7"]])
    def test_an_esc_environment_that_the_action_would_refuse(self, esc: object) -> None:
        [problem] = problems(json.dumps([entry(esc=esc)]))
        assert problem.startswith('Entry 1 of `environments` (production) has an "esc-environment" that ')

    @pytest.mark.parametrize("given", ["production", None, ["production", "acme/default/production"]])
    def test_an_entry_that_is_no_object(self, given: object) -> None:
        assert problems(json.dumps([given])) == [
            'Entry 1 of `environments` is no object with "environment" and "esc-environment".'
        ]

    def test_a_key_that_would_do_nothing(self) -> None:
        [problem] = problems(json.dumps([entry() | {"esc_environment": "acme/default/a"}]))
        assert "'esc_environment'" in problem

    def test_two_legs_of_one_github_environment_however_it_is_written(self) -> None:
        [problem] = problems(json.dumps([entry("Production", "acme/default/a"), entry("production", "acme/default/b")]))
        assert problem.startswith("`environments` has the GitHub environment production twice.")

    def test_one_esc_environment_in_two_legs(self) -> None:
        [problem] = problems(json.dumps([entry("a"), entry("b")]))
        assert problem.startswith("`environments` has the ESC environment acme/default/production twice.")

    def test_everything_at_once(self) -> None:
        assert len(problems(json.dumps([entry("a|b"), entry(esc="nowhere"), entry(), 7]))) == 3

    def test_the_error_says_that_nothing_was_done(self) -> None:
        with pytest.raises(InputError, match="Nothing was contacted"):
            legs.parse("")


class TestTheMatrix:
    FOUND = (Leg("lab", ("acme/default/lab",)), Leg("production", ("acme/default/a", "acme/default/b")))

    def test_is_what_github_takes(self) -> None:
        assert json.loads(legs.matrix(self.FOUND)) == {
            "include": [
                {"environment": "lab", "esc-environment": "acme/default/lab"},
                {"environment": "production", "esc-environment": "acme/default/a\nacme/default/b"},
            ]
        }

    def test_is_one_line_as_are_the_names(self) -> None:
        assert "\n" not in legs.matrix(self.FOUND)
        assert legs.names(self.FOUND) == '["lab", "production"]'
