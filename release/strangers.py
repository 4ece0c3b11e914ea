"""Use an image as a stranger does: pull it by its digest without credentials, and start it."""

from __future__ import annotations

import os
import re
import tempfile
import time

from deploy import commands
from deploy.commands import CommandError
from release.errors import ImageError, OutsideError

PULL_LIMIT = 600.0
"""Seconds for one download."""
ATTEMPTS = 5
PAUSES = (5.0, 15.0, 30.0, 60.0)
"""Seconds between two attempts; a registry that limits requests needs some."""
_REFUSED = re.compile(r"\b(unauthorized|denied|authentication required|no basic auth|forbidden)\b", re.IGNORECASE)


def use(image: str, platform: str, pauses: tuple[float, ...] = PAUSES) -> None:
    """Pull an image without credentials, and run its `--help` on a platform.

    Raises:
        ImageError: The registry refuses strangers, or the image doesn't start.
        OutsideError: The registry can't be reached.
    """
    with tempfile.TemporaryDirectory() as empty:
        environ = {**os.environ, "DOCKER_CONFIG": empty}
        for pause in (*pauses, None):
            try:
                commands.run(
                    ["docker", "pull", "--quiet", "--platform", platform, image], environ=environ, seconds=PULL_LIMIT
                )
                break
            except CommandError as error:
                if _REFUSED.search(str(error)):
                    raise _not_public(image, error) from None
                if pause is None:
                    raise OutsideError(
                        f"{image} can't be pulled. {error}", "No tag was touched. Run the job again."
                    ) from None
                time.sleep(pause)
        argv = ["docker", "run", "--rm", "--network", "none", "--platform", platform, image, "--help"]
        try:
            commands.run(argv, environ=environ)
        except CommandError as error:
            raise ImageError(
                f"{image} doesn't start on {platform}. {error}",
                "No tag was touched. Fix it on main and tag that commit.",
            ) from None


def _not_public(image: str, error: CommandError) -> ImageError:
    owner, _, name = image.partition("@")[0].partition("/")[2].partition("/")
    return ImageError(
        f"{image} can't be pulled without credentials: every user of the action would fail. {error}",
        "No tag was touched. Make the package public: "
        f"https://github.com/orgs/{owner}/packages/container/{name.replace('/', '%2F')}/settings, "
        "Danger Zone, Change visibility, Public. Then run the failed job again.",
    )
