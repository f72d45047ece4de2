"""Smooth random fields and blurs, with NumPy alone."""

from __future__ import annotations

import numpy as np

from rgc.phantom.shapes import Array


def stretch(small: Array, shape: tuple[int, int]) -> Array:
    """Enlarge an array to `shape` by bilinear interpolation, corner to corner."""
    rows, columns = (np.linspace(0, n - 1, m) for n, m in zip(small.shape, shape, strict=True))
    r, c = np.minimum(rows.astype(int), small.shape[0] - 2), np.minimum(columns.astype(int), small.shape[1] - 2)
    fr, fc = (rows - r)[:, None], (columns - c)[None, :]
    tall = small[r] * (1 - fr) + small[r + 1] * fr  # rows, n
    return np.asarray(tall[:, c] * (1 - fc) + tall[:, c + 1] * fc)


def smooth_noise(draw: np.random.Generator, shape: tuple[int, int], grain: float) -> Array:
    """Noise of zero mean and about unit spread whose blobs are `grain` px wide, (rows, columns)."""
    coarse = tuple(max(2, round(n / grain) + 1) for n in shape)
    return stretch(draw.standard_normal(coarse), shape) * 1.5


def blur(image: Array, width: float) -> Array:
    """A blur of about `width` px (standard deviation): three box filters along each axis."""
    radius = max(0, round((width * width * 12 / 3 + 1) ** 0.5 / 2 - 0.5))
    if radius == 0:
        return image
    size = 2 * radius + 1
    for axis in (0, 1, 0, 1, 0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis)
        image = _windowed(total, size, axis) / size
    return image


def _windowed(total: Array, size: int, axis: int) -> Array:
    """Sums of `size` neighbours from running sums that begin before the first."""
    return total[size:] - total[:-size] if axis == 0 else total[:, size:] - total[:, :-size]


def to_bytes(image: Array) -> np.ndarray:
    """Grey values 0..1 as uint8."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), dtype=np.uint8)
