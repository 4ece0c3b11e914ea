"""What GitHub's API tells of the legs: the jobs of the run, and their annotations."""

from __future__ import annotations

import itertools

import pytest
from pydantic import SecretStr
from sophia_sync.process import Deadline

from sandbox import Annotation, GitHub, Permissions
from sophia_sync.matrix import jobs
from sophia_sync.matrix.jobs import GatherError, Run
from sophia_sync.matrix.summary import Ended
from sophia_sync.redact import Redactor

NUMBERS = itertools.count(1)
HEADLINE = "acme/default/lab: all 5 keys are up to date, nothing was written"
JOBS = r"GET /repos/.*/jobs"
ANNOTATIONS = r"GET /repos/.*/annotations"


class Called:
    """A run of a workflow that calls sync-environments.yml as its job `sync`."""

    def __init__(self, github: GitHub) -> None:
        self.github = github
        self.repository = f"acme/fleet-{next(NUMBERS)}"
        github.add_repository(self.repository)
        github.add_workflow(self.repository, "sync.yml")
        self.id = github.start_run(self.repository, "sync.yml")
        self.add("Plan", "success")
        self.gather = self.add("Gather", None)

    def add(
        self, name: str, conclusion: str | None, *told: Annotation, caller: str = "sync / ", attempt: int = 1
    ) -> int:
        return self.github.add_job(self.id, f"{caller}{name}", conclusion, told, attempt)

    def gathered(self, *environments: str, job_id: str = "", token: str = "", seconds: float = 60) -> tuple[Ended, ...]:
        secret = SecretStr(token or self.github.token)
        with Run(self.github.url, self.repository, str(self.id), secret, Deadline(seconds)) as run:
            return jobs.gather(run, environments, job_id, Redactor())

    def refused(self, *environments: str, token: str = "", seconds: float = 60) -> str:
        with pytest.raises(GatherError) as error:
            self.gathered(*environments, token=token, seconds=seconds)
        assert error.value.__cause__ is None
        return str(error.value)


