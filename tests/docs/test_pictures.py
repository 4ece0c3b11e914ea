"""The pictures can be made anew, and those that are there show something."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.docs.pages import PAGES, ROOT, links
from tools import pictures

pytestmark = pytest.mark.pulumi

LARGEST = 150_000


def colours(picture: Path) -> int:
    with Image.open(picture) as image:
        found = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert found is not None
    return len(found)


def rows_with_ink(picture: Path) -> list[int]:
    """The rows that aren't of one colour."""
    with Image.open(picture) as image:
        grey = image.convert("L")
        width, height = grey.size
        rows = [grey.crop((0, y, width, y + 1)).getextrema() for y in range(height)]
    return [y for y, (low, high) in enumerate(rows) if low != high]


@pytest.fixture(scope="module")
def made(pulumi: Path, chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    assert pictures.main(folder) == 0
    return folder / pictures.STEP_SUMMARY


def test_the_picture_of_the_summary_can_be_made_anew(made: Path) -> None:
    with Image.open(made) as image:
        assert image.format == "PNG"
        assert image.width == 2 * pictures.WIDTH
        assert image.height > image.width / 3
    assert colours(made) > 50


def test_it_is_whole(made: Path) -> None:
    """Its frame ends where the page's margin begins; a browser that was too slow would leave the rest blank."""
    with Image.open(made) as image:
        margin = 2 * 24
        assert rows_with_ink(made)[-1] == pytest.approx(image.height - margin, abs=12)


def test_the_summary_is_set_as_a_table() -> None:
    page = pictures.as_page("## Done\n\n| Key | In ESC |\n| --- | --- |\n| `A` | <b>plain</b> |\n")
    assert "<h2>Done</h2>" in page
    assert "<td><code>A</code></td>" in page
    assert "<b>" not in page


def test_the_pictures_of_the_pages_are_there_and_small() -> None:
    shown = [ROOT / link for link in links("README.md") if link.endswith(".png")]
    assert shown == [pictures.FOLDER / pictures.STEP_SUMMARY]
    for picture in (ROOT / "docs/images").iterdir():
        assert picture.stat().st_size < LARGEST
        assert colours(picture) > 50
        assert any(str(picture).endswith(link) for page in PAGES for link in links(page))
