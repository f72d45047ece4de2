"""The verdict on two images: laid over one another, do they show the same structure everywhere?"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from corpus_db.phash import canonical, grid, pixel_sha256

SAME = 0.988  # share of the structure that must be common; docs/duplicates.md has the measurement
_LEVELS = (  # coarse to fine: cells averaged along each side, alignment steps at most, the likeness asked for
    (4, 10, 0.0),
    (2, 8, 0.9),
    (1, 5, SAME),
)
_SETTLED = 2e-4  # of half the image: a step below it is the last
_STRETCH = 1.25  # the most that one image may be a magnified part of the other
_TILE = 8  # cells a side
_TEXTURE = 40.0  # squared grey levels: a tile with less variance in both images tells nothing
_NOISE = 8.0  # squared grey levels: variance that compression alone explains
_CURVE = 8  # cells at the least that a grey level needs for a say in how the levels of one image map to the other's
_INK = 90.0  # grey levels between the two somewhere in a tile, from which something may be drawn into one of them
_SPARED = 0.1  # share of the tiles that may be left out for ink: an arrow, a label, a date
_FAINT = (1.0, 20.0)  # squared grey levels: tiles of so little variance hold the grain that tells two bodies apart
_GRAIN = 0.88  # correlation over all faint tiles, from which the grain is the same
_FEWEST = 6  # tiles with texture, below which only the same pixels count as the same image


@dataclass(frozen=True)
class Prepared:
    """One image as `compare` takes it: a GRID x GRID array of uint8 (16 KiB), and the sha256 of its pixels."""

    cells: np.ndarray
    pixel_sha256: str


@dataclass(frozen=True)
class Match:
    """Two images are the same: "pixels" (equal in their canonical form) or "near".

    `distance`: the share (0..1) of the structure that is not common, 0 for the same pixels, at most 1 - SAME otherwise.
    """

    kind: str
    distance: float


def prepare(image: Image.Image) -> Prepared:
    """What `compare` needs of an image that Pillow has loaded; never raises for one."""
    shown = canonical(image)
    return Prepared(grid(shown), pixel_sha256(shown))


def compare(one: Prepared, other: Prepared) -> Match | None:
    """Whether two prepared images are the same image; None if not."""
    if one.pixel_sha256 == other.pixel_sha256:
        return Match("pixels", 0.0)
    moving, fixed = one.cells.astype(np.float32), other.cells.astype(np.float32)
    place, likeness = np.array([1.0, 0.0, 1.0, 0.0]), 0.0
    for shrink, steps, least in _LEVELS:
        small, target = _shrunk(moving, shrink), _shrunk(fixed, shrink)
        place = _aligned(small, target, place, steps)
        likeness = _likeness(small, target, place) if least else 0.0
        if likeness < least:
            return None
    return Match("near", 1 - likeness)


@cache
def _span(size: int) -> np.ndarray:
    """The middles of `size` cells from -1 to 1, float32."""
    return ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)


def _placed(scale: float, shift: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation at scale * u + shift along one axis, u in [-1, 1].

    (size, size) float32 weights to multiply the axis with, and (size,) whether a place lies inside.
    """
    place = (np.float32(scale) * _span(size) + np.float32(shift) + 1) * np.float32(size / 2) - np.float32(0.5)
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size, dtype=np.float32)))
    return weights, (place > -0.5) & (place < size - 0.5)


