"""The main job on a laptop, with nothing to sign up for: `make run`.

Starts the local ESC, GitHub and Sentry, runs the real `entrypoint.py` with the real Pulumi CLI against them four
times, and shows what a runner would see: the log, the step's summary, and what ESC holds then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox import Sandbox
from tools import pulumi_cli

ENVIRONMENT = "scoobyjava-org/default/sophia-ai-production"
REPOSITORY = "ai-cherry/sophia-ai"
DEFINITION = """\
# The production environment: whoever edits it, leave a note in the wiki.
imports:
  - shared/common

values:
  database:
    host: db.internal.example   # the blue one
    password:
      fn::secret: correct-horse-battery-staple
  SENTRY_PROJECT_SLUG: old-project
"""
ENTRYPOINT = Path(__file__).resolve().parent.parent / "entrypoint.py"


def _title(text: str) -> None:
    print(f"\n━━ {text} " + "━" * max(3, 76 - len(text)), flush=True)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


class Demo:
    """The inputs of one user, and what the runner would give to the action."""

    def __init__(self, box: Sandbox, folder: Path, pulumi: Path) -> None:
        self.box = box
        self.summary = folder / "summary.md"
        self.output = folder / "output"
        self.environ = {
            "PATH": f"{pulumi.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": box.github.url,
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "INPUT_SENTRY-DSN": box.sentry.dsn,
            "INPUT_SENTRY-API-TOKEN": box.sentry.token,
            "INPUT_SENTRY-URL": box.sentry.url,
            "INPUT_SENTRY-ORGANIZATION-SLUG": box.sentry.organization,
            "INPUT_SENTRY-PROJECT-SLUG": box.sentry.project,
            "INPUT_SENTRY-CLIENT-SECRET": "a-webhook-secret-that-nobody-sees",
            "INPUT_PULUMI-ACCESS-TOKEN": box.esc.token,
            "INPUT_PULUMI-CLOUD-URL": box.esc.url,
            "INPUT_GITHUB-TOKEN": box.github.token,
            "INPUT_DEPLOY": "changed",
            "INPUT_DEPLOY-INPUTS": '{"revision": "{revision}"}',
        }
        self.runs = 0

    def sync(self, title: str) -> int:
        """Run the real entry point once and show what it says."""
        self.runs += 1
        _title(title)
        self.summary.write_text("", encoding="utf-8")
        environ = self.environ | {"GITHUB_RUN_ID": str(1000 + self.runs), "GITHUB_RUN_ATTEMPT": "1"}
        requests, dispatches = len(self.box.esc.requests), len(self.box.github.dispatches)
        started = time.monotonic()
        code = subprocess.run([sys.executable, str(ENTRYPOINT)], env=environ, check=False).returncode  # noqa: S603
        took = time.monotonic() - started
        print(
            f"  exit code {code}, {took:.2f} s, {len(self.box.esc.requests) - requests} requests to ESC, "
            f"{len(self.box.github.dispatches) - dispatches} deploys dispatched"
        )
        return code

    def show_summary(self) -> None:
        _title("The step's summary, as GitHub shows it below the job")
        print(_indented(self.summary.read_text(encoding="utf-8")))


def main() -> int:
    """Run the demonstration; returns the exit code."""
    pulumi = pulumi_cli.ensure()
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        box.esc.create("scoobyjava-org/shared/common", "values:\n  region: eu-central-1\n")
        box.esc.create(ENVIRONMENT, DEFINITION)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml", inputs=("revision",))
        print(f"Local Pulumi ESC {box.esc.url}, GitHub {box.github.url}, Sentry {box.sentry.url}; CLI {pulumi.name}")
        _title("ESC holds, before the first sync")
        print(_indented(box.esc.definition(ENVIRONMENT)))

        demo = Demo(box, Path(folder), pulumi)
        codes = [demo.sync("First sync: the credentials arrive, the deploy is dispatched")]
        demo.show_summary()
        codes.append(demo.sync("Second sync: nothing to do"))
        demo.environ["INPUT_SENTRY-API-TOKEN"] = "sntrys_a-token-that-sentry-does-not-know"
        codes.append(demo.sync("A broken token: Sentry refuses it, so what ESC holds is not overwritten"))
        token = f"sntrys_rotated-{time.time_ns()}"
        box.sentry.add_token(token, box.sentry.scopes)
        demo.environ["INPUT_SENTRY-API-TOKEN"] = token
        codes.append(demo.sync("The Sentry token was rotated in GitHub: one key changes, in one revision"))
        demo.show_summary()

        _title("ESC holds now: our entries are new, every other byte is as it was")
        print(_indented(box.esc.definition(ENVIRONMENT)))
        _title("Deploys that GitHub received")
        for dispatch in box.github.dispatches:
            print(f"  {dispatch.workflow} in {dispatch.repository} on {dispatch.ref}, inputs {dispatch.inputs}")
        proven = (
            codes == [0, 0, 3, 0]
            and box.esc.values(ENVIRONMENT)["SENTRY_API_TOKEN"] == token
            and box.esc.is_secret(ENVIRONMENT, "SENTRY_API_TOKEN")
            and len(box.github.dispatches) == 2
        )
    print("\nAll as it should be." if proven else "\nSomething is not as it should be: see above.")
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
