"""The action on a laptop, without any account: `make run`.

It starts the local ESC, GitHub and Sentry, and runs the real `entrypoint.py` with the real Pulumi CLI against them
eight times. It shows the log and the step's summary, as on a runner, and what ESC holds afterwards.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
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


WIDTH = 80
"""Width of the narrowest terminal, in columns."""


def _title(text: str) -> None:
    print(f"\n━━ {text} {'━' * max(3, WIDTH - 4 - len(text))}", flush=True)


def _folded(line: str, indent: str = "") -> str:
    """Fold a line at `WIDTH` columns. A longer word stays whole."""
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _definition(text: str) -> str:
    """Indent a definition and show only the beginning of each ciphertext."""
    short = re.sub(r"(ciphertext: \S{16})\S+", r"\1…", text)
    return "\n".join(f"  {line}".rstrip() for line in short.splitlines())


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
            "PULUMI_CONSOLE_DOMAIN": "app.pulumi.com",
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
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(ENTRYPOINT)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                print(line.rstrip() if line.startswith(" ") else _folded(line), flush=True)
        took = time.monotonic() - started
        asked, deployed = len(self.box.esc.requests) - requests, len(self.box.github.dispatches) - dispatches
        print(
            f"→ exit code {process.returncode}, {took:.2f} s; requests to ESC: {asked}, deploys dispatched: {deployed}"
        )
        return process.returncode

    def rotate(self) -> None:
        """Give Sentry's token a new value, in Sentry and in GitHub."""
        token = f"sntrys_rotated-{time.time_ns()}"
        self.box.sentry.add_token(token, self.box.sentry.scopes)
        self.environ["INPUT_SENTRY-API-TOKEN"] = token

    def show_summary(self) -> None:
        _title("The step's summary, in Markdown; GitHub shows it below the job")
        for line in self.summary.read_text(encoding="utf-8").splitlines():
            print(_folded(line, "  "))


def approved(box: Sandbox, demo: Demo) -> list[int]:
    """Require approvals, then propose, approve and apply one change. Return the exit codes."""
    box.esc.gate(ENVIRONMENT)
    demo.rotate()
    codes = [demo.sync("Updates need an approval now, and the token was rotated: refused")]
    demo.environ["INPUT_CHANGE-REQUEST"] = "allowed"
    codes.append(demo.sync("With `change-request: allowed`: proposed, and ESC holds what it held"))
    demo.show_summary()
    codes.append(demo.sync("Once more: the change request is still open"))
    (request,) = box.esc.open_change_requests(ENVIRONMENT)
    box.esc.approve(request)
    number = box.esc.apply(request)
    _title("In the Pulumi console")
    print(f"  {box.esc.reviewer} approves change request {request.id},\n  and applies it: revision {number}")
    codes.append(demo.sync("The next sync finds the values, verifies them, and dispatches the deploy"))
    return codes


def main() -> int:
    """Run the demonstration. Return the exit code."""
    pulumi = pulumi_cli.ensure()
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        box.esc.create("scoobyjava-org/shared/common", "values:\n  region: eu-central-1\n")
        box.esc.create(ENVIRONMENT, DEFINITION)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml", inputs=("revision",))
        print("Everything below is real but the three services, which run here:")
        for service, url in {"Pulumi ESC": box.esc.url, "GitHub": box.github.url, "Sentry": box.sentry.url}.items():
            print(f"  {service:<10}  {url}")
        _title("ESC holds, before the first sync")
        print(_definition(box.esc.definition(ENVIRONMENT)))

        demo = Demo(box, Path(folder), pulumi)
        codes = [demo.sync("First sync: the credentials arrive, the deploy is dispatched")]
        demo.show_summary()
        codes.append(demo.sync("Second sync: nothing to do"))
        demo.environ["INPUT_SENTRY-API-TOKEN"] = "sntrys_a-token-that-sentry-does-not-know"
        codes.append(demo.sync("A broken token: Sentry refuses it, so what ESC holds is not overwritten"))
        demo.rotate()
        codes.append(demo.sync("The Sentry token was rotated in GitHub: one key changes, in one revision"))
        demo.show_summary()
        codes += approved(box, demo)

        _title("ESC holds now: our entries are new, and the rest is as it was")
        print(_definition(box.esc.definition(ENVIRONMENT)))
        _title("Deploys that GitHub received")
        for dispatch in box.github.dispatches:
            print(f"  {dispatch.workflow} in {dispatch.repository} on {dispatch.ref}, {dispatch.inputs}")
        proven = (
            codes == [0, 0, 3, 0, 4, 0, 0, 0]
            and box.esc.values(ENVIRONMENT)["SENTRY_API_TOKEN"] == demo.environ["INPUT_SENTRY-API-TOKEN"]
            and box.esc.is_secret(ENVIRONMENT, "SENTRY_API_TOKEN")
            and len(box.github.dispatches) == 3
        )
    print("\nAll as it should be." if proven else "\nSomething is not as it should be: see above.")
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
