"""A Docker engine on another machine, reached by SSH whose host keys are given and never learned.

Docker's CLI and Compose run the `ssh` that they find on PATH. So that they can't take keys, hosts or settings from
this machine's own configuration, a private folder that comes first on PATH holds an `ssh` with a configuration of
ours. Source: github.com/docker/cli `cli/connhelper` (the call), ssh_config(5).
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploy.errors import DockerError
from sophia_sync import process
from sophia_sync.process import Deadline

SCHEME = "ssh://"

_HOST_KEY = re.compile(r"(@cert-authority )?\S+ (ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+ [A-Za-z0-9+/]{32,}={0,2}( .*)?")


def known_hosts(text: str) -> str:
    """The host keys, one a line as in `~/.ssh/known_hosts`; comments and empty lines are left out.

    Raises:
        ValueError: A line is none, or there is none at all.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ValueError("holds no host key")
    for number, line in enumerate(lines, 1):
        if not _HOST_KEY.fullmatch(line):
            raise ValueError(f"line {number} is no host key: it must be of the form HOST TYPE KEY")
    return "".join(f"{line}\n" for line in lines)


@contextlib.contextmanager
def client(hosts: str, private_key: SecretStr | None, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment in which `ssh` is one with these host keys only; its files are gone afterwards.

    Args:
        hosts: The host keys, see `known_hosts`.
        private_key: Ours; None leaves it to an agent or the usual files.
        environ: The environment so far.

    Raises:
        DockerError: There is no `ssh`.
    """
    real = shutil.which("ssh", path=environ.get("PATH"))
    if real is None:
        raise DockerError("There is no `ssh` on PATH.", "Install OpenSSH's client where the deploy runs.")
    with tempfile.TemporaryDirectory(prefix="deploy-ssh-") as made:
        folder = Path(made)
        options = [
            "StrictHostKeyChecking yes",
            f"UserKnownHostsFile {_quoted(folder / 'known_hosts')}",
            "GlobalKnownHostsFile /dev/null",
            "UpdateHostKeys no",
            "VerifyHostKeyDNS no",
            "BatchMode yes",
            "ForwardAgent no",
            "ConnectTimeout 15",
            "ServerAliveInterval 15",
            "ServerAliveCountMax 4",
        ]
        _write(folder / "known_hosts", hosts)
        if private_key is not None:
            _write(folder / "key", private_key.get_secret_value().strip().replace("\r\n", "\n") + "\n")
            options += [f"IdentityFile {_quoted(folder / 'key')}", "IdentitiesOnly yes", "IdentityAgent none"]
        _write(folder / "config", "".join(f"{option}\n" for option in options))
        _write(folder / "ssh", f'#!/bin/sh\nexec {shlex.quote(real)} -F {shlex.quote(str(folder / "config"))} "$@"\n')
        (folder / "ssh").chmod(0o700)
        yield {**environ, "PATH": f"{folder}:{environ.get('PATH', '')}"}


@contextlib.contextmanager
def forwarded(docker_host: str, port: int, environ: Mapping[str, str], deadline: Deadline) -> Iterator[int]:
    """A port of this machine's loopback that leads to `port` on the loopback of the Docker engine's machine."""
    host = urlsplit(docker_host)
    with socket.create_server(("127.0.0.1", 0)) as free:
        here = free.getsockname()[1]
    argv = [_ssh(environ), "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
    argv += ["-l", host.username] if host.username else []
    argv += ["-p", str(host.port)] if host.port else []
    with process.start([*argv, "--", host.hostname or ""], environ, deadline):
        yield here


def _ssh(environ: Mapping[str, str]) -> str:
    return shutil.which("ssh", path=environ.get("PATH")) or "ssh"


def _quoted(path: Path) -> str:
    return f'"{path}"'


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
