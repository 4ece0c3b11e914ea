"""Deploys to other engines: over SSH and a jump host, by a Docker context, by a socket at another path."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import program
from tests.deploy.conftest import Host, new_host
from tests.deploy.gateway import bridge_address
from tests.deploy.program import Result
from tests.docs.pages import code_in, sections
from tests.support import docker_leaks
from tests.support.docker_engine import docker
from tests.support.docker_registry import free_port

pytestmark = pytest.mark.docker


@dataclass(frozen=True)
class Second:
    """A second Docker engine on this machine, with images and containers of its own."""

    socket: Path

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def container(self, name: str, template: str) -> str:
        command = ["docker", "--host", self.url, "container", "inspect", "--format", template, name]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@pytest.fixture(scope="module")
def bridge() -> Iterator[str]:
    """Create a network bridge for the second engine. The first engine chooses its subnet."""
    name = f"second-{secrets.token_hex(4)}"  # Linux allows an interface 15 characters
    docker("network", "create", "--opt", f"com.docker.network.bridge.name={name}", name)
    try:
        yield name
    finally:
        docker("network", "rm", name)


@pytest.fixture(scope="module")
def second(bridge: str) -> Iterator[Second]:
    """Run the second engine, with its socket where a rootless engine has it."""
    command = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if command is None or os.geteuid() != 0:
        pytest.skip("there is no dockerd, or it can't be started")
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as folder:
        run = Path(folder, "run", "user", "1000")
        run.mkdir(parents=True)
        found = Second(run / "docker.sock")
        argv = [command, "--host", found.url, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        argv += ["--pidfile", f"{folder}/pid", "--bridge", bridge, "--host-gateway-ip", bridge_address()]
        # Leave the first engine's firewall rules alone. Docker itself avoids the subnets of the machine's routes.
        argv += ["--iptables=false", "--ip6tables=false"]
        with Path(folder, "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as engine:
            try:
                wait_for(["docker", "--host", found.url, "info"], engine, Path(folder, "log"))
                yield found
            finally:
                # The bridges of its networks would outlive the engine.
                prune = ["docker", "--host", found.url, "network", "prune", "--force"]
                subprocess.run(prune, capture_output=True, timeout=60, check=False)
                engine.terminate()


def wait_for(command: list[str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Run a command until it succeeds, as long as the process runs."""
    while subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0:
        assert process.poll() is None, log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def there(second: Second) -> Iterator[Host]:
    """Yield a host whose server is on the second engine. Each test reaches that engine in another way."""
    with new_host() as host:
        try:
            yield host
        finally:
            for name in (host.project, f"{host.project}-former"):
                command = ["docker", "--host", second.url, "rm", "--force", name]
                subprocess.run(command, capture_output=True, timeout=60, check=False)


def check_serves(second: Second, host: Host, image: str, result: Result) -> None:
    """Check that the deploy found or made the server on the second engine, and on no other."""
    assert result.code == 0, result.log
    assert result.outputs["image"] == image
    assert second.container(host.project, "{{.Config.Image}}") == image
    assert host.image == ""
    assert host.box.sentry.project in str(host.ask().content)


def test_a_socket_at_a_path_of_its_own(there: Host, second: Second, good: str) -> None:
    check_serves(second, there, good, there.deploy(good, DOCKER_HOST=second.url))


