"""What a person sees while something takes longer than a few seconds. All of it goes to stderr."""

import sys
import time


def say(text: str) -> None:
    """Print a line that stays, in place of the line of progress where there is one."""
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}{text}\n")
    sys.stderr.flush()


class Progress:
    """One line that is written over on a terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._pause = 0.2 if sys.stderr.isatty() else 5.0
        self._next = time.monotonic() + self._pause

    def show(self, text: str) -> None:
        """Say how far it is; most calls print nothing."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._pause
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        else:
            say(text)
