"""Everything that comes from elsewhere is locked, known and kept up to date."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import lock
from tests.support.docker_engine import ROOT

BIN = Path(sys.executable).parent
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
DOCKERFILES = [ROOT / "Dockerfile", ROOT / "mcp-servers" / "sentry" / "Dockerfile"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Lock files made from pyproject.toml, with the extras in each. Each has the dependencies too.
EXTRAS = {
    "runtime": [],
    "mcp": ["mcp"],
    "dev": ["backend", "cli", "mcp", "sandbox", "dev"],
}
# Lock files whose versions may differ from the others', because they are for separate environments.
ALONE = {"atheris", "bugsink", "go"}

every_lock = pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)


def tracked(*patterns: str) -> list[Path]:
    """Return the repository's files that match, except for lock files and tests."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    paths = [ROOT / name for name in listed.stdout.splitlines() if not name.startswith(("tests/", "requirements/"))]
    return [path for path in paths if path.is_file()]


def commands() -> list[tuple[str, str]]:
    """Return every `pip install` line outside of Markdown, with its file. Continuation lines are joined."""
    found = []
    for path in tracked(":!*.md"):
        try:
            text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT).as_posix()
        found += [(name, line.strip()) for line in text.splitlines() if re.search(r"\bpip3?\"? install\b", line)]
    return found


def base_images(dockerfile: str) -> set[str]:
    """Return the images of a Dockerfile's FROM lines, without its own stages."""
    lines = re.findall(r"^FROM (?:--\S+ )?(\S+)(?: AS (\S+))?$", dockerfile, re.MULTILINE)
    return {image for image, _ in lines} - {stage for _, stage in lines}