def test_a_docker_context(there: Host, second: Second, good: str, tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    create = ["docker", "context", "create", "production", "--docker", f"host={second.url}"]
    subprocess.run(create, env={**os.environ, **environ}, check=True, capture_output=True, timeout=60)
    check_serves(second, there, good, there.deploy(good, DOCKER_CONTEXT="production", **environ))


@dataclass(frozen=True)
class Sshd:
    """An SSH server on the loopback."""

    port: int
    host_key: str
    host_key_file: Path
    has_ipv6: bool
    """Whether it also listens on ::1."""

    @property
    def known(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key}"


def make_key(path: Path) -> str:
    """Make a key pair; return its public part without the comment."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def sshd(folder: Path, own_key: str, *lines: str) -> Iterator[Sshd]:
    """Run an SSH server that lets in the holder of a key."""
    command = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if command is None:
        pytest.skip("there is no sshd (Debian's package openssh-server)")
    folder.mkdir()
    server = Sshd(free_port(), make_key(folder / "host"), folder / "host.pub", has_ipv6_loopback())
    (folder / "authorized").write_text(own_key, encoding="utf-8")
    settings = [
        "ListenAddress 127.0.0.1",
        *(["ListenAddress ::1"] if server.has_ipv6 else []),
        f"Port {server.port}",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        "PidFile none",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
        *lines,
    ]
    (folder / "config").write_text("\n".join(settings) + "\n", encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's privilege separation directory
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, "-D", "-e", "-f", folder / "config"], stdout=log, stderr=log)
        try:
            wait_for_banner(server.port, process)
            yield server
        finally:
            process.terminate()
            process.wait()


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def wait_for_banner(port: int, server: subprocess.Popen[bytes]) -> None:
    while True:
        assert server.poll() is None, "sshd ended"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                assert connection.recv(64).startswith(b"SSH-2.0")
                return
        except ConnectionRefusedError:
            continue


@dataclass(frozen=True)
class Far:
    """A machine with an engine, reachable only through a jump host."""

    machine: Sshd
    jump: Sshd
    private_key: str

    def environ(self, **other: str) -> dict[str, str]:
        user = getpass.getuser()
        config = f"Host production\n  HostName 127.0.0.1\n  Port {self.machine.port}\n  User {user}\n  ProxyJump jump\n"
        config += f"Host jump\n  HostName 127.0.0.1\n  Port {self.jump.port}\n  User {user}\n"
        return {
            "DEPLOY_DOCKER_HOST": "ssh://production",
            "DOCKER_HOST": "",
            "DEPLOY_SSH_CONFIG": config,
            "DEPLOY_SSH_KNOWN_HOSTS": f"{self.machine.known}\n{self.jump.known}",
            "DEPLOY_SSH_PRIVATE_KEY": self.private_key,
            **other,
        }


@pytest.fixture(scope="module")
def far(second: Second, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("ssh")
    own_key = make_key(folder / "own")
    here = f"SetEnv PATH={os.environ['PATH']} DOCKER_HOST={second.url}"
    with (
        sshd(folder / "machine", own_key, here, "AllowTcpForwarding no") as machine,
        sshd(folder / "jump", own_key, f"PermitOpen 127.0.0.1:{machine.port}", "ForceCommand false") as jump,
    ):
        yield Far(machine, jump, (folder / "own").read_text(encoding="utf-8"))


def test_a_machine_behind_a_jump_host(there: Host, second: Second, far: Far, good: str) -> None:
    result = there.deploy(good, "--revision", "2", **far.environ())
    check_serves(second, there, good, result)
    assert result.outputs["changed"] == "true", "another revision makes another container"
    shown = [*there.secrets, *far.private_key.splitlines()[1:-1], "ssh://production"]
    assert docker_leaks.held_by(result.visible(), shown) == []


@pytest.mark.parametrize("hop", ["machine", "jump"])
def test_a_hop_with_another_key_is_not_talked_to(
    there: Host, second: Second, far: Far, good: str, tmp_path: Path, hop: str
) -> None:
    other = make_key(tmp_path / "other")
    known = {
        "machine": f"[127.0.0.1]:{far.machine.port} {other}\n{far.jump.known}",
        "jump": f"{far.machine.known}\n[127.0.0.1]:{far.jump.port} {other}",
    }
    before = second.container(there.project, "{{.Id}}")
    result = there.deploy(good, **far.environ(DEPLOY_SSH_KNOWN_HOSTS=known[hop]))
    assert result.code == 4, result.log
    assert result.errors[0].properties["title"] == "Docker can't be reached"
    assert "Host key verification failed" in result.error
    assert second.container(there.project, "{{.Id}}") == before


def test_the_users_own_ssh_is_used_where_no_credentials_are_given(
    there: Host, second: Second, far: Far, good: str, tmp_path: Path
) -> None:
    """SSH reads the account's configuration, which a test can't change. A wrapper on PATH takes its place."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(far.private_key, encoding="utf-8")
    (tmp_path / "known_hosts").write_text(f"{far.machine.known}\n", encoding="utf-8")
    real = shutil.which("ssh")
    options = f'-i {key} -o "UserKnownHostsFile {tmp_path / "known_hosts"}" -p {far.machine.port}'
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec {real} {options} "$@"\n', encoding="utf-8")
    (tmp_path / "ssh").chmod(0o755)
    address = f"ssh://{getpass.getuser()}@127.0.0.1"
    check_serves(second, there, good, there.deploy(good, DOCKER_HOST=address, **program.path_with(tmp_path)))


def test_a_machine_with_an_ipv6_address(there: Host, second: Second, far: Far, good: str) -> None:
    if not far.machine.has_ipv6:
        pytest.skip("this machine's loopback has no IPv6 address")
    address = f"ssh://{getpass.getuser()}@[::1]:{far.machine.port}"
    known = f"[::1]:{far.machine.port} {far.machine.host_key}"
    environ = far.environ(DEPLOY_DOCKER_HOST=address, DEPLOY_SSH_CONFIG="", DEPLOY_SSH_KNOWN_HOSTS=known)
    check_serves(second, there, good, there.deploy(good, **environ))


def test_the_host_keys_are_had_as_the_page_says(far: Far, tmp_path: Path) -> None:
    _, on_the_host, from_here = code_in(sections("docs/deploy.md")["What has to be set up once"])
    on_the_host = on_the_host.replace("/etc/ssh/ssh_host_ed25519_key.pub", str(far.machine.host_key_file))
    from_here = from_here.replace("-p 22 HOST", f"-p {far.machine.port} 127.0.0.1")
    ours, seen = (
        subprocess.run(["bash", "-euc", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
        for code in (on_the_host, from_here)
    )
    assert ours[1].startswith("SHA256:")
    assert seen[1] == ours[1]
    lines = (tmp_path / "known_hosts").read_text(encoding="utf-8").splitlines()
    assert far.machine.known in lines
