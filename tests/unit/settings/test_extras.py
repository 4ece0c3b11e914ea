"""Further keys as dotenv lines: each value is kept exactly, or the refusal shows no value."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sophia_sync.settings import extras
from tests.support.examples import examples

CANARY = "Kanarienvogel-17"


# Arbitrary texts, and texts full of the pieces that dotenv lines give a meaning.
PIECES = ["'", '"', "\\", "\n", "\r\n", " ", "#", "=", "B=", "B='", "export ", "x"]
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    | st.lists(st.sampled_from(PIECES), min_size=1).map("".join)
)  # fmt: skip
# A quote that ends the value, or may end it.
ENDS = re.compile(r"'[^\S\r\n]*[\r\n]|'[^\S\r\n]+#|[\r\n]\s*(export\s+)?[A-Za-z_]\w*[^\S\r\n]*=[^\S\r\n]*'")


def read(text: str) -> dict[str, str]:
    """Read dotenv lines whose values may be anything."""
    return extras._read(text, str)


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
            (r"WIN='C:\\\\srv'", {"WIN": r"C:\\\\srv"}),
            (r"WIN='C:\\\\srv' #x'", {"WIN": r"C:\\\\srv' #x"}),
            ("A='it's'\nB='c\\'", {"A": "it's", "B": "c\\"}),
            ("A='b\\'c'", {"A": "b\\'c"}),
            ("A='''  \nB=c", {"A": "'", "B": "c"}),
            ('A=\'{\n "b": "it\'s",\n}\'\r\nB=c', {"A": '{\n "b": "it\'s",\n}', "B": "c"}),
            ("A='b\r\nc'\rB='d'", {"A": "b\r\nc", "B": "d"}),
            ('A="b\nc"  \nB=d', {"A": "b\nc", "B": "d"}),
            (r'A="b\"c\\"', {"A": 'b"c\\'}),
            (r"A=C:\\srv'", {"A": r"C:\\srv'"}),
            ("A=b # c d", None),
            ("", {}),
        ],
    )
    def test_are_what_was_given(self, text: str, found: dict[str, str] | None) -> None:
        if found is None:
            with pytest.raises(ValueError, match="line 1"):
                read(text)
        else:
            assert read(text) == found

    @settings(max_examples=examples(200), deadline=None)
    @given(TEXTS)
    def test_in_single_quotes_are_kept_to_the_character(self, value: str) -> None:
        assume(not ENDS.search(value))
        text = f"A='{value}'\nB=c"
        assert read(text) == {"A": value, "B": "c"}
        assert value in {hidden.get_secret_value() for hidden in extras.values(text)}

    @settings(max_examples=examples(200), deadline=None)
    @given(TEXTS)
    def test_that_are_stored_are_hidden_whatever_else_is_given(self, text: str) -> None:
        text = f"A='{text}\nB=c"
        hidden = {value.get_secret_value() for value in extras.values(text)}
        try:
            stored = read(text)
        except ValueError as error:
            assert re.search(r" (line \d+|twice)\b", str(error))  # noqa: PT017 - the other case is no error
        else:
            assert {value for value in stored.values() if value} <= hidden


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (f"A=word\n{CANARY}\n", "a line 2 that isn't KEY=value"),
            (f"A=word\n\n# c\nwords and {CANARY}", "a line 4 that"),
            (f"A=first\n{CANARY} second\nthird", "a line 2 that"),
            (f"A='{CANARY}", "a line 1 that"),
            (f"A={CANARY} # no", "a line 1 that"),
            (f"A='{CANARY}' # no", "a line 1 with more after a closing quote"),
            (f'B=word\nA="{CANARY}" # no "', "a line 2 with more after a closing quote"),
            (f'A="{CANARY}" no', "a line 1 that"),
            (f"A='{CANARY}' no\nB='c'", "a line 1 with more after a closing quote"),
            (f"A='{CANARY}' # no\nno'", "a line 1 with more after a closing quote"),
            (f"A='{CANARY}\nB='c'", "a line 1 that"),
            (f"A-B={CANARY}", "a key in line 1 that"),
            (f"1A={CANARY}", "a key in line 1 that"),
            (f"SENTRY_DSN={CANARY}", "SENTRY_DSN in line 1, which is not for further keys"),
            (f"environmentVariables={CANARY}", "environmentVariables in line 1"),
            (f"A={CANARY}\nA={CANARY}", "A twice"),
            ("A=", "a line 1 without a value"),
            (f"{CANARY}=", "a line 1 without a value .*; put quotes around a value of several lines"),
            ("B=word\nKanarienvogel== ", "a line 2 without a value"),
            ("B=word\nKanarienvogel =  = \t=\nD=e", "a line 2 without a value"),
            ("B=word\n/Kanarienvogel==", "a line 2 without a value"),
            ("export Kanarienvogel=", "a line 1 without a value"),
            ('A=""', "A that is empty"),
            ("A=''", "A that is empty"),
            ("A=***", "A that is `\\*\\*\\*`"),
            ("A=${{ secrets.A }}", "A that holds a literal"),
            ("A=vog", "A that has fewer than 4 characters"),
            ("A=' v  g '", "A that has fewer than 4 characters"),
            (f"A={CANARY}${{x}}", "A that holds `\\$\\{`"),
        ],
    )
    def test_show_no_value(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as error:
            extras.secrets(text)
        assert "Kanarienvogel" not in str(error.value)

    @pytest.mark.parametrize(
        "key",
        [
            "true",
            "True",
            "TRUE",
            "false",
            "False",
            "FALSE",
            "null",
            "Null",
            "NULL",
            "imports",
            "context",
            "environments",
        ],
    )
    def test_a_key_that_esc_refuses(self, key: str) -> None:
        with pytest.raises(ValueError, match=f"has {key} in line 2, which is not for further keys"):
            extras.secrets(f"A=word\n{key}=c")

    @pytest.mark.parametrize("key", ["NO", "yes", "on", "y", "tRue", "nan", "_1", "values", "IMPORTS"])
    def test_a_key_that_only_looks_like_one_is_none(self, key: str) -> None:
        assert extras.secrets(f"{key}=word").keys() == {key}

    @pytest.mark.parametrize("value", ["a${b}", "a$$b", "${b}"])
    def test_a_variable_in_which_esc_would_see_more_than_text(self, value: str) -> None:
        with pytest.raises(ValueError, match="in which ESC sees more than text"):
            extras.variables(f"A='{value}'")


def test_whatever_can_be_made_out_is_known_for_hiding() -> None:
    text = f"A={CANARY}-1\nbroken {CANARY}-2\nB='{CANARY}-3\n3'\nA='{CANARY}-4'"
    found = {value.get_secret_value() for value in extras.values(text)}
    assert {f"{CANARY}-1", f"{CANARY}-3\n3", f"{CANARY}-4"} <= found


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("A='b' # c", {"b", "b' # c", "'b' # c", "A='b' # c"}),
        ("A='b' # c\nB='d'", {"b", "b' # c", "b' # c\nB='d", "d"}),
        ('A="b" # c', {"b", 'b" # c', '"b" # c'}),
        ('A="b\nc" d', {"b\nc", 'b\nc" d'}),
        ("A='b\nc", {"b", "c"}),
        ("A=b # c", {"b", "b # c", "A=b # c"}),
        ("b c", {"b c"}),
        ("A=MIIB\nYWJjZGVm==", {"MIIB", "YWJjZGVm==", "YWJjZGVm"}),
        ("A=MIIB\nYWJjZGVmQUJD=\n", {"MIIB", "YWJjZGVmQUJD=", "YWJjZGVmQUJD"}),
    ],
)
def test_what_is_refused_is_hidden_in_every_form_that_may_be_meant(text: str, forms: set[str]) -> None:
    assert forms <= {value.get_secret_value() for value in extras.values(text)}


def test_a_key_is_hidden_only_where_it_may_be_a_part_of_a_secret() -> None:
    given = "NAME=b # c\nLABEL='b' # c\nTITLE=\"b\" # c\nYWJj=="
    assert {"NAME", "LABEL", "TITLE", "YWJj"} & {value.get_secret_value() for value in extras.values(given)} == {"YWJj"}
