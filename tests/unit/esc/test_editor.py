"""The file that the CLI hands to its editor, and the part that the CLI would cut off."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_sync.esc import editor
from sophia_sync.runtime.errors import DefinitionError
from tests.support.examples import examples

LINES = st.lists(
    st.sampled_from(
        (
            *("---", "--- # x", "  ---", "a: ---b", "# ---", "---\r", "values:", "  A: 1", "", "{", "}"),
            *("# Diagnostics", "# Please edit the environment definition above."),
        )
    ),
    max_size=8,
)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))
EVALUATED = st.one_of(
    st.none(), st.dictionaries(st.text(max_size=4), st.sampled_from(["---", "x\n---\n", "[secret]", 1]), max_size=3)
)
DIAGNOSTICS = st.one_of(st.none(), st.sampled_from(["Error: unknown\n\n  on x line 2:\n   2:   A: ${b}\n\n"]))


def handed_to_the_editor(text: str, evaluated: dict[str, object] | None, diagnostics: str | None) -> bytes:
    """Return the editor's file, as `envEditCommand.editWithYAMLEditor` in github.com/pulumi/esc writes it."""
    details = ""
    if diagnostics is not None:
        details += "---\n" + f"# Diagnostics\n\n{diagnostics}".replace("\n", "\n# ")
    if evaluated is not None:
        details += (
            "---\n# Please edit the environment definition above.\n# The object below is the current result of\n"
            "# evaluating the environment and will not be\n# saved. An empty definition aborts the edit.\n\n"
            + json.dumps(evaluated, indent=2)
            + "\n"
        )
    if details and text and not text.endswith("\n"):
        text += "\n"
    return (text + details).encode()


def taken_from_the_editor(text: str) -> str:
    """Return what the CLI saves of an editor's file. Transcribed from the end of the same function."""
    at = text.find("---")
    if at != -1:
        is_separator = True
        if at + 3 < len(text) and text[at + 3] != "\n":
            is_separator = False
        if at != 0 and text[at - 1] != "\n":
            is_separator = False
        if is_separator:
            text = text[:at]
    return text


class TestEditor:
    @settings(max_examples=examples(500), deadline=None)
    @given(text=TEXTS, evaluated=EVALUATED, diagnostics=DIAGNOSTICS)
    def test_the_definition_is_told_from_what_the_cli_puts_below_it(
        self, text: str, evaluated: dict[str, object] | None, diagnostics: str | None
    ) -> None:
        if evaluated is None and diagnostics is None:
            return
        newline = "" if text.endswith("\n") or not text else "\n"
        stored = editor.parse(handed_to_the_editor(text, evaluated, diagnostics))
        assert stored.text == text + newline
        assert stored.problems == (("unknown",) if diagnostics and evaluated is None else ())

    def test_an_empty_definition_has_nothing_below_it(self) -> None:
        assert editor.parse(b"") == editor.Stored("")

    def test_a_definition_that_is_no_text(self) -> None:
        with pytest.raises(DefinitionError, match="isn't valid UTF-8"):
            editor.parse(b"A: \xff")

    @settings(max_examples=examples(500), deadline=None)
    @given(text=TEXTS)
    def test_what_the_cli_would_cut_off_is_noticed(self, text: str) -> None:
        assert editor.would_cut(text) == (taken_from_the_editor(text) != text)

    @pytest.mark.parametrize(
        ("text", "cut"),
        [
            ("---\nvalues: {}\n", True),
            ("values:\n  A: 1\n---\n", True),
            ("---", True),
            ("values:\n  A: |\n    x\n    ---\n", False),
            ("# --- head ---\n---\n", False),  # the CLI looks only at the first `---`
            ("---\r\nvalues: {}\r\n", False),
            ("values:\n  A: a---b\n", False),
            ("", False),
        ],
    )
    def test_examples(self, text: str, cut: bool) -> None:
        assert editor.would_cut(text) == cut
