"""Burnt-in text: what the cheap detector must find, what it must leave alone, and that it takes any image."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from corpus_db.burnt_in import SUSPECT, suspects


def body() -> Image.Image:
    """A soft bright ellipse on black: anatomy without text."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    shade = 140 + 60 * np.sin(5 * x) * np.cos(4 * y)
    return Image.fromarray(np.where(x**2 + y**2 < 0.6, shade, 0).astype(np.uint8))


def written(text: str, size: int, level: int, corner: tuple[int, int] = (4, 4)) -> Image.Image:
    image = body()
    ImageDraw.Draw(image).text(corner, text, fill=level, font=ImageFont.load_default(size))
    return image


@pytest.mark.parametrize("size", [12, 14, 18, 24])
@pytest.mark.parametrize("level", [160, 255])
def test_a_line_of_text_is_suspect_whatever_its_size_and_grey(size: int, level: int) -> None:
    assert suspects(written("DOE JANE 1961", size, level)) >= SUSPECT


def test_dark_text_on_a_bright_image_is_suspect() -> None:
    image = Image.new("L", (256, 256), 220)
    ImageDraw.Draw(image).text((10, 200), "DOE JANE 1961", fill=10, font=ImageFont.load_default(16))
    assert suspects(image) >= SUSPECT


def test_anatomy_and_a_side_marker_are_not() -> None:
    assert suspects(body()) < SUSPECT
    assert suspects(written("R", 24, 255)) < SUSPECT


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_an_image_of_any_mode_has_a_score(mode: str) -> None:
    assert suspects(body().convert(mode)) >= 0


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (9, 9), (3000, 20)])
def test_an_image_of_any_size_has_a_score(size: tuple[int, int]) -> None:
    assert suspects(Image.new("L", size, 90)) == 0
    noise = np.random.default_rng(0).integers(0, 256, size[::-1], np.uint8)
    assert suspects(Image.fromarray(noise)) >= 0
