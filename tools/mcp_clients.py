"""The official conformance suite of MCP, and its TypeScript SDK in the oldest and newest supported generation.

They come from npm in the exact versions that are pinned here, with a Node that is new enough, and are kept in
`.cache/mcp-clients`.
"""

import json
import shutil
import subprocess
from pathlib import Path

from tools.go_build import CACHE, locked
from tools.progress import say

PACKAGES = {
    "node": "22.23.3",
    "@modelcontextprotocol/conformance": "0.1.16",
    "sdk-oldest": "npm:@modelcontextprotocol/sdk@1.10.0",
    "sdk-newest": "npm:@modelcontextprotocol/sdk@1.32.2",
}
"""By the name under which a package is installed: its exact version. SDK 1.10 is the first with streamable HTTP."""
NPM_TIMEOUT = 300


class NoClientsError(Exception):
    """The clients can't be had; the text says why."""


def ensure(cache: Path = CACHE) -> Path:
    """Return the folder with the clients; fetch them at the first call.

    Raises:
        NoClientsError: There is no npm, or a package can't be had.
    """
    folder = cache / "mcp-clients"
    wanted = json.dumps({"private": True, "dependencies": PACKAGES}, indent=2)
    complete = folder / ".complete"
    with locked(cache / "mcp-clients.lock"):
        if complete.is_file() and complete.read_text(encoding="utf-8") == wanted:
            return folder
        if shutil.which("npm") is None:
            raise NoClientsError("there is no npm")
        say("Fetching the clients of MCP")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(wanted, encoding="utf-8")
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        try:
            subprocess.run(command, cwd=folder, check=True, timeout=NPM_TIMEOUT, capture_output=True)  # noqa: S603
        except (subprocess.SubprocessError, OSError) as error:
            raise NoClientsError(f"npm can't install them: {error}") from None
        complete.write_text(wanted, encoding="utf-8")
    return folder


def node(folder: Path) -> str:
    """Return the Node of the clients."""
    return str(folder / "node_modules" / ".bin" / "node")
