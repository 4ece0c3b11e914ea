"""`history` and `doctor --max-age`: which revision changed which key, and how old each secret is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from sandbox import Sandbox
from sophia_sync.console.diagnosis import State
from sophia_sync.console.doctor.ages import judge
from sophia_sync.esc.definition import Held, HeldKind, Name
from sophia_sync.esc.revisions import Revision
from sophia_sync.sync.history import How, LastChange, WorkflowRun, compare, run_of
from tests.support.docker_leaks import held_by
from tests.support.laptop import DAY, HOUR, Laptop, Shown, before
from tests.support.runner import commands

NOW = datetime(2026, 11, 24, tzinfo=UTC)
A = Held(HeldKind.SECRET, SecretStr("a"))
B = Held(HeldKind.SECRET, SecretStr("b"))
PLAIN_A = Held(HeldKind.PLAIN, SecretStr("a"))
REFERENCE = Held(HeldKind.REFERENCES, SecretStr("${a}"))
OTHER = Held(HeldKind.OTHER)


def holding(held: Held | None) -> dict[Name, Held]:
    return {} if held is None else {"K": held}


class TestWhatARevisionDid:
    @pytest.mark.parametrize(
        ("was", "became", "how"),
        [
            (None, None, None),
            (None, A, How.ADDED),
            (A, None, How.REMOVED),
            (A, A, None),
            (A, B, How.CHANGED),
            (PLAIN_A, A, How.ENCRYPTED),
            (A, PLAIN_A, How.DECRYPTED),
            (PLAIN_A, B, How.CHANGED),
            (A, OTHER, How.CHANGED),
            (OTHER, A, How.CHANGED),
            (OTHER, OTHER, None),
            (PLAIN_A, REFERENCE, How.CHANGED),
        ],
    )
    def test_to_one_key(self, was: Held | None, became: Held | None, how: How | None) -> None:
        assert compare(holding(was), holding(became), ["K"]) == ({} if how is None else {"K": how})

    def test_only_the_keys_that_are_asked_for_count(self) -> None:
        assert compare({"K": A, "L": A}, {"K": B, "L": B}, ["L", "M"]) == {"L": How.CHANGED}

    @pytest.mark.parametrize(
        ("tags", "run"),
        [
            ((), None),
            (("latest", "stable", "github-run-x-1", "github-run-17", "my-github-run-17-1"), None),
            (("latest", "github-run-17-2"), WorkflowRun(17, 2)),
        ],
    )
    def test_which_run_it_was(self, tags: tuple[str, ...], run: WorkflowRun | None) -> None:
        assert run_of(Revision(1, NOW, "somebody", tags)) == run


@pytest.fixture
def busy(laptop: Laptop, box: Sandbox) -> Laptop:
    """Return a laptop whose environment has a history: 2 and 5 are syncs, 4 is retracted, 6 drops a key of ours."""
    laptop.synced()
    held = box.esc.decrypted(laptop.environment)
    box.esc.save(laptop.environment, f"{held}  OTHER: 1\n")
    box.esc.save(laptop.environment, held.replace("SENTRY_PROJECT_SLUG", "SLUG"))
    rotated = {"SENTRY_DSN": box.sentry.dsn + "1", "INPUT_PREFLIGHT": "off", "GITHUB_RUN_ID": "1704"}
    assert laptop.run("sync", "--yes", **rotated, GITHUB_RUN_ATTEMPT="2").code == 0
    held = box.esc.decrypted(laptop.environment)
    box.esc.save(laptop.environment, held.replace("SENTRY_ORGANIZATION_SLUG:", "SLUG_OF_IT:"))
    box.esc.retract(laptop.environment, 4)
    for number, days in ((3, 30), (5, 20), (6, 10)):
        box.esc.date(laptop.environment, number, before(days * DAY))
    return laptop


@pytest.mark.pulumi
class TestHistory:
    def test_for_a_person(self, busy: Laptop, box: Sandbox) -> None:
        shown = busy.child("history")
        assert shown.code == 0
        when = {
            revision.number: f"{revision.created:%Y-%m-%d %H:%M} UTC"
            for revision in box.esc.revisions(busy.environment)
        }
        assert shown.out.splitlines()[0] == busy.environment
        for part in (
            f"✗ 6 {when[6]} SENTRY_ORGANIZATION_SLUG removed by somebody-else",
            f"~ 5 {when[5]} SENTRY_DSN changed by sandbox in",
            f"https://github.com/{busy.repository}/actions/runs/1704/attempts/2",
            f"+ 2 {when[2]} SENTRY_DSN added + SENTRY_API_TOKEN added",
            "5 revisions looked at; 2 of them changed none of these keys, and --all shows them too.",
        ):
            assert part in " ".join(shown.out.split())
        assert max(len(line) for line in shown.out.splitlines() if "https://" not in line) <= 80
        assert " 3 " not in shown.out, "it changed none of the keys"
        assert " 4 " not in shown.out, "it was retracted"

    def test_json(self, busy: Laptop) -> None:
        shown = busy.run("history", "--json", "--limit", "3")
        assert shown.code == 0
        (environment,) = shown.json["environments"]
        assert (shown.json["error"], environment["environment"]) == (None, busy.environment)
        found = [(entry["revision"], entry["changes"]) for entry in environment["revisions"]]
        assert found == [(6, {"SENTRY_ORGANIZATION_SLUG": "removed"}), (5, {"SENTRY_DSN": "changed"}), (3, {})]
        assert environment["revisions"][1]["run"] == {
            "id": 1704,
            "attempt": 2,
            "url": f"https://github.com/{busy.repository}/actions/runs/1704/attempts/2",
        }
        assert environment["revisions"][1]["tags"] == ["github-run-1704-2"]
        assert environment["revisions"][1]["author"] == "sandbox"
        at = datetime.fromisoformat(environment["revisions"][0]["created"])
        assert abs(datetime.now(UTC) - 10 * DAY - at) < HOUR

    def test_json_keeps_its_own_words_whatever_the_secrets_are(self, busy: Laptop, box: Sandbox) -> None:
        words = ("changed", "removed", "SENTRY", "somebody-else")
        theirs = "".join(f"  THEIRS_{word}: {{fn::secret: {word}}}\n" for word in words)
        box.esc.save(busy.environment, box.esc.decrypted(busy.environment) + theirs)
        newest, removed, *_ = busy.run("history", "--json").json["environments"][0]["revisions"]
        assert removed["changes"] == {"SENTRY_ORGANIZATION_SLUG": "removed"}
        assert newest["author"] == "***"

    @pytest.mark.full
    def test_without_a_repository_there_is_no_link_but_the_number(self, busy: Laptop) -> None:
        shown = busy.run("history", GITHUB_REPOSITORY=None)
        assert "by sandbox in workflow run 1704, attempt 2" in shown.words
        assert "https" not in shown.out

    @pytest.mark.full
    def test_of_other_keys_and_of_all_revisions(self, busy: Laptop) -> None:
        shown = busy.run("history", "-k", "OTHER", "--all")
        assert "+ 3" in shown.out
        assert "OTHER added" in shown.out
        assert shown.out.count("none of these keys") == 3
        assert "5 revisions looked at; all are shown." in shown.out

    @pytest.mark.full
    def test_of_several_environments(self, busy: Laptop, box: Sandbox) -> None:
        other = f"{busy.environment}-other"
        box.esc.create(other)
        shown = busy.run("history", "--json", "-e", busy.environment, "-e", other)
        assert [one["environment"] for one in shown.json["environments"]] == [busy.environment, other]
        assert shown.json["environments"][1]["revisions"][0]["changes"] == {}

    @pytest.mark.full
    def test_a_revision_that_makes_no_sense_is_told_and_stepped_over(self, busy: Laptop, box: Sandbox) -> None:
        held = box.esc.decrypted(busy.environment)
        twice = "values:\n  SENTRY_DSN: one\n  SENTRY_DSN: two\n"
        box.esc.corrupt(busy.environment, lambda _: twice)
        box.esc.save(busy.environment, held.replace("SENTRY_API_TOKEN", "TOKEN"))
        shown = busy.run("history", "--json")
        newest, broken, before_it, *_ = shown.json["environments"][0]["revisions"]
        assert (broken["revision"], broken["changes"]) == (6, None)
        assert newest["changes"] == {"SENTRY_API_TOKEN": "removed", "SENTRY_ORGANIZATION_SLUG": "removed"}
        assert before_it["changes"] == {"SENTRY_DSN": "changed"}
        assert "- 6" in busy.run("history").out
        assert "empty, or it can't be evaluated" in busy.run("history").out

    def test_reads_no_more_than_it_is_asked_for(self, busy: Laptop, box: Sandbox) -> None:
        box.esc.requests.clear()
        assert busy.run("history", "--limit", "1").code == 0
        assert sum(request.path.endswith("/decrypt") for request in box.esc.requests) == 2

    def test_of_an_environment_that_there_is_not(self, laptop: Laptop) -> None:
        shown = laptop.child("history", "--json")
        assert shown.code == 4
        assert set(shown.json) == {"error"}
        assert "[404]" in shown.json["error"]["what"]

    @pytest.mark.full
    def test_no_value_is_ever_shown(self, busy: Laptop) -> None:
        values = [busy.variables[name] for name in ("SENTRY_DSN", "SENTRY_API_TOKEN", "PULUMI_ACCESS_TOKEN")]
        for options in ([], ["--all"], ["--json"], ["-k", "OTHER"]):
            shown = busy.child("history", *options)
            assert shown.code == 0
            assert held_by(shown.out + shown.err, values) == []


class TestWhatIsSaidOfAnAge:
    CHANGED = LastChange(Revision(7, NOW - 89 * DAY, "somebody"), How.CHANGED)

    @pytest.mark.parametrize(
        ("change", "max_age", "state"),
        [
            (CHANGED, 90 * DAY, State.GOOD),
            (CHANGED, 89 * DAY, State.BAD),
            (CHANGED, 88 * DAY, State.BAD),
            (LastChange(CHANGED.revision, None), 90 * DAY, State.BAD),
            (LastChange(CHANGED.revision, None), 89 * DAY, State.BAD),
        ],
    )
    def test_states(self, change: LastChange, max_age: timedelta, state: State) -> None:
        assert judge("K", change, max_age, NOW).state is state

    def test_words(self) -> None:
        assert judge("K", self.CHANGED, 90 * DAY, NOW).what == "89 days, set 2026-08-27 (revision 7)"
        at_least = judge("K", LastChange(self.CHANGED.revision, None), 90 * DAY, NOW)
        assert at_least.what.startswith("89 days, unchanged at least since 2026-08-27 (revision 7)")
        assert "--limit" in at_least.todo


def ages(shown: Shown) -> dict[str, str]:
    """Return the state of each check of an age."""
    return {check["name"]: check["state"] for check in shown.json["checks"] if check["name"].startswith("age of ")}


@pytest.mark.pulumi
class TestTheAgesOfSecrets:
    @pytest.mark.full
    def test_without_a_maximum_there_are_none(self, laptop: Laptop) -> None:
        laptop.synced()
        assert ages(laptop.run("doctor", "--json")) == {}

    @pytest.mark.full
    def test_only_secrets_that_are_held_have_one(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.run("doctor", "--max-age", "41", "--json")
        assert ages(shown) == {"age of SENTRY_DSN": "good", "age of SENTRY_API_TOKEN": "good"}

    @pytest.mark.full
    def test_one_is_old_and_an_annotation_on_a_runner(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, held.replace(box.sentry.dsn, f"{box.sentry.dsn}1"))
        shown = laptop.child("doctor", "--max-age", "40", "--json", GITHUB_ACTIONS="true")
        assert shown.code == 1
        assert ages(shown) == {"age of SENTRY_DSN": "good", "age of SENTRY_API_TOKEN": "bad"}
        told = [error.data for error in commands(shown.err, "error")]
        assert any(f"{laptop.environment}: age of SENTRY_API_TOKEN: 40 days, set 20" in text for text in told)

    @pytest.mark.full
    def test_another_form_makes_no_value_younger(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        secret = f"\n    fn::secret: {box.sentry.dsn}"
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, held.replace(secret, f" {box.sentry.dsn}"))
        box.esc.save(laptop.environment, held)
        assert ages(laptop.run("doctor", "--max-age", "30", "--json"))["age of SENTRY_DSN"] == "bad"

    @pytest.mark.full
    def test_one_of_unknown_age_is_bad(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        for number in range(2):
            box.esc.save(laptop.environment, f"{held}  A: {number}\n")
        box.esc.date(laptop.environment, 3, before(39 * DAY))
        given = ("doctor", "--max-age", "90", "--json")
        assert set(ages(laptop.run(*given, "--limit", "1")).values()) == {"bad"}
        assert set(ages(laptop.run(*given)).values()) == {"good"}


@pytest.mark.full
@pytest.mark.pulumi
def test_a_history_without_a_pager_on_path(busy: Laptop, pulumi: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "pulumi").symlink_to(pulumi)
    assert len(busy.run("history", "--json", PATH=str(alone)).json["environments"][0]["revisions"]) == 5
