"""A local GitHub: repositories, workflows, dispatches and runs."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sandbox.github.repositories import (
    ACTIVE,
    COMPLETED,
    Dispatch,
    Named,
    Names,
    Permissions,
    Repository,
    Workflow,
)
from sandbox.github.routes import ID_TOKENS, GitHubRoutes
from sandbox.github.sign_in import App

__all__ = ["App", "Dispatch", "GitHub", "Permissions"]


class GitHub(GitHubRoutes):
    """The local GitHub, with methods for tests and demonstrations."""

    def __init__(self) -> None:
        super().__init__()
        self.token = f"ghs_{secrets.token_hex(18)}"
        self.tokens[self.token] = Permissions()

    @property
    def id_token_url(self) -> str:
        """The ACTIONS_ID_TOKEN_REQUEST_URL of a job in the first repository that was added."""
        return f"{self.url}{ID_TOKENS}?api-version=2.0"

    def add_token(self, token: str, permissions: Permissions) -> None:
        with self.lock:
            self.tokens[token] = permissions

    def add_repository(self, full_name: str, default_branch: str = "main", refs: Iterable[str] = ()) -> None:
        """Add a repository; `refs` are branches and tags besides the default branch."""
        owner, name = full_name.split("/")
        with self.lock:
            repository = Repository(next(self.ids), owner, name, default_branch, {default_branch, *refs})
            self.repositories[full_name.lower()] = repository
            self.job_repository = self.job_repository or full_name

    def rename_repository(self, full_name: str, to: str) -> None:
        """Rename a repository. Its former name redirects from now on."""
        with self.lock:
            repository = self.repositories.pop(full_name.lower())
            repository.owner, repository.name = to.split("/")
            self.repositories[to.lower()] = self.renamed[full_name.lower()] = repository

    def add_workflow(
        self,
        full_name: str,
        file: str,
        state: str = ACTIVE,
        dispatchable: bool = True,
        inputs: Sequence[str] | None = None,
    ) -> int:
        """Add a workflow. Return its id. `inputs` are the ones that it defines; None accepts any."""
        with self.lock:
            known = None if inputs is None else tuple(inputs)
            workflow = Workflow(next(self.ids), file, state, dispatchable, known)
            self.repositories[full_name.lower()].workflows[file] = workflow
            return workflow.id

    def add_app(self, repositories: Sequence[str], actions: str = "write") -> App:
        """Install a new GitHub App for repositories of one owner."""
        with self.lock:
            owner = repositories[0].split("/")[0]
            app = App(next(self.ids), next(self.ids), owner, tuple(repositories), actions)
            self.apps[app.id] = app
            return app

    def set_workflow_state(self, full_name: str, file: str, state: str) -> None:
        """Switch a workflow on (`active`) or off (`disabled_manually`, `disabled_inactivity`)."""
        with self.lock:
            self.repositories[full_name.lower()].workflows[file].state = state

    def start_run(
        self,
        full_name: str,
        file: str,
        ref: str | None = None,
        event: str = "push",
        created: datetime | None = None,
    ) -> int:
        """Start a run that we did not dispatch. Return its id."""
        with self.lock:
            repository = self.repositories[full_name.lower()]
            run = self.begin_run(repository, repository.workflows[file], ref or repository.default_branch, event)
            run.created = created or run.created
            return run.id

    def add_secret(self, owner: str, name: str, updated: datetime | None = None) -> None:
        """Add a secret to an organization, or to a repository if `owner` is its full name."""
        with self.lock:
            self._names(owner).secrets[name] = Named(name, updated or datetime.now(UTC))

    def add_variable(self, owner: str, name: str, value: str, updated: datetime | None = None) -> None:
        """Add a variable to an organization, or to a repository if `owner` is its full name."""
        with self.lock:
            self._names(owner).variables[name] = Named(name, updated or datetime.now(UTC), value)

    def _names(self, owner: str) -> Names:
        return self.repositories[owner.lower()].names if "/" in owner else self.organizations[owner]

    def complete(self, run_id: int, conclusion: str = "success") -> None:
        """End a run."""
        with self.lock:
            run = self.runs[run_id]
            run.script.clear()
            run.take(f"{COMPLETED}/{conclusion}")
