"""`history` and `rotate-check`: what changed which key when, and how old each secret is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from sandbox import Sandbox
from sophia_sync.console.rotation import State, judge
from sophia_sync.esc.definition import Held, HeldKind, Name
from sophia_sync.esc.revisions import Revision
from sophia_sync.history import How, LastChange, WorkflowRun, compare, run_of
from tests.support.docker_leaks import held_by
from tests.support.laptop import DAY, HOUR, Laptop, before
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
    """An environment with a history: 2 as synced, 3 another's, 4 retracted, 5 a sync's, 6 another's who breaks it."""
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

    def test_without_a_repository_there_is_no_link_but_the_number(self, busy: Laptop) -> None:
        shown = busy.run("history", GITHUB_REPOSITORY=None)
        assert "by sandbox in workflow run 1704, attempt 2" in shown.words
        assert "https" not in shown.out

    def test_of_other_keys_and_of_all_revisions(self, busy: Laptop) -> None:
        shown = busy.run("history", "-k", "OTHER", "--all")
        assert "+ 3" in shown.out
        assert "OTHER added" in shown.out
        assert shown.out.count("none of these keys") == 3
        assert "5 revisions looked at; all are shown." in shown.out

    def test_of_several_environments(self, busy: Laptop, box: Sandbox) -> None:
        other = f"{busy.environment}-other"
        box.esc.create(other)
        shown = busy.run("history", "--json", "-e", busy.environment, "-e", other)
        assert [one["environment"] for one in shown.json["environments"]] == [busy.environment, other]
        assert shown.json["environments"][1]["revisions"][0]["changes"] == {}

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
            (None, 90 * DAY, State.MISSING),
            (CHANGED, 90 * DAY, State.YOUNG),
            (CHANGED, 89 * DAY, State.OLD),
            (CHANGED, 88 * DAY, State.OLD),
            (LastChange(CHANGED.revision, None), 90 * DAY, State.UNKNOWN),
            (LastChange(CHANGED.revision, None), 89 * DAY, State.OLD),
        ],
    )
    def test_states(self, change: LastChange | None, max_age: timedelta, state: State) -> None:
        assert judge("a/b/c", "K", change, max_age, NOW).state is state

    def test_words(self) -> None:
        assert judge("a/b/c", "K", self.CHANGED, DAY, NOW).words == "89 days, set 2026-08-27 (revision 7)"
        at_least = judge("a/b/c", "K", LastChange(self.CHANGED.revision, None), DAY, NOW)
        assert at_least.words == "89 days, unchanged at least since 2026-08-27 (revision 7)"


