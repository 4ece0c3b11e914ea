"""`python -m sandbox`: run the three services until Ctrl-C or SIGTERM."""

import contextlib
import signal

from sandbox import Sandbox

ENVIRONMENT = "scoobyjava-org/default/sophia-ai-production"
REPOSITORY = "ai-cherry/sentry-esc-sync"
WORKFLOWS = ("sync-sentry-secrets.yml", "deploy-sentry-mcp.yml")


def main() -> None:
    # A shell starts background jobs with SIGINT ignored, so the handlers are set here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), Sandbox() as box:
        box.esc.create(ENVIRONMENT)
        box.github.add_repository(REPOSITORY)
        for workflow in WORKFLOWS:
            box.github.add_workflow(REPOSITORY, workflow)
        lines = {
            "PULUMI_BACKEND_URL": box.esc.url,
            "PULUMI_ACCESS_TOKEN": box.esc.token,
            "PULUMI_ESC_ENVIRONMENT": ENVIRONMENT,
            "GITHUB_API_URL": box.github.url,
            "GITHUB_TOKEN": box.github.token,
            "GITHUB_REPOSITORY": REPOSITORY,
            "SENTRY_URL": box.sentry.url,
            "SENTRY_API_TOKEN": box.sentry.token,
            "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
            "SENTRY_PROJECT_SLUG": box.sentry.project,
            "SENTRY_DSN": box.sentry.dsn,
        }
        for name, value in lines.items():
            print(f"export {name}='{value}'", flush=True)  # noqa: T201 - this is its output
        signal.pause()


if __name__ == "__main__":
    main()
