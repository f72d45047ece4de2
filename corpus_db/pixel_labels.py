"""What an image's pixels tell of it by themselves: colour, an ultrasound's fan, panels between light bands."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from corpus_db import phash
from corpus_db.modality import NOT_RADIOLOGY
from corpus_db.votes import Vote

VERSION = 1  # raise it when the same image gives other facts: stored ones are then measured anew
_VOTER = "pixels"
_LOOK = 512  # px of the longer side, at most, that bands are looked for in
_SMALL = 128  # px of the longer side, at most, that colour and the fan are looked for in
_CHROMA = 40  # of 255, between a pixel's largest and smallest channel: coloured to the eye
_DARK = 12  # grey levels: black, as JPEG leaves it
_LIGHT = 235  # grey levels: white, as JPEG leaves it
_ANGLES = np.radians(np.arange(14, 61))  # between a fan's side and the vertical
_RAYS = 48  # that a fan is looked at along
_WIDEST = 0.03  # of the width or height: a light band that is wider may be skin or a margin
_PANEL = 0.15  # of the width or height: the least that a panel takes
_SHORTEST = 64  # px of a side that is parted
_STEP, _STEPS = 30, 0.85  # grey levels that the picture must fall beside a band, and in what share of the rows
_LINE = 5  # px: what is wider was not drawn across one picture
_STRUCTURE = 5.0  # grey levels, standard deviation: below it there is nothing that could go on
_GOES_ON = 0.4  # correlation of the pixels before and after a band: more is one picture
Box = tuple[int, int, int, int]  # left, top, right, bottom


class _Fan(NamedTuple):
    """A sector's sides, x = left_at - y tan(left) and x = y tan(right) - right_at, in px of the small image."""

    left: float  # radians between the side and the vertical
    left_at: float
    right: float
    right_at: float

    def apex(self) -> tuple[float, float]:
        """Where the sides meet: x, y."""
        y = (self.left_at + self.right_at) / (np.tan(self.left) + np.tan(self.right))
        return self.left_at - np.tan(self.left) * y, y

    def degrees(self) -> float:
        """The opening angle."""
        return float(np.degrees(self.left + self.right))


def pixel_facts(image: Image.Image) -> dict[str, Any]:
    """What the pixels show, as JSON values; never raises for an image that Pillow has loaded.

    `v`: VERSION; `coloured`, `warm`, `cold`, `dark`: shares of the pixels (warm and cold part the coloured ones: more
    red than blue, and not); `fan`: an ultrasound sector's opening angle in degrees, or null; `panels`: boxes (left,
    top, right, bottom, in thousandths of width and height) of two or more panels, or [].
    """
    shown = phash.canonical(image)
    small = _at_most(shown, _SMALL)
    grey = _grey(small)
    return {
        "v": VERSION,
        **_colour(small),
        "dark": _share(grey <= _DARK),
        "fan": _fan(grey),
        "panels": _panels(_grey(_at_most(shown, _LOOK))),
    }


def pixel_votes(facts: Mapping[str, Any]) -> list[Vote]:
    """The votes that the facts of `pixel_facts` allow; none for facts of another version."""
    if facts.get("v") != VERSION:
        return []
    votes = []
    if facts["fan"] is not None:
        votes.append(Vote("modality", "US", _VOTER, f"a sector of {facts['fan']:.0f} degrees on black", 0.6))
        if facts["warm"] >= 0.003 and facts["cold"] >= 0.003:
            votes.append(Vote("technique", "doppler", _VOTER, "red and blue in a sector", 0.5))
    elif facts["coloured"] >= 0.5 and facts["warm"] >= 0.8 * facts["coloured"] and facts["dark"] <= 0.25:
        votes.append(Vote("modality", NOT_RADIOLOGY, _VOTER, f"{facts['warm']:.0%} in warm colours, little black", 0.4))
    if facts["panels"]:
        votes.append(Vote("montage", "yes", _VOTER, f"{len(facts['panels'])} panels between light bands", 0.6))
    return votes


def _at_most(shown: Image.Image, longest: int) -> Image.Image:
    """The image with its longer side at most so many px."""
    scale = longest / max(shown.size)
    if scale >= 1:
        return shown
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown.resize(size, Image.Resampling.BOX)


