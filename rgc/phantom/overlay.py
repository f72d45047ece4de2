"""Text burnt into pixels, and pictures set side by side."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]
FONT = ImageFont.load_default_imagefont()  # a bitmap that Pillow carries: the same on every machine


def text_mask(text: str, scale: int) -> np.ndarray:
    """Text as 0/1, uint8 (rows, columns), each font px `scale` px wide, cropped to its ink."""
    left, top, right, bottom = (int(v) for v in FONT.getbbox(text))
    page = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(page).text((-left, -top), text, fill=255, font=FONT)
    ink = np.asarray(page) > 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.kron(ink, np.ones((scale, scale), dtype=np.uint8)).astype(np.uint8)


def burn_in(pixels: np.ndarray, text: str, corner: str, big: bool) -> tuple[np.ndarray, Box]:
    """The image with the text near a corner (tl tr bl br), and the text's box."""
    rows, columns = pixels.shape
    scale = max(1, round(min(rows, columns) / 260)) * (2 if big else 1)
    mask = text_mask(text, scale)
    while scale > 1 and mask.shape[1] > 0.9 * columns:
        scale -= 1
        mask = text_mask(text, scale)
    height, width = mask.shape
    gap = max(4, rows // 50)
    top = gap if corner[0] == "t" else rows - gap - height
    left = gap if corner[1] == "l" else columns - gap - width
    out = pixels.copy()
    patch = out[top : top + height, left : left + width]
    patch[mask > 0] = 235
    return out, (left, top, left + width, top + height)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two images of one height in one, a black line between them."""
    line = np.zeros((left.shape[0], 4), dtype=np.uint8)
    return np.hstack([left, line, right])