class TestLockFiles:
    @every_lock
    def test_every_package_is_locked_by_hash(self, path: Path) -> None:
        packages = lock.read(path)
        assert packages
        assert all(package.hashes for package in packages)
        assert len({(package.name, package.marker) for package in packages}) == len(packages)

    @pytest.mark.parametrize(
        "line",
        [
            "requests",
            "requests==2.34.2",
            "requests==2.34.2 ; python_version > '3'",
            "-e .",
            "--index-url https://x.test/",
        ],
    )
    def test_what_is_not_locked_is_noticed(self, tmp_path: Path, line: str) -> None:
        file = tmp_path / "some.txt"
        file.write_text(f"{line}\nidna==3.20 \\\n    --hash=sha256:{'0' * 64}\n", encoding="utf-8")
        with pytest.raises(ValueError, match="isn't locked by hash"):
            lock.read(file)

    @pytest.mark.parametrize("name", EXTRAS)
    def test_what_pyproject_asks_for_is_locked(self, name: str) -> None:
        locked = {package.name: package.version for package in lock.read(REQUIREMENTS / f"{name}.txt")}
        project = PROJECT["project"]
        wanted = [*project["dependencies"]]
        for extra in EXTRAS[name]:
            wanted += project["optional-dependencies"][extra]
        for text in wanted:
            requirement = Requirement(text)
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), text

    def test_every_extra_is_in_a_lock_file(self) -> None:
        assert set(EXTRAS["dev"]) == set(PROJECT["project"]["optional-dependencies"])

    def test_they_agree_with_each_other(self) -> None:
        versions: dict[str, set[str]] = {}
        for path in LOCKS:
            if path.stem not in ALONE:
                for package in lock.read(path):
                    versions.setdefault(package.name, set()).add(package.version)
        assert {name: found for name, found in versions.items() if len(found) > 1} == {}

    def test_the_locked_packages_satisfy_each_other(self) -> None:
        checked = subprocess.run(
            [BIN / "uv", "pip", "check", "--offline", "--python", sys.executable],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stderr

    @pytest.mark.parametrize(("program", "name"), [("release.__main__", "runtime"), ("deploy.sentry_mcp", "runtime")])
    def test_a_workflows_program_imports_nothing_that_its_lock_file_lacks(self, program: str, name: str) -> None:
        code = f"import sys; before = {{*sys.modules}}; import {program}; print(*({{*sys.modules}} - before))"
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
        brought = {module: packages[0] for module, packages in packages_distributions().items()}
        loaded = {module.partition(".")[0] for module in ran.stdout.split()}
        used = {canonicalize_name(brought[module]) for module in loaded & brought.keys()} - {"sentry-esc-sync"}
        assert used <= {package.name for package in lock.read(REQUIREMENTS / f"{name}.txt")}
        assert "pydantic" in used

    def test_what_builds_the_package_is_locked_too(self) -> None:
        for name in ("dev", "build"):
            locked = {package.name: package.version for package in lock.read(REQUIREMENTS / f"{name}.txt")}
            for text in PROJECT["build-system"]["requires"]:
                requirement = Requirement(text)
                assert requirement.specifier.contains(locked[requirement.name])


class TestInstalls:
    def test_they_are_found(self) -> None:
        assert {"Dockerfile", "mcp-servers/sentry/Dockerfile", "Makefile", ".github/workflows/release.yml"} <= {
            path for path, _ in commands()
        }

    @pytest.mark.parametrize(("path", "line"), commands())
    def test_each_is_by_hash_or_installs_this_tree_and_nothing_else(self, path: str, line: str) -> None:
        alone = {"--no-deps", "--no-build-isolation", "--editable"} <= set(line.split())
        assert "--require-hashes" in line or alone, f"{path}: {line}"

    @pytest.mark.parametrize("path", tracked("*.py"), ids=lambda path: path.name)
    def test_so_are_those_that_programs_make(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        if re.search(r'"-m", "pip"', text):
            assert '"install"' in text
            assert text.count('"install"') == text.count('"--require-hashes"')

    def test_nothing_is_fetched_by_other_means(self) -> None:
        other = re.compile(
            r"\b(uvx|npx|pipx|npm (ci|install)|go install|go get|curl [^|]*\| *(ba)?sh|uv pip install)\b"
        )
        scripts = [*tracked("Makefile", "*.sh", ".ci", ".github", "*Dockerfile")]
        assert len(scripts) > 5
        found = [
            (path.name, line) for path in scripts for line in path.read_text("utf-8").splitlines() if other.search(line)
        ]
        assert found == []

    def test_go_modules_are_locked(self) -> None:
        modules = tracked("*go.mod")
        replaced = [
            path.parent / target
            for path in modules
            for target in re.findall(r"=> (\S+)", path.read_text(encoding="utf-8"))
        ]
        assert all(folder.is_dir() for folder in replaced), "a replacement lies in this repository"
        # The module that uses a replacement locks the replacement's dependencies.
        main = [path for path in modules if path.parent not in replaced]
        assert len(main) >= 2
        assert all((path.parent / "go.sum").is_file() for path in main)

    def test_npm_packages_are_locked_by_hash_and_come_from_whatever_registry_is_configured(self) -> None:
        locks = tracked("*package-lock.json")
        assert [path.parent for path in locks] == [path.parent for path in tracked("*package.json")]
        for path in locks:
            packages = {name: row for name, row in json.loads(path.read_text("utf-8"))["packages"].items() if name}
            assert packages
            assert [name for name, row in packages.items() if not row["integrity"].startswith("sha512-")] == []
            assert [name for name, row in packages.items() if "resolved" in row] == []

    @pytest.mark.parametrize("path", DOCKERFILES, ids=str)
    def test_base_images_are_pinned_by_their_whole_version(self, path: Path) -> None:
        images = base_images(path.read_text(encoding="utf-8"))
        assert images
        for image in images:
            # distroless has no version tags. Until `make pin` has run, the image is the newest one.
            version = r"(:\d+\.\d+\.\d+(-[a-z]+)*|^gcr\.io/distroless/[\w-]+:latest)"
            assert re.search(rf"{version}(@sha256:[0-9a-f]{{64}})?$", image), image


class TestDependabot:
    SAID: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))

    def folders(self, ecosystem: str) -> set[str]:
        entries = [each for each in self.SAID["updates"] if each["package-ecosystem"] == ecosystem]
        return {folder for each in entries for folder in each.get("directories", [each.get("directory")])}

    def has(self, ecosystem: str, paths: list[Path]) -> bool:
        folders = {"/" / path.parent.relative_to(ROOT) for path in paths}
        return bool(folders) and {str(folder) for folder in folders} == self.folders(ecosystem)

    @pytest.mark.parametrize(
        ("schema", "file"), [("dependabot", ".github/dependabot.yml"), ("github-actions", "action.yml")]
    )
    def test_what_github_reads_is_valid(self, schema: str, file: str) -> None:
        checked = subprocess.run(
            [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", ROOT / file],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout

    def test_every_image_every_module_and_every_lock_file_is_kept_up_to_date(self) -> None:
        assert self.has("docker", tracked("*Dockerfile"))
        assert self.has("gomod", [path for path in tracked("*go.mod") if (path.parent / "go.sum").is_file()])
        assert self.has("npm", tracked("*package-lock.json"))
        assert self.folders("pip") == {"/requirements"}
        # Workflows, and action.yml at the root.
        assert self.folders("github-actions") == {"/"}

    def test_one_command_writes_the_digests_behind_the_versions(self, tmp_path: Path) -> None:
        digest = f"sha256:{'a' * 64}"
        (tmp_path / "docker").write_text(f'#!/bin/sh\n[ "$2" = imagetools ] && echo {digest}\n', encoding="utf-8")
        (tmp_path / "docker").chmod(0o755)
        page = tmp_path / "Dockerfile"
        page.write_text(f"FROM a/b:1.2 AS one\nFROM --platform=x c:3\nFROM one\nCOPY c:3 x\nFROM d:4@{digest}\n")
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKERFILES": str(page)}
        for _ in range(2):
            subprocess.run([ROOT / "tools" / "pin_images.sh"], env=environ, check=True, capture_output=True, timeout=60)
            assert page.read_text() == (
                f"FROM a/b:1.2@{digest} AS one\nFROM --platform=x c:3@{digest}\nFROM one\n"
                f"COPY c:3 x\nFROM d:4@{digest}\n"
            )

    def test_the_compose_file_names_no_image_that_would_need_it(self) -> None:
        compose = yaml.safe_load((ROOT / "docker-compose.sentry.yml").read_text(encoding="utf-8"))
        assert all(service["image"].startswith("${") for service in compose["services"].values())

    def test_new_versions_cool_off_for_a_week(self) -> None:
        assert all(each["cooldown"]["default-days"] >= 7 for each in self.SAID["updates"])
