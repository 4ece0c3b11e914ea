"""Child processes have exactly the environment that they are given, and leave nothing behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from sophia_sync.runtime import processes
from sophia_sync.runtime.processes import run, start
from sophia_sync.runtime.tasks import finish_within
from tests.support.remains import is_running, wait_for_the_end_of

pytestmark = pytest.mark.anyio

SHELL = "/bin/sh"
SYSTEM = {"PATH": os.defpath}


def python(code: str) -> list[str]:
    return [sys.executable, "-IS", "-c", code]


class TestRun:
    async def test_tells_code_output_and_errors(self) -> None:
        finished = await run([SHELL, "-c", "echo out; echo err >&2; exit 3"], {})
        assert (finished.code, finished.stdout, finished.stderr) == (3, b"out\n", "err\n")

    async def test_the_child_has_exactly_the_environment_that_it_is_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("INPUT_SENTRY-DSN", "canary")
        code = "import os; os.environ.pop('LC_CTYPE', 0); print(ascii(dict(os.environ)))"
        assert (await run(python(code), {"A": "1", "B-C": "ü"})).stdout == b"{'A': '1', 'B-C': '\\xfc'}\n"

    async def test_there_is_nothing_on_standard_input(self) -> None:
        assert (await run([SHELL, "-c", "cat; echo end"], SYSTEM)).stdout == b"end\n"

    async def test_much_on_both_outputs_blocks_nobody(self) -> None:
        code = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"
        finished = await run(python(code), {})
        assert (len(finished.stdout), len(finished.stderr)) == (300_000, 300_000)

    async def test_more_than_the_largest_output_is_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processes, "LARGEST_OUTPUT", 1000)
        finished = await run(python("print('o' * 300000)"), {})
        assert (finished.code, len(finished.stdout)) == (0, 1000)

    async def test_errors_that_are_no_text_are_still_told(self) -> None:
        assert (await run([SHELL, "-c", r"printf 'a\377b' >&2"], {})).stderr == "a\ufffdb"

    async def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            await run([str(tmp_path / "pulumi")], {})

    async def test_a_grandchild_that_holds_the_output_open_holds_nobody_up(self) -> None:
        finished = await run([SHELL, "-c", "setsid sleep 600 & echo $!"], SYSTEM)
        assert finished.code == 0
        assert is_running(int(finished.stdout))
        os.kill(int(finished.stdout), 9)


class TestTheEnd:
    async def test_a_cancellation_kills_the_child_and_all_that_it_started(self) -> None:
        code = "trap '' TERM INT; sleep 600 & echo $$ $!; wait"
        pids: list[int] = []
        with anyio.CancelScope() as scope:
            async with start([SHELL, "-c", code], SYSTEM) as child:
                while b"\n" not in child.output:
                    await child.more()
                pids = [int(pid) for pid in child.output.split()]
                scope.cancel()
                await child.finish()
        assert len(pids) == 2
        for pid in pids:
            wait_for_the_end_of(pid)
            assert not is_running(pid)

    async def test_what_a_child_prints_after_a_cancellation_is_read_by_work_that_may_finish(self) -> None:
        outputs: list[bytes] = []
        with anyio.CancelScope() as scope:
            async with start([SHELL, "-c", "echo begun; read said; echo $said"], SYSTEM) as child:
                await child.more()

                async def finish() -> None:
                    scope.cancel()
                    await child.send(b"done\n")
                    outputs.append((await child.finish()).stdout)

                await finish_within(60, finish)
        assert outputs == [b"begun\ndone\n"]

    async def test_an_error_ends_it_as_well(self) -> None:
        pids: list[int] = []

        async def fail() -> None:
            async with start([SHELL, "-c", "echo $$; exec sleep 600"], SYSTEM) as child:
                await child.more()
                pids.append(int(child.output))
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert not is_running(pids[0])

    async def test_leaves_no_open_file_behind(self) -> None:
        await run([SHELL, "-c", "exit 0"], {})
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            await run([SHELL, "-c", "echo x"], {})
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


class TestSending:
    async def test_what_is_sent_arrives_whole(self) -> None:
        sent = os.urandom(1_000_000)
        async with start(["/bin/cat"], {}) as child:
            await child.send(sent)
            assert (await child.finish()).stdout == sent

    async def test_a_child_that_is_gone_is_known_by_its_exit_code(self) -> None:
        async with start([SHELL, "-c", "exec <&-; echo gone; exit 5"], {}) as child:
            await child.more()
            await child.send(b"x" * 1_000_000)
            assert (await child.finish()).code == 5
