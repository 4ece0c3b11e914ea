"""Others write at the same time, and ESC stores what nobody sent: theirs stays, and ours is complete or as before.

For one other writer who meets a sync once, see tests/cli/test_conflicts.py.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.faults import FaultKind
from tests.faults.program import ENVIRONMENT, OURS, Ended, Place, in_order, without_ours

pytestmark = [pytest.mark.pulumi, pytest.mark.full]

PATH = f"/api/esc/environments/{ENVIRONMENT}"
READ, EDIT, WRITE = f"GET {PATH}/decrypt", f"GET {PATH}", f"PATCH {PATH}"
WRITTEN = ("esc", WRITE)
CHECK = "POST /api/esc/environments/[^/]+/yaml/check"
SYNCS, CHANGES = 8, 50
LONGEST_RUN = 120


@pytest.fixture
def box(pulumi: Path) -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture
def place(box: Sandbox, tmp_path: Path) -> Place:
    return Place(box, tmp_path / "place", {"deploy-wait": "false", "deploy": "always"})


def saved(box: Sandbox, change: Callable[[str], str]) -> None:
    """Save a change as another writer, based on what ESC holds at that moment."""
    with box.esc.lock:
        before = box.esc.definition(ENVIRONMENT)
        after = change(before)
        assert after != before
        box.esc.save(ENVIRONMENT, after)


def added(line: str) -> Callable[[str], str]:
    """Return a change that adds a line at the end of the definition."""
    return lambda text: f"{text}  {line}\n"


def entry(key: str, value: str, *, secret: bool) -> Callable[[str], str]:
    """Return a change that sets or adds the entry of a key; a comment behind it stays."""
    new = f'  {key}:\n    fn::secret: "{value}"\n' if secret else f'  {key}: "{value}"\n'

    def change(text: str) -> str:
        old = re.search(rf"  {key}:.*?(?P<comment> *#.*)?\n(    .*\n)*", text)
        if old is None:
            return text + new
        first, rest = new.split("\n", 1)
        return f"{text[: old.start()]}{first}{old['comment'] or ''}\n{rest}{text[old.end() :]}"

    return change


def removed(key: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf"  {key}:.*\n(    .*\n)*", "", text)


def ours(box: Sandbox) -> dict[str, object]:
    values = box.esc.values(ENVIRONMENT)
    return {key: values.get(key) for key in OURS}


class TestManyAtOnce:
    """Eight syncs with different values, while another writer changes other keys fifty times."""

    @pytest.fixture
    def places(self, place: Place, tmp_path: Path) -> list[Place]:
        """Return syncs that share some values: a sync leaves a key alone if its value is right already."""
        return [
            Place(
                place.box,
                tmp_path / f"sync-{number}",
                {
                    "sentry-dsn": f"https://{number % 2}0a1b2c3d4e5f60718293a4b5c6d7e8f@o1.ingest.sentry.example/1",
                    "sentry-api-token": f"sntrys_{number}_Qm9hdGhvdXNl",
                    "sentry-organization-slug": f"organization-{number % 3}",
                    "sentry-project-slug": f"project-{number}",
                    "sentry-client-secret": f"client-secret-{number % 4}",
                    "preflight": "off",
                    "deploy": "never",
                },
                is_new=False,
            )
            for number in range(SYNCS)
        ]

    def test_no_change_of_theirs_is_lost_and_one_set_of_ours_is_complete(
        self, places: list[Place], box: Sandbox
    ) -> None:
        changes = iter(range(CHANGES))
        requests = itertools.count(1)

        def change() -> None:
            if (number := next(changes, None)) is not None:
                count = re.compile(r"last: .*")
                saved(
                    box, lambda text: added(f"theirs-{number}: {number}")(count.sub(f"last: {number}", text, count=1))
                )

        def sometimes() -> None:
            if next(requests) % 4 == 0:
                change()

        before = box.esc.definition(ENVIRONMENT)
        box.esc.before(".*", sometimes, times=None)
        running = [place.start() for place in places]
        ended = [each.end(LONGEST_RUN) for each in running]
        for _ in range(CHANGES):
            change()
        assert {each.code for each in ended} <= {0, 4, 5}, [each.errors for each in ended]
        assert 0 in {each.code for each in ended}, [each.errors for each in ended]
        values = box.esc.values(ENVIRONMENT)
        assert {key: values.get(f"theirs-{key}") for key in range(CHANGES)} == {key: key for key in range(CHANGES)}
        assert values["last"] == CHANGES - 1
        theirs = "".join(f"  theirs-{number}: {number}\n" for number in range(CHANGES))
        expected = without_ours(before).replace("last: [1, 2]", f"last: {CHANGES - 1}") + theirs
        assert without_ours(box.esc.definition(ENVIRONMENT)) == expected
        assert ours(box) in [place.wanted for place in places]
        for place, each in zip(places, ended, strict=True):
            assert place.leaks(each) == []
            assert len(each.errors) == (0 if each.code == 0 else 1)
        assert places[0].processes() == []


class TestOneOtherWriter:
    def test_of_an_encrypted_key_that_we_left_alone(self, place: Place, box: Sandbox) -> None:
        """Its ciphertext tells nothing: only the read-back shows that the value isn't ours any more."""
        assert place.run().code == 0
        box.esc.before(EDIT, lambda: saved(box, entry("SENTRY_API_TOKEN", "theirs", secret=True)))
        before = box.esc.revision(ENVIRONMENT)
        ended = place.run({"sentry-client-secret": "rotated-secret-17"})
        assert ended.code == 0, ended.told
        assert ours(box) == place.wanted | {"SENTRY_CLIENT_SECRET": "rotated-secret-17"}
        assert box.esc.revision(ENVIRONMENT) == before + 3  # theirs, then our rotated key, then all of ours

    def test_who_adds_a_key_before_each_of_our_first_writes(self, place: Place, box: Sandbox) -> None:
        numbers = itertools.count()
        box.esc.before(WRITE, lambda: saved(box, added(f"theirs-{next(numbers)}: 1")), times=3)
        ended = place.run()
        assert ended.code == 0, ended.told
        assert ours(box) == place.wanted
        theirs = "".join(f"  theirs-{number}: 1\n" for number in range(3))
        assert without_ours(box.esc.definition(ENVIRONMENT)) == without_ours(place.before) + theirs

    def test_who_supersedes_our_write_is_left_alone(self, place: Place, box: Sandbox) -> None:
        box.esc.after(WRITE, lambda: saved(box, entry("SENTRY_API_TOKEN", "theirs-since-then", secret=True)))
        ended = place.run()
        assert ended.code == 5
        assert "somebody else" in ended.errors[0]
        assert "SENTRY_API_TOKEN" in ended.errors[0]
        assert ours(box) == place.wanted | {"SENTRY_API_TOKEN": "theirs-since-then"}
        assert [revision.author for revision in box.esc.revisions(ENVIRONMENT)][-2:] == ["sandbox", "somebody-else"]
        assert box.github.requests == []
        assert "theirs-since-then" not in ended.told


