"""An action's `action.yml`: on main it says that the image is built, on a release commit which image is used."""

from __future__ import annotations

import re

from release.errors import DifferentError

FILE = "action.yml"

_BUILT = re.compile(r"^  image: (?:\.\./)*Dockerfile(?: +#.*)?$", re.MULTILINE)
_USED = re.compile(r"^  image: docker://(\S+@sha256:[0-9a-f]{64})$", re.MULTILINE)


def with_image(action: str, image: str) -> str:
    """The text with an image by its digest in place of the Dockerfile.

    Raises:
        DifferentError: It doesn't name the Dockerfile once.
    """
    changed, count = _BUILT.subn(f"  image: docker://{image}", action)
    if count != 1:
        raise DifferentError("An action.yml doesn't name the Dockerfile as its image once.", "Mend it on main.")
    return changed


def image_of(action: str) -> str | None:
    """The image by its digest that a release's text names; None if it names none."""
    found = _USED.search(action)
    return found[1] if found else None
