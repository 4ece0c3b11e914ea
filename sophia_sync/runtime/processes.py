"""Start processes, each in a group of its own, which is killed when the task that started it ends.

No other module of the action or the command line starts one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, Process

from sophia_sync.runtime.tasks import task_group

# Maximum wait for the output of a process that has ended, in seconds: a grandchild may hold it open for ever.
_REST = 0.5
# Seconds between two looks at the exit code, because a process may end while its output is held open.
_LOOK = 0.05
# Maximum wait for the end of a killed process, in seconds.
_GONE = 1.0
# Maximum size of the output to keep, in bytes. Anything beyond that is read and dropped.
LARGEST_OUTPUT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Finished:
    """How a process ended: its exit code (negative: a signal), standard output, and standard error as text."""

    code: int
    stdout: bytes
    stderr: str


class Child:
    """A running process. Its output is collected while it runs, so that it never blocks on writing."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._more = anyio.Event()
        self._open = 2

    @property
    def output(self) -> bytes:
        """The standard output so far."""
        return bytes(self._stdout)

    async def more(self) -> bool:
        """Wait until there is more standard output. Return False if there is no more to come."""
        if self._open:
            await self._more.wait()
            self._more = anyio.Event()
        return self._open > 0

    async def send(self, data: bytes) -> None:
        """Write to standard input and close it. Do nothing if the process is gone: see its exit code."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - `start` asks for a pipe
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if data:
                await stdin.send(data)
            await stdin.aclose()

    async def finish(self) -> Finished:
        """Close standard input and wait for the end."""
        await self.send(b"")
        while self._process.returncode is None:
            with anyio.move_on_after(_LOOK):  # some versions of asyncio wait for the output, too
                await self._process.wait()
        with anyio.move_on_after(_REST):
            while self._open:
                await self.more()
        return Finished(self._process.returncode, self.output, self._stderr.decode("utf-8", "replace"))

    async def collect(self, stream: ByteReceiveStream, into: bytearray) -> None:
        """Read a stream to its end."""
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                data = await stream.receive()
                into += data[: LARGEST_OUTPUT - len(into)]
                self._more.set()
        self._open -= 1
        self._more.set()

    async def collect_all(self) -> None:
        """Collect standard output and standard error until both end."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None  # noqa: S101
        assert stderr is not None  # noqa: S101
        async with anyio.create_task_group() as streams:
            streams.start_soon(self.collect, stdout, self._stdout)
            streams.start_soon(self.collect, stderr, self._stderr)

    async def end(self) -> None:
        """Kill the process and everything in its group, and release its resources."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with anyio.move_on_after(_GONE, shield=True):
            await self._process.aclose()


@asynccontextmanager
async def start(argv: Sequence[str], environ: Mapping[str, str]) -> AsyncIterator[Child]:
    """Run `argv` with exactly `environ` and pipes for its three streams. Leaving the block kills what still runs.

    Raises:
        OSError: The program can't be started.
    """
    # Shielded: a cancelled start would leave behind what the process has started by then.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            list(argv),
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    child = Child(process)
    # Shielded: after a cancellation, the output of a write under way must still be read. Leaving the block ends it.
    collecting = anyio.CancelScope(shield=True)

    async def collect() -> None:
        with collecting:
            await child.collect_all()

    try:
        async with task_group() as beside:
            beside.start(collect)
            try:
                yield child
            finally:
                collecting.cancel()
    finally:
        await child.end()


async def run(argv: Sequence[str], environ: Mapping[str, str]) -> Finished:
    """Run `argv` to its end with nothing on standard input. See `start`."""
    async with start(argv, environ) as child:
        return await child.finish()
