"""Tell whether two images are one, for the audit: thumbnails propose, block matching on the pixels decides.

Nothing here is shared with the search that builds use, so that a fault in one is not a fault in the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageFilter

SIDE = 128  # pixels a side of the square that two images are compared on
SAME = 0.975  # of `likeness`: from here on one image
SUSPECT = 0.94  # from here on a person should look; two neighbouring slices of MedPix-2.0 reach 0.970
ALIKE = 0.93  # cosine of two thumbnails from which the pixels are looked at
VIEWS = (  # shares cut off the left, top, right and bottom: whole, smaller all round, smaller towards each corner
    (0.0, 0.0, 0.0, 0.0),
    (0.03, 0.03, 0.03, 0.03),
    (0.03, 0.03, 0.0, 0.0),
    (0.0, 0.03, 0.03, 0.0),
    (0.03, 0.0, 0.0, 0.03),
    (0.0, 0.0, 0.03, 0.03),
)
_THUMBNAIL = 16  # pixels a side
_FLAT = 1.0  # grey levels: a thumbnail with a smaller standard deviation is like no other
_ROWS = 512  # thumbnails that are multiplied at a time
_PASSES = ((64, 8, 3, 0.75), (SIDE, 16, 2, 0.8), (SIDE, 16, 1, 0.8))  # side, block, pixels searched, least likeness
_TEXTURE = 40.0  # squared grey levels: a block with less variance in both images tells nothing
_CLIPPED = 124  # grey levels from the middle one: beyond it a pixel is black or white
_VALID = 0.3  # share of a block's pixels that must count
_SAME_DETAIL = 0.978  # correlation of the fine detail, without which images of like shapes are a suspicion only
_FEWEST = 6  # blocks with texture, below which nothing is said
_STRETCH = 0.3  # the most that one image may be a magnified part of the other, as a natural logarithm


def square(image: Image.Image) -> Image.Image:
    """A grey image squeezed to SIDE x SIDE, and softened so that its finest grain does not depend on how."""
    way = Image.Resampling.BOX if min(image.size) >= SIDE else Image.Resampling.BILINEAR
    return image.resize((SIDE, SIDE), way).filter(ImageFilter.GaussianBlur(0.7))


def thumbnails(squared: Image.Image) -> np.ndarray:
    """(views, 256) float16: each view of a square at 16 x 16, mean-free, of unit length; zeros where it is flat."""
    views = np.zeros((len(VIEWS), _THUMBNAIL**2), np.float16)
    for view, cut in zip(views, VIEWS, strict=True):
        left, top, right, bottom = (SIDE * share for share in cut)
        box = (left, top, SIDE - right, SIDE - bottom)
        pixels = squared.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX, box=box)
        cells = np.asarray(pixels, np.float32).ravel()
        if cells.std() >= _FLAT:
            cells = cells - cells.mean()
            view[:] = cells / np.linalg.norm(cells)
    return views


def candidates(ones: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    """The (i, j) whose thumbnails agree, one of them whole: `ones` (n, views, 256) against `others` (m, views, 256).

    n * m cosines by matrix products, a few hundred rows at a time.
    """
    if not len(ones) or not len(others):
        return
    views = others.astype(np.float32).transpose(1, 2, 0)
    for start in range(0, len(ones), _ROWS):
        rows = ones[start : start + _ROWS].astype(np.float32)
        cosine = rows[:, 0] @ views[0]
        for at in range(1, len(VIEWS)):
            np.maximum(cosine, rows[:, 0] @ views[at], out=cosine)
            np.maximum(cosine, rows[:, at] @ views[0], out=cosine)
        for i, j in np.argwhere(cosine >= ALIKE):
            yield start + int(i), int(j)


@dataclass
class _Place:
    """Where one image lies in another, both SIDE wide: centre + scale * (x - centre) + shift, in pixels, x and y."""

    scale: np.ndarray
    shift: np.ndarray

    def laid(self, image: Image.Image, side: int) -> Image.Image:
        """The part of `image` that lies there, side x side; black where it ends."""
        (sx, sy), (tx, ty), half = self.scale, self.shift, SIDE / 2
        share = side / SIDE
        matrix = (sx, 0, (half + tx - sx * half) * share, 0, sy, (half + ty - sy * half) * share)
        small = image if side == SIDE else image.resize((side, side), Image.Resampling.BOX)
        return small.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)

    def covers(self, block: int) -> np.ndarray:
        """Which blocks lie wholly inside."""
        white = Image.new("L", (SIDE, SIDE), 255)
        return _sums(np.asarray(self.laid(white, SIDE)) >= 250, block) >= 0.98 * block * block


def likeness(one: Image.Image, other: Image.Image) -> float:
    """How alike two squares are, 0 to 1, once one is laid over the other: nine in ten of their blocks correlate better.

    Correlation forgives another window, brightness or compression, a tenth of the blocks an annotation. Two slices
    differ somewhere. A block with texture in one image alone counts as 0, unless the other is black or white there.
    Below SAME at any rate where the fine detail is not the same: smooth shapes are soon alike.
    """
    found = _laid_over(one, other)
    # the crop of an image is laid over the whole with less loss than the whole over the crop
    return max(found, _laid_over(other, one)) if SUSPECT <= found < SAME else found


def _laid_over(one: Image.Image, other: Image.Image) -> float:
    place = _Place(np.ones(2), np.zeros(2))
    for side, block, reach, least in _PASSES:
        small = one if side == SIDE else one.resize((side, side), Image.Resampling.BOX)
        found = _match(_grey(small), _grey(place.laid(other, side)), block, reach)
        if found.mean() < least:
            return 0.0
        scale, shift = found.placement(block)
        place = _Place(place.scale * scale, place.shift + place.scale * shift * SIDE / side)
        if not (np.abs(np.log(place.scale)) < _STRETCH).all():
            return 0.0
    block = _PASSES[-1][1]
    inside, laid = place.covers(block), place.laid(other, SIDE)
    alike = max(_match(_grey(one), _grey(laid), block, 1, clipped).tenth(inside) for clipped in (False, True))
    if alike < SAME:
        return alike
    covered = np.kron(inside, np.ones((block, block))) > 0
    detail = np.corrcoef(_detail(one)[covered], _detail(laid)[covered])[0, 1]
    return alike if detail >= _SAME_DETAIL else min(alike, SAME - 0.001)


@dataclass
class _Blocks:
    """The best match of each block of one image near its place in another."""

    correlation: np.ndarray  # (blocks, blocks)
    shift: np.ndarray  # (2, blocks, blocks): x and y, pixels
    variances: np.ndarray  # (2, blocks, blocks): squared grey levels, of the block and of its match
    valid: np.ndarray  # (blocks, blocks): share of the pixels that count

    def mean(self) -> float:
        """The correlation of the blocks that have texture, by contrast; 0 where too few have."""
        textured = self.variances.max(0) > _TEXTURE
        if textured.sum() < _FEWEST:
            return 0.0
        weights = self.variances.prod(0)[textured] ** 0.25 + 1e-6
        return float(np.average(self._shared()[textured], weights=weights))

    def tenth(self, inside: np.ndarray) -> float:
        """The 10th percentile of the correlations of the blocks with texture inside; 0 where too few have any."""
        textured = (self.variances.max(0) > _TEXTURE) & inside & (self.valid >= _VALID)
        if textured.sum() < _FEWEST:
            return 0.0
        return float(np.percentile(self._shared()[textured], 10))

    def _shared(self) -> np.ndarray:
        return np.where(self.variances.min(0) > _TEXTURE / 5, self.correlation, 0)

    def placement(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift, x and y, that the blocks' shifts speak for: least squares, twice without the odd ones."""
        weight = np.clip(self.correlation, 0, 1) ** 4 * np.minimum(self.variances[0], 2000) ** 0.5
        weight = np.where(self.variances.min(0) > 30, weight, 0).ravel()
        count = len(self.correlation)
        middle = (np.arange(count) + 0.5 - count / 2) * block
        lines = [
            _line(axis.ravel(), shift.ravel(), weight)
            for axis, shift in zip(np.meshgrid(middle, middle), self.shift, strict=True)
        ]
        return np.array([1 + slope for slope, _ in lines]), np.array([offset for _, offset in lines])


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and offset of y over x; the slope leans to 0 where few blocks speak."""
    kept, slope, offset = weight > 0, 0.0, 0.0
    for _ in range(3):
        if kept.sum() < 3:
            return 0.0, 0.0
        design, weights = np.stack([x[kept], np.ones(kept.sum())], 1), weight[kept]
        normal = (design * weights[:, None]).T @ design + np.diag([0.05 * weights.sum(), 1e-6])
        slope, offset = np.linalg.solve(normal, (design * weights[:, None]).T @ y[kept])
        off = np.abs(y - slope * x - offset)
        kept = (weight > 0) & (off <= max(1.0, 2 * float(np.median(off[weight > 0]))))
    return float(slope), float(offset)


def _grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) - 128


def _detail(image: Image.Image) -> np.ndarray:
    """What is left of an image without its broad shapes; the root, so that edges do not outweigh all else."""
    left = _grey(image) - _grey(image.filter(ImageFilter.GaussianBlur(2.5)))
    return np.sign(left) * np.sqrt(np.abs(left))


def _sums(pixels: np.ndarray, block: int) -> np.ndarray:
    """Sums over the blocks of the last two axes."""
    count = pixels.shape[-1] // block
    return pixels.reshape(*pixels.shape[:-2], count, block, count, block).sum((-3, -1))


def _match(one: np.ndarray, other: np.ndarray, block: int, reach: int, clipped: bool = False) -> _Blocks:
    """Each block of `one` with its best normalised correlation in `other`, at most `reach` pixels from its place.

    With `clipped`, pixels that are black or white in either image do not count: another window cut them off.
    """
    side, span = len(one), 2 * reach + 1
    moved = sliding_window_view(np.pad(other, reach, mode="edge"), (side, side)).reshape(span * span, side, side)
    counts: np.ndarray | float = block * block
    if clipped:
        valid = ((np.abs(one) < _CLIPPED) & (np.abs(moved) < _CLIPPED)).astype(np.float32)
        counts = np.maximum(_sums(valid, block), 1)
        of_one, of_moved = one * valid, moved * valid
    else:
        of_one, of_moved = one[None], moved
    sum_one, sum_moved = _sums(of_one, block), _sums(of_moved, block)
    var_one = (_sums(of_one * one, block) - sum_one**2 / counts) / counts
    var_moved = (_sums(of_moved * moved, block) - sum_moved**2 / counts) / counts
    both = (_sums(of_moved * one, block) - sum_one * sum_moved / counts) / counts
    correlation = both / np.sqrt(np.maximum(var_one * var_moved, 1))
    best = correlation.argmax(0)
    shape = correlation.shape
    at_best = [np.take_along_axis(np.broadcast_to(of, shape), best[None], 0)[0] for of in (var_one, var_moved, counts)]
    shifts = _shifts(correlation, best, span) - reach
    return _Blocks(correlation.max(0), shifts, np.maximum(at_best[:2], 0), at_best[2] / block**2)


def _shifts(correlation: np.ndarray, best: np.ndarray, span: int) -> np.ndarray:
    """Where the correlation peaks, x and y, to a part of a pixel: the top of the parabola through three neighbours."""
    rows, columns = np.indices(best.shape)
    shifts = []
    for step, at in ((1, best % span), (span, best // span)):
        inner = (at > 0) & (at < span - 1)
        low, top, high = (correlation[best + np.where(inner, by, 0), rows, columns] for by in (-step, 0, step))
        bend = low - 2 * top + high
        shifts.append(at + np.where(bend < -1e-6, 0.5 * (low - high) / np.minimum(bend, -1e-6), 0))
    return np.stack(shifts)
