"""What GitHub keeps: repositories, their workflows, and the runs of these."""

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
    """The inputs that it defines; None: any are accepted."""

    @property
    def name(self) -> str:
        return self.file.rsplit(".", 1)[0]

    def unexpected(self, inputs: dict[str, object]) -> list[str]:
        return [] if self.inputs is None else sorted(set(inputs) - set(self.inputs))


@dataclass(eq=False)
class Repository:
    id: int
    owner: str
    name: str
    default_branch: str
    refs: set[str]
    """Its branches and tags."""
    workflows: dict[str, Workflow] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def workflow(self, reference: str) -> Workflow | None:
        """By file name or id."""
        found = (item for item in self.workflows.values() if reference in (item.file, str(item.id)))
        return next(found, None)


@dataclass(frozen=True)
class Annotation:
    """What a job told besides its log; `level` is `notice`, `warning` or `failure`."""

    level: str
    message: str
    title: str = ""


@dataclass(frozen=True)
class Job:
    """A job of a run; `conclusion` is None until it has ended."""

    id: int
    name: str
    conclusion: str | None
    annotations: tuple[Annotation, ...] = ()
    attempt: int = 1


@dataclass(eq=False)
class Run:
    id: int
    repository: Repository
    workflow: Workflow
    ref: str
    number: int
    event: str
    script: list[str]
    """What is still to come: each time the run is asked for, it takes the next of these steps."""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: str = "queued"
    conclusion: str | None = None
    jobs: list[Job] = field(default_factory=list)
    """Those that were added; without any, the run has one, which is as the run is."""

    def advance(self) -> None:
        if self.script:
            self.take(self.script.pop(0))

    def take(self, step: str) -> None:
        """Take on a status; `completed` may name its conclusion, `completed/failure`."""
        self.status, _, conclusion = step.partition("/")
        self.conclusion = (conclusion or "success") if self.status == COMPLETED else None
        self.updated = datetime.now(UTC)


@dataclass
class Permissions:
    """What a token may do, and where."""

    actions: str = "write"
    """`write`, `read` or `none`."""
    repositories: Sequence[str] | None = None
    """Full names; None: all."""
    checks: str = "read"
    """`read` or `none`."""

    def sees(self, repository: Repository) -> bool:
        return self.repositories is None or repository.full_name in self.repositories
