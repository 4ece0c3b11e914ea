"""A thread reads ESC while another forks: the child never waits for the lock that the first one held."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Esc
from tests.backend.support import ROOT, SECRETS, python

pytestmark = pytest.mark.pulumi

# Fork while a thread holds every lock: its read waits for an event that is set after the fork.
READING = """
import os, multiprocessing, threading
from backend.core import auto_esc_config, esc_reader, sentry_setup
from backend.core.auto_esc_config import config

reading, forked = threading.Event(), threading.Event()
run = esc_reader.Read._run
def held(self, *arguments):
    if threading.current_thread() is not threading.main_thread() and os.getpid() == parent:
        reading.set()
        forked.wait()
    return run(self, *arguments)
esc_reader.Read._run = held
parent = os.getpid()
def hold():
    with sentry_setup._Started.lock:
        config.refresh()
threads = [threading.Thread(target=hold)]
threads[0].start()
reading.wait()

def child():
    assert sentry_setup.init_sentry()
    assert config.refresh()
    assert len(config.sentry_dsn) == 68, config.sentry_dsn
"""
OS_FORK = """
pid = os.fork()
if not pid:
    try:
        child()
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
MULTIPROCESSING = """
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
code = process.exitcode
"""
END = """
forked.set()
threads[0].join()
print(code, len(config.sentry_dsn))
"""


@pytest.mark.parametrize("fork", [OS_FORK, MULTIPROCESSING], ids=["os.fork", "multiprocessing"])
@pytest.mark.parametrize("before", ["", "config.sentry_dsn\n"], ids=["first read", "later read"])
def test_a_child_reads_for_itself(fork: str, before: str, environ: dict[str, str]) -> None:
    code = READING.replace("def hold():", before + "def hold():") + fork + END
    done = python(code, environ)
    assert (done.stdout, done.stderr) == ("0 68\n", "")


def test_a_read_leaves_no_process_and_no_folder_when_the_interpreter_ends(environ: dict[str, str], esc: Esc) -> None:
    """The thread of a background read doesn't keep the process from ending."""
    code = """
import os, threading
from pathlib import Path
from backend.core import esc_reader
from backend.core.auto_esc_config import AutoEscConfig, config
now = [0.0]
own = AutoEscConfig(clock=lambda: now[0])
assert own.sentry_dsn
seen = threading.Event()
run = esc_reader.Read._run
def slow(self, argv, variables, seconds):
    print(variables["HOME"], flush=True)
    seen.set()
    return run(self, ["/bin/sh", "-c", "echo $$; exec sleep 1000"], variables, 1000)
esc_reader.Read._run = slow
now[0] = 1000.0
own.sentry_dsn
seen.wait()
while own._read_now is None or own._read_now._process is None:
    pass
print(own._read_now._process.pid)
"""
    done = python(code, environ)
    folder, pid = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert not Path(folder).exists()
    assert not Path(f"/proc/{pid}").exists()


APP = """
import threading
from backend.core.auto_esc_config import config
from backend.core.sentry_setup import init_sentry

# As under a preloading server: read in the parent, and again while it forks.
config.sentry_dsn
reader = threading.Thread(target=lambda: [config.refresh() for _ in range(3)], daemon=True)
reader.start()
"""
WSGI = """
def application(environ, start_response):
    ok = init_sentry() and config.refresh()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{ok} {len(config.sentry_dsn)}".encode()]
"""
CELERY = """
from celery import Celery
app = Celery("app", broker="filesystem://", backend="file://results")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}

@app.task
def length():
    return init_sentry() and config.refresh() and len(config.sentry_dsn)
"""


@pytest.fixture
def program(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return the environment variables of a program in a folder of its own."""
    return environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}


def test_gunicorn_with_preload(program: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP + WSGI)
    socket = tmp_path / "socket"
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    (tmp_path / "settings.py").write_text(
        f"def post_worker_init(worker):\n    with open({str(ready)!r}, 'w') as file:\n        file.write('x')\n"
    )
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers=1", f"--bind=unix:{socket}"]
    command += ["--config=settings.py", "app"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=program, stdout=log, stderr=log) as server,
    ):
        try:
            ready.read_text()
            answer = subprocess.run(
                ["curl", "--silent", "--max-time", "120", "--unix-socket", str(socket), "http://localhost/"],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            server.terminate()
    assert answer.stdout == f"True {len(SECRETS['SENTRY_DSN'])}", (tmp_path / "log").read_text()


def test_celery_prefork(program: dict[str, str], tmp_path: Path) -> None:
    for folder in ("queue", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "app.py").write_text(APP + CELERY)
    command = [sys.executable, "-m", "celery", "--app=app", "worker", "--pool=prefork", "--concurrency=1"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=program, stdout=log, stderr=log) as worker,
    ):
        try:
            asked = subprocess.run(
                [sys.executable, "-c", "from app import length; print(length.delay().get(timeout=200))"],
                cwd=tmp_path,
                env=program,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            worker.terminate()
    assert asked.stdout == f"{len(SECRETS['SENTRY_DSN'])}\n", asked.stderr + (tmp_path / "log").read_text()