def _grey(shown: Image.Image) -> np.ndarray:
    """Its grey levels, uint8 (rows, columns); deep values span black to white."""
    if shown.mode not in ("I", "F"):
        return np.asarray(shown.convert("L"))
    values = np.asarray(shown, np.float64)
    low, high = values.min(), values.max()
    return ((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def _share(mask: np.ndarray) -> float:
    return round(np.count_nonzero(mask) / mask.size, 4)


def _colour(small: Image.Image) -> dict[str, float]:
    if small.mode != "RGB":
        return {"coloured": 0.0, "warm": 0.0, "cold": 0.0}
    values = np.asarray(small)
    coloured = values.max(axis=2) - values.min(axis=2) > _CHROMA
    red = values[:, :, 0] > values[:, :, 2]
    return {"coloured": _share(coloured), "warm": _share(coloured & red), "cold": _share(coloured & ~red)}


def _fan(grey: np.ndarray) -> float | None:
    """The opening angle (degrees) of an upright sector on black, or None where there is none."""
    lit = grey > _DARK
    rows = np.flatnonzero(np.count_nonzero(lit, axis=1) >= 3)
    if len(rows) < _SMALL // 4:
        return None
    left = lit[rows].argmax(axis=1)
    right = lit.shape[1] - 1 - lit[rows, ::-1].argmax(axis=1)
    fan = _Fan(*_side(rows, left), *_side(rows, -right))
    if abs(fan.left - fan.right) > np.radians(6):
        return None
    reach = _filled(lit, fan)
    if reach is None:
        return None
    near, far = reach
    on_left = np.abs(left - (fan.left_at - np.tan(fan.left) * rows)) <= 1.2
    on_right = np.abs(right - (np.tan(fan.right) * rows - fan.right_at)) <= 1.2
    for on, angle in ((on_left, fan.left), (on_right, fan.right)):
        down = rows - fan.apex()[1]
        beside = on[(down >= near * np.cos(angle) + 1) & (down <= far * np.cos(angle) - 1)]
        if len(beside) <= 10 or beside.mean() < 0.65:  # the flank of a head is straight for less
            return None
    return round(fan.degrees(), 1)


def _side(rows: np.ndarray, edge: np.ndarray) -> tuple[float, float]:
    """The slanting line that most of an edge lies on: its angle, and where it meets row 0 (a Hough transform)."""
    at = np.rint(edge + np.tan(_ANGLES)[:, None] * rows).astype(np.int64)
    low = int(at.min())
    width = int(at.max()) - low + 3  # a bin to spare on both sides, so that the sums of three keep to their angle
    bins = at - low + 1 + width * np.arange(len(_ANGLES))[:, None]
    hits = np.bincount(bins.ravel(), minlength=width * len(_ANGLES))
    best = int(np.convolve(hits, (1, 1, 1), "same").argmax())
    return float(_ANGLES[best // width]), float(best % width - 1 + low)


def _filled(lit: np.ndarray, fan: _Fan) -> tuple[float, float] | None:
    """The radii (px) between which what is lit fills the fan, down to an arc and with little beyond, or None."""
    x, y = fan.apex()
    rows, columns = np.indices(lit.shape)
    down, across = rows - y, columns - x
    radius = np.hypot(across, down)
    ray = np.floor((np.arctan2(across, down) + fan.left) / (fan.left + fan.right) * _RAYS).astype(np.int64)
    inside = (ray >= 0) & (ray < _RAYS)
    seen = inside & lit
    if not seen.any():
        return None
    starts, ends, frame = np.full(_RAYS, np.inf), np.zeros(_RAYS), np.zeros(_RAYS)
    np.minimum.at(starts, ray[seen], radius[seen])
    np.maximum.at(ends, ray[seen], radius[seen])
    np.maximum.at(frame, ray[inside], radius[inside])
    near, far = float(np.median(starts)), float(np.median(ends))
    if not far - near > 0.35 * min(lit.shape):
        return None
    filled = lit[inside & (radius >= near) & (radius <= far)].mean()
    arc = ((np.abs(ends - far) <= 2.5) & (ends < frame - 1)).mean()
    beyond = np.count_nonzero(lit & ~((ray >= -1) & (ray <= _RAYS) & (radius <= far + 3))) / np.count_nonzero(lit)
    return (near, far) if filled > 0.7 and arc > 0.55 and beyond < 0.06 else None


def _panels(grey: np.ndarray) -> list[list[int]]:
    """The boxes of the panels that light bands part, in thousandths of the image's sides; [] for fewer than two."""
    rows, columns = grey.shape
    boxes = list(_parts(grey, (0, 0, columns, rows), 3))
    if len(boxes) < 2:
        return []
    sides = (columns, rows, columns, rows)
    return [[round(1000 * at / side) for at, side in zip(box, sides, strict=True)] for box in boxes]


def _parts(grey: np.ndarray, box: Box, depth: int) -> Iterator[Box]:
    """The box, or what is left of it between the bands that run across it, each parted in turn (an XY cut)."""
    left, top, right, bottom = box
    block = grey[top:bottom, left:right]
    if depth and min(block.shape) >= _SHORTEST:
        if len(spans := _spans(block)) > 1:
            for start, stop in spans:
                yield from _parts(grey, (left + start, top, left + stop, bottom), depth - 1)
            return
        if len(spans := _spans(block.T)) > 1:
            for start, stop in spans:
                yield from _parts(grey, (left, top + start, right, top + stop), depth - 1)
            return
    yield box


def _spans(block: np.ndarray) -> list[tuple[int, int]]:
    """The runs of columns between the bands that part the block from top to bottom; one run where nothing does."""
    tall, wide = block.shape
    light = np.count_nonzero(block >= _LIGHT, axis=0) >= 0.98 * tall
    spans, start = [], 0
    for begin, end in itertools.pairwise((np.flatnonzero(np.diff(light)) + 1).tolist()):
        thin = light[begin] and end - begin <= max(4, _WIDEST * wide)
        if thin and begin - start >= _PANEL * wide and wide - end >= _PANEL * wide and _stops(block, begin, end):
            spans.append((start, begin))
            start = end
    return [*spans, (start, wide)]


def _stops(block: np.ndarray, begin: int, end: int) -> bool:
    """Whether the picture stops short at the band on both sides, and does not go on behind it, as behind a line."""
    before, after = block[:, begin - 4 : begin - 1].mean(axis=1), block[:, end + 1 : end + 4].mean(axis=1)
    if min((side < 255 - _STEP).mean() for side in (before, after)) < _STEPS:
        return False
    if end - begin > _LINE or min(before.std(), after.std()) < _STRUCTURE:
        return True
    return bool(np.corrcoef(before, after)[0, 1] < _GOES_ON)