class TestLostAnswers:
    @pytest.mark.parametrize("kind", ["close", "truncate", "empty", "garbage"])
    def test_a_write_that_went_through_is_found_and_not_repeated(
        self, place: Place, box: Sandbox, kind: FaultKind
    ) -> None:
        before = box.esc.revision(ENVIRONMENT)
        box.esc.fail(WRITE, kind=kind, after=True)
        ended = place.run()
        assert ended.code == 0, ended.told
        assert place.state() == "new"
        assert box.esc.revision(ENVIRONMENT) == before + 1
        assert ended.outputs["result"] == "synced"
        assert ended.outputs["revision"] == str(before + 1)
        assert len(box.github.dispatches) == 1

    def test_a_write_that_went_through_and_was_superseded(self, place: Place, box: Sandbox) -> None:
        box.esc.fail(WRITE, kind="close", after=True)
        box.esc.after(WRITE, lambda: saved(box, added("theirs: 1")))
        ended = place.run()
        assert ended.code == 0, ended.told
        assert ours(box) == place.wanted
        assert without_ours(box.esc.definition(ENVIRONMENT)) == f"{without_ours(place.before)}  theirs: 1\n"
        assert [revision.author for revision in box.esc.revisions(ENVIRONMENT)][-2:] == ["sandbox", "somebody-else"]

    def test_writes_that_went_through_and_were_superseded_are_not_denied(self, place: Place, box: Sandbox) -> None:
        numbers = itertools.count()
        box.esc.fail(WRITE, kind="close", after=True, times=None)
        box.esc.after(
            WRITE,
            lambda: saved(box, entry("SENTRY_API_TOKEN", f"theirs-{next(numbers)}", secret=True)),
            times=None,
        )
        ended = place.run()
        assert ended.code == 4, ended.told
        assert "Whether the new revision was saved isn't known" in ended.errors[0]
        assert ours(box) == place.wanted | {"SENTRY_API_TOKEN": f"theirs-{next(numbers) - 1}"}
        assert without_ours(box.esc.definition(ENVIRONMENT)) == without_ours(place.before)
        assert box.github.requests == []


