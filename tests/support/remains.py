"""Find what a program has left behind: processes that still run, and private folders in memory."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - where the program's private folder lies
PROCESSES = Path("/proc")


def processes_with(text: str) -> list[Path]:
    """Return the processes with `text` in their environment, such as a folder on PATH that only they were given."""
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(text) in (process / "environ").read_bytes():
                found.append(process)
    return found


def private_folders(url: str, since: float) -> list[Path]:
    """Return the private folders in memory that were made for the service at an address. The CLI's files hold it.

    Args:
        url: The address.
        since: Seconds since the epoch. Older files belong to another service that had the same address.
    """
    found = []
    for folder in MEMORY.glob("sentry-esc-sync-*"):
        with contextlib.suppress(OSError):
            files = [path for path in folder.rglob("*") if path.is_file()]
            if any(file.stat().st_mtime >= since and url.encode() in file.read_bytes() for file in files):
                found.append(folder)
    return found


def is_running(pid: int) -> bool:
    """Return whether a process is there and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_the_end_of(pid: int) -> None:
    """Wait until a killed process has ended."""
    with contextlib.suppress(ProcessLookupError), open(os.pidfd_open(pid), "rb") as descriptor:  # noqa: PTH123
        assert select.select([descriptor], [], [], 10)[0]
