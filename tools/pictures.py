"""Make the pictures of the documentation anew: `python -m tools.pictures`, which is `make pictures`.

The step's summary is that of a real sync with the local services, set as GitHub sets it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from sandbox import Sandbox
from tools import chromium, pulumi_cli
from tools.go_build import ROOT
from tools.progress import say

FOLDER = ROOT / "docs" / "images"
STEP_SUMMARY = "step-summary.png"
WIDTH = 740
ENVIRONMENT = "acme/default/production"
REPOSITORY = "acme/sophia"

# GitHub's own look, as far as a summary uses it.
_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<style>
  body {{ margin: 0; padding: 24px; background: #fff; color: #1f2328; width: {width}px; box-sizing: border-box;
         font: 16px/1.5 "Noto Sans", "Liberation Sans", Arial, sans-serif, "Noto Color Emoji"; }}
  main {{ border: 1px solid #d1d9e0; border-radius: 6px; padding: 24px; }}
  h2 {{ margin: 0 0 16px; padding-bottom: 0.3em; font-size: 1.5em; line-height: 1.25;
       border-bottom: 1px solid #d1d9e0; }}
  h3 {{ margin: 24px 0 16px; font-size: 1.25em; line-height: 1.25; }}
  p, table {{ margin: 0 0 16px; }}
  main > :last-child {{ margin-bottom: 0; }}
  table {{ border-collapse: collapse; width: max-content; max-width: 100%; }}
  th, td {{ border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left; }}
  tr:nth-child(even) td {{ background: #f6f8fa; }}
  code {{ background: #818b981f; border-radius: 6px; padding: 0.2em 0.4em; font-size: 85%;
         font-family: "Noto Sans Mono", "Liberation Mono", "DejaVu Sans Mono", monospace; }}
  a {{ color: #0969da; }}
</style>
<body><main>{body}</main>
<script>document.body.dataset.height = Math.ceil(document.documentElement.getBoundingClientRect().height);</script>
"""


def summary_of_a_sync() -> str:
    """The summary of a sync that finds one key as it should be, changes one, encrypts one and adds the others."""
    pulumi = pulumi_cli.ensure()
    with Sandbox() as box, tempfile.TemporaryDirectory() as folder:
        box.esc.create(ENVIRONMENT, _definition(box.sentry.dsn, box.sentry.project))
        box.github.add_repository(REPOSITORY)
        box.github.add_workflow(REPOSITORY, "deploy-sentry-mcp.yml")
        summary = Path(folder, "summary.md")
        environ = {
            "PATH": f"{pulumi.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_API_URL": box.github.url,
            "GITHUB_STEP_SUMMARY": str(summary),
            "INPUT_SENTRY-DSN": box.sentry.dsn,
            "INPUT_SENTRY-API-TOKEN": box.sentry.token,
            "INPUT_SENTRY-URL": box.sentry.url,
            "INPUT_SENTRY-ORGANIZATION-SLUG": box.sentry.organization,
            "INPUT_SENTRY-PROJECT-SLUG": box.sentry.project,
            "INPUT_SENTRY-CLIENT-SECRET": "a-webhook-secret-that-nobody-sees",
            "INPUT_ESC-ENVIRONMENT": ENVIRONMENT,
            "INPUT_PULUMI-ACCESS-TOKEN": box.esc.token,
            "INPUT_PULUMI-CLOUD-URL": box.esc.url,
            "INPUT_GITHUB-TOKEN": box.github.token,
        }
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, str(ROOT / "entrypoint.py")], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"The sync failed:\n{done.stdout}{done.stderr}")
        return summary.read_text(encoding="utf-8")


def _definition(dsn: str, project: str) -> str:
    """What ESC holds before: the token is an old one, and the DSN was stored in plain text."""
    return (
        f"values:\n  SENTRY_DSN: {dsn}\n  SENTRY_API_TOKEN:\n    fn::secret: sntrys_the-former-token\n"
        f"  SENTRY_PROJECT_SLUG: {project}\n"
    )


def as_page(markdown: str) -> str:
    """A summary as an HTML page."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return _PAGE.format(body=body, width=WIDTH)


def picture_of(markdown: str, picture: Path) -> None:
    """Write a PNG of a summary, as high as its text.

    Raises:
        NoChromiumError: there is no Chromium, or it failed.
    """
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "summary.html")
        page.write_text(as_page(markdown), encoding="utf-8")
        height = re.search(r'data-height="(\d+)"', chromium.document(page))
        if height is None:
            raise chromium.NoChromiumError("Chromium didn't tell the height of the page.")
        chromium.screenshot(page, picture, WIDTH, int(height[1]))


def main(folder: Path = FOLDER) -> int:
    """Make all pictures; returns the exit code."""
    try:
        picture_of(summary_of_a_sync(), folder / STEP_SUMMARY)
    except (chromium.NoChromiumError, pulumi_cli.NoPulumiError) as error:
        say(f"error: {error}")
        return 1
    say(f"{folder / STEP_SUMMARY}: {(folder / STEP_SUMMARY).stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
