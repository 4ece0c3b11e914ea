"""The JSON of GitHub's REST API, reduced to what clients of Actions read."""

from base64 import b64encode
from datetime import datetime
from hashlib import sha1

from sandbox.github.repositories import Named, Repository, Run, Workflow
from sandbox.github.sign_in import App
from sandbox.server import Json

# The links of a user and of a repository, by the suffix of their URLs; docs.github.com, "Get a repository".
_OF_USER = "events followers following gists organizations received_events repos starred subscriptions"
_OF_REPOSITORY = (
    "archive assignees blobs branches collaborators comments commits compare contents contributors deployments "
    "downloads events forks git_commits git_refs git_tags hooks issue_comment issue_events issues keys labels "
    "languages merges milestones notifications pulls releases stargazers statuses subscribers subscription tags teams "
    "trees"
)

WEB = "https://github.com"
"""Base URL of the links for people, which lead to the web site, not to the API."""


class Representations:
    """The JSON of each object, with links to the API at one address."""

    def __init__(self, api: str) -> None:
        self._api = api

    def repository(self, repository: Repository) -> Json:
        return {
            "id": repository.id,
            "name": repository.name,
            "full_name": repository.full_name,
            "private": repository.private,
            "node_id": _node("R", repository.id),
            "owner": self.owner(repository.owner),
            "html_url": f"{WEB}/{repository.full_name}",
            "description": None,
            "fork": False,
            "url": self._url(repository),
            **{f"{name}_url": f"{self._url(repository)}/{name}" for name in _OF_REPOSITORY.split()},
        }

    def full_repository(self, repository: Repository) -> Json:
        """Return a repository as its own route shows it."""
        page = f"{WEB}/{repository.full_name}"
        counts = "forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count"
        return {
            **self.repository(repository),
            "default_branch": repository.default_branch,
            "clone_url": f"{page}.git",
            "git_url": f"git:{page.removeprefix('https:')}.git",
            "ssh_url": f"git@github.com:{repository.full_name}.git",
            "svn_url": page,
            "mirror_url": None,
            "homepage": None,
            "language": None,
            "license": None,
            "archived": False,
            "disabled": False,
            **{f"has_{name}": name == "issues" for name in ("issues", "projects", "wiki", "pages", "discussions")},
            **dict.fromkeys(counts.split(), 0),
            "network_count": 0,
            "subscribers_count": 0,
            "created_at": time(repository.created),
            "updated_at": time(repository.pushed),
            "pushed_at": time(repository.pushed),
        }

    def owner(self, login: str) -> Json:
        """Return an organization as an owner."""
        url = f"{self._api}/users/{login}"
        number = int(sha1(login.encode(), usedforsecurity=False).hexdigest()[:6], 16)
        return {
            "login": login,
            "id": number,
            "node_id": _node("O", number),
            "avatar_url": f"https://avatars.githubusercontent.com/u/{number}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{WEB}/{login}",
            **{f"{name}_url": f"{url}/{name}" for name in _OF_USER.split()},
            "type": "Organization",
            "site_admin": False,
        }

    def installation(self, app: App) -> Json:
        """Return the installation of an app."""
        url = f"{self._api}/app/installations/{app.installation_id}"
        return {
            "id": app.installation_id,
            "app_id": app.id,
            "app_slug": f"app-{app.id}",
            "account": self.owner(app.owner),
            "target_id": self.owner(app.owner)["id"],
            "target_type": "Organization",
            "repository_selection": "selected",
            "permissions": {"metadata": "read", **app.permissions},
            "access_tokens_url": f"{url}/access_tokens",
            "repositories_url": f"{self._api}/installation/repositories",
            "html_url": f"{WEB}/organizations/{app.owner}/settings/installations/{app.installation_id}",
            "single_file_name": None,
            "events": [],
            "created_at": time(app.installed),
            "updated_at": time(app.installed),
            "suspended_by": None,
            "suspended_at": None,
        }

    def named(self, named: Named, *, shared: bool = False) -> Json:
        """Return a secret, or a variable with its value. A `shared` one has a visibility in its organization."""
        row = {"name": named.name, "created_at": time(named.updated), "updated_at": time(named.updated)}
        seen = {"visibility": "all"} if shared else {}
        return row | seen if named.value is None else row | seen | {"value": named.value}

    def workflow(self, repository: Repository, workflow: Workflow) -> Json:
        path = f".github/workflows/{workflow.file}"
        return {
            "id": workflow.id,
            "name": workflow.name,
            "node_id": _node("W", workflow.id),
            "path": path,
            "state": workflow.state,
            "badge_url": f"{WEB}/{repository.full_name}/workflows/{workflow.name}/badge.svg",
            "created_at": time(repository.created),
            "updated_at": time(repository.pushed),
            "url": f"{self._url(repository)}/actions/workflows/{workflow.id}",
            "html_url": f"{WEB}/{repository.full_name}/blob/{repository.default_branch}/{path}",
        }

    def file(self, repository: Repository, workflow: Workflow, ref: str) -> Json:
        """Return the file of a workflow, as `contents` shows it."""
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
        links = {"jobs": "jobs", "logs": "logs", "cancel": "cancel", "rerun": "rerun", "artifacts": "artifacts"}
        sha = sha1(run.ref.encode(), usedforsecurity=False).hexdigest()
        person = {"name": "Someone", "email": "someone@example.com"}
        return {
            "node_id": _node("WFR", run.id),
            **{f"{name}_url": f"{url}/{end}" for name, end in links.items()},
            "check_suite_url": f"{self._url(run.repository)}/check-suites/{run.id}",
            "pull_requests": [],
            "head_commit": {
                "id": sha,
                "tree_id": sha,
                "message": "A commit",
                "timestamp": time(run.created),
                "author": person,
                "committer": person,
            },
            "head_repository": self.repository(run.repository),
            "id": run.id,
            "name": run.workflow.name,
            "display_title": run.workflow.name,
            "path": f".github/workflows/{run.workflow.file}",
            "head_branch": run.ref,
            "head_sha": sha,
            "run_number": run.number,
            "run_attempt": 1,
            "event": run.event,
            "status": run.status,
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "workflow_url": f"{self._url(run.repository)}/actions/workflows/{run.workflow.id}",
            "url": url,
            "html_url": run_page(run),
            "created_at": time(run.created),
            "run_started_at": time(run.created),
            "updated_at": time(run.updated),
            "repository": self.repository(run.repository),
        }

    def job(self, run: Run) -> Json:
        """Return the one job of a run."""
        job_id = run.id + 1_000_000_000
        return {
            "id": job_id,
            "node_id": _node("CR", job_id),
            "run_id": run.id,
            "head_sha": sha1(run.ref.encode(), usedforsecurity=False).hexdigest(),
            "head_branch": run.ref,
            "workflow_name": run.workflow.name,
            "url": f"{self._url(run.repository)}/actions/jobs/{job_id}",
            "labels": ["ubuntu-latest"],
            **dict.fromkeys(("runner_id", "runner_name", "runner_group_id", "runner_group_name")),
            "created_at": time(run.created),
            "run_url": self.run_url(run),
            "run_attempt": 1,
            "name": "deploy",
            "status": run.status,
            "conclusion": run.conclusion,
            "html_url": f"{run_page(run)}/job/{job_id}",
            "check_run_url": f"{self._url(run.repository)}/check-runs/{job_id}",
            "started_at": time(run.created),
            "completed_at": time(run.updated) if run.conclusion else None,
            "steps": [],
        }

    def run_url(self, run: Run) -> str:
        return f"{self._url(run.repository)}/actions/runs/{run.id}"

    def _url(self, repository: Repository) -> str:
        return f"{self._api}/repos/{repository.full_name}"


def _node(kind: str, number: int) -> str:
    """Return an id of GitHub's GraphQL API."""
    return f"{kind}_{number:x}"


def run_page(run: Run) -> str:
    return f"{WEB}/{run.repository.full_name}/actions/runs/{run.id}"


def time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