DIAGNOSED = {"code": 400, "message": "Bad Request", "diagnostics": [{"summary": "unknown import"}]}
CORRUPTIONS = {
    "another value of a secret": entry("SENTRY_DSN", "nobody sent this", secret=True),
    "another value of a secret that was not there": entry("SENTRY_API_TOKEN", "nobody sent this", secret=True),
    "a secret in plain text": entry("SENTRY_CLIENT_SECRET", "nobody sent this", secret=False),
    "another value in plain text": entry("SENTRY_PROJECT_SLUG", "nobody sent this", secret=False),
    "a value that is a secret": entry("SENTRY_ORGANIZATION_SLUG", "pay-ready", secret=True),
    "a key that did not come": removed("SENTRY_API_TOKEN"),
}


def spoil_and_then(box: Sandbox, call: Callable[[], object]) -> None:
    """Corrupt our next revision. Call `call` when the program has found that out, before it reacts."""

    def spoil() -> None:
        box.esc.corrupt(ENVIRONMENT, CORRUPTIONS["another value of a secret"])
        in_order(box, [("esc", READ), ("esc", f"GET {PATH}/versions/[0-9]+/decrypt")], call)

    box.esc.after(WRITE, spoil)


def is_undone(ended: Ended, place: Place, *, but_for: str = "") -> None:
    """Check that the run failed and deployed nothing, and that every byte is as before, except what others added."""
    assert ended.code == 5, ended.told
    assert len(ended.errors) == 1
    assert "isn't what was sent" in ended.errors[0]
    assert "Our keys were set back to what they were" in ended.errors[0]
    assert "nobody sent this" not in ended.told
    assert place.leaks(ended) == []
    assert place.box.esc.definition(ENVIRONMENT) == place.before + but_for
    assert place.box.github.requests == []


