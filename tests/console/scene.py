"""The starting state for the commands of docs/command-line.md, so that they print what the page shows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sandbox import Permissions, Sandbox
from tests.support.laptop import DAY, DEPLOY_WORKFLOW, HOUR, SYNC_WORKFLOW, Laptop, before

ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"
ROTATED = "sntrys_rotated"


class Scene(Laptop):
    """A person with an environment, before their first sync from the command line."""

    def __init__(self, box: Sandbox, pulumi: Path, folder: Path) -> None:
        super().__init__(box, pulumi, folder)
        self.environment, self.repository = ENVIRONMENT, REPOSITORY
        box.esc.login = box.esc.tokens[box.esc.token] = "you"
        self.variables |= {
            "GITHUB_REPOSITORY": REPOSITORY,
            "SENTRY_API_TOKEN": ROTATED,
            "NO_COLOR": "1",
            "COLUMNS": "80",
        }
        self.variables["PULUMI_ESC_ENVIRONMENT"] = ENVIRONMENT
        box.sentry.add_token(ROTATED, box.sentry.scopes)
        self._fill_esc()
        self._fill_github()

    def _fill_esc(self) -> None:
        """Save one revision that a person wrote by hand, in plain text, and one of a workflow run."""
        box, value = self.box, self.variables
        by_hand = (
            f"values:\n  SENTRY_DSN: {value['SENTRY_DSN']}\n  SENTRY_PROJECT_SLUG: {value['SENTRY_PROJECT_SLUG']}\n"
        )
        box.esc.foreign_login = "jo"
        self.create(by_hand)
        box.esc.foreign_login = "ci"
        box.esc.save(
            ENVIRONMENT,
            by_hand.replace("SENTRY_DSN: ", "SENTRY_DSN:\n    fn::secret: ")
            + f"  SENTRY_API_TOKEN:\n    fn::secret: {box.sentry.token}\n",
        )
        box.esc.environments.create_revision_tag(ENVIRONMENT, "github-run-7000101-1", 3, "ci")
        for number, days in ((1, 200), (2, 190), (3, 95)):
            box.esc.date(ENVIRONMENT, number, before(days * DAY))

    def _fill_github(self) -> None:
        """Set up a repository in good order, except for a failed deploy and a schedule that stopped 6 days ago."""
        github = self.box.github
        github.add_token(self.token, Permissions(names=True))
        github.add_repository(REPOSITORY)
        for file in (SYNC_WORKFLOW, DEPLOY_WORKFLOW):
            github.add_workflow(REPOSITORY, file)
        for name in ("SENTRY_DSN", "SENTRY_API_TOKEN", "PULUMI_ACCESS_TOKEN"):
            github.add_secret("acme", name, before(96 * DAY))
        for name in ("SENTRY_ORGANIZATION_SLUG", "SENTRY_PROJECT_SLUG"):
            github.add_variable("acme", name, "pay-ready", before(96 * DAY))
        self._run(SYNC_WORKFLOW, 6 * DAY, "schedule", "success")
        self._run(SYNC_WORKFLOW, 5 * HOUR, "workflow_dispatch", "success")
        self._run(DEPLOY_WORKFLOW, 5 * HOUR, "workflow_dispatch", "failure")

    def _run(self, file: str, ago: timedelta, event: str, conclusion: str) -> None:
        github = self.box.github
        github.complete(github.start_run(REPOSITORY, file, event=event, created=before(ago)), conclusion)
