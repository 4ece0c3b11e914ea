"""What is measured: commands, each with what ESC holds before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"
WORKFLOW = "deploy-sentry-mcp.yml"
BEFORE = "values:\n  region: eu-central-1  # not ours\n"
CLIENT_SECRET = "a-webhook-secret"  # noqa: S105 - nobody's

_COUNTING = """\
#!/bin/sh
echo >>'{log}'
exec '{real}' "$@"
"""
_EDITOR = """\
#!/bin/sh
echo '  touched: {number}' >>"$1"
"""


@dataclass(frozen=True)
class Contender:
    """One row of the table: a command, and whether ESC holds our keys already when it begins."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    is_synced: bool = False


class Place:
    """The services, and a `pulumi` on the PATH that counts its calls and becomes the real one."""

    def __init__(self, box: Sandbox, folder: Path, pulumi: Path) -> None:
        self.box = box
        self.folder = folder
        self.log = folder / "calls"
        self.bin = folder / "bin"
        for made in (self.bin, folder / "home", folder / "tmp"):
            made.mkdir()
        self.files = {name: str(folder / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        self._program("pulumi", _COUNTING.format(log=self.log, real=pulumi))
        self.editor = self._program("editor", _EDITOR.format(number=1))
        box.esc.create(ENVIRONMENT, BEFORE)
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, WORKFLOW)

    def _program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    @property
    def calls(self) -> int:
        """How often the Pulumi CLI was started."""
        return self.log.read_text(encoding="utf-8").count("\n") if self.log.exists() else 0

    def prepare(self, contender: Contender) -> None:
        """Let ESC hold what the contender is to find."""
        sentry = self.box.sentry
        ours = (
            f"  SENTRY_DSN: {{fn::secret: {sentry.dsn}}}\n"
            f"  SENTRY_API_TOKEN: {{fn::secret: {sentry.token}}}\n"
            f"  SENTRY_ORGANIZATION_SLUG: {sentry.organization}\n"
            f"  SENTRY_PROJECT_SLUG: {sentry.project}\n"
            f"  SENTRY_CLIENT_SECRET: {{fn::secret: {CLIENT_SECRET}}}\n"
        )
        self.box.esc.save(ENVIRONMENT, BEFORE + ours if contender.is_synced else BEFORE)

    @property
    def common(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.defpath}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
        }

    @property
    def docker(self) -> dict[str, str]:
        """The environment of Docker's own CLI."""
        kept = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
        return {name: os.environ[name] for name in kept if name in os.environ}

    def inputs(self, **changes: str) -> dict[str, str]:
        """The environment of a run of ours; its inputs are the action's defaults but for `changes`."""
        box = self.box
        inputs = {
            "sentry-dsn": box.sentry.dsn,
            "sentry-api-token": box.sentry.token,
            "sentry-organization-slug": box.sentry.organization,
            "sentry-project-slug": box.sentry.project,
            "sentry-client-secret": CLIENT_SECRET,
            "sentry-url": box.sentry.url,
            "esc-environment": ENVIRONMENT,
            "pulumi-access-token": box.esc.token,
            "pulumi-cloud-url": box.esc.url,
            "github-token": box.github.token,
            "preflight": "off",
            "tag-revision": "false",
            "deploy": "never",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return (
            self.common
            | {f"INPUT_{name.upper()}": value for name, value in inputs.items()}
            | {
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": box.github.url,
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_RUN_ID": "17",
                "GITHUB_RUN_ATTEMPT": "1",
            }
            | self.files
        )

    def contenders(self) -> list[Contender]:
        """All rows, in the table's order."""
        box = self.box
        cli = self.common | {
            "PULUMI_ACCESS_TOKEN": box.esc.token,
            "PULUMI_BACKEND_URL": box.esc.url,
            "PULUMI_HOME": str(self.folder / "home" / ".pulumi"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        script = cli | {
            "ESC_ENVIRONMENT": ENVIRONMENT,
            "SENTRY_DSN": box.sentry.dsn,
            "SENTRY_API_TOKEN": box.sentry.token,
            "SENTRY_CLIENT_SECRET": CLIENT_SECRET,
            "SENTRY_ORGANIZATION_SLUG": box.sentry.organization,
            "SENTRY_PROJECT_SLUG": box.sentry.project,
        }
        pulumi, ours = str(self.bin / "pulumi"), (sys.executable, str(ROOT / "entrypoint.py"))
        read = (pulumi, "env", "get", ENVIRONMENT, "--definition", "--show-secrets", "--non-interactive")
        edit = (pulumi, "env", "edit", ENVIRONMENT, "--editor", str(self.editor))
        return [
            Contender("script", ("/bin/sh", str(ROOT / "benchmarks" / "script.sh")), script),
            Contender("unchanged", ours, self.inputs(), is_synced=True),
            Contender("changed", ours, self.inputs()),
            Contender(
                "changed, preflight, tag, deploy",
                ours,
                self.inputs(preflight="enforce", tag_revision="true", deploy="always"),
            ),
            Contender("read", read, cli, is_synced=True),
            Contender("edit", edit, cli),
            Contender("P", (sys.executable, "-c", "import pydantic_settings"), self.common),
            Contender("pydantic", (sys.executable, "-c", "import pydantic; pydantic.BaseModel"), self.common),
        ]
