"""The fault matrix: every request of a sync meets every fault, once, for ever, or after it was carried out.

Each case runs the whole program, with the real CLI code, against its own local services, one of which fails at one
request. Three things decide what must happen: the request's stage, whether the fault is transient, and how long it
lasts.
"""

from __future__ import annotations

import html
import re
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox import Fault, Sandbox, Server
from sandbox.faults import FaultKind
from tests.faults.program import ENVIRONMENT, Ended, Line, Place, in_order, untruths

OUTAGE = 1.0
"""Duration of a single outage, in seconds: shorter than all tries take, longer than the first takes to begin."""
MARGIN = 10
"""Seconds after its time limit within which a run must end by itself."""

_ESC = re.escape(f"/api/esc/environments/{ENVIRONMENT}")
_CHECK = r"POST /api/esc/environments/[^/]+/yaml/check"
_REPO = r"/repos/[^/]+/[^/]+"
_MARK = r"sentry-esc-sync-deployed-\w+"
_READ = ("esc", f"GET {_ESC}/decrypt")
_WRITE = ("esc", f"PATCH {_ESC}")
_TAG_SET = ("esc", f"PATCH {_ESC}/versions/tags/github-run-.*")
_DISPATCH = ("github", f"POST {_REPO}/actions/workflows/[^/]+/dispatches")
_RUN = ("github", f"GET {_REPO}/actions/runs/[0-9]+")
_METADATA = ("esc", f"GET {_ESC}/metadata")
_DRAFT = ("esc", f"POST {_ESC}/drafts")
_CHANGE_REQUEST = r"/api/change-requests/acme/[\w-]+"
_SUBMIT = ("esc", f"POST {_CHANGE_REQUEST}/submit")
_DRAFT_READ = ("esc", f"GET {_ESC}/drafts/[\\w-]+")
_DRAFT_OPEN = ("esc", f"POST {_ESC}/drafts/[\\w-]+/open")
_MARK_SET = ("esc", f"PATCH {_ESC}/versions/tags/{_MARK}")


class Stage(Enum):
    """A stage of the pipeline: its exit code, and a pattern for the words that name it."""

    SIGN_IN = 4, r"token|sign.in"
    PREFLIGHT = 3, r"Sentry"
    READ = 4, r"[Cc]ould not read|access token|ESC can't evaluate"
    EDIT = 4, r"[Cc]ould not read|for the change|access token"
    WRITE = 4, r"[Cc]ould not write|Whether the new revision was saved"
    PROPOSE = 4, r"need an approval|[Cc]hange request|[Cc]ould not read"
    READ_BACK = 4, r"[Cc]ould not read|read back|ESC can't evaluate"
    REVISION = 0, r"changed in one revision, verified"
    TAG = 0, r"revision tag github-run-"
    DEPLOY = 6, r"[Dd]eploy"
    MARK = 0, r"revision tag sentry-esc-sync-deployed-|next sync will deploy"
    MARK_READ = 0, r"last deployed isn't known"
    WAIT = 6, r"[Dd]eploy run|for the deploy|[Dd]eploy by"

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.words = words

    @property
    def is_before_verified_write(self) -> bool:
        return self in (Stage.SIGN_IN, Stage.PREFLIGHT, Stage.READ, Stage.EDIT, Stage.WRITE, Stage.PROPOSE)


@dataclass(frozen=True)
class Request:
    """One request of a sync.

    Args:
        name: Its name in the table.
        stage: The stage that it belongs to.
        service: The service that it goes to.
        line: A pattern for it.
        preceded: The requests before it, in this order: other requests of a sync may look the same.
        until: A request after it. From then on, requests that look the same don't concern the case.
        writes: Whether it changes anything.
        scenario: The kind of run in which it occurs.
    """

    name: str
    stage: Stage
    service: str
    line: str
    preceded: tuple[Line, ...] = ()
    until: Line | None = None
    writes: bool = False
    scenario: str = "sync"

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


