"""A page as a browser shows it: its document after the scripts have run, or a picture of it. Needs Chromium."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")

TIMEOUT = 300
"""Seconds for one page, on the busiest of machines; an idle one needs less than two."""

# Nothing leaves the machine: no host has an address, and the browser's own services are off.
_FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none, and the pages are of our own making
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=60000",  # of the page's clock, which runs ahead as soon as the page is idle
)

# What a window has besides the page: as much of the page as that would come out blank at times.
_BELOW = 200


class NoChromiumError(Exception):
    """There is no Chromium here, or it doesn't do its work; the text says which."""


def find() -> str:
    """The path of a Chromium.

    Raises:
        NoChromiumError: there is none on PATH.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoChromiumError(f"There is no Chromium ({', '.join(NAMES)}) on PATH; Debian's package is chromium.")
    return found


def document(page: Path) -> str:
    """The HTML of a page after its scripts have run.

    Raises:
        NoChromiumError: there is no Chromium, or it failed.
    """
    return _run(page, "--dump-dom")


def screenshot(page: Path, picture: Path, width: int, height: int, scale: int = 2) -> None:
    """Write a PNG of a page.

    Args:
        page: an HTML file.
        picture: the PNG to write.
        width: of the page, in its own pixels.
        height: likewise.
        scale: pixels of the picture for one of the page.

    Raises:
        NoChromiumError: there is no Chromium, or it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.png")
        size = f"--window-size={width},{height + _BELOW}"
        said = _run(page, size, f"--force-device-scale-factor={scale}", f"--screenshot={whole}")
        if not whole.exists():
            raise NoChromiumError(f"Chromium wrote no picture of {page}: {said}")
        with Image.open(whole) as image:
            page_alone = image.convert("RGB").crop((0, 0, width * scale, height * scale))
            page_alone.quantize(256).save(picture, optimize=True)


def _run(page: Path, *arguments: str) -> str:
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [find(), *_FLAGS, f"--user-data-dir={profile}", *arguments, page.resolve().as_uri()]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command,
                env=os.environ | {"HOME": profile},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise NoChromiumError(f"Chromium failed with {error.returncode}: {error.stderr[-2000:]}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoChromiumError(f"Chromium doesn't do its work: {error}") from error
    return done.stdout
