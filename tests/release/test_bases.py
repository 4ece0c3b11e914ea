"""The base images of a Dockerfile, and the digests in place of their versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.docker import Docker
from release import bases
from release.settings import load
from sophia_sync.process import Deadline
from sophia_sync.redact import Redactor
from tests.support.docker_engine import docker
from tests.support.docker_registry import drop_images

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
DOCKERFILE = """\
FROM pulumi/pulumi-base:3.243.0 AS pulumi
from --platform=$BUILDPLATFORM localhost:5000/python:3.13.15-slim-trixie as packages
FROM packages AS code
COPY --from=pulumi /a /b
FROM localhost:5000/python:3.13.15-slim-trixie
"""


def test_are_named_without_the_stages_and_the_last_one_last() -> None:
    text = f"{DOCKERFILE}FROM other:1\nFROM pulumi/pulumi-base:3.243.0\n"
    assert bases.named(DOCKERFILE) == ["pulumi/pulumi-base:3.243.0", "localhost:5000/python:3.13.15-slim-trixie"]
    assert bases.named(text)[-1] == "pulumi/pulumi-base:3.243.0"


def test_every_one_is_pinned_and_no_stage_is() -> None:
    digests = {"pulumi/pulumi-base:3.243.0": DIGEST, "localhost:5000/python:3.13.15-slim-trixie": OTHER}
    assert bases.pinned(DOCKERFILE, digests).splitlines() == [
        f"FROM pulumi/pulumi-base:3.243.0@{DIGEST} AS pulumi",
        f"from --platform=$BUILDPLATFORM localhost:5000/python:3.13.15-slim-trixie@{OTHER} as packages",
        "FROM packages AS code",
        "COPY --from=pulumi /a /b",
        f"FROM localhost:5000/python:3.13.15-slim-trixie@{OTHER}",
    ]


def test_one_that_is_pinned_stays() -> None:
    pinned = bases.pinned(DOCKERFILE, dict.fromkeys(bases.named(DOCKERFILE), DIGEST))
    assert bases.pinned(pinned, dict.fromkeys(bases.named(pinned), OTHER)) == pinned


@pytest.mark.docker
def test_the_digest_is_the_registrys(registry: str, tmp_path: Path) -> None:
    settings = load(["bases"])
    engine = Docker(settings.docker, Deadline(300), Redactor())
    here = f"{registry}/bases/small:1"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL of=test\n", encoding="utf-8")
    engine.build(here, tmp_path, "Dockerfile", "a test")
    pushed = engine.push(here)
    docker("image", "rm", here)
    try:
        assert bases.resolve(engine, f"FROM {here}\nFROM x:1@{DIGEST}\n") == {here: pushed, f"x:1@{DIGEST}": DIGEST}
    finally:
        drop_images(registry)