REQUESTS = (
    Request("identity token", Stage.SIGN_IN, "github", "GET /actions/id-token", scenario="oidc"),
    Request(
        "token exchange",
        Stage.SIGN_IN,
        "esc",
        "POST /api/oauth/token",
        (("github", "GET /actions/id-token"),),
        scenario="oidc",
    ),
    Request("user", Stage.READ, "esc", "GET /api/user"),
    Request("preflight token", Stage.PREFLIGHT, "sentry", "GET /api/0/"),
    Request(
        "preflight project", Stage.PREFLIGHT, "sentry", "GET /api/0/projects/[^/]+/[^/]+/", (("sentry", "GET /api/0/"),)
    ),
    Request(
        "preflight keys",
        Stage.PREFLIGHT,
        "sentry",
        "GET /api/0/projects/[^/]+/[^/]+/keys/",
        (("sentry", "GET /api/0/projects/[^/]+/[^/]+/"),),
    ),
    Request("read", Stage.READ, *_READ, (("esc", "GET /api/user"),)),
    Request("read check", Stage.READ, "esc", _CHECK, (_READ,)),
    Request("edit", Stage.EDIT, "esc", f"GET {_ESC}", (("esc", _CHECK),)),
    Request("edit check", Stage.EDIT, "esc", _CHECK, (("esc", f"GET {_ESC}"),), until=_WRITE),
    Request("write", Stage.WRITE, *_WRITE, (("esc", f"GET {_ESC}"), ("esc", _CHECK)), writes=True),
    Request("read-back", Stage.READ_BACK, *_READ, (_WRITE,)),
    Request("read-back check", Stage.READ_BACK, "esc", _CHECK, (_WRITE, _READ)),
    Request(
        "newest revision",
        Stage.REVISION,
        "esc",
        f"GET {_ESC}/versions/tags/latest",
        (_WRITE, _READ, ("esc", _CHECK)),
        until=_DISPATCH,
        scenario="answer lost",
    ),
    Request("tag moved", Stage.TAG, *_TAG_SET, (_WRITE,)),
    Request(
        "tag made",
        Stage.TAG,
        "esc",
        f"POST {_ESC}/versions/tags",
        (_TAG_SET,),
        until=_DISPATCH,
        writes=True,
    ),
    Request(
        "app installation",
        Stage.DEPLOY,
        "github",
        f"GET {_REPO}/installation",
        (_WRITE, ("esc", f"POST {_ESC}/versions/tags")),
        scenario="app",
    ),
    Request(
        "app token",
        Stage.DEPLOY,
        "github",
        "POST /app/installations/[0-9]+/access_tokens",
        (("github", f"GET {_REPO}/installation"),),
        scenario="app",
    ),
    Request("repository", Stage.DEPLOY, "github", f"GET {_REPO}", (_WRITE, ("esc", f"POST {_ESC}/versions/tags"))),
    Request("workflow", Stage.DEPLOY, "github", f"GET {_REPO}/actions/workflows/[^/]+", (("github", f"GET {_REPO}"),)),
    Request(
        "dispatch",
        Stage.DEPLOY,
        "github",
        _DISPATCH[1],
        (("github", f"GET {_REPO}/actions/workflows/[^/]+"),),
        writes=True,
    ),
    Request("deploy run", Stage.WAIT, "github", _RUN[1], (_DISPATCH,)),
    Request("mark moved", Stage.MARK, *_MARK_SET, (_RUN,)),
    Request("mark made", Stage.MARK, "esc", f"POST {_ESC}/versions/tags", (_MARK_SET,), writes=True),
    Request(
        "mark read",
        Stage.MARK_READ,
        "esc",
        f"GET {_ESC}/versions/{_MARK}/decrypt",
        (_READ, ("esc", _CHECK)),
        scenario="unchanged",
    ),
    Request(
        "mark check",
        Stage.MARK_READ,
        "esc",
        _CHECK,
        (("esc", f"GET {_ESC}/versions/{_MARK}/decrypt"),),
        scenario="unchanged",
    ),
    Request("approvals", Stage.PROPOSE, *_METADATA, (_READ, ("esc", _CHECK)), until=_DRAFT, scenario="guarded"),
    Request("proposal edit", Stage.EDIT, "esc", f"GET {_ESC}", (_METADATA,), scenario="guarded"),
    Request("draft", Stage.PROPOSE, *_DRAFT, (_METADATA, ("esc", f"GET {_ESC}")), writes=True, scenario="guarded"),
    Request("submission", Stage.PROPOSE, *_SUBMIT, (_DRAFT,), writes=True, scenario="guarded"),
    Request("approvals again", Stage.PROPOSE, *_METADATA, (_SUBMIT,), scenario="guarded"),
    Request("change request", Stage.PROPOSE, "esc", f"GET {_CHANGE_REQUEST}", (_SUBMIT, _METADATA), scenario="guarded"),
    Request("draft read", Stage.PROPOSE, *_DRAFT_READ, (_SUBMIT,), scenario="guarded"),
    Request("draft opened", Stage.PROPOSE, *_DRAFT_OPEN, (_SUBMIT, _DRAFT_READ), scenario="guarded"),
    Request("draft values", Stage.PROPOSE, "esc", f"GET {_ESC}/open/\\w+", (_DRAFT_OPEN,), scenario="guarded"),
)