@pytest.mark.pulumi
class TestRotateCheck:
    def test_all_are_young(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.run("rotate-check", "--max-age", "41d")
        assert shown.code == 0
        assert "✓ SENTRY_DSN        young  40 days, set 20" in shown.out
        assert shown.out.endswith("2 secrets, all younger than 41 days.\n")
        assert "SLUG" not in shown.out
        assert "CLIENT_SECRET" not in shown.out, "there is none, and need not be one"

    @pytest.mark.parametrize("max_age", ["40d", "5w", "960h"])
    def test_one_is_old(self, laptop: Laptop, box: Sandbox, max_age: str) -> None:
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, held.replace(box.sentry.dsn, f"{box.sentry.dsn}1"))
        shown = laptop.child("rotate-check", "--max-age", max_age)
        assert shown.code == 1
        assert "✓ SENTRY_DSN        young" in shown.out
        assert "✗ SENTRY_API_TOKEN  old    40 days, set 20" in shown.out
        assert "put it into GitHub's organisation secrets" in shown.words

    def test_another_form_makes_no_value_younger(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        secret = f"\n    fn::secret: {box.sentry.dsn}"
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, held.replace(secret, f" {box.sentry.dsn}"))
        box.esc.save(laptop.environment, held)
        assert laptop.run("rotate-check", "--max-age", "30d").code == 1

    def test_one_is_missing(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.create()
        shown = laptop.run("rotate-check", "--max-age", "90d", "--json")
        assert shown.code == 1
        assert [secret["state"] for secret in shown.json["secrets"]] == ["missing", "missing"]
        assert sum("versions/" in request.path for request in box.esc.requests) == 0

    def test_one_is_older_than_what_is_looked_at(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        for number in range(2):
            box.esc.save(laptop.environment, f"{held}  A: {number}\n")
        box.esc.date(laptop.environment, 3, before(39 * DAY))
        shown = laptop.run("rotate-check", "--max-age", "90d", "--limit", "1")
        assert shown.code == 1
        assert "! SENTRY_DSN        unknown  39 days, unchanged at least since" in shown.out
        assert "--limit" in shown.out
        assert laptop.run("rotate-check", "--max-age", "90d").code == 0

    def test_json(self, laptop: Laptop) -> None:
        laptop.synced()
        shown = laptop.run("rotate-check", "--max-age", "30d", "--json", "-k", "SENTRY_DSN", "--key", "NONE")
        assert shown.code == 1
        dsn, none = shown.json["secrets"]
        assert set(shown.json) == {"ok", "max_age_days", "secrets", "error"}
        assert (shown.json["ok"], shown.json["max_age_days"], shown.json["error"]) == (False, 30.0, None)
        assert 40 <= dsn.pop("age_days") < 40.1
        assert datetime.fromisoformat(dsn.pop("since")) < datetime.now(UTC) - 39 * DAY
        assert dsn == {
            "environment": laptop.environment,
            "key": "SENTRY_DSN",
            "state": "old",
            "exact": True,
            "revision": 2,
        }
        assert none == {
            "environment": laptop.environment,
            "key": "NONE",
            "state": "missing",
            "age_days": None,
            "exact": False,
            "revision": None,
            "since": None,
        }

    def test_on_a_runner_there_are_annotations_and_the_json_stays_clean(self, laptop: Laptop, box: Sandbox) -> None:
        laptop.synced()
        held = box.esc.decrypted(laptop.environment)
        box.esc.save(laptop.environment, held.replace(box.sentry.dsn, f"{box.sentry.dsn}1"))
        box.esc.save(laptop.environment, f"{held.replace(box.sentry.dsn, f'{box.sentry.dsn}1')}  A: 1\n")
        given = ["rotate-check", "--max-age", "30d", "--json"]
        shown = laptop.child(*given, GITHUB_ACTIONS="true")
        assert shown.json["ok"] is False
        (error,) = commands(shown.err, "error")
        assert error.properties == {"title": "Secret old"}
        assert error.data.startswith(f"SENTRY_API_TOKEN in {laptop.environment}: 40 days, set 20")
        assert "It may be 30 days old at most." in error.data
        assert commands(laptop.child(*given).err, "error") == []
        unknown = laptop.run(*given, "--limit", "1", "-k", "SENTRY_DSN", "-k", "NONE", GITHUB_ACTIONS="true")
        (warning,), (missing,) = commands(unknown.err, "warning"), commands(unknown.err, "error")
        assert (warning.properties, missing.properties) == ({"title": "Secret unknown"}, {"title": "Secret missing"})

    @pytest.mark.parametrize("age", ["", "90", "0d", "d", "-1d", "1.5d", "90 d", "999999d"])
    def test_an_age_that_is_none(self, laptop: Laptop, age: str) -> None:
        shown = laptop.run("rotate-check", "--max-age", age)
        assert shown.code == 2
        assert "isn't an age like 90d, 12w or 36h" in shown.err


@pytest.mark.pulumi
def test_a_history_without_a_pager_on_path(busy: Laptop, pulumi: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "pulumi").symlink_to(pulumi)
    assert len(busy.run("history", "--json", PATH=str(alone)).json["environments"][0]["revisions"]) == 5