class TestWhatNobodySent:
    """ESC stores something else than was sent, in our own revision."""

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_is_undone_to_the_byte(self, place: Place, box: Sandbox, corruption: str) -> None:
        box.esc.after(WRITE, lambda: box.esc.corrupt(ENVIRONMENT, CORRUPTIONS[corruption]))
        before = box.esc.revision(ENVIRONMENT)
        is_undone(place.run(), place)
        assert box.esc.revision(ENVIRONMENT) == before + 2

    @pytest.mark.parametrize("request_line", [READ, EDIT, WRITE])
    def test_is_undone_beside_a_change_of_others(self, place: Place, box: Sandbox, request_line: str) -> None:
        spoil_and_then(box, lambda: box.esc.before(request_line, lambda: saved(box, added("theirs: 1"))))
        is_undone(place.run(), place, but_for="  theirs: 1\n")

    @pytest.mark.parametrize("status", [409, 429, 500, 503])
    @pytest.mark.parametrize("request_line", [READ, EDIT, WRITE])
    def test_is_undone_at_the_second_try(self, place: Place, box: Sandbox, request_line: str, status: int) -> None:
        spoil_and_then(box, lambda: box.esc.fail(request_line, status=status))
        is_undone(place.run(), place)

    @pytest.mark.parametrize("kind", ["close", "truncate", "garbage"])
    def test_is_undone_also_if_the_answer_to_that_is_lost(self, place: Place, box: Sandbox, kind: FaultKind) -> None:
        spoil_and_then(box, lambda: box.esc.fail(WRITE, kind=kind, after=True))
        before = box.esc.revision(ENVIRONMENT)
        is_undone(place.run(), place)
        assert box.esc.revision(ENVIRONMENT) == before + 2

    @pytest.mark.parametrize("status", [403, 409, 500])
    def test_stays_where_it_can_not_be_undone_and_that_is_told(self, place: Place, box: Sandbox, status: int) -> None:
        spoil_and_then(box, lambda: box.esc.fail(WRITE, status=status, times=None))
        ended = place.run()
        assert ended.code == 5, ended.told
        assert "could not be set back" in ended.errors[0]
        assert "nobody sent this" not in ended.told
        assert box.github.requests == []
        assert box.esc.values(ENVIRONMENT)["SENTRY_DSN"] == "nobody sent this"
        assert without_ours(box.esc.definition(ENVIRONMENT)) == without_ours(place.before)
        box.esc.reset_faults()
        assert place.run().code == 0
        assert place.state() == "new"

    def test_that_is_a_key_lost_is_told(self, place: Place, box: Sandbox) -> None:
        """The program can't know where in the definition the key stood."""
        box.esc.after(WRITE, lambda: box.esc.corrupt(ENVIRONMENT, removed("SENTRY_DSN")))
        ended = place.run()
        assert ended.code == 5, ended.told
        assert "SENTRY_DSN (missing)" in ended.errors[0]
        assert "Set them back by hand" in ended.errors[0]
        assert box.github.requests == []
        assert place.run().code == 0
        assert ours(box) == place.wanted

    def test_that_somebody_else_has_put_right_is_left_alone(self, place: Place, box: Sandbox) -> None:
        repair = entry("SENTRY_DSN", "theirs, put right", secret=True)
        spoil_and_then(box, lambda: saved(box, repair))
        ended = place.run()
        assert ended.code == 5, ended.told
        assert "somebody else has changed them since" in ended.errors[0]
        assert box.esc.values(ENVIRONMENT)["SENTRY_DSN"] == "theirs, put right"
        assert "put right" not in ended.told

    def test_again_and_again_is_told_as_it_is(self, place: Place, box: Sandbox) -> None:
        box.esc.after(WRITE, lambda: box.esc.corrupt(ENVIRONMENT, CORRUPTIONS["another value of a secret"]), times=None)
        ended = place.run()
        assert ended.code == 5, ended.told
        assert "still differ" in ended.errors[0]
        assert "were set back to what they were" not in ended.errors[0]
        assert box.github.requests == []


class TestAnEnvironmentThatCanNotBeEvaluatedAnyMore:
    """The CLI then shows nothing of it and exits 0, which doesn't prove that our keys are wrong."""

    def test_once_our_revision_is_saved(self, place: Place, box: Sandbox) -> None:
        box.esc.after(WRITE, lambda: box.esc.fail(CHECK, status=400, body=DIAGNOSED, times=None))
        ended = place.run()
        assert ended.code == 4, ended.told
        assert "can't evaluate" in ended.errors[0]
        assert "was saved whole; it was not verified yet" in ended.errors[0]
        assert place.state() == "new"
        assert box.github.requests == []

    def test_for_a_moment(self, place: Place, box: Sandbox) -> None:
        box.esc.after(WRITE, lambda: box.esc.fail(CHECK, status=400, body=DIAGNOSED))
        ended = place.run()
        assert ended.code == 0, ended.told
        assert place.state() == "new"
