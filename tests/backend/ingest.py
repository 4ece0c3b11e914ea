"""Run a real ingest on loopback: Bugsink, which stores what the Sentry SDK sends in a SQLite database."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools import bugsink

TIMEOUT = 300
_MANAGE = "from bugsink.scripts.manage import main; main()"
_CREATE = "from bugsink.scripts.create_conf import main; main()"
_PROJECT = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("migrate", "snappea", database="snappea", verbosity=0)
from projects.models import Project
project = Project.objects.create(name="backend")
print(f"{project.id} {project.sentry_key.hex}")
"""


@dataclass(frozen=True)
class Ingest:
    """An ingest: the DSN to send events to, and the database that holds them."""

    dsn: str
    database: Path

    def everything(self) -> str:
        """Return every text and every blob of all tables as one text."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [row for table in tables for row in connection.execute(f'SELECT * FROM "{table}"')]  # noqa: S608
        cells = [cell for row in rows for cell in row]
        texts = (cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in cells)
        return "\n".join(text for text in texts if isinstance(text, str))

    def events(self) -> list[str]:
        """Return the events as they were sent, in JSON, oldest first."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute("SELECT data FROM events_event ORDER BY digest_order")]


@contextmanager
def running(folder: Path) -> Iterator[Ingest]:
    """Run Bugsink with one project on a free port. Keep its data in `folder`."""
    python = bugsink.ensure()
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "PYTHONPATH": str(folder)}

    def call(code: str, *arguments: str) -> str:
        command = [str(python), "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Bind the port here and hand it to the server: nobody else can take it, and early requests wait until the server
    # is ready.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # With Bugsink's template for local use, an event is digested before the SDK gets its answer.
        call(_CREATE, "--template=local", "--host=127.0.0.1", f"--port={port}")
        with (folder / "bugsink_conf.py").open("a") as conf:
            conf.write('BUGSINK["PHONEHOME"] = False\n')
        project, key = call(_MANAGE, "shell", "-c", _PROJECT).split()[-2:]
        command = [str(python), "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "bugsink.wsgi"]
        with (folder / "server.log").open("w") as log:
            server = subprocess.Popen(command, cwd=folder, env=environ, pass_fds=[listening.fileno()], stderr=log)
        try:
            yield Ingest(f"http://{key}@127.0.0.1:{port}/{project}", folder / "db.sqlite3")
        finally:
            server.terminate()
            server.wait(timeout=TIMEOUT)
