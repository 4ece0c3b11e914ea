"""Show progress on stderr while something takes longer than a few seconds."""

import sys
import time


def say(text: str) -> None:
    """Print a line that stays. It replaces the line of progress, if there is one."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}{text}\n")
    sys.stderr.flush()


class Progress:
    """A line of progress: overwritten in place on a terminal, printed every few seconds elsewhere."""

    def __init__(self) -> None:
        self._pause = 0.2 if sys.stderr.isatty() else 5.0
        self._next = time.monotonic() + self._pause

    def show(self, text: str) -> None:
        """Show the progress. Most calls print nothing."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._pause
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        else:
            say(text)
