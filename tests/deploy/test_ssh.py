"""An engine on another machine: a real SSH server between the deploy program and Docker, and the host keys it has."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy import ssh
from tests.deploy.conftest import Host
from tests.deploy.program import Result
from tests.docs.pages import code_in, sections
from tests.support import docker_leaks
from tests.support.docker_registry import free_port

pytestmark = pytest.mark.docker


@dataclass(frozen=True)
class Machine:
    """Where the engine is, seen from outside."""

    port: int
    host_key: str
    host_key_file: Path
    private_key: str

    def environ(self, host_key: str) -> dict[str, str]:
        return {
            "DOCKER_HOST": f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}",
            "DEPLOY_SSH_KNOWN_HOSTS": f"[127.0.0.1]:{self.port} {host_key}",
            "DEPLOY_SSH_PRIVATE_KEY": self.private_key,
        }


def make_key(path: Path) -> str:
    """A key pair; its public part without the comment."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    command = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if command is None:
        pytest.skip("there is no sshd (Debian's package openssh-server)")
    folder = tmp_path_factory.mktemp("ssh")
    host_key, own_key = make_key(folder / "host"), make_key(folder / "own")
    (folder / "authorized").write_text(own_key, encoding="utf-8")
    port = free_port()
    lines = [
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        f"SetEnv PATH={os.environ['PATH']}",
        "PidFile none",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks itself in
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([command, "-D", "-e", "-f", folder / "config"], stdout=log, stderr=log)
        try:
            wait_for_banner(port, server)
            yield Machine(port, host_key, folder / "host.pub", (folder / "own").read_text(encoding="utf-8"))
        finally:
            server.terminate()
            server.wait()


def wait_for_banner(port: int, server: subprocess.Popen[bytes]) -> None:
    while True:
        assert server.poll() is None, "sshd ended"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                assert connection.recv(64).startswith(b"SSH-2.0")
                return
        except ConnectionRefusedError:
            continue


def test_deploys_to_a_host_whose_key_is_known(host: Host, machine: Machine, pushed: Result) -> None:
    image = pushed.outputs["image"]
    result = host.deploy(image, **machine.environ(machine.host_key))
    assert result.code == 0, result.log
    assert host.image == image
    assert host.ask().content
    assert docker_leaks.held_by(result.visible(), machine.private_key.splitlines()[1:-1]) == []


def test_a_host_with_another_key_is_not_talked_to(host: Host, machine: Machine, pushed: Result, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    result = host.deploy(pushed.outputs["image"], **machine.environ(other))
    assert result.code == 4, result.log
    assert "Host key verification failed" in result.error
    assert host.image == ""


def test_the_host_keys_are_had_as_the_page_says(machine: Machine, tmp_path: Path) -> None:
    on_the_host, from_here = code_in(sections("docs/deploy.md")["What has to be set up once"])
    on_the_host = on_the_host.replace("/etc/ssh/ssh_host_ed25519_key.pub", str(machine.host_key_file))
    from_here = from_here.replace("-p 22 HOST", f"-p {machine.port} 127.0.0.1")
    ours, seen = (
        subprocess.run(["bash", "-euc", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
        for code in (on_the_host, from_here)
    )
    assert ours[1].startswith("SHA256:")
    assert seen[1] == ours[1]
    pinned = ssh.known_hosts((tmp_path / "known_hosts").read_text(encoding="utf-8"))
    assert pinned.strip() == machine.environ(machine.host_key)["DEPLOY_SSH_KNOWN_HOSTS"]
