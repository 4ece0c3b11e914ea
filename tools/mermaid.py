"""Render Mermaid diagrams as GitHub does: by Mermaid itself, in a browser.

Mermaid comes from npm in the one version that is pinned here, and is taken only if it has the hash that is written
here. What was fetched is kept in `.cache/mermaid`.
"""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import chromium
from tools.go_build import CACHE, locked, put, scratch_beside
from tools.progress import say

VERSION = "12.3.0"
INTEGRITY = "sha512-4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
"""Of the package, as npm publishes it."""

NPM_TIMEOUT = 300

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<script src="{script}"></script>
<body>
<script>
(async () => {{
  const results = [];
  mermaid.initialize({{ startOnLoad: false }});
  for (const [number, source] of {sources}.entries()) {{
    try {{
      results.push({{ svg: (await mermaid.render(`diagram-${{number}}`, source)).svg, error: "" }});
    }} catch (error) {{
      results.push({{ svg: "", error: String(error.message || error) }});
    }}
  }}
  const bytes = new TextEncoder().encode(JSON.stringify(results));
  document.body.dataset.results = btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}})();
</script>
"""


class NoMermaidError(Exception):
    """Mermaid can't be had; the text says why."""


class MermaidRefusedError(Exception):
    """What npm gave is not the package that is pinned here."""


@dataclass(frozen=True)
class Rendered:
    """What became of a diagram: its SVG, or Mermaid's own words on why there is none."""

    svg: str
    error: str

    @property
    def text(self) -> str:
        """All the words of the picture, without white space: where it breaks its lines is its own affair."""
        without_styles = re.sub(r"<style.*?</style>", "", self.svg, flags=re.DOTALL)
        return re.sub(r"\s", "", html.unescape(re.sub(r"<[^>]*>", "", without_styles)))


def ensure(cache: Path = CACHE) -> Path:
    """Mermaid's script; fetched at the first call, found in the cache afterwards.

    Raises:
        NoMermaidError: there is no npm, or the package can't be had.
        MermaidRefusedError: the package has another hash than the one pinned here.
    """
    script = cache / "mermaid" / VERSION / "mermaid.min.js"
    with locked(cache / "mermaid"):
        if script.exists():
            return script
        npm = shutil.which("npm")
        if npm is None:
            raise NoMermaidError("There is no npm on PATH to fetch Mermaid with.")
        say(f"Fetching Mermaid {VERSION} (26 MB, once)")
        with scratch_beside(script) as scratch:
            return put(unpack(_fetch(npm, scratch), scratch), script)


def unpack(package: Path, folder: Path, integrity: str = INTEGRITY) -> Path:
    """Take the script out of a package into a folder.

    Raises:
        MermaidRefusedError: the package has another hash.
    """
    found = "sha512-" + base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != integrity:
        raise MermaidRefusedError(f"Mermaid {VERSION} has the hash {found}, not {integrity}: it is not used.")
    with tarfile.open(package) as tar:
        tar.extract("package/dist/mermaid.min.js", folder, filter="data")
    return folder / "package/dist/mermaid.min.js"


def _fetch(npm: str, folder: Path) -> Path:
    command = [npm, "pack", f"mermaid@{VERSION}", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_TIMEOUT, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoMermaidError(f"Mermaid {VERSION} can't be fetched: {error}") from error
    packages = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(packages) != 1:
        raise NoMermaidError(f"Mermaid {VERSION} can't be fetched:\n{done.stderr[-2000:]}")
    return packages[0]


def render(diagrams: Sequence[str], script: Path) -> list[Rendered]:
    """Render diagrams, all on one page.

    Raises:
        NoChromiumError: there is no browser, or it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        sources = json.dumps(list(diagrams)).replace("<", "\\u003c")
        page.write_text(_PAGE.format(script=script.resolve().as_uri(), sources=sources), encoding="utf-8")
        document = chromium.document(page)
    results = re.search(r'data-results="([^"]+)"', document)
    if results is None:
        raise chromium.NoChromiumError("The page of diagrams was not done in time.")
    return [Rendered(**result) for result in json.loads(base64.b64decode(results[1]))]
