"""The tag of an image by its sources: what changes it, and what doesn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import sources
from deploy.errors import ImageError
from deploy.settings import DOCKERFILE
from tests.support.docker_engine import ROOT

FROM = "FROM base:1\n"


def lay(folder: Path, copies: str = "COPY code /opt/code/\nCOPY main.py locked.txt /opt/\n") -> Path:
    """A small context of a build."""
    (folder / "code" / "inner").mkdir(parents=True)
    for name in ("main.py", "locked.txt", "code/a.py", "code/inner/b.py", "README.md", ".dockerignore"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "Dockerfile").write_text(FROM + copies, encoding="utf-8")
    return folder


def tag(folder: Path) -> str:
    return sources.tag(folder, "Dockerfile")


def test_the_same_sources_elsewhere_have_the_same_tag(tmp_path: Path) -> None:
    assert tag(lay(tmp_path / "here")) == tag(lay(tmp_path / "there"))


@pytest.mark.parametrize(
    "name", [".dockerignore", "main.py", "locked.txt", "code/a.py", "code/inner/b.py", "code/new.py"]
)
def test_every_file_that_is_copied_counts(tmp_path: Path, name: str) -> None:
    before = tag(lay(tmp_path))
    (tmp_path / name).write_text("changed", encoding="utf-8")
    assert tag(tmp_path) != before


def test_a_new_base_image_counts(tmp_path: Path) -> None:
    before = tag(lay(tmp_path))
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text(encoding="utf-8").replace("base:1", "base:2"), encoding="utf-8")
    assert tag(tmp_path) != before


def test_a_name_and_a_mode_count(tmp_path: Path) -> None:
    tags = [tag(lay(tmp_path))]
    (tmp_path / "code" / "a.py").rename(tmp_path / "code" / "c.py")
    tags.append(tag(tmp_path))
    (tmp_path / "code" / "c.py").chmod(0o755)
    tags.append(tag(tmp_path))
    assert len(set(tags)) == 3


def test_nothing_else_counts(tmp_path: Path) -> None:
    before = tag(lay(tmp_path))
    (tmp_path / "README.md").write_text("changed", encoding="utf-8")
    (tmp_path / "code" / "__pycache__").mkdir()
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert tag(tmp_path) == before


@pytest.mark.parametrize(
    "copy",
    ["COPY nowhere /opt/", "COPY *.py /opt/", 'COPY ["main.py", "/opt/"]', "ADD main.py /opt/", "COPY main.py \\"],
)
def test_what_can_not_be_followed_is_refused(tmp_path: Path, copy: str) -> None:
    with pytest.raises(ImageError, match="can't be followed"):
        tag(lay(tmp_path, f"{copy}\n"))


def test_copies_from_other_stages_are_none_of_the_sources(tmp_path: Path) -> None:
    copies = "COPY --from=packages /packages /usr/local\n"
    assert tag(lay(tmp_path / "a", copies)) == tag(lay(tmp_path / "b", copies))


def test_of_the_shipped_dockerfile_everything_that_is_sent_and_used_counts(tmp_path: Path) -> None:
    counted = {path.as_posix() for path in sources.copied(ROOT, DOCKERFILE)}
    assert {"requirements/mcp.txt", "mcp-servers/sentry/sentry_mcp_server.py", "backend/__init__.py"} <= counted
    package = ROOT / "sophia_sync"
    modules = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    assert modules <= counted
