"""`doctor`: check the workflows, their last runs, the schedule, and the names of the secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sophia_sync.console.diagnosis import Check, Section, State, bad, good, none_of, not_checked, warning
from sophia_sync.console.session import Session
from sophia_sync.console.times import ago, moment, now
from sophia_sync.deploy import target_of
from sophia_sync.github.actions import Facts, Named, Reader, ReadingError, Run, Workflow
from sophia_sync.github.api import GitHubError
from sophia_sync.github.dispatch import Dispatcher
from sophia_sync.sync.bundle import OPTIONAL_KEYS, SENTRY_KEYS

GITHUB, GITHUB_SECRETS = "GitHub", "GitHub's secrets"
REPOSITORY, SYNC, SYNC_RUN, SCHEDULE = "repository", "sync workflow", "last sync", "schedule"
DEPLOY, DEPLOY_RUN = "deploy workflow", "last deploy"
NAMES = (REPOSITORY, SYNC, SYNC_RUN, SCHEDULE, DEPLOY, DEPLOY_RUN)

_PULUMI_TOKEN = "PULUMI_ACCESS_TOKEN"  # noqa: S105 - a name
SECRETS = (*SENTRY_KEYS, _PULUMI_TOKEN)

# The sync workflow runs every six hours: after four missing runs the schedule counts as late.
_SCHEDULE_IS_LATE = timedelta(hours=24)
# GitHub disables the schedules of a public repository after this time without a push.
_INACTIVITY = timedelta(days=60)
_INACTIVITY_IS_NEAR = timedelta(days=50)

_FAILED = frozenset({"failure", "timed_out", "startup_failure", "action_required"})


def sections(session: Session, sync_workflow: str) -> list[Section]:
    """Return the checks of GitHub."""
    access, repository = session.access, session.access.deploy_repository
    if repository is None:
        todo = "Pass --repository OWNER/NAME, or set GITHUB_REPOSITORY."
        return unchecked("It isn't known which repository the workflows are in.", todo)
    if access.github_token is None and access.github_app_id is None:
        todo = "Set GITHUB_TOKEN, for instance: export GITHUB_TOKEN=$(gh auth token)"
        return unchecked("There is no token for GitHub.", todo)
    reader = Reader(access, repository, session.context.api_url, session.deadline)
    try:
        facts = reader.facts()
        found = _Looking(reader, facts, sync_workflow, access.deploy_workflow).sections()
        return [_with_unfit(found[0], _unfit(session)), *found[1:]]
    except ReadingError as error:
        unseen, *rest = unchecked("The repository can't be seen.")
        return [Section(GITHUB, (_unseen(repository, error), *unseen.checks[1:])), *rest]
    finally:
        reader.close()


def _unfit(session: Session) -> list[GitHubError]:
    """Return what would keep the deploy workflow from starting."""
    access = session.access
    dispatcher = Dispatcher(access, target_of(access), session.context.api_url, session.deadline)
    try:
        return dispatcher.check(access.deploy_inputs)
    finally:
        dispatcher.close()


def _with_unfit(section: Section, unfit: Sequence[GitHubError]) -> Section:
    """Return the section with the deploy workflow marked bad if it is active but can't be dispatched."""

    def judged(check: Check) -> Check:
        if check.name != DEPLOY or check.state is not State.GOOD or not unfit:
            return check
        todo = " ".join(dict.fromkeys(one.todo for one in unfit))
        return bad(DEPLOY, f"can't be dispatched: {'; '.join(one.what for one in unfit)}", todo)

    return Section(section.name, tuple(map(judged, section.checks)))


def unchecked(why: str, todo: str = "") -> list[Section]:
    """Return the same sections with every check marked as not checked."""
    return [
        Section(GITHUB, tuple(none_of(NAMES, why, todo))),
        Section(GITHUB_SECRETS, tuple(none_of(SECRETS, why))),
    ]