@dataclass(frozen=True)
class Failure:
    """A way to fail."""

    name: str
    kind: FaultKind = "status"
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether a retry would be wrong."""
        return self.status in (400, 401, 403, 404)


FAILURES = (
    *(Failure(str(status), status=status) for status in (400, 401, 403, 404, 409, 429)),
    Failure("429, wait", status=429, headers=(("Retry-After", "1"),)),
    *(Failure(str(status), status=status) for status in (500, 502, 503)),
    Failure("refused", "refuse"),
    Failure("cut off", "truncate"),
    Failure("empty", "empty"),
    Failure("garbage", "garbage"),
    Failure("silent", "hang"),
)


class Times(Enum):
    ONCE = "once"
    FOR_EVER = "for ever"
    LOST = "answer lost"
    """Once, after the request was carried out."""


@dataclass(frozen=True)
class Case:
    request: Request
    failure: Failure
    times: Times

    def __str__(self) -> str:
        return f"{self.request}-{self.failure.name}-{self.times.value}".replace(" ", "_").replace(",", "")

    @property
    def stage(self) -> Stage:
        """The stage that the fault stops."""
        # The tag is set during the read-back, and a service that stays down answers neither.
        if self.request.name == "tag moved" and self.ends_the_service:
            return Stage.READ_BACK
        return self.request.stage

    @property
    def races(self) -> bool:
        """Whether the outage may stop the read-back instead: it is chance which of the two it meets first."""
        return self.request.name == "tag made" and self.ends_the_service

    @property
    def ends_the_service(self) -> bool:
        """Whether the service stays down, for all requests."""
        return self.failure.kind == "refuse" and self.times is Times.FOR_EVER

    def stopped(self, code: int | None) -> Stage:
        """Return the stage that the fault stopped in a run with that exit code."""
        return Stage.READ_BACK if self.races and code == Stage.READ_BACK.code else self.stage

    @property
    def takes_long(self) -> bool:
        """Whether the run mostly waits."""
        return self.failure.kind == "hang" or (self.times is Times.FOR_EVER and self.request.service == "esc")

    @property
    def timeout(self) -> int:
        """The input `timeout`, in seconds. One call of the CLI gets a quarter of it.

        Runs that wait until then get a short limit; all others get plenty of time. Requests of the sign-in, to GitHub
        and to Sentry have their own limits, of 10 to 15 seconds.
        """
        has_own_limit = self.request.service != "esc" or self.stage is Stage.SIGN_IN
        if not self.takes_long or (has_own_limit and self.times is not Times.FOR_EVER):
            return 90
        return 24

    @property
    def heals(self) -> bool:
        """Whether the fault is transient and the program retries."""
        stage = self.stage
        if stage is Stage.WAIT:  # a failed look at the run is skipped
            return self.times is not Times.FOR_EVER
        if self.times is Times.FOR_EVER or self.failure.is_final or self.needs_a_person:
            return False
        if stage is Stage.MARK_READ:  # only the CLI retries, since the deploy runs anyway
            is_outage = self.failure.kind == "refuse" or (self.failure.status or 0) >= 500
            return is_outage and self.request.name == "mark read"
        if stage in (Stage.SIGN_IN, Stage.PREFLIGHT):
            # A response that such a service never sends isn't an outage.
            return self.failure.kind not in ("empty", "garbage") and self.failure.status != 409
        # ESC's 409 is a conflict, which is transient, except where nothing can be in conflict.
        return self.failure.status != 409 or stage not in (Stage.DEPLOY, Stage.WAIT, Stage.TAG, Stage.MARK)

    @property
    def needs_a_person(self) -> bool:
        """Whether a draft is left that wasn't submitted, or whose values came as a web page."""
        match self.request.name:
            case "draft":
                return self.times is Times.LOST
            case "submission":
                return self.times is not Times.LOST
            case "draft opened" | "draft values":
                return self.failure.kind == "garbage"
        return False

    @property
    def codes(self) -> set[int]:
        """The exit codes that the contract allows."""
        stage = self.stage
        if self.races:
            return {stage.code, Stage.READ_BACK.code}
        if self.request.name == "edit check" and (self.failure.kind, self.times) not in _EDIT_CHECKS_THAT_MATTER:
            return {0}  # the CLI only shows the answer in its editor, for a person
        if self.request.name == "dispatch" and self.failure.kind == "empty" and self.times is not Times.LOST:
            # GitHub may accept a dispatch like this, without naming the run; then there is no run to wait for.
            return {6}
        if stage is Stage.PREFLIGHT:
            denied = (401,) if self.request.name == "preflight token" else (401, 403, 404)
            return {3} if self.failure.status in denied else {0}
        return {0} if self.heals else {stage.code}

    def states(self, code: int | None) -> set[str]:
        """Return what ESC may hold after a run with that exit code."""
        if self.request.scenario in ("unchanged", "guarded"):
            return {"old"}
        return {"old" if code != 0 and self.stage.is_before_verified_write else "new"}

    def dispatches(self, code: int | None) -> set[int]:
        """Return how many deploys a run with that exit code may have dispatched."""
        stage = self.stage
        if self.request.scenario == "guarded":
            return {0}
        if stage is Stage.MARK_READ:
            return {0, 1}  # once too often rather than once too few
        return {1 if code == 0 or stage is Stage.WAIT else 0}


