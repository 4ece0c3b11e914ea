"""Read a definition, change our keys in it, and prove that nothing else changed."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.esc.definition import Exported, HeldKind, Name, parse
from sophia_sync.esc.merge import Change, merge, prove, prove_restored, restore
from sophia_sync.runtime.errors import DefinitionError
from tests.support.examples import examples
from tests.support.merges import check_corruption, check_merge, check_restore

DSN = Change("SENTRY_DSN", SecretStr("https://k@h.example/1"), secret=True)
SLUG = Change("SENTRY_PROJECT_SLUG", SecretStr("0123"), secret=False)
EXPORTED = Exported("SENTRY_DSN")
EXPORT = Change(EXPORTED, SecretStr("${SENTRY_DSN}"), secret=False)
BLOCK = '  SENTRY_DSN:\n    fn::secret: "https://k@h.example/1"\n  SENTRY_PROJECT_SLUG: "0123"\n'
FLOW = 'SENTRY_DSN: {fn::secret: "https://k@h.example/1"}, SENTRY_PROJECT_SLUG: "0123"'


REPAIR = "Repair it with `pulumi env edit` or in the Pulumi console, then run again."
NO_MAPPING = (
    "The environment's definition isn't a mapping. "
    "A definition has `imports:` and `values:` at its top; repair it and run again."
)
NO_VALUES = "`values:` in the environment's definition isn't a mapping. Repair it and run again."
NOT_A_MAPPING = (
    "`environmentVariables:` in the environment's definition isn't a mapping, so no key can be listed there. "
    "Make it a mapping of names to values, or leave out `export-environment-variables`, and run again."
)
ONE_OF_TWO = "Remove one of the two in the environment and run again."
NOT_ALONE = (
    "Our keys can't be changed in this definition without changing something else in it. "
    "Move the keys of this sync to lines of their own directly under `values:`, or remove them there once, "
    "and run again."
)
NOT_SET = "SENTRY_DSN can't be set in this definition. Remove SENTRY_DSN from the environment once, and run again."
NOT_SET_BACK = (
    "Our keys can't be set back without changing something else in the definition. "
    "Set them back by hand from the environment's revision history."
)


def merged(text: str, *changes: Change) -> str:
    return merge(parse(text), changes or (DSN, SLUG))


class TestHeld:
    @pytest.mark.parametrize(
        ("entry", "kind", "held"),
        [
            ("plain", HeldKind.PLAIN, "plain"),
            ("'0123'", HeldKind.PLAIN, "0123"),
            ("|-\n    two\n    lines", HeldKind.PLAIN, "two\nlines"),
            ("!!str 12", HeldKind.PLAIN, "12"),
            ("{fn::secret: s}", HeldKind.SECRET, "s"),
            ("\n    fn::secret: |\n      key\n", HeldKind.SECRET, "key\n"),
            ("{fn::secret: {ciphertext: ZXNjeA==}}", HeldKind.CIPHERTEXT, None),
            ("!!merge <<", HeldKind.PLAIN, "<<"),
            *((text, HeldKind.PLAIN, text) for text in ("yes", "No", "on", "=", "1:30", "2001-01-01", "1e400", "0xg")),
            *((text, HeldKind.OTHER, None) for text in ("1e5", "08", "0o17", "1234e5", "1_000", ".5", "-.inf", "~")),
            ("12", HeldKind.OTHER, None),
            ("true", HeldKind.OTHER, None),
            ("", HeldKind.OTHER, None),
            ("${other}", HeldKind.REFERENCES, "${other}"),
            ("a$$b", HeldKind.REFERENCES, "a$$b"),
            ("[a]", HeldKind.OTHER, None),
            ("{a: b}", HeldKind.OTHER, None),
            ("{fn::secret: 12}", HeldKind.SECRET, "12"),  # ESC takes only strings there, and shows some without quotes
            ("{fn::secret: [a]}", HeldKind.OTHER, None),
            ("{fn::secret: {ciphertext: a, b: c}}", HeldKind.OTHER, None),
            ("{fn::secret: s, b: c}", HeldKind.OTHER, None),
            ("{fn::open::aws-login: {}}", HeldKind.OTHER, None),
            ("{}", HeldKind.OTHER, None),
        ],
    )
    def test_kind_and_value(self, entry: str, kind: HeldKind, held: str | None) -> None:
        found = parse(f"values:\n  K: {entry}\n").held(["K"])["K"]
        assert found.kind is kind
        assert (found.value.get_secret_value() if found.value else None) == held
        assert found.encrypted == (kind in (HeldKind.SECRET, HeldKind.CIPHERTEXT))

    def test_names_at_the_top_match_without_regard_to_case(self) -> None:
        assert parse("Imports: [a]\nVALUES: {A: 1}\n").keys == ("A",)
        assert merged("Values:\n  A: 1\n", SLUG).startswith("Values:\n  A: 1\n  ")
        with pytest.raises(DefinitionError, match="`Values:` and `values:` are the same for ESC"):
            parse("Values: {A: 1}\nvalues: {B: 1}\n")

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "imports: [a]\n", "values:\n", "values: {}\n"])
    def test_nothing(self, text: str) -> None:
        assert parse(text).keys == ()

    @pytest.mark.parametrize(
        ("text", "refusal"),
        [
            ("a: [", f"The environment's definition isn't valid YAML (line 2, column 1). {REPAIR}"),
            ("values:\n  b: 1\n c: 2\n", f"The environment's definition isn't valid YAML (line 3, column 2). {REPAIR}"),
            ("a: \x01", f"The environment's definition isn't valid YAML. {REPAIR}"),
            ("- a\n", NO_MAPPING),
            ("~", NO_MAPPING),
            ('""', NO_MAPPING),
            ("values: [a]\n", NO_VALUES),
            ("values: text\n", NO_VALUES),
            ("values: !!str\n", NO_VALUES),
            (
                "a: 1\n---\nb: 2\n",
                "The definition holds more than one YAML document; ESC uses only the first. "
                "Remove what follows the second '---' in the environment and run again.",
            ),
            ("values: {a: 1, 'a': 2}\n", f"A key stands twice in `values:`: 'a'. {ONE_OF_TWO}"),
            ("values: {}\nvalues: {}\n", f"A key stands twice in the definition: 'values'. {ONE_OF_TWO}"),
        ],
    )
    def test_refused(self, text: str, refusal: str) -> None:
        with pytest.raises(DefinitionError) as error:
            parse(text)
        assert str(error.value) == refusal

    def test_keys_that_are_collections_are_nobodys_twin(self) -> None:
        assert parse('values: {[a]: 1, {b: c}: 2, "": 3}\n').keys == ("",)

    def test_a_tab_between_tokens_is_white_space_as_for_esc(self) -> None:
        assert parse("values: {\tA: 1,\n\tB: 2}\n").keys == ("A", "B")


class TestMerge:
    """Each case shows the text before and after."""

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("", "values:\n" + BLOCK),
            ("# head\n", "# head\nvalues:\n" + BLOCK),
            ("# head", "# head\nvalues:\n" + BLOCK),
            ("--- # start\n", "--- # start\nvalues:\n" + BLOCK),
            ("imports: [a]\n", "imports: [a]\nvalues:\n" + BLOCK),
            ("imports: [a]", "imports: [a]\nvalues:\n" + BLOCK.rstrip("\n")),
            ("values:\n", "values:\n" + BLOCK),
            ("values:  # why\nimports: [a]\n", "values:  # why\n" + BLOCK + "imports: [a]\n"),
            ("values: {}\n", f"values: {{{FLOW}}}\n"),
            ("values: null # why\n", f"values: {{{FLOW}}} # why\n"),
            ("values: ~", f"values: {{{FLOW}}}"),
            ("{}", f"{{values: {{{FLOW}}}}}"),
            ("{imports: [a]}", f"{{values: {{{FLOW}}}, imports: [a]}}"),
            ("{values: , imports: [a]}", f"{{values: {{{FLOW}}} , imports: [a]}}"),
            ("values: {A: 1,}\n", f"values: {{{FLOW}, A: 1,}}\n"),
            ('{"values":{"A":1}}', f'{{"values":{{{FLOW}, "A":1}}}}'),
            ("values:\n  A: 1 # x\n  # y\n\n# end\n", "values:\n  A: 1 # x\n  # y\n" + BLOCK + "\n# end\n"),
            ("values:\n  A: 1", "values:\n  A: 1\n" + BLOCK.rstrip("\n")),
            ("values:\n  A: |+\n    x\n\n\n# end\n", "values:\n  A: |+\n    x\n\n\n" + BLOCK + "# end\n"),
            ("values:\n  A: |\n    x", "values:\n" + BLOCK + "  A: |\n    x"),
            ("imports: |\n  x", "values:\n" + BLOCK + "imports: |\n  x"),
            (
                "values: !!map\n    A: 1\n",
                "values: !!map\n    A: 1\n" + BLOCK.replace("\n  ", "\n    ").replace("  S", "    S", 1),
            ),
            ("\ufeffvalues:\n", "\ufeffvalues:\n" + BLOCK),
            ("# head\r", "# head\rvalues:\n" + BLOCK),
            ("values:\n  A: >+\n    x\n\n\n# end\n", "values:\n  A: >+\n    x\n\n\n" + BLOCK + "# end\n"),
            ("values:\n  A: |+\n    x\n\n    ", "values:\n  A: |+\n    x\n\n" + BLOCK + "    "),
            ("values:\n  A: |\n    x\n\n# end\n", "values:\n  A: |\n    x\n" + BLOCK + "\n# end\n"),
            ("values:\n  ? A\n  : 1\n", "values:\n  ? A\n  : 1\n" + BLOCK),
            ("values:\n  A:\n    b:\n", "values:\n  A:\n    b:\n" + BLOCK),
            ("{values, imports: [a]}", f"{{values: {{{FLOW}}}, imports: [a]}}"),
            ("{values: }", f"{{values: {{{FLOW}}} }}"),
            ("{? values, imports: [a]}", f"{{? values: {{{FLOW}}}, imports: [a]}}"),
        ],
    )
    def test_new_keys(self, before: str, after: str) -> None:
        assert merged(before) == after

    def test_new_keys_with_crlf(self) -> None:
        assert merged("values:\r\n  A: 1\r\n") == "values:\r\n  A: 1\r\n" + BLOCK.replace("\n", "\r\n")

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("  SENTRY_DSN:\n    fn::secret:\n      ciphertext: a  # b\n", '  SENTRY_DSN:\n    fn::secret: "V"  # b\n'),
            ("  SENTRY_DSN:\n    # a\n    fn::secret: x\n", '  SENTRY_DSN:\n    # a\n    fn::secret: "V"\n'),
            ("  SENTRY_DSN: {fn::secret: x} # a\n", '  SENTRY_DSN: {fn::secret: "V"} # a\n'),
            ("  SENTRY_DSN: plain # a\n", '  SENTRY_DSN: {fn::secret: "V"} # a\n'),
            ("  'SENTRY_DSN' : |- # a\n    x\n\n", "  'SENTRY_DSN' : {fn::secret: \"V\"}\n\n"),
            ("  SENTRY_DSN: ${other}\n", '  SENTRY_DSN: {fn::secret: "V"}\n'),
            ("  SENTRY_DSN:\n    fn::open::x:\n      a: 1\n", '  SENTRY_DSN:\n    fn::secret: "V"\n'),
            ("  SENTRY_DSN:\n    - 1\n    - 2 # a\n", '  SENTRY_DSN: {fn::secret: "V"} # a\n'),
            (
                "  SENTRY_DSN: # a\n  # b\n  - 1\n  # c\n  A: 1\n",
                '  SENTRY_DSN: {fn::secret: "V"} # a\n  # b\n  # c\n  A: 1\n',
            ),
            ("  SENTRY_DSN: # a\n  - 1 # b\n", '  SENTRY_DSN: {fn::secret: "V"} # a\n   # b\n'),
            ("  SENTRY_DSN: # a\r\n  - 1\r\n  A: 1", '  SENTRY_DSN: {fn::secret: "V"} # a\r\n  A: 1'),
            ("  SENTRY_DSN: # a\r  - 1\r  A: 1", '  SENTRY_DSN: {fn::secret: "V"} # a\r  A: 1'),
            ("  SENTRY_DSN:\n    a:\n  A: 1\n", '  SENTRY_DSN:\n    fn::secret: "V"\n  A: 1\n'),
            ("  SENTRY_DSN: >\n    x\n\n\n  A: 1\n", '  SENTRY_DSN: {fn::secret: "V"}\n\n\n  A: 1\n'),
            ("  SENTRY_DSN: >\n    x\n   \n  A: 1\n", '  SENTRY_DSN: {fn::secret: "V"}\n   \n  A: 1\n'),
            ("  SENTRY_DSN: !!str\n  A: 1\n", '  SENTRY_DSN: {fn::secret: "V"}\n  A: 1\n'),
            ("  A: &a 1\n  SENTRY_DSN: x\n  B: *a\n", '  A: &a 1\n  SENTRY_DSN: {fn::secret: "V"}\n  B: *a\n'),
            ("  A: &a 1\n  SENTRY_DSN: *a\n", '  A: &a 1\n  SENTRY_DSN: {fn::secret: "V"}\n'),
            ("  SENTRY_DSN: [&a x, *a]\n", '  SENTRY_DSN: {fn::secret: "V"}\n'),
            ("  SENTRY_DSN: # a\n  - 1", '  SENTRY_DSN: {fn::secret: "V"} # a'),
            ("  SENTRY_DSN:\n  A: 1\n", '  SENTRY_DSN: {fn::secret: "V"}\n  A: 1\n'),
            ("  SENTRY_DSN: # a\n", '  SENTRY_DSN: {fn::secret: "V"} # a\n'),
            ("  SENTRY_DSN: &a x\n", '  SENTRY_DSN: {fn::secret: "V"}\n'),
            ("  ? SENTRY_DSN\n  : x\n", '  ? SENTRY_DSN\n  : {fn::secret: "V"}\n'),
        ],
    )
    def test_an_existing_key_in_block_style(self, before: str, after: str) -> None:
        assert merged("values:\n" + before, Change("SENTRY_DSN", SecretStr("V"), secret=True)) == "values:\n" + after

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("{SENTRY_DSN: x, A: 1}", '{SENTRY_DSN: "V", A: 1}'),
            ('{"SENTRY_DSN":"x"}', '{"SENTRY_DSN":"V"}'),
            ("{SENTRY_DSN, A}", '{SENTRY_DSN: "V", A}'),
            ("{SENTRY_DSN: , A: 1}", '{SENTRY_DSN: "V" , A: 1}'),
            ("{SENTRY_DSN: {fn::secret: {ciphertext: x}}}", '{SENTRY_DSN: "V"}'),
            ("{SENTRY_DSN:\n    [1,\n     2], A: 1}", '{SENTRY_DSN:\n    "V", A: 1}'),
        ],
    )
    def test_an_existing_key_in_flow_style(self, before: str, after: str) -> None:
        change = Change("SENTRY_DSN", SecretStr("V"), secret=False)
        assert merged(f"values: {before}\n", change) == f"values: {after}\n"

    def test_an_encrypted_key_in_block_style_becomes_plain(self) -> None:
        before = "values:\n  SENTRY_PROJECT_SLUG:\n    fn::secret:\n      ciphertext: a\n  A: 1\n"
        assert merged(before, SLUG) == 'values:\n  SENTRY_PROJECT_SLUG: "0123"\n  A: 1\n'

    def test_a_key_that_stood_alone_and_new_keys_after_it(self) -> None:
        assert merged("values:\n  SENTRY_DSN: # a\n  # b\n  - 1\n") == (
            'values:\n  SENTRY_DSN: {fn::secret: "https://k@h.example/1"} # a\n  # b\n  SENTRY_PROJECT_SLUG: "0123"\n'
        )
        assert merged("values:\n  SENTRY_DSN:\n") == (
            'values:\n  SENTRY_DSN: {fn::secret: "https://k@h.example/1"}\n  SENTRY_PROJECT_SLUG: "0123"\n'
        )

    @pytest.mark.parametrize(
        "text",
        [
            "values:\n  SENTRY_DSN: &a x\n  OTHER: *a\n",  # the alias would lose its anchor
            "values:\n  A: &a y\n  SENTRY_DSN: &a x\n  OTHER: *a\n",  # the alias would refer to another anchor
            "{values: {SENTRY_DSN: &a x, OTHER: *a}}",
            "values:\n  # no place is left for a key\n  ? [A]\n  : |+\n   x",
        ],
    )
    def test_refuses_what_would_change_something_else(self, text: str) -> None:
        with pytest.raises(DefinitionError) as error:
            merged(text)
        assert str(error.value) == NOT_ALONE

    @pytest.mark.parametrize("secret", [True, False])
    def test_a_long_value_stays_on_one_line_in_ascii(self, secret: bool) -> None:
        words = "ein Wört " * 200 + "\U0001f511"
        line = "ein W\\xF6rt " * 200 + "\\U0001F511"
        after = merged("", Change("K", SecretStr(words), secret))
        assert after == ("values:\n  K:\n    fn::secret: " if secret else "values:\n  K: ") + f'"{line}"\n'

    def test_a_thousand_keys(self) -> None:
        text = "values:\n" + "".join(f"  K{n}: {{fn::secret: v{n}}} # c\n" for n in range(1000))
        assert merged(text) == text + BLOCK


class TestProof:
    OLD = "# a\nimports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: old\n  B: two\n"

    @pytest.mark.parametrize(
        "new",
        [
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n", id="a foreign key is gone"),
            pytest.param("imports: [x]\nvalues:\n  A: 2\n  SENTRY_DSN: {S}\n  B: two\n", id="a foreign value differs"),
            pytest.param("imports: [x]\nvalues:\n  A: '1'\n  SENTRY_DSN: {S}\n  B: two\n", id="a foreign type differs"),
            pytest.param("imports: [x]\nvalues:\n  B: two\n  A: 1\n  SENTRY_DSN: {S}\n", id="foreign keys moved"),
            pytest.param("imports: [y]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="the imports differ"),
            pytest.param("values:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="the imports are gone"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\nB: two\n", id="a key left `values`"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n  C: 3\n", id="a key too many"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {P}\n  B: two\n", id="ours is not encrypted"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {W}\n  B: two\n", id="ours has another value"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {X}\n  B: two\n", id="ours is another function"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {T}\n  B: two\n", id="ours has a tag"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {M}\n  B: two\n", id="ours has one more key"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  B: two\n", id="ours is missing"),
            pytest.param("imports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n---\n", id="another document"),
            pytest.param("--- # x\nimports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="another head"),
            pytest.param("\ufeffimports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="another mark"),
            pytest.param("imports: [x]\nvalues: &v\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="an anchor"),
            pytest.param("imports: [x]\nvalues: {A: 1, SENTRY_DSN: {S}, B: two}\n", id="another style"),
            pytest.param("{imports: [x], values: {A: 1, SENTRY_DSN: {S}, B: two}}\n", id="another style of all"),
            pytest.param("!!map\nimports: [x]\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="a tag on all"),
            pytest.param("imports: {x}\nvalues:\n  A: 1\n  SENTRY_DSN: {S}\n  B: two\n", id="a foreign kind differs"),
            pytest.param("imports: [x\n", id="not YAML"),
        ],
    )
    def test_refuses(self, new: str) -> None:
        forms = {
            "{S}": '{fn::secret: "https://k@h.example/1"}',
            "{P}": '"https://k@h.example/1"',
            "{W}": '{fn::secret: "https://k@h.example/2"}',
            "{X}": '{fn::toJSON: "https://k@h.example/1"}',
            "{T}": '!!map {fn::secret: "https://k@h.example/1"}',
            "{M}": '{fn::secret: "https://k@h.example/1", a: b}',
        }
        for name, form in forms.items():
            new = new.replace(name, form)
        with pytest.raises(DefinitionError) as error:
            prove(parse(self.OLD), new, [DSN])
        assert str(error.value) in (NOT_ALONE, NOT_SET)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("values: &v {}\n", "values: {{S}}\n"),
            ("values: !!map {}\n", "values: {{S}}\n"),
            ("values: {}\n", "values: !!map {{S}}\n"),
            ("values: &v {}\n", "values: &w {{S}}\n"),
            ("values: {}\nimports: [a]\n", "{values: {{S}}, imports: [a]}\n"),
            ("values:\n  A: []\n", "values:\n  A: {}\n  {S}\n"),
            ("values:\n  A: [[]]\n", "values:\n  A: [{}]\n  {S}\n"),
            ("values:\n  A: &a x\n  B: *a\n", "values:\n  A: &a x\n  B: x\n  {S}\n"),
            ("values:\n  A: &a x\n  B: &b x\n  C: *a\n", "values:\n  A: &a x\n  B: &b x\n  C: *b\n  {S}\n"),
            ("--- # x\nvalues: {}\n", "%YAML 1.1\n---\nvalues: {{S}}\n"),
            ("--- # x\nvalues: {}\n", "%TAG !e! tag:e,2000:\n---\nvalues: {{S}}\n"),
            ("\ufeffvalues: {}\n", "values: {{S}}\n"),
        ],
    )
    def test_refuses_another_rest(self, old: str, new: str) -> None:
        new = new.replace("{S}", 'SENTRY_DSN: {fn::secret: "https://k@h.example/1"}')
        with pytest.raises(DefinitionError) as error:
            prove(parse(old), new, [DSN])
        assert str(error.value) == NOT_ALONE

    @pytest.mark.parametrize("other", ['"https://k@h.example/1"', '{fn::secret: "W"}', "{fn::secret: {a: b}}", "[a]"])
    def test_names_the_key_that_is_not_as_it_was_asked_for(self, other: str) -> None:
        with pytest.raises(DefinitionError) as error:
            prove(parse(""), f"values: {{SENTRY_DSN: {other}}}\n", [DSN])
        assert str(error.value) == NOT_SET

    def test_accepts_what_merge_makes(self) -> None:
        prove(parse(self.OLD), merged(self.OLD, DSN), [DSN])

    def test_a_plain_key_must_be_a_quoted_string(self) -> None:
        for value_ in ("0123", "!!str 0123", '!!str "0123"', '"0124"', '{fn::secret: "0123"}'):
            with pytest.raises(DefinitionError):
                prove(parse(""), f"values:\n  SENTRY_PROJECT_SLUG: {value_}\n", [SLUG])
        prove(parse(""), 'values:\n  SENTRY_PROJECT_SLUG: "0123"\n', [SLUG])


@settings(max_examples=examples(300), deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_definitions(rng: random.Random) -> None:
    check_merge(rng)


@settings(max_examples=examples(200), deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_corruptions(rng: random.Random) -> None:
    check_corruption(rng)


@settings(max_examples=examples(200), deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_edits_by_others_before_a_change_is_set_back(rng: random.Random) -> None:
    check_restore(rng)


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_value_survives(text: str) -> None:
    for secret in (True, False):
        change = Change("K", SecretStr(text), secret)
        after = merge(parse("values:\n  A: 1\n"), [change])
        held = yaml.load(after, Loader=yaml.SafeLoader)["values"]["K"]
        assert (held["fn::secret"] if secret else held) == text


class TestRestore:
    BEFORE = "# a\nvalues:\n  A: 1\n  SENTRY_DSN:  # keep\n    fn::secret:\n      ciphertext: old\n  B: 2\n"

    @staticmethod
    def encrypted(text: str) -> str:
        """Return what ESC stores for a text: our DSN as ciphertext, everything else as sent."""
        return text.replace('"https://k@h.example/1"', "{ciphertext: new}")

    def restored(self, before: str, now: str, *keys: str) -> str:
        return restore(parse(now), parse(before), parse(merged(before, DSN, SLUG)), keys or ("SENTRY_DSN", SLUG.key))

    @pytest.mark.parametrize(
        "before",
        [
            BEFORE,
            "",
            "# only a comment",
            "imports: [a]\n",
            "values: {}\n",
            "values: {A: 1, SENTRY_DSN: x}\r\n",
            "values:\n  SENTRY_PROJECT_SLUG: |+\n    a\n\n  A: 1\n",
            "values:\n  SENTRY_DSN: # a\n  # b\n  - 1\n",
        ],
    )
    def test_to_the_byte_where_nobody_else_wrote(self, before: str) -> None:
        assert self.restored(before, self.encrypted(merged(before, DSN, SLUG))) == before

    def test_keeps_what_others_wrote_since(self) -> None:
        now = self.encrypted(merged(self.BEFORE, DSN, SLUG)).replace("  B: 2\n", "  B: 3 # new\n  C: 4\n")
        assert self.restored(self.BEFORE, now) == self.BEFORE.replace("  B: 2\n", "  B: 3 # new\n  C: 4\n")

    def test_keeps_a_comment_that_others_wrote_since(self) -> None:
        now = self.encrypted(merged(self.BEFORE, DSN, SLUG)).replace("# a\n", "# b\n")
        assert self.restored(self.BEFORE, now) == self.BEFORE.replace("# a\n", "# b\n")

    @pytest.mark.parametrize(
        ("before", "now", "after"),
        [
            ("values: {A: 1}", "values: {SENTRY_DSN: {fn::secret: {ciphertext: n}}, A: 2}", "values: {A: 2}"),
            ("values: {A: 1}", "values: {A: 2, SENTRY_DSN: {fn::secret: {ciphertext: n}}}", "values: {A: 2, }"),
            ("values: {}", "values: {SENTRY_DSN: {fn::secret: {ciphertext: n}}, A: 2}", "values: {A: 2}"),
            ("", "values:\n  SENTRY_DSN: {fn::secret: {ciphertext: n}}\n  A: 2\n", "values:\n  A: 2\n"),
            ("", "values:\n  A: 2\n  SENTRY_DSN: {fn::secret: {ciphertext: n}}", "values:\n  A: 2"),
            (
                "values:\n  SENTRY_DSN: |+\n    x\n\n  A: 1\n",
                'values:\n  SENTRY_DSN: {fn::secret: {ciphertext: n}}\n\n  A: "1"\n',
                'values:\n  SENTRY_DSN: |+\n    x\n\n  A: "1"\n',
            ),
            # A section that nothing is left in is as it was, or `{}`: ESC refuses `values:` without a value.
            ("imports: [a]\n", "imports: [b]\nvalues:\n  SENTRY_DSN: n\n", "imports: [b]\n"),
            ("{imports: [a]}", "{imports: [b], values: {SENTRY_DSN: n}}", "{imports: [b], }"),
            ("imports: [a]\nvalues: {}\n", "imports: [b]\nvalues:\n  SENTRY_DSN: n\n", "imports: [b]\nvalues: {}\n"),
            ("values: {A: 1}\n", "# b\nvalues:\n  SENTRY_DSN: n\n", "# b\nvalues: {}\n"),
            ("", "# b\nvalues:\n  SENTRY_DSN: n\n", "# b\nvalues: {}\n"),
        ],
    )
    def test_an_entry_that_is_to_go_or_to_come_back(self, before: str, now: str, after: str) -> None:
        assert self.restored(before, now, "SENTRY_DSN") == after

    def test_refuses_what_it_can_not_prove(self) -> None:
        with pytest.raises(DefinitionError) as error:
            self.restored(self.BEFORE, "values: {SENTRY_DSN: {fn::secret: {ciphertext: n}}, A: 2}", "SENTRY_DSN")
        assert str(error.value) == NOT_SET_BACK

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("values:\n  SENTRY_DSN: new\n  A: 2\n", id="ours is not set back"),
            pytest.param("values:\n  SENTRY_DSN: 'old'\n  A: 2\n", id="ours has another style"),
            pytest.param("values:\n  SENTRY_DSN: older\n  A: 2\n", id="ours is something else"),
            pytest.param("values:\n  A: 2\n", id="ours is gone"),
            pytest.param("values:\n  SENTRY_DSN: old\n  SENTRY_PROJECT_SLUG: a\n  A: 2\n", id="ours is still there"),
            pytest.param("values:\n  SENTRY_DSN: old\n  A: 1\n", id="another's change is lost"),
            pytest.param("values:\n  SENTRY_DSN: old\n", id="another's key is lost"),
            pytest.param("values: [\n", id="not YAML"),
        ],
    )
    def test_the_proof_refuses(self, text: str) -> None:
        now = parse("values:\n  SENTRY_DSN: new\n  SENTRY_PROJECT_SLUG: a\n  A: 2\n")
        before = parse("values:\n  SENTRY_DSN: old\n  A: 1\n")
        keys = ["SENTRY_DSN", "SENTRY_PROJECT_SLUG"]
        prove_restored(now, before, "values:\n  SENTRY_DSN: old\n  A: 2\n", keys)
        with pytest.raises(DefinitionError) as error:
            prove_restored(now, before, text, keys)
        assert str(error.value) == NOT_SET_BACK


class TestExported:
    """Our entries under `environmentVariables:`, in addition to those directly under `values:`."""

    DSN = '  SENTRY_DSN:\n    fn::secret: "https://k@h.example/1"\n'
    ENTRY = 'SENTRY_DSN: "${SENTRY_DSN}"'

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", {}),
            ("values:\n", {}),
            ("values: {}\n", {}),
            ("values:\n  environmentVariables:\n", {}),
            ("values:\n  environmentVariables: {B: SENTRY_DSN}\n", {}),
            ("values:\n  SENTRY_DSN: y\n", {"SENTRY_DSN": "y"}),
            ("environmentVariables: {SENTRY_DSN: x}\nvalues:\n  SENTRY_DSN: y\n", {"SENTRY_DSN": "y"}),
            (
                "values:\n  environmentVariables: {? [a] : b, SENTRY_DSN: x, B: c}\n  SENTRY_DSN: y\n",
                {"SENTRY_DSN": "y", EXPORTED: "x"},
            ),
        ],
    )
    def test_what_is_held(self, text: str, found: dict[Name, str]) -> None:
        held = parse(text).held(["SENTRY_DSN", EXPORTED, Exported("MISSING")])
        assert {name: entry.value and entry.value.get_secret_value() for name, entry in held.items()} == found

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("", "values:\n{D}  environmentVariables:\n    {E}\n"),
            ("values:\n  A: 1\n", "values:\n  A: 1\n{D}  environmentVariables:\n    {E}\n"),
            (
                "values:\n  environmentVariables:\n    B: 2\n  A: 1\n",
                "values:\n  environmentVariables:\n    B: 2\n    {E}\n  A: 1\n{D}",
            ),
            (
                "values:\n  environmentVariables:\n  A: 1\n",
                "values:\n  environmentVariables:\n    {E}\n  A: 1\n{D}",
            ),
            (
                "values:\n  environmentVariables: null\n",
                "values:\n  environmentVariables: {{E}}\n{D}",
            ),
            (
                "values:\n  environmentVariables: {B: 2}\n  A: 1\n",
                "values:\n  environmentVariables: {{E}, B: 2}\n  A: 1\n{D}",
            ),
            (
                "values:\n  environmentVariables:\n    SENTRY_DSN: other # c\n    B: 2\n",
                "values:\n  environmentVariables:\n    {E} # c\n    B: 2\n{D}",
            ),
            (
                "values: {environmentVariables: {B: 2}, A: 1}\n",
                "values: {{F}, environmentVariables: {{E}, B: 2}, A: 1}\n",
            ),
        ],
    )
    def test_merged_beside_the_key(self, before: str, after: str) -> None:
        for name, form in (("{D}", self.DSN), ("{E}", self.ENTRY), ("{F}", FLOW.partition(", ")[0])):
            after = after.replace(name, form)
        assert merged(before, DSN, EXPORT) == after

    def test_merged_alone(self) -> None:
        after = f"\ufeffvalues:\r\n  A: 1\r\n  environmentVariables:\r\n    {self.ENTRY}\r\n"
        assert merged("\ufeffvalues:\r\n  A: 1\r\n", EXPORT) == after

    @pytest.mark.parametrize(
        ("text", "refusal"),
        [
            ("values:\n", NOT_ALONE),  # the reference has no key to refer to
            ("", NOT_ALONE),
            ("values:\n  environmentVariables: [1]\n", NOT_A_MAPPING),
            (
                "values:\n  environmentVariables:\n    B: 1\n    B: 2\n",
                f"A key stands twice in `environmentVariables:`: 'B'. {ONE_OF_TWO}",
            ),
        ],
    )
    def test_refused(self, text: str, refusal: str) -> None:
        with pytest.raises(DefinitionError) as error:
            merged(text, EXPORT)
        assert str(error.value) == refusal

    @pytest.mark.parametrize(
        "new",
        [
            pytest.param("A: 1, environmentVariables: {B: 3, {E}}", id="another variable differs"),
            pytest.param("A: 1, environmentVariables: {{E}}", id="another variable is gone"),
            pytest.param("A: 1, environmentVariables: {B: 2, C: 3, {E}}", id="a variable too many"),
            pytest.param("A: 2, environmentVariables: {B: 2, {E}}", id="another value differs"),
            pytest.param("environmentVariables: {B: 2, {E}}", id="another value is gone"),
            pytest.param("A: 1, SENTRY_DSN: x, environmentVariables: {B: 2, {E}}", id="a key that wasn't asked for"),
            pytest.param("A: 1, environmentVariables: &v {B: 2, {E}}", id="an anchor"),
            pytest.param("A: 1, environmentVariables: {B: 2}, {E}", id="in the wrong place"),
            pytest.param("A: 1, environmentVariables: {B: 2}", id="ours is missing"),
            pytest.param('A: 1, environmentVariables: {B: 2, SENTRY_DSN: "$SENTRY_DSN"}', id="ours differs"),
        ],
    )
    def test_the_proof_refuses(self, new: str) -> None:
        old = parse("values: {A: 1, environmentVariables: {B: 2}}\n")
        prove(old, f"values: {{A: 1, environmentVariables: {{B: 2, {self.ENTRY}}}}}\n", [EXPORT])
        with pytest.raises(DefinitionError) as error:
            prove(old, f"values: {{{new.replace('{E}', self.ENTRY)}}}\n", [EXPORT])
        assert str(error.value) in (NOT_ALONE, NOT_SET.replace("SENTRY_DSN", str(EXPORTED)))

    @pytest.mark.parametrize(
        "before",
        [
            "# a\nvalues:\n  SENTRY_DSN: x\n  environmentVariables:\n    B: 2\n",
            '# a\nvalues:\n  SENTRY_DSN: x\n  environmentVariables:\n    B: 2\n    SENTRY_DSN: "y"\n',
            "# a\nvalues:\n  environmentVariables: {B: 2}\n  C: 3\n",
        ],
    )
    def test_set_back_around_what_others_wrote_since(self, before: str) -> None:
        sent = merged(before, DSN, EXPORT)
        names: list[Name] = ["SENTRY_DSN", EXPORTED]
        assert restore(parse(sent), parse(before), parse(sent), names) == before
        now = sent.replace("B: 2", "B: 3")
        assert restore(parse(now), parse(before), parse(sent), names) == before.replace("B: 2", "B: 3")

    @pytest.mark.parametrize(
        "before",
        [
            "imports: [a]\n",
            "imports: [a]\nvalues:\n  A: 1\n",
            "imports: [a]\nvalues: {}\n",
            "imports: [a]\nvalues:\n  environmentVariables: {}\n",
            "imports: [a]\nvalues: {environmentVariables: {}}\n",
            "imports: [a]\nvalues:\n  environmentVariables: {SENTRY_DSN: x}\n",
        ],
    )
    def test_a_section_that_the_sync_made_goes_with_it(self, before: str) -> None:
        sent = merged(before, DSN, EXPORT)
        now = sent.replace("[a]", "[b]")
        assert restore(parse(now), parse(before), parse(sent), ["SENTRY_DSN", EXPORTED]) == before.replace("[a]", "[b]")

    @pytest.mark.parametrize(
        ("before", "rest", "after"),
        [
            (
                "values: {A: 1}",
                "values: {A: 1, environmentVariables: {SENTRY_DSN: n}}",
                "{A: 1, environmentVariables: }",
            ),
            ("{imports: [a]}", "{imports: [a], values: {SENTRY_DSN: n}}", "{imports: [a], values: }"),
        ],
    )
    def test_the_proof_refuses_a_section_left_without_a_value(self, before: str, rest: str, after: str) -> None:
        now = parse(rest)
        names: list[Name] = ["SENTRY_DSN", EXPORTED]
        prove_restored(now, parse(before), before, names)
        with pytest.raises(DefinitionError):
            prove_restored(now, parse(before), f"values: {after}" if "A" in after else after, names)


def test_a_definition_nested_deeper_than_esc_takes_is_refused() -> None:
    with pytest.raises(DefinitionError, match="nested deeper"):
        parse(f"values:\n  a: {'[' * 200_000}\n")