def _unseen(repository: str, error: ReadingError) -> Check:
    if error.status in (403, 404) and not error.todo:
        todo = "Check its name, and that the token was made for it."
        return bad(REPOSITORY, f"The token doesn't see {repository}: {error}.", todo)
    if error.status is None or error.status >= 500:
        return not_checked(REPOSITORY, _sentence(error), f"{error.todo} Is GITHUB_API_URL right?".strip())
    return bad(REPOSITORY, _sentence(error), error.todo)


def _untold(error: ReadingError, todo: str) -> tuple[str, str]:
    """Return why GitHub doesn't tell something, and the next step: `todo` if the token may not see it."""
    if error.status in (401, 403, 404) and not error.todo:
        return f"The token may not see it: {error}.", todo
    return f"GitHub doesn't tell: {error}.", error.todo or "Run it again later."


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."


class _Looking:
    """The checks of a repository that the token can see."""

    def __init__(self, reader: Reader, facts: Facts, sync: str, deploy: str) -> None:
        self._reader = reader
        self._facts = facts
        self._sync = sync
        self._deploy = deploy

    def sections(self) -> list[Section]:
        sync, checks = self._workflow(self._sync, SYNC, SYNC_RUN)
        _, deploy_checks = self._workflow(self._deploy, DEPLOY, DEPLOY_RUN)
        seen = good(REPOSITORY, f"{self._facts.full_name} can be seen")
        found = (seen, *checks, self._schedule(sync), *deploy_checks)
        return [Section(GITHUB, found), Section(GITHUB_SECRETS, tuple(self._secrets(sync.succeeded if sync else None)))]

    def _gh(self, command: str, file: str) -> str:
        """Return a `gh` command for the next step."""
        return f"gh workflow {command} {file} --repo {self._facts.full_name}"

    def _workflow(self, file: str, name: str, run_name: str) -> tuple[Workflow | None, list[Check]]:
        """Check a workflow's state and its last run."""
        try:
            workflow = self._reader.workflow(file)
        except ReadingError as error:
            return None, none_of([name, run_name], *_untold(error, "Give the token read access to Actions."))
        if workflow is None:
            what = f"there is no {file} on the default branch"
            missing = bad(name, what, "Add it to .github/workflows: docs/quick-start.md shows it.")
            return None, [missing, not_checked(run_name, "It takes the workflow.")]
        return workflow, [self._state(name, workflow), self._last_run(run_name, workflow)]

    def _state(self, name: str, workflow: Workflow) -> Check:
        if workflow.state == "active":
            return good(name, f"{workflow.file} is active")
        enable = self._gh("enable", workflow.file)
        if workflow.state == "disabled_inactivity":
            why = "switched off by GitHub: nobody has pushed to the repository for 60 days"
            return bad(name, f"{workflow.file} is {why}", f"{enable}, and push something now and then.")
        if workflow.state == "disabled_manually":
            return bad(name, f"{workflow.file} was switched off by somebody", enable)
        return bad(name, f"{workflow.file} is {workflow.state}", enable)

    def _last_run(self, name: str, workflow: Workflow) -> Check:
        run = workflow.last
        if run is None:
            return warning(name, "it has never run", self._gh("run", workflow.file))
        when = ago(run.created, now())
        if run.conclusion is None:
            under_way = f"{run.status.replace('_', ' ')}, begun {when}: {run.url}"
            if run.status == "in_progress":
                return good(name, under_way)
            return warning(name, under_way, f"It waits: for a runner, an approval, or the run before it. {run.url}")
        if run.conclusion == "success":
            return good(name, f"went well, {when}: {run.url}")
        before = "none" if workflow.succeeded is None else moment(workflow.succeeded.created)
        what = f"{run.conclusion.replace('_', ' ')}, {when} (the last that went well: {before}): {run.url}"
        judged = bad if run.conclusion in _FAILED else warning
        view = f"gh run view {run.id} --log-failed --repo {self._facts.full_name}"
        return judged(name, what, f"Open it: its summary says what to do. {view}")

    def _schedule(self, workflow: Workflow | None) -> Check:
        """Check whether GitHub still starts the sync by its schedule."""
        if workflow is None:
            return not_checked(SCHEDULE, "It takes the sync workflow.")
        if workflow.state != "active":
            return bad(SCHEDULE, "dead: the workflow is switched off", self._gh("enable", workflow.file))
        run, pushed = workflow.scheduled, self._facts.pushed
        if run is None:
            todo = "If that stays so for a day: is `on: schedule` in the file on the default branch?"
            return warning(SCHEDULE, "GitHub has not started a run by it yet", todo)
        last = f"last run by it {ago(run.created, now())}"
        if now() - run.created > _SCHEDULE_IS_LATE:
            return warning(SCHEDULE, f"asleep: {last}", f"{self._gh('run', workflow.file)}; and see githubstatus.com.")
        if not self._facts.private and pushed is not None and now() - pushed > _INACTIVITY_IS_NEAR:
            end = moment(pushed + _INACTIVITY)
            return warning(SCHEDULE, f"alive, {last}, but GitHub ends it on {end}", "Push something to the repository.")
        return good(SCHEDULE, f"alive, {last}")

    def _secrets(self, succeeded: Run | None) -> list[Check]:
        """Check that each secret exists, and when it was updated. GitHub shows no value."""
        reader = self._reader
        try:
            named = [*reader.names("secrets", "organization"), *reader.names("secrets", "repository")]
        except ReadingError as error:
            todo = "Use a fine-grained token with Secrets: read and Variables: read, or a classic one with `repo`."
            return none_of(SECRETS, *_untold(error, todo))
        variables = self._variables()
        found = {one.name: one for one in [*(variables or []), *named]}  # the repository's own come last, so they win
        elsewhere = self._elsewhere([name for name in SECRETS if name not in found])
        return [self._named(name, found.get(name), elsewhere, variables is None, succeeded) for name in SECRETS]

    def _variables(self) -> list[Named] | None:
        """Return the variables; None if the token may not list them."""
        try:
            return [*self._reader.names("variables", "organization"), *self._reader.names("variables", "repository")]
        except ReadingError:
            return None

    def _elsewhere(self, missing: Sequence[str]) -> set[str]:
        """Return which of the missing secrets the organization has, if the token may list them."""
        if not missing:
            return set()
        try:
            return {one.name for one in self._reader.of_organization("secrets")} & set(missing)
        except ReadingError:
            return set()

    def _named(
        self, name: str, named: Named | None, elsewhere: set[str], no_variables: bool, succeeded: Run | None
    ) -> Check:
        if named is None:
            if no_variables and SENTRY_KEYS.get(name) is False and name not in elsewhere:
                todo = "Use a token with Variables: read."
                return not_checked(name, "It is no secret; the token may not list variables.", todo)
            return self._absent(name, elsewhere)
        kind = "secret" if named.secret else "variable"
        what = f"{kind} of the {named.owner}, last updated {moment(named.updated)}"
        if name in SENTRY_KEYS and succeeded is not None and named.updated > succeeded.created:
            return warning(name, f"{what}, after the last sync that went well", self._gh("run", self._sync))
        return good(name, what)

    def _absent(self, name: str, elsewhere: set[str]) -> Check:
        owner, _, repository = self._facts.full_name.partition("/")
        if name in elsewhere:
            todo = f"Let it: organization {owner} → Settings → Secrets → Actions → {name} → Repository access."
            return bad(name, "the organization has it, but this repository can't use it", todo)
        if name in OPTIONAL_KEYS:
            return good(name, "there is none; needed for webhooks only")
        kind = "variable" if SENTRY_KEYS.get(name) is False else "secret"
        add = f"gh {kind} set {name} --org {owner} --repos {repository}"
        if name == _PULUMI_TOKEN:
            return warning(name, "there is none", f"{add}, unless the workflow signs in by OIDC (`id-token: write`).")
        return bad(name, "there is none that this repository can use", add)
