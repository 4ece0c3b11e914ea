"""The JSON in which GitHub's REST API shows what it keeps, cut down to what clients of Actions look at."""

from base64 import b64encode
from datetime import datetime
from hashlib import sha1

from sandbox.github.repositories import Annotation, Job, Named, Repository, Run, Workflow
from sandbox.server import Json

WEB = "https://github.com"
"""Links for people lead to the web site, not to the API."""


class Representations:
    """Everything below the address of one API."""

    def __init__(self, api: str) -> None:
        self._api = api

    def repository(self, repository: Repository) -> Json:
        return {
            "id": repository.id,
            "name": repository.name,
            "full_name": repository.full_name,
            "private": repository.private,
            "owner": {"login": repository.owner, "type": "Organization"},
            "html_url": f"{WEB}/{repository.full_name}",
            "url": self._url(repository),
            "default_branch": repository.default_branch,
            "pushed_at": time(repository.pushed),
        }

    def named(self, named: Named) -> Json:
        """A secret, or with its value a variable."""
        row = {"name": named.name, "created_at": time(named.updated), "updated_at": time(named.updated)}
        return row if named.value is None else row | {"value": named.value}

    def workflow(self, repository: Repository, workflow: Workflow) -> Json:
        path = f".github/workflows/{workflow.file}"
        return {
            "id": workflow.id,
            "name": workflow.name,
            "path": path,
            "state": workflow.state,
            "url": f"{self._url(repository)}/actions/workflows/{workflow.id}",
            "html_url": f"{WEB}/{repository.full_name}/blob/{repository.default_branch}/{path}",
        }

    def file(self, repository: Repository, workflow: Workflow, ref: str) -> Json:
        """The file of a workflow, as `contents` shows it."""
        path, text = f".github/workflows/{workflow.file}", workflow.text.encode()
        url = f"{self._url(repository)}/contents/{path}?ref={ref}"
        blob = sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
        git = f"{self._url(repository)}/git/blobs/{blob}"
        page = f"{WEB}/{repository.full_name}/blob/{ref}/{path}"
        return {
            "type": "file",
            "encoding": "base64",
            "size": len(text),
            "name": workflow.file,
            "path": path,
            "content": b64encode(text).decode(),
            "sha": blob,
            "url": url,
            "git_url": git,
            "html_url": page,
            "download_url": None,
            "_links": {"self": url, "git": git, "html": page},
        }

    def run(self, run: Run) -> Json:
        url = self.run_url(run)
        return {
            "id": run.id,
            "name": run.workflow.name,
            "display_title": run.workflow.name,
            "path": f".github/workflows/{run.workflow.file}",
            "head_branch": run.ref,
            "head_sha": sha1(run.ref.encode(), usedforsecurity=False).hexdigest(),
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "workflow_url": f"{self._url(run.repository)}/actions/workflows/{run.workflow.id}",
            "url": url,
            "html_url": run_page(run),
            "jobs_url": f"{url}/jobs",
            "created_at": time(run.created),
            "run_started_at": time(run.created),
            "updated_at": time(run.updated),
            "repository": self.repository(run.repository),
        }

    def jobs(self, run: Run, *, all_attempts: bool) -> list[Json]:
        """Those that were added, of the last attempt or of all; or the one job that each run has."""
        jobs = run.jobs or [Job(run.id + 1_000_000_000, "deploy", run.conclusion)]
        last = max(job.attempt for job in jobs)
        return [self._job(run, job) for job in jobs if all_attempts or job.attempt == last]

    def _job(self, run: Run, job: Job) -> Json:
        return {
            "id": job.id,
            "run_id": run.id,
            "run_url": self.run_url(run),
            "run_attempt": job.attempt,
            "name": job.name,
            "status": "completed" if job.conclusion else run.status,
            "conclusion": job.conclusion,
            "html_url": f"{run_page(run)}/job/{job.id}",
            "check_run_url": f"{self._url(run.repository)}/check-runs/{job.id}",
            "started_at": time(run.created),
            "completed_at": time(run.updated) if job.conclusion else None,
            "steps": [],
        }

    def annotation(self, annotation: Annotation) -> Json:
        return {
            "path": ".github",
            "start_line": 1,
            "end_line": 1,
            "annotation_level": annotation.level,
            "title": annotation.title,
            "message": annotation.message,
        }

    def run_url(self, run: Run) -> str:
        return f"{self._url(run.repository)}/actions/runs/{run.id}"

    def _url(self, repository: Repository) -> str:
        return f"{self._api}/repos/{repository.full_name}"


def run_page(run: Run) -> str:
    return f"{WEB}/{run.repository.full_name}/actions/runs/{run.id}"


def time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
