"""The background writer: a slow or closed reader doesn't stop the program."""

from __future__ import annotations

import io
import threading

from sophia_sync.runtime.output import BackgroundWriter


def test_writes_in_order() -> None:
    stream = io.StringIO()
    writer = BackgroundWriter(stream)
    for number in range(100):
        writer.write(f"{number}\n")
    assert writer.drain(60)
    assert stream.getvalue().split() == [str(number) for number in range(100)]


def test_a_reader_that_does_not_read_stops_nobody() -> None:
    release = threading.Event()

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            release.wait(60)
            return super().write(text)

    stream = Full()
    writer = BackgroundWriter(stream)
    assert writer.write("x") == 1
    assert not writer.drain(0.01)
    release.set()
    assert writer.drain(60)
    assert stream.getvalue() == "x"


def test_a_reader_that_is_gone_stops_nobody() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    writer = BackgroundWriter(Closed())
    writer.write("x")
    assert writer.drain(60)
