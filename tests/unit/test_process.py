"""Children: exactly the environment that they are given, never longer than the deadline, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sophia_sync.process import Beside, CutError, Deadline, run, start

LONG = 3600
SHELL = "/bin/sh"


def python(code: str) -> list[str]:
    return [sys.executable, "-IS", "-c", code]


def is_running(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_for_the_end_of(pid: int) -> None:
    """A process that was ended takes a moment to go."""
    with contextlib.suppress(ProcessLookupError), open(os.pidfd_open(pid), "rb") as descriptor:  # noqa: PTH123
        assert select.select([descriptor], [], [], 10)[0]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestDeadline:
    def test_counts_down_to_nothing(self) -> None:
        clock = Clock()
        deadline = Deadline(5, clock)
        assert (deadline.seconds, deadline.remaining()) == (5, 5)
        clock.now += 3
        assert deadline.remaining() == 2
        clock.now += 3
        assert deadline.remaining() == 0

    def test_a_part_ends_no_later_than_the_whole(self) -> None:
        clock = Clock()
        whole = Deadline(5, clock)
        clock.now += 3
        assert (whole.part(1).remaining(), whole.part(4).remaining()) == (1, 2)

    def test_a_cut_ends_it_and_its_parts(self) -> None:
        whole = Deadline(LONG)
        part, other = whole.part(LONG), Deadline(LONG)
        told: list[float] = []
        with part.on_cut(told.append):
            whole.cut(3)
        assert told == [3]
        assert (whole.remaining(), part.remaining(), part.is_cut) == (0, 0, True)
        assert other.remaining() > 0

    def test_who_comes_after_a_cut_is_told_at_once_and_who_has_left_is_not(self) -> None:
        deadline = Deadline(LONG)
        told: list[float] = []
        with deadline.on_cut(told.append):
            pass
        deadline.cut(3)
        assert told == []
        with deadline.on_cut(told.append):
            assert told == [0]

    def test_a_cut_wakes_who_sleeps(self) -> None:
        deadline = Deadline(LONG)
        sleeper = threading.Thread(target=deadline.sleep, args=(LONG,), daemon=True)
        sleeper.start()
        deadline.cut(0)
        sleeper.join(10)
        assert not sleeper.is_alive()

    def test_a_cut_ends_a_child(self) -> None:
        deadline = Deadline(LONG)
        with start([SHELL, "-c", "exec sleep 3600"], {"PATH": os.defpath}, deadline) as child:
            ended = Beside(lambda: deadline.cut(3))
            assert child.finish().code == -signal.SIGKILL
        ended.result(Deadline(LONG))

    def test_a_cut_waits_until_what_it_ended_is_gone(self) -> None:
        deadline, order = Deadline(LONG), list[str]()
        started = threading.Event()

        def run() -> None:
            with start([SHELL, "-c", "exec sleep 3600"], {"PATH": os.defpath}, deadline) as child:
                started.set()
                child.finish()
                time.sleep(0.2)
                order.append("gone")

        running = Beside(run)
        assert started.wait(LONG)
        deadline.cut(3)
        order.append("cut")
        running.result(Deadline(LONG))
        assert order == ["gone", "cut"]

    def test_a_cut_waits_no_longer_than_its_grace_allows(self) -> None:
        deadline = Deadline(LONG)
        with deadline.running():  # by this thread: it can't end meanwhile
            deadline.cut(0)
        assert deadline.is_cut

    def test_a_cut_waits_for_what_another_thread_is_about_to_begin(self) -> None:
        deadline, order = Deadline(LONG), list[str]()
        beginning, may_begin = threading.Event(), threading.Event()

        def begin() -> None:
            with contextlib.ExitStack() as stack, deadline.beginning():
                beginning.set()
                may_begin.wait(LONG)
                stack.enter_context(deadline.on_cut(lambda _: order.append("told")))

        def cut() -> None:
            deadline.cut(3)
            order.append("cut")

        begun = Beside(begin)
        assert beginning.wait(LONG)
        ended = Beside(cut)
        deadline.sleep(LONG)  # until it is cut
        may_begin.set()
        ended.result(Deadline(LONG))
        begun.result(Deadline(LONG))
        assert (order[0], order[-1]) == ("told", "cut")

    def test_after_a_cut_no_child_is_started(self, tmp_path: Path) -> None:
        deadline = Deadline(LONG)
        deadline.cut(0)
        with pytest.raises(CutError), start(["touch", str(tmp_path / "made")], {"PATH": os.defpath}, deadline):
            pass
        assert not (tmp_path / "made").exists()

    def test_a_cut_gives_a_shielded_child_its_grace(self) -> None:
        deadline = Deadline(LONG)
        with start(["/bin/cat"], {}, deadline) as child, child.shielded():
            told = threading.Event()
            with deadline.on_cut(lambda _: told.set()):
                ended = Beside(lambda: deadline.cut(30))
                assert told.wait(LONG)
            child.send(b"done")
            finished = child.finish()
        ended.result(Deadline(LONG))
        assert (finished.code, finished.stdout) == (0, b"done")


class TestBeside:
    def test_returns_what_the_work_returns(self) -> None:
        assert Beside(lambda: 17).result(Deadline(LONG)) == 17

    def test_raises_what_the_work_raises(self) -> None:
        def fail() -> None:
            raise LookupError("why")

        with pytest.raises(LookupError, match="why"):
            Beside(fail).result(Deadline(LONG))

    @pytest.mark.parametrize("is_cut", [True, False])
    def test_leaves_behind_what_is_not_done_in_time(self, *, is_cut: bool) -> None:
        done = threading.Event()
        deadline = Deadline(LONG if is_cut else 0.01)
        work = Beside(done.wait)
        if is_cut:
            deadline.cut(0)
        with pytest.raises(TimeoutError):
            work.result(deadline)
        done.set()
        assert work.result(Deadline(LONG)) is True


class TestRun:
    def test_tells_code_output_and_errors(self) -> None:
        finished = run([SHELL, "-c", "echo out; echo err >&2; exit 3"], {}, Deadline(LONG))
        assert (finished.code, finished.stdout, finished.stderr) == (3, b"out\n", "err\n")
        assert not finished.timed_out

    def test_the_child_has_exactly_the_environment_that_it_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENTRY_DSN", "canary")
        code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(k + b'=' + v for k, v in os.environb.items()))"
        finished = run(python(code), {"A": "1", "B-C": "ü"}, Deadline(LONG))
        given = set(finished.stdout.split(b"\0")) - {b"LC_CTYPE=C.UTF-8"}  # Python's own
        assert given == {b"A=1", "B-C=ü".encode()}

    def test_there_is_nothing_on_standard_input(self) -> None:
        assert run([SHELL, "-c", "cat; echo end"], {"PATH": os.defpath}, Deadline(LONG)).stdout == b"end\n"

    def test_much_on_both_outputs_blocks_nobody(self) -> None:
        code = "import sys; [print('x' * 1000, file=f) for _ in range(500) for f in (sys.stderr, sys.stdout)]"
        finished = run(python(code), {}, Deadline(LONG))
        assert len(finished.stdout) == len(finished.stderr) == 500 * 1001

    def test_errors_that_are_no_text_are_still_told(self) -> None:
        finished = run([SHELL, "-c", r"printf 'a\377b' >&2"], {}, Deadline(LONG))
        assert finished.stderr == "a\ufffdb"

    def test_a_program_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            run([str(tmp_path / "pulumi")], {}, Deadline(LONG))

    @pytest.mark.parametrize("kind", [threading.Thread, threading.Timer])
    def test_for_want_of_threads_nothing_is_left(
        self, kind: type[threading.Thread], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(kind, "start", start)
        with pytest.raises(RuntimeError, match="new thread"):
            run(["sleep", "600"], {"PATH": os.defpath}, Deadline(LONG))


class TestDeadlineOfAChild:
    def test_a_child_is_ended_with_all_that_it_started(self) -> None:
        code = "sleep 600 & echo $!; wait"
        began = time.monotonic()
        with start([SHELL, "-c", code], {"PATH": os.defpath}, Deadline(0.3)) as child:
            grandchild = int(child.stdout.readline())
            finished = child.finish()
        assert finished.timed_out
        assert finished.code == -signal.SIGKILL
        assert time.monotonic() - began < 30
        wait_for_the_end_of(grandchild)

    def test_a_child_that_is_done_in_time_is_not_ended(self) -> None:
        assert not run([SHELL, "-c", "exit 0"], {}, Deadline(LONG)).timed_out

    def test_the_deadline_can_be_brought_forward(self) -> None:
        with start(["/bin/sleep", "600"], {}, Deadline(LONG)) as child:
            child.hurry(0.1)
            assert child.finish().timed_out


class TestLeaving:
    def test_ends_what_still_runs(self) -> None:
        with start([SHELL, "-c", "echo $$; exec sleep 600"], {"PATH": os.defpath}, Deadline(LONG)) as child:
            pid = int(child.stdout.readline())
        assert not is_running(pid)

    def test_ends_it_also_where_something_fails(self) -> None:
        pids = []

        def fail() -> None:
            with start([SHELL, "-c", "echo $$; exec sleep 600"], {"PATH": os.defpath}, Deadline(LONG)) as child:
                pids.append(int(child.stdout.readline()))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not is_running(pids[0])

    def test_leaves_no_thread_and_no_open_file_behind(self) -> None:
        threads, files = set(threading.enumerate()), open_files()
        with start([SHELL, "-c", "echo x"], {}, Deadline(LONG)) as child:
            child.hurry(LONG)
            child.finish()
        for thread in set(threading.enumerate()) - threads:
            thread.join(10)
            assert not thread.is_alive()
        assert open_files() == files


class TestSending:
    def test_what_is_sent_arrives_whole(self) -> None:
        data = os.urandom(300_000)
        with start(["/bin/cat"], {}, Deadline(LONG)) as child:
            received: list[bytes] = []
            reader = threading.Thread(target=lambda: received.append(child.stdout.read()))
            reader.start()
            child.send(data)
            reader.join()
            assert child.finish().code == 0
        assert received == [data]

    def test_a_child_that_is_gone_is_known_by_its_exit_code(self) -> None:
        with start([SHELL, "-c", "exec <&-; echo gone; exit 5"], {}, Deadline(LONG)) as child:
            assert child.stdout.readline() == b"gone\n"
            child.send(b"x" * 300_000)
            assert child.finish().code == 5


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Of the processes that a test starts; other tests' services may run beside it."""
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[str]:
    """The processes that this one has started, where the system tells them (Linux's /proc)."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}