_EDIT_CHECKS_THAT_MATTER = (("hang", Times.FOR_EVER), ("refuse", Times.FOR_EVER))


def _cases() -> Iterable[Case]:
    for request in REQUESTS:
        for failure in FAILURES:
            yield Case(request, failure, Times.ONCE)
            yield Case(request, failure, Times.FOR_EVER)
            # A refused connection carries no request, and a service that refuses a request hasn't carried it out.
            if request.writes and failure.kind != "refuse" and (failure.status or 500) >= 500:
                yield Case(request, failure, Times.LOST)


CASES = tuple(_cases())


@dataclass(frozen=True)
class Result:
    """The result of a case."""

    case: Case
    ended: Ended
    state: str
    dispatched: int
    revisions: int
    proposals: tuple[str, ...]
    strikes: int
    remains: tuple[str, ...]

    @cached_property
    def problems(self) -> list[str]:
        """Everything that is wrong with the result."""
        return [problem for judge in _JUDGES for problem in judge(self)]


class Trap:
    """The fault of a case. It becomes active when the requests before it have been carried out."""

    def __init__(self, box: Sandbox, case: Case) -> None:
        self._box = box
        self._case = case
        self._fault: Fault | None = None
        self._timer: threading.Timer | None = None
        in_order(box, case.request.preceded, self._strike)
        if case.request.until is not None:
            service, line = case.request.until
            getattr(box, service).before(line, self._disarm)

    @property
    def strikes(self) -> int:
        return self._fault.hits if self._fault else 0

    def _strike(self) -> None:
        case = self._case
        server: Server = getattr(self._box, case.request.service)
        if case.failure.kind == "refuse":
            server.down()
            if case.times is Times.ONCE:
                self._timer = threading.Timer(OUTAGE, server.up)
                if case.request.preceded:
                    self._timer.start()
            return
        options: dict[str, Any] = {"kind": case.failure.kind, "status": case.failure.status}
        times = None if case.times is Times.FOR_EVER else 1
        headers = dict(case.failure.headers)
        if headers and times is None:
            headers = {"Retry-After": "3600"}  # longer than any run
        self._fault = server.fail(
            case.request.line, times=times, headers=headers, after=case.times is Times.LOST, **options
        )

    def begin(self) -> None:
        """Note that the program has begun to work."""
        if self._timer is not None and not self._case.request.preceded:
            self._timer.start()

    def _disarm(self) -> None:
        if self._fault is not None:
            self._fault.times = self._fault.hits

    def clear(self) -> None:
        if self._timer is not None and self._timer.ident is not None:
            self._timer.join()


def run(case: Case) -> Result:
    """Run one case."""
    with Sandbox() as box, tempfile.TemporaryDirectory(prefix="faults-") as folder:
        limits = {"timeout": case.timeout, "deploy-timeout": 24}
        place = Place(box, Path(folder), {name: str(seconds) for name, seconds in limits.items()})
        _SCENARIOS[case.request.scenario](place)
        before = len(box.esc.revisions(ENVIRONMENT))
        trap = Trap(box, case)
        # The wait for the deploy has a limit of its own.
        running = place.start()
        running.first_line()
        trap.begin()
        ended = running.end(sum(limits.values()) + MARGIN)
        trap.clear()
        result = Result(
            case,
            ended,
            place.state(),
            len(box.github.dispatches),
            len(box.esc.revisions(ENVIRONMENT)) - before,
            tuple(request.id for request in box.esc.open_change_requests(ENVIRONMENT)),
            trap.strikes,
            (
                *(f"the secret `{name}` was told" for name in place.leaks(ended)),
                *(f"the process `{process}` still runs" for process in place.processes()),
                *(f"the file {file} is left" for file in place.files()),
            ),
        )
        place.clean()
        return result


