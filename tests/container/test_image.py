"""What is in the image, and what isn't."""

import json
import re
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from release import strangers
from tests.support import docker_imports
from tests.support import docker_sizes as sizes
from tests.support.docker_engine import ROOT, TAG, build_image, docker, empty_engine
from tests.support.docker_imports import PACKAGES
from tests.support.docker_sizes import BASE

pytestmark = pytest.mark.docker

HOUSE = PurePosixPath("opt/sentry-esc-sync")
PROGRAM_FOLDERS = {PurePosixPath(folder) for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")}
# The package without the command line, which the action doesn't use.
PACKAGE = ROOT / "sophia_sync"
CODE = sorted({*PACKAGE.rglob("*.py")} - {PACKAGE / "__main__.py", *(PACKAGE / "console").rglob("*.py")})
COMPILERS = {"as", "c++", "cc", "cpp", "clang", "g++", "gcc", "go", "ld", "make", "rustc"}


@pytest.fixture(scope="module")
def files(image: str) -> frozenset[PurePosixPath]:
    """Return the paths of all files in the image, relative to its root."""
    return docker_imports.files(image)


def inspect(image: str) -> dict[str, Any]:
    [details] = json.loads(docker("image", "inspect", image).stdout)
    found: dict[str, Any] = details
    return found


def config(image: str) -> dict[str, Any]:
    found: dict[str, Any] = inspect(image)["Config"]
    return found


def layers(image: str, folder: Path) -> dict[str, int]:
    """Return the image's layers with their uncompressed sizes in bytes."""
    saved = folder / "saved.tar"
    docker("save", "--output", str(saved), image)
    with tarfile.open(saved) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest
        [entry] = json.load(manifest)
        found = {name: tar.getmember(name).size for name in entry["Layers"]}
    saved.unlink()
    return found


def test_help_needs_no_network(image: str) -> None:
    told = docker("run", "--rm", "--network", "none", image, "--help")
    assert "usage: sentry-esc-sync" in told.stdout


def test_the_pulumi_cli_runs(image: str) -> None:
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "pulumi", image, "version")
    assert told.stdout.startswith("v3.")
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "pulumi", image, "env", "edit", "--help")
    assert "--editor" in told.stdout


def test_the_code_is_this_tree_but_for_the_command_line_and_its_bytecode(files: frozenset[PurePosixPath]) -> None:
    sources = (ROOT / "entrypoint.py", *CODE)
    expected = {HOUSE / source.relative_to(ROOT).as_posix() for source in sources}
    expected |= {path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc" for path in expected}
    assert {path for path in files if HOUSE in path.parents} == expected


def test_all_that_the_program_loads_is_there_as_bytecode(image: str) -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in CODE]
    count = (
        f"import importlib, json, os, sys; [importlib.import_module(name) for name in {modules!r}];"
        "files = {getattr(module, '__cached__', None) for module in sys.modules.values()} - {None};"
        "print(json.dumps([len(files), sorted(file for file in files if not os.path.exists(file))]))"
    )
    options = ("--workdir", f"/{HOUSE}", "--entrypoint", "python3")
    loaded, missing = json.loads(docker("run", "--rm", "--network", "none", *options, image, "-B", "-c", count).stdout)
    assert loaded > 250
    assert missing == []


def test_the_packages_are_those_that_are_locked(files: frozenset[PurePosixPath]) -> None:
    locked = dict(
        re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE)
    )
    installed = {}
    for path in files:
        if path.name == "METADATA" and path.parent.parent == PACKAGES:
            name, _, version = path.parent.name.removesuffix(".dist-info").partition("-")
            installed[name.lower().replace("_", "-")] = version
    assert installed.items() <= {name.lower(): version for name, version in locked.items()}.items()
    assert {"pydantic", "pygithub", "pyyaml", "requests"} <= installed.keys()


def test_nothing_can_be_installed_or_compiled(files: frozenset[PurePosixPath]) -> None:
    programs = {path.name for path in files if path.parent in PROGRAM_FOLDERS}
    assert {"python", "pulumi"} <= programs
    assert not {name for name in programs if name.startswith(("pip", "easy_install")) or name in COMPILERS}
    assert not {path for path in files if path.parent.parent == PACKAGES and path.parent.name in {"pip", "setuptools"}}


def test_nothing_is_left_of_the_build(files: frozenset[PurePosixPath]) -> None:
    private = {PurePosixPath("root/.cache"), PurePosixPath("tmp"), PurePosixPath("var/tmp")}
    assert not {path for path in files if private & set(path.parents)}


def test_the_runner_starts_python_with_no_shell_in_between(image: str) -> None:
    entrypoint = config(image)["Entrypoint"]
    assert isinstance(entrypoint, list)
    assert entrypoint[0] == "/usr/bin/python3.13"
    assert entrypoint[-1] == f"/{HOUSE}/entrypoint.py"


def test_the_user_is_root_because_the_output_files_are(image: str) -> None:
    assert config(image)["User"] in ("", "root", "0")


def test_it_is_at_most_70_mb_on_the_wire_and_no_part_grows_unseen(image: str) -> None:
    """The base has 22.7 MB, the CLI 36.1 MB. The packages, our code and all bytecode have 11.0 MB."""
    size = sizes.compressed(image, BASE)
    assert size.total <= strangers.SIZE_LIMIT, size
    assert size.ours <= 11_300_000, size


def test_whats_left_of_the_packages_works_without_what_was_removed(image: str) -> None:
    """RSA, which a GitHub App signs with, and the compiled YAML parser still work without their symbols."""
    sign = (
        "import jwt, nacl.public, yaml; from cryptography.hazmat.primitives.asymmetric import rsa;"
        "key = rsa.generate_private_key(65537, 2048); token = jwt.encode({'iss': '1'}, key, 'RS256');"
        "print(jwt.decode(token, key.public_key(), ['RS256']), yaml.load('a: [1]', yaml.CSafeLoader))"
    )
    told = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-I", "-B", "-c", sign)
    assert told.stdout == "{'iss': '1'} {'a': [1]}\n"


def test_there_is_no_shell_and_no_package_manager(files: frozenset[PurePosixPath]) -> None:
    programs = {path.name for path in files if path.parent in PROGRAM_FOLDERS}
    assert not programs & {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg"}


def test_new_code_is_a_small_download(image: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("sophia_sync", "requirements"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "entrypoint.py"):
        shutil.copy(ROOT / name, tree)
    with (tree / "sophia_sync" / "app.py").open("a", encoding="utf-8") as code:
        code.write("\nANOTHER_VERSION = True\n")
    before, after = layers(image, tmp_path), layers(build_image(tree, f"{TAG}-new-code"), tmp_path)
    anew = {name: size for name, size in after.items() if name not in before}
    assert anew
    assert sum(anew.values()) < 2_500_000, "before it is compressed"


def test_an_empty_engine_beside_this_one_leaves_its_network_alone() -> None:
    """`make bench` pulls into a second engine. One without a bridge would remove the first engine's bridge."""
    bridge = Path("/sys/class/net/docker0")
    before = bridge.exists()
    with tempfile.TemporaryDirectory() as folder, empty_engine(Path(folder)) as address:
        assert docker("--host", address, "image", "ls", "--quiet").stdout == ""
    assert bridge.exists() >= before
