"""A CLI, a service or a reader of the log behaves badly: the whole program ends, and says why."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.support.action import ENTRYPOINT, TIMEOUT, Action
from tests.support.raw_server import RawServer
from tests.support.remains import is_running, wait_for_the_end_of
from tests.support.runner import commands, parse_outputs

pytestmark = pytest.mark.pulumi

IGNORES_SIGNALS = """\
#!/bin/sh
trap '' INT TERM HUP QUIT
sleep 600 &
echo $$ $! > {pids}
wait
"""
PRINTS_100_MB = """\
#!/bin/sh
exec head -c 100000000 /dev/zero
"""
LEAVES_A_GRANDCHILD = """\
#!/bin/sh
setsid sleep 600 &
echo $! >> {pids}
exec {real} "$@"
"""


def install(action: Action, text: str, pulumi: Path) -> Path:
    """Put our own CLI on the action's PATH. Return the file or FIFO that it writes its process ids to."""
    pids = action.folder / "pids"
    (action.bin / "pulumi").write_text(text.format(pids=pids, real=pulumi))
    return pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_cli_that_ignores_signals(action: Action, pulumi: Path, number: signal.Signals) -> None:
    pids = install(action, IGNORES_SIGNALS, pulumi)
    os.mkfifo(pids)
    variables = action.variables(action.inputs())
    command = [sys.executable, str(ENTRYPOINT)]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as run:
        started = [int(pid) for pid in pids.read_text().split()]
        run.send_signal(number)
        log, _ = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 128 + number
    (error,) = commands(log, "error")
    assert error.data.startswith(f"{number.name} ended the run. Nothing was written.")
    assert len(started) == 2
    for pid in started:
        wait_for_the_end_of(pid)
    assert list(action.temporary.iterdir()) == []


@pytest.mark.full
def test_a_cli_that_prints_100_megabytes(action: Action, pulumi: Path) -> None:
    install(action, PRINTS_100_MB, pulumi)
    ran = action.run_child()
    assert ran.code == 4
    assert len(ran.annotations) == 1
    assert len(ran.log) < 10_000


@pytest.mark.full
def test_a_cli_whose_grandchild_holds_its_output_open(action: Action, pulumi: Path) -> None:
    action.create()
    pids = install(action, LEAVES_A_GRANDCHILD, pulumi)
    ran = action.run_child()
    left = [int(pid) for pid in pids.read_text().split()]
    try:
        assert (ran.code, ran.outputs["result"]) == (0, "synced")
        assert all(map(is_running, left))
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.full
def test_a_log_that_nobody_reads(action: Action) -> None:
    action.create()
    further = "\n".join(f"A_FURTHER_KEY_WITH_A_LONG_NAME_{number}=value-{number}" for number in range(200))
    variables = action.variables(action.inputs(extra_variables=further))
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        command = [sys.executable, str(ENTRYPOINT)]
        ran = subprocess.run(command, env=variables, stdout=writing, timeout=TIMEOUT, check=False)
        printed = os.read(reading, 100_000)
    finally:
        os.close(reading)
        os.close(writing)
    assert b"A_FURTHER_KEY" in printed
    assert b"_199" not in printed  # the pipe was full before
    assert ran.returncode == 0
    outputs = parse_outputs(Path(variables["GITHUB_OUTPUT"]).read_text())
    assert outputs["result"] == "synced"
    assert action.values["A_FURTHER_KEY_WITH_A_LONG_NAME_199"] == "value-199"


DRIPPING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n"


@pytest.mark.full
def test_an_answer_of_esc_that_drips(action: Action) -> None:
    with RawServer(DRIPPING, drip=b" ") as server:
        ran = action.run_child(action.variables(action.inputs(pulumi_cloud_url=server.url, timeout="3")))
    assert ran.code == 4
    assert len(ran.annotations) == 1


@pytest.mark.full
def test_an_answer_of_github_that_drips(action: Action, box: Sandbox) -> None:
    action.create()
    with RawServer(DRIPPING, drip=b" ") as server:
        variables = action.variables(action.inputs(deploy="always", timeout="16"))
        ran = action.run_child(variables | {"GITHUB_API_URL": server.url})
    assert ran.code == 6
    assert len(ran.annotations) == 1
    assert ran.outputs["result"] == "synced"
    assert box.github.dispatches == []


def test_a_signal_needs_not_wait_until_a_large_secret_is_masked(action: Action, box: Sandbox) -> None:
    lines = [f"{number:x}" for number in range(0x1000, 0x1000 + 20_000)]
    variables = action.variables(action.inputs(extra_secrets="LARGE='" + "\n".join(lines) + "'"))
    with subprocess.Popen([sys.executable, str(ENTRYPOINT)], env=variables, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        run.terminate()
        log = first + run.stdout.read()
    assert run.wait() == 143
    (error,) = commands(log, "error")
    assert error.data.startswith("SIGTERM ended the run. Nothing was")
    assert not all(f"::add-mask::{line}\n" in log for line in lines), "it went on until the end"
    assert not box.esc.requests
