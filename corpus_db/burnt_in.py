"""Suspect text burnt into an image's pixels: thin strokes of one height and one grey, side by side on one line."""

import numpy as np
from PIL import Image

SUSPECT = 5.0  # glyphs on one line from which an image is suspect
_SCALES = (1, 0.5, 2)  # the sizes that the image is looked at in, as far as needed: for all, large and small letters
_LONGEST = 1024  # pixels: a longer image is reduced first
_STROKE = 7  # pixels: what is at least as wide in both directions is no stroke
_CONTRAST = 50  # grey levels between a stroke and its surroundings
_HEIGHTS = (6, 40)  # pixels, of a glyph
_WIDEST = 2.5  # times its height, of a blob: letters that touch each other
_GREYS = 50  # grey levels that the glyphs of a line may differ by
_GAP = 1.2  # heights, between two glyphs of a line: a space
_MOST = 1500  # glyph-like blobs; in what has more there is no telling


def suspects(image: Image.Image) -> float:
    """The number of glyphs on the longest line that looks like text, bright or dark; SUSPECT and more is a suspect.

    Takes any image that converts to grey. One or two letters, such as a side marker, are no line.
    """
    grey = image.convert("L")
    if max(grey.size) > _LONGEST:
        grey.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BOX)
    longest = 0
    for scale in _SCALES:
        if longest < SUSPECT:
            size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
            longest = max(longest, _longest_line_in(np.asarray(grey.resize(size, Image.Resampling.BICUBIC))))
    return float(longest)


def _longest_line_in(values: np.ndarray) -> int:
    if min(values.shape) <= _STROKE:
        return 0
    bright = values - _spread(_spread(values, np.minimum), np.maximum)
    dark = _spread(_spread(values, np.maximum), np.minimum) - values
    return max(_longest_line(_glyphs(strokes > _CONTRAST, values)) for strokes in (bright, dark))


def _spread(values: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The least or greatest value of the _STROKE x _STROKE pixels around each."""
    for axis in (0, 1):
        reach = _STROKE // 2
        padded = np.pad(values, [(reach, reach) if at == axis else (0, 0) for at in (0, 1)], mode="edge")
        length, result = values.shape[axis], values
        for step in range(_STROKE):
            part = padded[step : step + length] if axis == 0 else padded[:, step : step + length]
            result = extreme(result, part)
        values = result
    return values


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """First and last + 1 place of each run of True along the rows, in the flat mask with two empty columns added."""
    padded = np.pad(mask, ((0, 0), (1, 1)))
    edges = np.flatnonzero(np.diff(padded.ravel().astype(np.int8)))
    return edges[::2] + 1, edges[1::2] + 1, padded.shape[1]


def _blobs(first: np.ndarray, last: np.ndarray, width: int) -> np.ndarray:
    """For each run the number of the connected blob (8 neighbours) that it is part of."""
    low = np.searchsorted(last, first + width, side="left")
    counts = np.maximum(np.searchsorted(first, last + width, side="right") - low, 0)
    upper = np.repeat(np.arange(len(first)), counts)
    lower = np.arange(len(upper)) + np.repeat(low - np.cumsum(counts) + counts, counts)
    label = np.arange(len(first))
    while True:
        before = label.copy()
        least = np.minimum(label[upper], label[lower])
        np.minimum.at(label, upper, least)
        np.minimum.at(label, lower, least)
        label = label[label]
        if (label == before).all():
            return np.unique(label, return_inverse=True)[1]


def _glyphs(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, 5) of the blobs that are as large and as full as a glyph: left, top, right, bottom (pixels), grey level."""
    first, last, width = _runs(mask)
    if not len(first):
        return np.empty((0, 5))
    blob = _blobs(first, last, width)
    count = blob.max() + 1
    row, left, right = first // width, first % width - 1, last - first + first % width - 1
    box = np.stack([np.full(count, 1 << 30), np.full(count, 1 << 30), np.zeros(count, int), np.zeros(count, int)])
    np.minimum.at(box[0], blob, left)
    np.minimum.at(box[1], blob, row)
    np.maximum.at(box[2], blob, right)
    np.maximum.at(box[3], blob, row + 1)
    area = np.bincount(blob, right - left)
    totals = np.concatenate([[0], np.cumsum(values.ravel(), dtype=np.int64)])
    flat = row * values.shape[1]
    grey = np.bincount(blob, totals[flat + right] - totals[flat + left]) / area
    across, down = box[2] - box[0], box[3] - box[1]
    fits = (down >= _HEIGHTS[0]) & (down <= _HEIGHTS[1]) & (across <= _WIDEST * down) & (area >= 0.18 * across * down)
    glyphs = np.column_stack([box.T, grey])[fits]
    return glyphs if len(glyphs) <= _MOST else glyphs[:0]


def _longest_line(glyphs: np.ndarray) -> int:
    """The most glyphs that follow each other on one line: like heights, one foot, one grey, small gaps."""
    if not len(glyphs):
        return 0
    left, _, right, foot, grey = glyphs.T
    height = foot - glyphs[:, 1]
    taller = np.maximum(height[:, None], height[None])
    gap = left[None] - right[:, None]
    follows = (
        (np.abs(height[:, None] - height[None]) <= 0.4 * taller)
        & (np.abs(foot[:, None] - foot[None]) <= np.maximum(1, 0.12 * taller))
        & (np.abs(grey[:, None] - grey[None]) <= _GREYS)
        & (gap >= 0)
        & (gap <= _GAP * taller)
    )
    length = np.ones(len(glyphs), int)
    for at in np.argsort(left, kind="stable"):
        before = length[follows[:, at]]
        length[at] += before.max() if len(before) else 0
    return int(length.max())
