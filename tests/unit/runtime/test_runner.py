"""The GitHub runner reads our workflow commands, outputs and summary as we mean them."""

from __future__ import annotations

import contextlib
import io
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from sophia_sync.runtime.redact import Redactor, forms
from sophia_sync.runtime.runner import Runner
from tests.support.examples import examples
from tests.support.runner import Command, commands, parse_log, parse_outputs

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Titles have no white space at their ends, because the runner drops it.
TITLE = TEXT.filter(lambda text: bool(text.strip()) and text == text.strip() and not text.startswith("="))
LIKE_COMMANDS = st.sampled_from(
    ["::", "::error::", "##[", "##[error]", "]", "::add-mask::x", "%0A", "%25", " ", "\n", "\r"]
)
NOISE = st.lists(st.one_of(LIKE_COMMANDS, st.text(max_size=5)), max_size=8).map("".join)


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit the files that this process writes to `size` bytes each."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def log_of(*, on_runner: bool = True, hidden: str = "") -> tuple[Runner, io.StringIO]:
    stream = io.StringIO(newline="")
    return Runner(stream, Redactor([SecretStr(hidden)]), on_runner=on_runner), stream


class TestAnnotations:
    @settings(max_examples=examples(300), deadline=None)
    @given(text=st.one_of(TEXT, NOISE), title=TITLE)
    def test_any_text_arrives_as_it_was_meant(self, text: str, title: str) -> None:
        for level in ("error", "warning", "notice"):
            runner, stream = log_of()
            getattr(runner, level)(text, title)
            assert parse_log(stream.getvalue()) == [Command(level, text, {"title": title})]

    def test_off_a_runner_they_are_plain_lines(self) -> None:
        runner, stream = log_of(on_runner=False)
        runner.error("It failed.", "Sync")
        runner.warning("It is odd.", "Sync")
        runner.notice("It is done.")  # prints nothing: the log has it already
        assert stream.getvalue() == "error: Sync: It failed.\nwarning: Sync: It is odd.\n"

    def test_hide_secrets_in_text_and_title(self) -> None:
        runner, stream = log_of(hidden="token-17")
        runner.error("about token-17", "token-17")
        assert parse_log(stream.getvalue()) == [Command("error", "about ***", {"title": "***"})]


class TestLines:
    @settings(max_examples=examples(500), deadline=None)
    @given(text=st.one_of(TEXT, NOISE))
    def test_no_text_is_taken_for_a_command(self, text: str) -> None:
        runner, stream = log_of()
        runner.line(text)
        assert [entry for entry in parse_log(stream.getvalue()) if isinstance(entry, Command)] == []

    def test_an_ordinary_line_stays_as_it_is(self) -> None:
        runner, stream = log_of(hidden="token-17")
        runner.line("  a: b # c")
        runner.line("")
        runner.line("two\nlines with token-17")
        assert stream.getvalue() == "  a: b # c\n\ntwo\nlines with ***\n"

    def test_a_line_with_what_would_be_a_command_can_still_be_read(self) -> None:
        runner, stream = log_of()
        runner.line("::error::no command")
        runner.line("said: ##[error]no command")
        assert "error::no command" in stream.getvalue()
        assert "error]no command" in stream.getvalue()


class TestGroups:
    def test_end_also_where_something_fails_within(self) -> None:
        runner, stream = log_of(hidden="token-17")

        def fail() -> None:
            with runner.group("Sync 100%\ntoken-17"):
                runner.line("within")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert parse_log(stream.getvalue()) == [Command("group", "Sync 100%\n***"), "within", Command("endgroup", "")]

    def test_off_a_runner_are_a_plain_title(self) -> None:
        runner, stream = log_of(on_runner=False)
        with runner.group("Sync"):
            runner.line("within")
        assert stream.getvalue() == "Sync\nwithin\n"