@pytest.fixture
def called(github: GitHub) -> Called:
    return Called(github)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as often as on GitHub, with less time in between."""
    monkeypatch.setattr(jobs, "_LOOK_AGAIN", 0.01)


def notice(text: str = HEADLINE) -> Annotation:
    return Annotation("notice", text)


def failure(text: str) -> Annotation:
    return Annotation("failure", text)


class TestWhatALegTold:
    def test_its_notices_if_it_succeeded(self, called: Called) -> None:
        job = called.add("Sync lab", "success", Annotation("warning", "white space"), notice(), failure("an old one"))
        url = f"https://github.com/{called.repository}/actions/runs/{called.id}/job/{job}"
        assert called.gathered("lab") == (Ended("lab", "success", (HEADLINE,), url),)

    def test_its_errors_if_it_failed_without_the_runners_own(self, called: Called) -> None:
        code = failure("Docker run failed with exit code 3")
        called.add("Sync lab", "failure", notice("irrelevant"), failure("Sentry refused the token."), code)
        assert called.gathered("lab")[0].messages == ("Sentry refused the token.",)

    def test_the_runners_own_where_there_is_nothing_else(self, called: Called) -> None:
        called.add("Sync lab", "timed_out", failure("Process completed with exit code 137."))
        assert called.gathered("lab")[0].messages == ("Process completed with exit code 137.",)

    def test_nothing_if_it_was_cancelled_before_it_began(self, called: Called) -> None:
        called.add("Sync lab", "cancelled")
        assert called.gathered("lab")[0].messages == ()

    def test_what_is_hidden_stays_hidden(self, called: Called) -> None:
        called.add("Sync lab", "failure", failure("the token is hunter2-hunter2"))
        redact = Redactor()
        redact.add(SecretStr("hunter2-hunter2"))
        secret = SecretStr(called.github.token)
        with Run(called.github.url, called.repository, str(called.id), secret, Deadline(60)) as run:
            [ended] = jobs.gather(run, ["lab"], "", redact)
        assert "hunter2" not in ended.messages[0]

    def test_that_it_cannot_be_had_is_told_and_its_end_still_counts(self, called: Called) -> None:
        called.github.add_token("ghs_without_checks", Permissions(checks="none"))
        called.add("Sync lab", "success", notice())
        called.add("Sync staging", "failure", failure("It failed."))
        lab, staging = called.gathered("lab", "staging", token="ghs_without_checks")
        assert (lab.conclusion, staging.conclusion) == ("success", "failure")
        told = ("What it told can't be had, GitHub answers HTTP 403: see its page.",)
        assert lab.messages == staging.messages == told

    def test_after_a_refusal_no_other_leg_is_asked_for(self, called: Called) -> None:
        for name in ("lab", "staging", "production"):
            called.add(f"Sync {name}", "success", notice(name))
        fault = called.github.fail(ANNOTATIONS, status=403, times=None)
        called.gathered("lab", "staging", "production")
        assert fault.hits == 1


class TestWhichJobs:
    def test_in_the_order_of_the_list_and_exactly_by_name(self, called: Called) -> None:
        for name in ("lab", "lab 2", "x / Sync lab"):
            called.add(f"Sync {name}", "success", notice(name))
        told = [ended.messages[0] for ended in called.gathered("x / Sync lab", "lab", "lab 2")]
        assert told == ["x / Sync lab", "lab", "lab 2"]

    def test_one_that_github_does_not_list_is_missing(self, called: Called) -> None:
        called.add("Sync lab", "success", notice())
        lab, staging = called.gathered("lab", "staging")
        assert lab.is_success
        assert (staging.conclusion, staging.url) == ("missing", "")

    def test_256_of_them_over_three_pages(self, called: Called) -> None:
        names = [f"e-{number}" for number in range(256)]
        for name in names:
            called.add(f"Sync {name}", "success", notice(name))
        assert [ended.messages for ended in called.gathered(*names)] == [(name,) for name in names]
        requests = [request.path for request in called.github.requests]
        assert len([path for path in requests if path.endswith("/jobs")]) == 3
        assert len([path for path in requests if path.endswith("/annotations")]) == 256

    def test_of_two_calls_in_one_run_its_own(self, called: Called) -> None:
        called.add("Sync lab", "success", notice("for real"))
        preview = called.add("Gather", None, caller="preview / ")
        called.add("Sync lab", "failure", failure("a dry run"), caller="preview / ")
        assert called.gathered("lab", job_id=str(called.gather))[0].messages == ("for real",)
        assert called.gathered("lab", job_id=str(preview))[0].messages == ("a dry run",)

    def test_of_those_that_were_run_again_the_last_and_of_the_others_the_first(self, called: Called) -> None:
        again = called.add("Gather", None, attempt=2)
        called.add("Sync production", "success", notice("at last"), attempt=2)
        called.add("Sync lab", "success", notice("at once"))
        called.add("Sync production", "failure", failure("at first"))
        for job_id in (str(again), ""):
            told = [ended.messages for ended in called.gathered("lab", "production", job_id=job_id)]
            assert told == [("at once",), ("at last",)]

    def test_of_two_calls_none_is_guessed(self, called: Called) -> None:
        called.add("Sync lab", "success")
        called.add("Gather", None, caller="preview / ")
        assert "2 jobs of this run are called Gather" in called.refused("lab")

    def test_one_that_has_just_ended_may_be_listed_late(self, called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
        job = called.add("Sync lab", None)

        def sleep(_deadline: Deadline, _seconds: float) -> None:
            called.github.end_job(job, "success", [notice()])

        monkeypatch.setattr(Deadline, "sleep", sleep)
        assert called.gathered("lab")[0].messages == (HEADLINE,)

    def test_one_that_does_not_end_is_not_taken_for_a_success(self, called: Called) -> None:
        called.add("Sync lab", None)
        assert called.gathered("lab")[0].conclusion == "unknown"


class TestWhereGitHubDoesNotAnswer:
    @pytest.fixture
    def called(self, github: GitHub) -> Called:
        made = Called(github)
        made.add("Sync lab", "success", notice())
        return made

    def test_a_token_that_may_not_read_jobs_is_told_with_the_remedy(self, called: Called) -> None:
        called.github.add_token("ghs_without_actions", Permissions(actions="none"))
        told = called.refused("lab", token="ghs_without_actions")
        assert "GitHub answers HTTP 403" in told
        assert "`permissions: actions: read`" in told
        assert "ghs_without_actions" not in told

    @pytest.mark.parametrize("path", [JOBS, ANNOTATIONS])
    def test_what_passes_is_asked_again(self, called: Called, path: str) -> None:
        called.github.fail(path, status=502, times=2)
        assert called.gathered("lab")[0].messages == (HEADLINE,)

    def test_what_does_not_pass_is_told(self, called: Called) -> None:
        called.github.fail(JOBS, status=503, times=None)
        assert "GitHub answers HTTP 503" in called.refused("lab", seconds=1)

    @pytest.mark.parametrize("jobs", [7, [7], [{"name": "sync / Gather"}], [{"id": "x", "name": "sync / Gather"}]])
    def test_an_answer_that_is_none_is_told(self, called: Called, jobs: object) -> None:
        called.github.fail(JOBS, status=200, body={"jobs": jobs}, times=None)
        assert "GitHub sends an answer that can't be read" in called.refused("lab")
