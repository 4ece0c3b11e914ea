"""Use an image as a stranger does: pull it by its digest without credentials, start it, and look at what it holds."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from deploy import commands
from deploy.commands import CommandError
from release.errors import NO_TAG, ImageError, OutsideError

SIZE_LIMIT = 70_000_000
"""Maximum bytes of the compressed layers of the action's image: what a user's runner downloads for each run."""
SERVER_SIZE_LIMIT = 71_000_000
"""The same for the MCP server's image."""
SHELLS = ("/bin/sh", "/bin/bash", "/busybox/sh")
PULL_LIMIT = 600.0
"""Time limit of one download, in seconds."""
PAUSES = (5.0, 15.0, 30.0, 60.0)
"""Pauses between attempts, in seconds. A registry that limits requests asks for pauses."""
_REFUSED = re.compile(r"\b(unauthorized|denied|authentication required|no basic auth|forbidden)\b", re.IGNORECASE)
_NOT_THERE = re.compile(r"no such file or directory|not found", re.IGNORECASE)
_ON_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost)(:\d+)?/")


def use(image: str, platform: str, *, pauses: tuple[float, ...] = PAUSES, limit: int = SIZE_LIMIT) -> int:
    """Check that anybody can use an image on a platform. Return the size of its compressed layers, in bytes.

    Args:
        image: The image by its digest.
        platform: The platform, such as `linux/arm64`.
        pauses: Seconds between two attempts to reach the registry.
        limit: The maximum size in bytes.

    Raises:
        ImageError: The registry refuses strangers, `--help` fails, a shell is there, or the image is too large.
        OutsideError: The registry can't be reached.
    """
    with tempfile.TemporaryDirectory() as empty:
        environ = {**os.environ, "DOCKER_CONFIG": empty}
        _ask(image, ["pull", "--quiet", "--platform", platform], environ, pauses)
        _start(image, platform, environ)
        for shell in SHELLS:
            _lacks(image, platform, shell, environ)
        size = _size(image, platform, environ, pauses)
    if size > limit:
        raise _unfit(f"{image} has {size:,} bytes to pull on {platform}. The limit is {limit:,}.")
    return size


def _ask(image: str, arguments: list[str], environ: Mapping[str, str], pauses: tuple[float, ...]) -> str:
    """Run a Docker command that asks the registry. Retry it after each pause.

    Raises:
        ImageError: The registry refuses strangers.
        OutsideError: No attempt succeeded.
    """
    for pause in (*pauses, None):
        try:
            return commands.run(["docker", *arguments, image], environ=environ, seconds=PULL_LIMIT)
        except CommandError as error:
            if _REFUSED.search(str(error)):
                raise _not_public(image, error) from None
            if pause is None:
                what = f"{image} can't be pulled. {error}"
                raise OutsideError(what, "Run the job again.", NO_TAG, title="The image can't be pulled") from None
            time.sleep(pause)
    raise AssertionError  # the last pause is None


def _run(image: str, platform: str, environ: Mapping[str, str], *options: str, arguments: tuple[str, ...] = ()) -> str:
    argv = ["docker", "run", "--rm", "--network", "none", "--platform", platform, *options, image, *arguments]
    return commands.run(argv, environ=environ)


def _start(image: str, platform: str, environ: Mapping[str, str]) -> None:
    """Run the image's `--help`.

    Raises:
        ImageError: It fails.
    """
    try:
        _run(image, platform, environ, arguments=("--help",))
    except CommandError as error:
        raise _unfit(f"{image} doesn't start on {platform}. {error}") from None


def _lacks(image: str, platform: str, program: str, environ: Mapping[str, str]) -> None:
    """Check that an image lacks a program.

    Raises:
        ImageError: The program is there.
    """
    try:
        _run(image, platform, environ, "--entrypoint", program, arguments=("-c", "true"))
    except CommandError as error:
        if _NOT_THERE.search(str(error)):
            return
    raise _unfit(f"{image} has {program} on {platform}. The image must have no shell.")


def _size(image: str, platform: str, environ: Mapping[str, str], pauses: tuple[float, ...]) -> int:
    """Return the size of an image's compressed layers in the registry, in bytes.

    Raises:
        ImageError: An index doesn't name exactly one image for the platform.
    """
    manifest = _manifest(image, environ, pauses)
    if "manifests" in manifest:
        system, _, architecture = platform.partition("/")
        found = [
            each["digest"]
            for each in manifest["manifests"]
            if (each["platform"]["os"], each["platform"]["architecture"]) == (system, architecture)
        ]
        if len(found) != 1:
            raise _unfit(f"{image} names {len(found)} images for {platform}. It must name one.")
        manifest = _manifest(f"{image.partition('@')[0]}@{found[0]}", environ, pauses)
    return sum(layer["size"] for layer in manifest["layers"])


def _manifest(image: str, environ: Mapping[str, str], pauses: tuple[float, ...]) -> dict[str, Any]:
    # By default the engine speaks plain HTTP with a registry on loopback. This command of the client needs an option.
    plain = ["--insecure"] if _ON_LOOPBACK.match(image) else []
    read: dict[str, Any] = json.loads(_ask(image, ["manifest", "inspect", *plain], environ, pauses))
    return read


def _unfit(what: str) -> ImageError:
    return ImageError(what, "Fix the image on main and tag that commit.")


def _not_public(image: str, error: CommandError) -> ImageError:
    owner, _, name = image.partition("@")[0].partition("/")[2].partition("/")
    return ImageError(
        f"{image} can't be pulled without credentials: every user of the action would fail. {error}",
        "Make the package public: "
        f"https://github.com/orgs/{owner}/packages/container/{name.replace('/', '%2F')}/settings, "
        "Danger Zone, Change visibility, Public. Then run the failed job again.",
    )
