"""Write to standard output without ever waiting for its reader."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TextIO


class BackgroundWriter:
    """A writer with its own thread, so that a stream that nobody reads can't block the run.

    Args:
        stream: Where the text goes. Its errors are ignored, so that the work and its outputs go on.
    """

    def __init__(self, stream: TextIO) -> None:
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._stream = stream
        self._texts: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, name="output", daemon=True).start()

    def write(self, text: str) -> int:
        """Queue text. Return its length, as a stream does."""
        self._texts.put(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes after each text."""

    def drain(self, seconds: float) -> bool:
        """Wait until everything queued so far is written. Return whether it was, within `seconds`."""
        written = threading.Event()
        self._texts.put(written)
        return written.wait(seconds)

    def _write_all(self) -> None:
        while True:
            text = self._texts.get()
            if isinstance(text, threading.Event):
                text.set()
                continue
            with contextlib.suppress(OSError, ValueError):  # nobody reads, no room, or the stream is closed
                self._stream.write(text)
                self._stream.flush()
