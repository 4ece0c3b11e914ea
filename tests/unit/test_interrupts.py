"""Signals and the time limit end a run where it stands, but never within a write."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from sophia_sync import interrupts
from sophia_sync.environments import side_by_side
from sophia_sync.interrupts import Interrupted, Watch, limit, raised, shielded
from sophia_sync.process import Deadline

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM]


def no_hurry(seconds: float) -> None:
    raise AssertionError(f"nobody sent a signal, and yet there are only {seconds} seconds left")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_where_the_run_stands(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as by, raised():
        signal.raise_signal(number)
    assert by.value.signal_number == number
    assert str(by.value) == number.name


def test_no_handler_of_ordinary_errors_swallows_it() -> None:
    assert not issubclass(Interrupted, Exception)


class _Finalised:
    """Gets a signal while it is finalised, where Python drops every exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_that_python_drops_comes_again(times: int) -> None:
    def run() -> None:
        with raised():
            for _ in range(times):
                _Finalised()
            time.sleep(10)

    with pytest.raises(Interrupted) as by:
        run()
    assert by.value.signal_number == signal.SIGTERM


def test_a_signal_that_python_drops_comes_again_after_a_section_that_it_must_not_cut() -> None:
    hurried: list[float] = []
    done = False

    def run() -> None:
        nonlocal done
        with raised():
            _Finalised()
            with shielded(hurried.append):
                time.sleep(0.1)
                done = True

    with pytest.raises(Interrupted):
        run()
    assert done
    assert hurried == [interrupts.GRACE]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_no_module_loaded_by_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    (tmp_path / "hit_by_a_signal.py").write_text(
        f"import signal, time\nsignal.raise_signal({number})\ntime.sleep(0.05)\nis_whole = True\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    went_on = False

    def run() -> None:
        nonlocal went_on
        with raised():
            import hit_by_a_signal  # type: ignore[import-not-found]  # noqa: PLC0415

            assert hit_by_a_signal.is_whole
            time.sleep(10)
            went_on = True

    with pytest.raises(Interrupted) as by:
        run()
    assert by.value.signal_number == number
    assert sys.modules.pop("hit_by_a_signal").is_whole
    assert not went_on


def test_other_exceptions_that_python_drops_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException] | None] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: told.append(unraisable.exc_type))

    class Defective:
        def __del__(self) -> None:
            raise ValueError

    with raised():
        Defective()
    assert told == [ValueError]


def test_what_ends_the_run_is_not_ended_itself() -> None:
    with raised():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Interrupted:
            for number in SIGNALS:
                signal.raise_signal(number)


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def run() -> None:
        with raised():
            limit(3600)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        run()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class TestShield:
    def test_a_signal_waits_for_the_end_of_the_section(self) -> None:
        hurried: list[float] = []
        done = False

        def section() -> None:
            nonlocal done
            with shielded(hurried.append):
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                done = True
            raise AssertionError("the signal came to nothing")

        with pytest.raises(Interrupted) as by, raised():
            section()
        assert done
        assert by.value.signal_number == signal.SIGTERM
        assert len(hurried) == 1
        assert 0 < hurried[0] < 5

    def test_without_a_signal_nothing_happens(self) -> None:
        with raised(), shielded(no_hurry):
            pass

    def test_a_signal_after_the_section_is_raised_at_once(self) -> None:
        def run() -> None:
            with raised():
                with shielded(no_hurry):
                    pass
                signal.raise_signal(signal.SIGTERM)

        with pytest.raises(Interrupted):
            run()

    def test_an_error_of_the_section_is_told_where_no_signal_came(self) -> None:
        with pytest.raises(KeyError), raised(), shielded(no_hurry):
            raise KeyError


class TestWatch:
    def test_what_the_work_comes_to_is_told(self) -> None:
        with Watch() as watch:
            assert watch.over(lambda: 5, no_hurry) == 5
            with pytest.raises(KeyError):
                watch.over(lambda: os.environ["NO_SUCH_VARIABLE"], no_hurry)

    @pytest.mark.parametrize("number", SIGNALS)
    def test_a_signal_cuts_the_work_and_waits_for_its_end(self, number: signal.Signals) -> None:
        cut, begun = threading.Event(), threading.Event()
        seconds: list[float] = []
        ended = False

        def work() -> None:
            nonlocal ended
            begun.set()
            assert cut.wait(60)
            ended = True

        def end(grace: float) -> None:
            seconds.append(grace)
            cut.set()

        def send() -> None:
            assert begun.wait(60)
            os.kill(os.getpid(), number)

        threading.Thread(target=send).start()
        with Watch() as watch, pytest.raises(Interrupted) as by:
            watch.over(work, end)
        assert by.value.signal_number == number
        assert seconds == [interrupts.GRACE]
        assert ended

    def test_what_does_not_heed_the_cut_is_left_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(interrupts, "_MOMENT", 0.01)
        done = threading.Event()
        with Watch() as watch:
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Interrupted):
                watch.over(lambda: done.wait(60), lambda _: None)
        done.set()

    def test_more_signals_change_nothing(self) -> None:
        cut = threading.Event()

        def end(_: float) -> None:
            for number in SIGNALS:
                signal.raise_signal(number)
            cut.set()

        with Watch() as watch:
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(Interrupted, match="SIGINT"):
                watch.over(lambda: cut.wait(60), end)
            signal.raise_signal(signal.SIGTERM)

    def test_afterwards_signals_mean_what_they_meant_before(self) -> None:
        before = [signal.getsignal(number) for number in SIGNALS]
        with Watch():
            limit(3600)
        assert [signal.getsignal(number) for number in SIGNALS] == before
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)

    def test_the_limit_is_one_and_can_be_set_in_the_work(self) -> None:
        cut = threading.Event()

        def work() -> None:
            limit(0.01)
            assert cut.wait(60)

        with Watch() as watch, pytest.raises(Interrupted) as by:
            watch.over(work, lambda _: cut.set())
        assert by.value.signal_number == signal.SIGALRM

    def test_many_at_once_can_be_ended_at_any_moment(self) -> None:
        """What a signal's exception tore apart now and then: the locks of a pool of threads."""
        for round_ in range(200):
            deadline = Deadline(60)
            with Watch() as watch:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 * (1 + round_ % 50))
                work = [lambda: deadline.sleep(0.005)] * 40  # noqa: B023 - done within the round
                with contextlib.suppress(Interrupted):
                    watch.over(lambda: side_by_side(deadline, work), deadline.cut)  # noqa: B023


class TestLimit:
    def test_ends_the_run(self) -> None:
        def run() -> None:
            with raised():
                limit(0.05)
                signal.pause()

        with pytest.raises(Interrupted) as by:
            run()
        assert by.value.signal_number == signal.SIGALRM

    def test_takes_no_signal_away_that_is_to_come_again(self) -> None:
        def run() -> None:
            with raised():
                _Finalised()
                limit(3600)
                time.sleep(10)

        with pytest.raises(Interrupted) as by:
            run()
        assert by.value.signal_number == signal.SIGTERM

    def test_can_be_lifted(self) -> None:
        with raised():
            limit(0.05)
            limit(0)
            time.sleep(0.1)


def test_a_second_run_starts_afresh() -> None:
    with pytest.raises(Interrupted), raised(), shielded(lambda _: None):
        signal.raise_signal(signal.SIGTERM)
    with raised(), shielded(no_hurry):
        pass
    assert interrupts.GRACE < 5
