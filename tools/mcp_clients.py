"""Install clients of MCP from npm for the tests, with a Node that is new enough for them.

The clients are the official conformance suite, the inspector, the TypeScript SDK in its oldest and newest generations,
the bridge that Claude Desktop needs over HTTP, tokenizers, and the parser of Mermaid's diagrams.
`tools/mcp-clients/package-lock.json` has their hashes.
To change a version, edit `package.json` there, and run
`npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved`.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.go_build import CACHE, locked
from tools.progress import say

LISTS = Path(__file__).with_name("mcp-clients")
NPM_TIMEOUT = 600
"""Seconds that npm may take."""


class NoClientsError(Exception):
    """npm can't install the clients. The text says why."""


@dataclass(frozen=True)
class Clients:
    """The installed packages.

    Args:
        folder: Where `node_modules` is.
    """

    folder: Path

    @property
    def node(self) -> str:
        """Return the path of Node."""
        [found] = self.folder.glob("node_modules/node-linux-*/bin/node")
        return str(found)

    def file(self, name: str) -> str:
        """Return the path of a file of a package, such as `mcp-remote/dist/proxy.js`."""
        return str(self.folder / "node_modules" / name)


def ensure(cache: Path = CACHE) -> Clients:
    """Return the clients. Install them at the first call.

    Raises:
        NoClientsError: There is no npm, or npm can't fetch a package or finds another hash.
    """
    folder = cache / "mcp-clients"
    wanted = (LISTS / "package-lock.json").read_text(encoding="utf-8")
    complete = folder / ".complete"
    with locked(cache / "mcp-clients.lock"):
        if complete.is_file() and complete.read_text(encoding="utf-8") == wanted:
            return Clients(folder)
        npm = shutil.which("npm")
        if npm is None:
            raise NoClientsError("there is no npm")
        say("Fetching the clients of MCP (once)")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(LISTS, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command, cwd=folder, capture_output=True, text=True, timeout=NPM_TIMEOUT, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NoClientsError(f"npm can't install them: {error}") from None
        if done.returncode != 0 or not list(folder.glob("node_modules/node-linux-*/bin/node")):
            raise NoClientsError(f"npm can't install them:\n{(done.stdout + done.stderr)[-2000:]}")
        complete.write_text(wanted, encoding="utf-8")
    return Clients(folder)