_SCENARIOS: dict[str, Callable[[Place], object]] = {
    "sync": lambda _: None,
    "oidc": Place.sign_in_by_identity,
    "app": Place.sign_in_as_app,
    "answer lost": Place.lose_the_answer,
    "unchanged": Place.hold_everything,
    "guarded": Place.need_approvals,
}


def _ends_as_the_contract_says(result: Result) -> Iterable[str]:
    code, case = result.ended.code, result.case
    if code is None:
        yield "it did not end by itself"
    elif code not in case.codes:
        yield f"exit code {code}, not {' or '.join(map(str, case.codes))}"
    if case.failure.kind != "refuse" and result.strikes == 0:
        yield "the fault was never met"


def _tells_what_failed_and_what_to_do(result: Result) -> Iterable[str]:
    errors, case = result.ended.errors, result.case
    if len(errors) != (0 if result.ended.code == 0 else 1):
        yield f"{len(errors)} error annotations"
    for error in errors:
        if not re.search(case.stopped(result.ended.code).words, error):
            yield f"the annotation doesn't name what failed: {error}"
        what, found, todo = result.ended.summary.partition("**What to do:**")
        todo = html.unescape(re.sub(r"\\(?=[!-/:-@\[-`{-~])", "", todo))  # the summary escapes Markdown and HTML
        if not found or not todo.strip() or todo.split("\n")[0].strip() not in error:
            yield f"the annotation doesn't say what to do: {error} ({what})"
    is_warning_due = case.stage.code == 0 or case.stage is Stage.PREFLIGHT
    if result.ended.code == 0 and is_warning_due and not case.heals and not _is_normal(case):
        told = "\n".join([*result.ended.warnings, result.ended.log])
        if not re.search(case.stage.words, told):
            yield "nothing tells what failed"


def _is_normal(case: Case) -> bool:
    """Return whether the case is no failure of a tag: none exists yet, or it is a 2xx, which has no body anyway."""
    if case.stage not in (Stage.TAG, Stage.MARK):
        return False
    is_missing = case.failure.status == 404 and case.request.name in ("tag moved", "mark moved")
    return is_missing or case.failure.kind in ("empty", "garbage")


def _tells_the_truth(result: Result) -> Iterable[str]:
    return untruths(result.ended.errors, result.state, result.revisions)


def _leaves_esc_old_or_new(result: Result) -> Iterable[str]:
    case = result.case
    if result.state not in case.states(result.ended.code):
        yield f"ESC holds {result.state}"
    if result.revisions != (1 if result.state == "new" else 0):
        yield f"{result.revisions} new revisions, and ESC holds {result.state}"


def _names_every_proposal(result: Result) -> Iterable[str]:
    """Check that at most one change request is open, and that it is named or reported as unknown."""
    ended = result.ended
    if len(result.proposals) > 1 or (result.case.request.scenario != "guarded" and result.proposals):
        yield f"{len(result.proposals)} change requests are open"
    named = ended.outputs.get("change-request-id") in result.proposals
    unknown = any("Whether a change request was opened isn't known" in error for error in ended.errors)
    told = named and all(any(name in error for name in result.proposals) for error in ended.errors)
    if result.proposals and not told and not unknown:
        yield f"the open change request isn't named: {ended.errors}"
    is_proposed = ended.outputs.get("result") == "proposed" and named
    if ended.code == 0 and result.case.request.scenario == "guarded" and not is_proposed:
        yield f"it isn't proposed: {ended.outputs}"


def _dispatches_only_what_is_verified(result: Result) -> Iterable[str]:
    case = result.case
    if result.dispatched not in case.dispatches(result.ended.code):
        yield f"{result.dispatched} deploys were dispatched"


def _never_asks_again_in_vain(result: Result) -> Iterable[str]:
    case = result.case
    most = 5 if case.stage is Stage.WAIT else 1  # refusals in a row that end the wait
    if case.times is Times.FOR_EVER and case.failure.is_final and result.strikes > most:
        yield f"{case.failure.name} was met {result.strikes} times"


def _leaves_nothing(result: Result) -> Iterable[str]:
    return result.remains


_JUDGES: tuple[Callable[[Result], Iterable[str]], ...] = (
    _ends_as_the_contract_says,
    _tells_what_failed_and_what_to_do,
    _tells_the_truth,
    _leaves_esc_old_or_new,
    _names_every_proposal,
    _dispatches_only_what_is_verified,
    _never_asks_again_in_vain,
    _leaves_nothing,
)
