"""Others change the environment at the same time: their changes are kept, and ours are right in the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sandbox import Sandbox
from tests.support.action import Action
from tests.support.inputs import VALID

pytestmark = pytest.mark.pulumi

READ, WRITE = "env get", "env edit"
TOKEN = "SENTRY_API_TOKEN"
RIGHT = {
    "SENTRY_DSN": VALID["sentry-dsn"],
    TOKEN: VALID["sentry-api-token"],
    "SENTRY_ORGANIZATION_SLUG": VALID["sentry-organization-slug"],
    "SENTRY_PROJECT_SLUG": VALID["sentry-project-slug"],
}


@pytest.fixture
def definition_request(action: Action) -> str:
    """Return the request by which the CLI reads the definition that it is about to edit."""
    return f"/api/esc/environments/{action.environment}"


@pytest.fixture
def save(action: Action, box: Sandbox) -> Callable[[str, str], Callable[[], object]]:
    """Return a function that makes another writer, who replaces a text in the definition."""

    def writer(old: str, new: str) -> Callable[[], object]:
        def write() -> None:
            assert old in action.stored
            box.esc.save(action.environment, action.stored.replace(old, new, 1))

        return write

    return writer


Save = Callable[[str, str], Callable[[], object]]


class TestOneOtherWriter:
    def test_between_our_read_and_our_edit(
        self, action: Action, box: Sandbox, save: Save, definition_request: str
    ) -> None:
        action.create("values:\n  A: 1 # theirs\n")
        box.esc.before(f"GET {definition_request}", save("A: 1", "A: 2"))
        ran = action.run()
        assert ran.code == 0
        assert action.values == {"A": 2, **RIGHT}
        assert "  A: 2 # theirs\n" in action.stored

    def test_between_the_read_of_our_edit_and_its_write(
        self, action: Action, box: Sandbox, save: Save, definition_request: str
    ) -> None:
        action.create("values:\n  A: 1 # theirs\n")
        box.esc.before(f"PATCH {definition_request}", save("A: 1", "A: 2"))
        before = action.revision
        ran = action.run()
        assert ran.code == 0
        assert action.values == {"A": 2, **RIGHT}
        assert action.revision == before + 2
        assert ran.outputs["revision"] == str(action.revision)

    def test_who_writes_one_of_our_keys(
        self, action: Action, box: Sandbox, save: Save, definition_request: str
    ) -> None:
        action.create("values:\n  A: 1\n")
        box.esc.before(f"GET {definition_request}", save("A: 1", f"A: 1\n  {TOKEN}: theirs"))
        ran = action.run()
        assert ran.code == 0
        assert action.values == {"A": 1, **RIGHT}
        assert action.is_encrypted(TOKEN)

    def test_who_writes_what_we_were_about_to_write(
        self, action: Action, box: Sandbox, definition_request: str
    ) -> None:
        """Two syncs at once: one of them finds nothing left to do."""
        action.create()
        text = "".join(f"  {key}: {value}\n" for key, value in RIGHT.items() if "SLUG" in key)
        text += "".join(f"  {key}: {{fn::secret: '{value}'}}\n" for key, value in RIGHT.items() if "SLUG" not in key)
        box.esc.before(f"PATCH {definition_request}", lambda: box.esc.save(action.environment, f"values:\n{text}"))
        ran = action.run()
        assert ran.code == 0
        assert ran.outputs["result"] == "unchanged"
        assert action.values == RIGHT


@pytest.mark.full
class TestOthersForEver:
    def test_end_with_nothing_of_ours(self, action: Action, box: Sandbox, definition_request: str) -> None:
        action.create("values:\n  A: 1\n")
        numbers = iter(range(2, 1000))
        box.esc.before(
            f"PATCH {definition_request}",
            lambda: box.esc.save(action.environment, f"values:\n  A: {next(numbers)}\n"),
            times=None,
        )
        ran = action.run(deploy="always", timeout="20")
        assert ran.code == 4
        assert action.values.keys() == {"A"}
        assert len(ran.annotations) == 1
        assert "Somebody else changed the environment at the same time" in ran.annotations[0]
        assert box.github.requests == []
        assert action.values["A"] == next(numbers) - 1


class TestReadBack:
    def test_that_differs_dispatches_nothing(self, action: Action, box: Sandbox, definition_request: str) -> None:
        action.create(f"values:\n  A: 1 # theirs\n  {TOKEN}: {{fn::secret: old}}\n")

        def mangle() -> None:
            """Make ESC store another value of our key than the one that was sent."""
            revision = box.esc.environments.get(action.environment).revisions.pop()
            text = revision.definition.replace("SENTRY_PROJECT_SLUG: ", "SENTRY_PROJECT_SLUG: x # ")
            box.esc.environments.get(action.environment).add_revision(text, revision.author)

        box.esc.after(f"PATCH {definition_request}", mangle)
        ran = action.run(deploy="always", timeout="20")
        assert ran.code == 5
        assert len(ran.annotations) == 1
        assert "SENTRY_PROJECT_SLUG (another value)" in ran.annotations[0]
        assert "Nothing was deployed" in ran.annotations[0]
        assert box.github.requests == []
        assert "  A: 1 # theirs\n" in action.stored
        assert action.values == {"A": 1, TOKEN: "old"}
        assert action.is_encrypted(TOKEN)

    def test_that_shows_another_writer_leaves_their_change_alone(
        self, action: Action, box: Sandbox, save: Save, definition_request: str
    ) -> None:
        action.create("values:\n  A: 1 # theirs\n")
        box.esc.after(
            f"PATCH {definition_request}", save(f'"{RIGHT["SENTRY_PROJECT_SLUG"]}"', '"theirs" # since today')
        )
        ran = action.run(deploy="always", timeout="20")
        assert ran.code == 5
        assert "somebody else" in ran.annotations[0]
        assert action.values["SENTRY_PROJECT_SLUG"] == "theirs"
        assert box.github.requests == []


@pytest.mark.full
class TestAWriteWhoseAnswersAreLost:
    def test_to_the_last_one_which_went_through(self, action: Action, box: Sandbox, definition_request: str) -> None:
        action.create("values:\n  A: 1\n")
        box.esc.fail(f"PATCH {definition_request}", status=503, times=4)
        box.esc.fail(f"PATCH {definition_request}", status=503, times=None, after=True)
        ran = action.run(timeout="40")
        assert (ran.code, ran.annotations) == (0, [])
        assert action.values == {"A": 1, **RIGHT}

    def test_and_none_went_through(self, action: Action, box: Sandbox, definition_request: str) -> None:
        action.create("values:\n  A: 1\n")
        before = action.stored
        box.esc.fail(f"PATCH {definition_request}", status=503, times=None)
        ran = action.run(timeout="40")
        assert ran.code == 4
        assert len(ran.annotations) == 1
        assert "[503]" in ran.annotations[0]
        assert "Nothing was saved, as a read after the last try shows." in ran.annotations[0]
        assert action.stored == before