class TestMasks:
    @settings(max_examples=examples(200), deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=4))
    def test_the_runner_is_told_every_form(self, secret: str) -> None:
        runner, stream = log_of()
        runner.hide(SecretStr(secret))
        masks = [command.data for command in commands(stream.getvalue(), "add-mask")]
        assert set(masks) == forms(secret)
        assert len(parse_log(stream.getvalue())) == len(masks)

    def test_the_whole_of_a_secret_with_many_lines_is_one_mask(self) -> None:
        runner, stream = log_of()
        runner.hide(SecretStr("-----BEGIN 100%\r\nabcdef\n-----END"))
        masks = {command.data for command in commands(stream.getvalue(), "add-mask")}
        assert {"-----BEGIN 100%\r\nabcdef\n-----END", "-----BEGIN 100%", "abcdef", "-----END"} <= masks

    def test_what_is_too_short_ruins_no_log(self) -> None:
        runner, stream = log_of()
        for short in ("", "1", "abc", "a\nb"):
            runner.hide(SecretStr(short))
        assert [mask for mask in commands(stream.getvalue(), "add-mask") if len(mask.data) < 4] == []

    def test_a_secret_is_told_once(self) -> None:
        runner, stream = log_of()
        runner.hide(SecretStr("token-17"))
        told = stream.getvalue()
        runner.hide(SecretStr("token-17"))
        assert stream.getvalue() == told

    def test_off_a_runner_nothing_is_printed_and_the_secret_is_hidden(self) -> None:
        runner, stream = log_of(on_runner=False)
        runner.hide(SecretStr("token-17"))
        assert stream.getvalue() == ""
        runner.line("token-17")
        assert stream.getvalue() == "***\n"

    def test_a_secret_that_is_no_valid_text_can_be_hidden(self) -> None:
        for on_runner in (True, False):
            runner, stream = log_of(on_runner=on_runner)
            runner.hide(SecretStr("token\udcff17"))
            runner.error("token\udcff17 and \udcfe")
            stream.getvalue().encode()
            assert "token" not in stream.getvalue().splitlines()[-1]


class TestOutputs:
    @settings(max_examples=examples(300), deadline=None)
    @given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True), TEXT))
    def test_any_value_arrives_as_it_was_set(self, outputs: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "output"
            runner = Runner(io.StringIO(), Redactor(), on_runner=True, output_path=path)
            for name, value in outputs.items():
                runner.output(name, value)
            written = path.read_bytes().decode() if outputs else ""
        assert parse_outputs(written) == outputs

    def test_no_value_can_end_early(self, tmp_path: Path) -> None:
        path = tmp_path / "output"
        runner = Runner(io.StringIO(), Redactor(), on_runner=True, output_path=path)
        runner.output("first", "x")
        delimiter = path.read_text().splitlines()[-1]
        runner.output("second", f"{delimiter}\nthird=stolen")
        assert parse_outputs(path.read_text()) == {"first": "x", "second": f"{delimiter}\nthird=stolen"}

    @pytest.mark.parametrize("word", ["null", "synced", "error"])
    def test_are_whole_where_a_secret_is_a_common_word(self, tmp_path: Path, word: str) -> None:
        path = tmp_path / "output"
        runner = Runner(io.StringIO(), Redactor(), on_runner=True, output_path=path)
        runner.hide(SecretStr(word))
        outputs = {"result": "synced", "environments": '[{"error": null}]'}
        for name, value in outputs.items():
            runner.output(name, value)
        assert parse_outputs(path.read_text()) == outputs

    def test_are_set_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "output"
        runner = Runner(io.StringIO(), Redactor(), on_runner=True, output_path=path)
        runner.output("first", "1")
        with room_for(path.stat().st_size + 30), pytest.raises(OSError, match="No space left"):
            runner.output("second", "2" * 100)
        runner.output("third", "3")
        assert parse_outputs(path.read_text()) == {"first": "1", "third": "3"}

    def test_without_a_file_are_dropped(self) -> None:
        runner, stream = log_of()
        runner.output("name", "value")
        assert stream.getvalue() == ""


class TestSummary:
    def test_is_added_to_what_is_there_without_secrets(self, tmp_path: Path) -> None:
        path = tmp_path / "summary"
        path.write_text("before\n")
        runner = Runner(io.StringIO(), Redactor([SecretStr("token-17")]), on_runner=True, summary_path=path)
        runner.summary("# token-17 ✅\n")
        assert path.read_text(encoding="utf-8") == "before\n# *** ✅\n"

    def test_without_a_file_is_dropped(self) -> None:
        runner, stream = log_of()
        runner.summary("# text")
        assert stream.getvalue() == ""
