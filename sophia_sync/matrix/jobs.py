"""What GitHub knows of the legs once they have ended: the jobs of this run and their annotations.

Source: docs.github.com, REST API, "List jobs for a workflow run" (`actions: read`) and "List check run annotations"
(`checks: read`); the id of a job is that of its check run. A called workflow's jobs are listed as `CALLER / NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import SecretStr

from sophia_sync.errors import SyncError
from sophia_sync.matrix.summary import Ended
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor
from sophia_sync.web import Client, UnansweredError, json_of

# The names of two jobs in sync-environments.yml.
GATHER = "Gather"
LEG = "Sync {environment}"

_PAGE = 100
_MOST_PAGES = 100
# A job that has just ended may still be listed as running: so many looks, so many seconds apart.
_LOOKS = 5
_LOOK_AGAIN = 2.0
_UNREADABLE = "sends an answer that can't be read"
# How the runner itself tells of a step that failed; beside the step's own error it says nothing.
_EXIT_CODES = ("Process completed with exit code", "Docker run failed with exit code")


class GatherError(SyncError):
    """Not all environments are in order, or it can't be told."""

    exit_code = 1
    title = "Environments not in order"


@dataclass(frozen=True)
class Job:
    """A job of this run; `conclusion` is None until it has ended. One that is run again is another job of that name."""

    id: int
    name: str
    conclusion: str | None
    url: str
    attempt: int


class Run:
    """This run, as GitHub's API shows it.

    Args:
        api_url: Where GitHub's API is.
        repository: `owner/name`.
        run_id: The run's id.
        token: A token that may read the repository's actions and checks.
        deadline: Ends all requests.
    """

    def __init__(self, api_url: str, repository: str, run_id: str, token: SecretStr, deadline: Deadline) -> None:
        self._repository = f"{api_url}/repos/{repository}"
        self._run_id = run_id
        self._client = Client(token, deadline)
        self._deadline = deadline

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(*error)

    def legs(self, environments: Sequence[str], job_id: str) -> dict[str, Job]:
        """The jobs of the legs by GitHub environment, as far as GitHub lists them.

        Args:
            environments: The GitHub environments.
            job_id: The id of the job that gathers, which tells this call of the workflow from others in the run;
                empty where the server doesn't tell it.

        Raises:
            GatherError: GitHub doesn't list this run's jobs, or it can't be told which are this call's.
        """
        found: dict[str, Job] = {}
        for look in range(_LOOKS):
            if look:
                self._deadline.sleep(_LOOK_AGAIN)
            # "Re-run failed jobs" runs some again and leaves the others in an earlier attempt.
            by_name = {job.name: job for job in sorted(self._jobs(), key=lambda job: job.attempt)}
            caller = _caller(list(by_name.values()), job_id)
            names = {environment: caller + LEG.format(environment=environment) for environment in environments}
            found = {environment: by_name[name] for environment, name in names.items() if name in by_name}
            if all(job.conclusion for job in found.values()):
                break
        return found

    def messages(self, job: Job) -> tuple[str, ...]:
        """What the leg had to tell: its errors if it failed, otherwise its notices.

        Raises:
            UnansweredError: GitHub doesn't say; the job's page does.
        """
        rows = list(self._rows(f"/check-runs/{job.id}/annotations", None))
        level = "notice" if job.conclusion == "success" else "failure"
        told = [str(row.get("message", "")) for row in rows if row.get("annotation_level") == level]
        telling = [message for message in told if not message.startswith(_EXIT_CODES)]
        return tuple(telling or told)

    def _jobs(self) -> Iterator[Job]:
        try:
            for row in self._rows(f"/actions/runs/{self._run_id}/jobs", "jobs", {"filter": "all"}):
                url, attempt = str(row.get("html_url") or ""), int(row.get("run_attempt") or 1)
                yield Job(int(row["id"]), str(row["name"]), row.get("conclusion"), url, attempt)
        except (UnansweredError, KeyError, TypeError, ValueError) as error:
            why = error if isinstance(error, UnansweredError) else _UNREADABLE
            raise GatherError(
                f"The jobs of this run can't be listed: GitHub {why}.",
                "The legs have run; each one's page tells how it ended. The calling job must have "
                "`permissions: actions: read` and `checks: read`.",
            ) from None

    def _rows(self, path: str, key: str | None, filters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """All rows of a listing, page by page; `key` is where an object has them."""
        for page in range(1, _MOST_PAGES + 1):
            asked = {**(filters or {}), "per_page": str(_PAGE), "page": str(page)}
            response = self._client.get(self._repository + path, asked)
            if not response.ok:
                raise UnansweredError(f"answers HTTP {response.status_code}")
            body = json_of(response)
            rows = body.get(key) if key and isinstance(body, dict) else body
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise UnansweredError(_UNREADABLE)
            yield from rows
            if "next" not in response.links:
                return


def _caller(jobs: Sequence[Job], job_id: str) -> str:
    """What stands before the names of this call's jobs, such as `sync / `; nothing if the workflow isn't called."""
    gathering = [job for job in jobs if job.name == GATHER or job.name.endswith(f" / {GATHER}")]
    own = [job for job in gathering if str(job.id) == job_id] or gathering
    if len(own) != 1:
        raise GatherError(
            f"Which jobs belong to this call can't be told: {len(own)} jobs of this run are called {GATHER}, and this "
            "GitHub doesn't tell a job its own id.",
            "Call the workflow once a run, or look at the legs' own pages.",
        )
    return own[0].name.removesuffix(GATHER)


def gather(run: Run, environments: Sequence[str], job_id: str, redact: Redactor) -> tuple[Ended, ...]:
    """How each leg ended and what it told, in the order of the list.

    Where GitHub doesn't say what one told, no other is asked for: it may be the hourly limit of requests. How they
    ended is known already.

    Raises:
        GatherError: GitHub doesn't list this run's jobs, or it can't be told which are this call's.
    """
    jobs = run.legs(environments, job_id)
    ended, refusal = [], ""
    for environment in environments:
        job = jobs.get(environment)
        if job is None:
            ended.append(Ended(environment, "missing", ("GitHub lists no job for it: it was never started.",)))
            continue
        messages: tuple[str, ...] = ()
        if not refusal:
            try:
                messages = tuple(map(redact, run.messages(job)))
            except UnansweredError as error:
                refusal = f"What it told can't be had, GitHub {error}: see its page."
        ended.append(Ended(environment, job.conclusion or "unknown", (refusal,) if refusal else messages, job.url))
    return tuple(ended)
