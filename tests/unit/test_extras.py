"""Further keys as dotenv lines: each value exactly as it was given, or a refusal that shows none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_sync import extras
from tests.support.examples import examples

CANARY = "Kanarienvogel-17"


def revealed(text: str) -> dict[str, str]:
    return {key: value.get_secret_value() for key, value in extras.secrets(text).items()}


class TestValues:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("A=b", {"A": "b"}),
            ("A=b\nC=d\n", {"A": "b", "C": "d"}),
            ("\n# a comment\n  A = b  \n\nexport C=d\r\n", {"A": "b", "C": "d"}),
            ("A='b # c'", {"A": "b # c"}),
            ("A='$b \\n'", {"A": "$b \\n"}),
            ('A="b\\nc"', {"A": "b\nc"}),
            (
                "A='-----BEGIN KEY-----\nabc=\n-----END KEY-----\n'\nB=c",
                {"A": "-----BEGIN KEY-----\nabc=\n-----END KEY-----\n", "B": "c"},
            ),
            ("A=b=c", {"A": "b=c"}),
            ("A=b#c", {"A": "b#c"}),
            ("A=' b '", {"A": " b "}),
            ("A=b # c d", None),
            ("", {}),
        ],
    )
    def test_are_what_was_given(self, text: str, found: dict[str, str] | None) -> None:
        if found is None:
            with pytest.raises(ValueError, match="line 1"):
                revealed(text)
        else:
            assert revealed(text) == found

    @settings(max_examples=examples(200), deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0'\\\r${"), min_size=1))
    def test_in_single_quotes_are_kept_to_the_character(self, value: str) -> None:
        assert extras._read(f"A='{value}'\nB=c", lambda text: text) == {"A": value, "B": "c"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (f"A=b\n{CANARY}\n", "a line 2 that isn't KEY=value"),
            (f"A=b\n\n# c\nwords and {CANARY}", "a line 4 that"),
            (f"A=first\n{CANARY} second\nthird", "a line 2 that"),
            (f"A='{CANARY}", "a line 1 that"),
            (f"A={CANARY} # no", "a line 1 that"),
            (f"A-B={CANARY}", "a key in line 1 that"),
            (f"1A={CANARY}", "a key in line 1 that"),
            (f"SENTRY_DSN={CANARY}", "SENTRY_DSN in line 1, which is not for further keys"),
            (f"environmentVariables={CANARY}", "environmentVariables in line 1"),
            (f"A={CANARY}\nA={CANARY}", "A twice"),
            ("A=", "A that is empty"),
            ("A=''", "A that is empty"),
            ("A=***", "A that is `\\*\\*\\*`"),
            ("A=${{ secrets.A }}", "A that holds a literal"),
            (f"A={CANARY}${{x}}", "A that holds `\\$\\{`"),
        ],
    )
    def test_show_no_value(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as error:
            extras.secrets(text)
        assert CANARY not in str(error.value)

    @pytest.mark.parametrize("value", ["a${b}", "a$$b", "${b}"])
    def test_a_variable_in_which_esc_would_see_more_than_text(self, value: str) -> None:
        with pytest.raises(ValueError, match="in which ESC sees more than text"):
            extras.variables(f"A='{value}'")


def test_whatever_can_be_made_out_is_known_for_hiding() -> None:
    text = f"A={CANARY}-1\nbroken {CANARY}-2\nB='{CANARY}-3\n3'\nA='{CANARY}-4'"
    found = {value.get_secret_value() for value in extras.values(text)}
    assert {f"{CANARY}-1", f"{CANARY}-3\n3", f"{CANARY}-4"} <= found