def _laid(cells: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image laid over another: its cells there, and where it has any."""
    across, in_x = _placed(place[0], place[1], len(cells))
    down, in_y = _placed(place[2], place[3], len(cells))
    return down @ cells @ across.T, in_y[:, None] & in_x[None]


def _step(moving: np.ndarray, fixed: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One Gauss-Newton step of x scale, x shift, y scale, y shift, fitted together with gain and offset."""
    laid, inside = _laid(moving, place)
    u, per_cell = _span(len(moving)), np.float32(len(moving) / 2)
    by_y, by_x = np.gradient(laid)
    by_x, by_y = by_x * (per_cell / np.float32(place[0])), by_y * (per_cell / np.float32(place[2]))
    columns = (by_x * u[None], by_x, by_y * u[:, None], by_y, laid, np.ones_like(laid))
    design = np.stack([(column * inside).ravel() for column in columns])
    fit = np.linalg.solve(design @ design.T + 1e-3 * np.eye(6), design @ fixed.ravel())
    gain = fit[4] if abs(fit[4]) > 0.05 else 0.05
    return np.clip(fit[:4] / gain, -0.05, 0.05)


def _aligned(moving: np.ndarray, fixed: np.ndarray, place: np.ndarray, steps: int) -> np.ndarray:
    """Where the moving image lies on the fixed one, as scale and shift in x and y, from a first guess.

    After Lucas and Kanade, 1981, "An Iterative Image Registration Technique"; an axis at a time is scaled and shifted,
    so that warping is two matrix products.
    """
    for _ in range(steps):
        step = _step(moving, fixed, place)
        place = np.clip(place + step, (1 / _STRETCH, -0.25) * 2, (_STRETCH, 0.25) * 2)
        if np.abs(step).max() < _SETTLED:
            break
    return place


def _shrunk(cells: np.ndarray, times: int) -> np.ndarray:
    size = len(cells) // times
    return cells.reshape(size, times, size, times).mean((1, 3))


def _blurred(cells: np.ndarray, reach: int) -> np.ndarray:
    """The mean over a square of 2 * reach + 1 cells a side."""
    for _ in range(2):
        sums = np.pad(cells, ((reach + 1, reach), (0, 0)), mode="edge").cumsum(0)
        cells = ((sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)).T
    return cells


def _structure(cells: np.ndarray) -> np.ndarray:
    """What is left between the finest grain, where compression works, and the broad shading."""
    fine = _blurred(cells, 1)
    return fine - _blurred(fine, _TILE // 2)


def _regreyed(cells: np.ndarray, like: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`cells` through the rising curve of grey levels that brings them nearest to `like`: another window setting."""
    levels = np.clip(cells[inside] / 8, 0, 31).astype(int)
    counts = np.bincount(levels, minlength=32)
    used = counts >= _CURVE
    if used.sum() < 2:
        return cells
    sources, targets = (np.bincount(levels, image[inside], 32)[used] / counts[used] for image in (cells, like))
    return np.interp(cells, sources, np.maximum.accumulate(targets))


def _tiles(cells: np.ndarray) -> np.ndarray:
    """The mean of each tile, flat."""
    return _shrunk(cells, _TILE).ravel()


def _most(cells: np.ndarray) -> np.ndarray:
    """The largest value of each tile, flat."""
    size = len(cells) // _TILE
    return cells.reshape(size, _TILE, size, _TILE).max((1, 3)).ravel()


def _likeness(moving: np.ndarray, fixed: np.ndarray, place: np.ndarray) -> float:
    """How much of one image's structure the other explains, 0..1, the better way round: a window hides, one way."""
    laid, inside = _laid(moving, place)
    return max(_explained(laid, fixed, inside), _explained(fixed, laid, inside))


def _explained(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """How much of `other` is explained by `one`, 0..1: the mean of the tiles with texture, weighted by contrast.

    What a gain and an offset of its own do not bring over in a tile, beyond compression noise, is not explained. 0
    where too few tiles have texture in both, or the faint ones show another grain.
    """
    one = _regreyed(one, other, inside)
    a, b = _structure(one) * inside, _structure(other) * inside
    aa, bb, ab = _tiles(a * a), _tiles(b * b), _tiles(a * b)
    textured = np.maximum(aa, bb) > _TEXTURE
    weaker = np.minimum(aa, bb)[textured]
    if (weaker > _TEXTURE / 8).sum() < max(_FEWEST, len(weaker) / 2) or _grain(aa, bb, ab) < _GRAIN:
        return 0.0
    inked = _most(np.abs(one - other) * inside)[textured] > _INK
    aa, bb, ab = aa[textured], bb[textured], ab[textured]
    common = np.clip(ab * ab / np.maximum(aa * bb, 1e-9), 0, 1) * np.sign(ab)
    left = np.clip((1 - common) * weaker - _NOISE, 0, None) / np.maximum(weaker, 1)
    weights = (aa * bb) ** 0.25
    worst = np.argsort(-left * weights * inked, kind="stable")[: int(len(left) * _SPARED)]
    weights[worst[inked[worst]]] = 0
    return float(1 - np.average(left, weights=weights))


def _grain(aa: np.ndarray, bb: np.ndarray, ab: np.ndarray) -> float:
    """The correlation of two images over their faint tiles; 1 if there are too few to tell."""
    faint = (np.minimum(aa, bb) > _FAINT[0]) & (np.maximum(aa, bb) < _FAINT[1])
    if faint.sum() < _FEWEST:
        return 1.0
    return float(ab[faint].sum() / np.sqrt(aa[faint].sum() * bb[faint].sum()))
