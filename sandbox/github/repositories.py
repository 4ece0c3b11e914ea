"""What GitHub keeps: repositories, their workflows and runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

ACTIVE = "active"
COMPLETED = "completed"


@dataclass(frozen=True)
class Dispatch:
    """A dispatch that was accepted."""

    repository: str
    workflow: str
    """The file name."""
    ref: str
    inputs: dict[str, object]
    run_id: int


@dataclass
class Workflow:
    id: int
    file: str
    state: str
    """`active`, or why not: `disabled_manually`, `disabled_inactivity`, …"""
    dispatchable: bool
    """Whether it has the trigger `workflow_dispatch`."""
    inputs: tuple[str, ...] | None
    """The inputs that it defines; None accepts any."""

    @property
    def name(self) -> str:
        return self.file.rsplit(".", 1)[0]

    @property
    def text(self) -> str:
        """The text of its file."""
        if not self.dispatchable:
            return "on: push\n"
        if not self.inputs:
            return "on: workflow_dispatch\n"
        rows = "".join(f"      {name}: {{type: string}}\n" for name in self.inputs)
        return f"on:\n  workflow_dispatch:\n    inputs:\n{rows}"

    def unexpected(self, inputs: dict[str, object]) -> list[str]:
        return [] if self.inputs is None else sorted(set(inputs) - set(self.inputs))


@dataclass(frozen=True)
class Named:
    """A secret or a variable of Actions. GitHub shows only a variable's value."""

    name: str
    updated: datetime
    value: str | None = None
    """The value of a variable; None for a secret."""


@dataclass
class Names:
    """The secrets and variables of one owner, by name."""

    secrets: dict[str, Named] = field(default_factory=dict)
    variables: dict[str, Named] = field(default_factory=dict)


@dataclass(eq=False)
class Repository:
    id: int
    owner: str
    name: str
    default_branch: str
    refs: set[str]
    """Its branches and tags."""
    workflows: dict[str, Workflow] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    """Its own secrets and variables."""
    unshared: set[str] = field(default_factory=set)
    """Names of the organization's secrets and variables that this repository can't use."""
    private: bool = True
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    pushed: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def workflow(self, reference: str) -> Workflow | None:
        """Return the workflow with this file name or id."""
        found = (item for item in self.workflows.values() if reference in (item.file, str(item.id)))
        return next(found, None)


@dataclass(eq=False)
class Run:
    id: int
    repository: Repository
    workflow: Workflow
    ref: str
    number: int
    event: str
    script: list[str]
    """The steps that remain. Each time a client gets the run, it takes the next one."""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: str = "queued"
    conclusion: str | None = None

    def advance(self) -> None:
        if self.script:
            self.take(self.script.pop(0))

    def take(self, step: str) -> None:
        """Set the status. `completed` may name its conclusion: `completed/failure`."""
        self.status, _, conclusion = step.partition("/")
        self.conclusion = (conclusion or "success") if self.status == COMPLETED else None
        self.updated = datetime.now(UTC)


@dataclass
class Permissions:
    """What a token may do, and where."""

    actions: str = "write"
    """`write`, `read` or `none`."""
    repositories: Sequence[str] | None = None
    """Full names of the repositories that it can see; None means all."""
    contents: str = "read"
    """`read` or `none`: whether it may read the repository's files."""
    names: bool = False
    """Whether the token may list the names of a repository's secrets and variables. No job's own token may."""
    organization_names: bool = False
    """Whether the token may list the names of an organization's secrets and variables."""

    def sees(self, repository: Repository) -> bool:
        return self.repositories is None or repository.full_name in self.repositories
