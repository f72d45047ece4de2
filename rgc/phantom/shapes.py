"""The solids that anatomy is built from, cut by a plane or projected along an axis.

Patient coordinates in mm: x grows to the patient's left, y to the back, z to the head (DICOM's LPS). Later solids
replace earlier ones where they overlap (the painter's rule); `inside` names what a solid replaces, for projections.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float, float]
# Of each plane: the patient axis along the image's columns, along its rows, across; and the sign of each.
PLANES = {"axial": (0, 1, 2, 1, 1), "coronal": (0, 2, 1, 1, -1), "sagittal": (1, 2, 0, 1, -1)}


@dataclass(frozen=True)
class View:
    """A window of `shape` (rows, columns) px and `mm` per px on an axis-aligned plane through `centre`."""

    plane: str
    centre: Point
    shape: tuple[int, int]
    mm: float

    def axes(self) -> tuple[Array, Array, float]:
        """Patient coordinates of the columns (n), of the rows (m), and of the plane itself, mm."""
        across, down, through, sign_u, sign_v = PLANES[self.plane]
        rows, columns = self.shape
        u = self.centre[across] + sign_u * (np.arange(columns) - (columns - 1) / 2) * self.mm
        v = self.centre[down] + sign_v * (np.arange(rows) - (rows - 1) / 2) * self.mm
        return np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64), self.centre[through]


@dataclass(frozen=True)
class Ellipsoid:
    """A solid |x/a|^p + |y/b|^p + |z/c|^p < 1, turned about one axis; `bumps` make its outline lobed."""

    tissue: str
    centre: Point
    radii: Point
    inside: str = "muscle"
    power: float = 2.0
    turn: tuple[int, float] = (2, 0.0)  # axis, radians
    bumps: tuple[float, int, float] = (0.0, 3, 0.0)  # height, count, phase

    def bounds(self) -> tuple[Point, Point]:
        """Opposite corners of a box that holds the solid."""
        grow = 1 + self.bumps[0]
        r = [grow * a for a in self.radii]
        if self.turn[1]:
            p, q = (a for a in range(3) if a != self.turn[0])
            reach = math.hypot(r[p], r[q]) if self.power > 2 else 0.0
            c, s = abs(math.cos(self.turn[1])), abs(math.sin(self.turn[1]))
            new_p, new_q = math.hypot(r[p] * c, r[q] * s), math.hypot(r[p] * s, r[q] * c)
            r[p], r[q] = max(new_p, reach), max(new_q, reach)
        return _around(self.centre, r)

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """1 on the surface, less inside, more outside."""
        d = [x - self.centre[0], y - self.centre[1], z - self.centre[2]]
        if self.turn[1]:
            p, q = (a for a in range(3) if a != self.turn[0])
            c, s = math.cos(self.turn[1]), math.sin(self.turn[1])
            d[p], d[q] = c * d[p] + s * d[q], c * d[q] - s * d[p]
        if self.power == 2.0:
            total = (d[0] / self.radii[0]) ** 2 + (d[1] / self.radii[1]) ** 2 + (d[2] / self.radii[2]) ** 2
            q_level = np.sqrt(total)
        elif self.power == 4.0:
            q_level = np.sqrt(np.sqrt(sum(np.square(np.square(v / r)) for v, r in zip(d, self.radii, strict=True))))
        else:
            q_level = sum(np.abs(v / r) ** self.power for v, r in zip(d, self.radii, strict=True)) ** (1 / self.power)
        if self.bumps[0]:
            angle = np.arctan2(d[1] / self.radii[1] + 0.7 * d[2] / self.radii[2], d[0] / self.radii[0])
            q_level = q_level * (1 - self.bumps[0] * np.sin(self.bumps[1] * angle + self.bumps[2]))
        return np.asarray(q_level)

    def coverage(self, x: Array, y: Array, z: Array, soft: float) -> Array:
        """Share of each point's px that the solid fills; `soft` is the width of its edge, mm."""
        return np.clip(0.5 + (1 - self.level(x, y, z)) * min(self.radii) / soft, 0, 1)

    def chord(self, u: Array, v: Array, axes: tuple[int, int, int]) -> Array:
        """Length of the solid (mm) along the third of `axes` at each (u, v)."""
        flat = [np.zeros(1)] * 3
        flat[axes[0]], flat[axes[1]] = u, v
        flat[axes[2]] = np.full(1, self.centre[axes[2]])
        level = np.minimum(self.level(*flat), 1)
        return 2 * self.radii[axes[2]] * (np.maximum(1 - level**self.power, 0)) ** (1 / self.power)


@dataclass(frozen=True)
class Tube:
    """A round bar along a polyline."""

    tissue: str
    points: tuple[Point, ...]
    radius: float
    inside: str = "muscle"

    def bounds(self) -> tuple[Point, Point]:
        """Opposite corners of a box that holds the bar."""
        low = [min(p[a] for p in self.points) - self.radius for a in range(3)]
        high = [max(p[a] for p in self.points) + self.radius for a in range(3)]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def _distance(self, where: list[Array], axes: Iterable[int]) -> Array:
        best: Array | None = None
        axes = list(axes)
        for start, end in zip(self.points[:-1], self.points[1:], strict=True):
            step = [end[a] - start[a] for a in axes]
            length = sum(s * s for s in step) or 1e-9
            offset = [w - start[a] for w, a in zip(where, axes, strict=True)]
            t = np.clip(sum(o * s for o, s in zip(offset, step, strict=True)) / length, 0, 1)
            square = sum((o - t * s) ** 2 for o, s in zip(offset, step, strict=True))
            best = np.asarray(square) if best is None else np.minimum(best, square)
        assert best is not None, "a tube has two points or more"
        return np.sqrt(best)

    def coverage(self, x: Array, y: Array, z: Array, soft: float) -> Array:
        """Share of each point's px that the bar fills."""
        return np.clip(0.5 + (self.radius - self._distance([x, y, z], range(3))) / soft, 0, 1)

    def chord(self, u: Array, v: Array, axes: tuple[int, int, int]) -> Array:
        """Length of the bar (mm) along the third of `axes` at each (u, v), for a bar across that axis."""
        distance = self._distance([u, v], axes[:2])
        return 2 * np.sqrt(np.maximum(self.radius**2 - distance**2, 0))


@dataclass(frozen=True)
class Folds:
    """Part of an ellipsoid that a sum of waves cuts out: gyri, sulci, lung vessels."""

    tissue: str
    body: Ellipsoid
    waves: tuple[tuple[float, float, float, float], ...]  # wave vector (1/mm) and phase
    low: float  # the part begins at this level of the body
    high: float  # and ends here
    width: float  # |sum of waves| below this is in the part; negative: the sum itself shifts the edge `high`
    inside: str = "gray"
    branches: bool = False  # the part lies where two sums vanish: curves in space, such as vessels

    def bounds(self) -> tuple[Point, Point]:
        """The body's box."""
        return self.body.bounds()

    def coverage(self, x: Array, y: Array, z: Array, soft: float) -> Array:
        """Share of each point's px that the part fills."""
        level = self.body.level(x, y, z)
        if self.branches:
            half = len(self.waves) // 2
            field = np.hypot(self._sum(self.waves[:half], x, y, z), self._sum(self.waves[half:], x, y, z))
        else:
            field = self._sum(self.waves, x, y, z)
        if self.width < 0:
            return np.clip(0.5 + (self.high + self.width * field - level) * 25, 0, 1)
        edge = np.clip((level - self.low) * 12, 0, 1) * np.clip((self.high - level) * 12, 0, 1)
        return edge * np.clip(1.3 - np.abs(field) / self.width, 0, 1)

    @staticmethod
    def _sum(waves: tuple[tuple[float, float, float, float], ...], x: Array, y: Array, z: Array) -> Array:
        """The mean of the waves at each point."""
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape))
        for kx, ky, kz, phase in waves:
            total += np.sin(kx * x + ky * y + kz * z + phase)
        return total / len(waves)

    def chord(self, u: Array, v: Array, axes: tuple[int, int, int]) -> Array:
        """Nothing: folds are too fine for a projection."""
        return np.zeros(np.broadcast_shapes(np.shape(u), np.shape(v)))


@dataclass(frozen=True)
class Crescent:
    """What is left of one ellipsoid outside another: fluid along a wall."""

    tissue: str
    body: Ellipsoid
    minus: Ellipsoid
    inside: str = "muscle"

    def bounds(self) -> tuple[Point, Point]:
        """The body's box."""
        return self.body.bounds()

    def coverage(self, x: Array, y: Array, z: Array, soft: float) -> Array:
        """Share of each point's px that the crescent fills."""
        return self.body.coverage(x, y, z, soft) * (1 - self.minus.coverage(x, y, z, soft))

    def chord(self, u: Array, v: Array, axes: tuple[int, int, int]) -> Array:
        """Length of the crescent (mm) along the third of `axes` at each (u, v)."""
        body, minus = self.body.chord(u, v, axes), self.minus.chord(u, v, axes)
        return np.where(body > 0, np.maximum(body - minus, 0), 0)


Solid = Ellipsoid | Tube | Folds | Crescent


def paint(solids: Iterable[Solid], view: View, value: dict[str, float], soft: float = 1.0) -> Array:
    """Cut the solids by the view's plane: each px gets its tissue's value (rows, columns); edges are `soft` px wide."""
    across, down, through, *_ = PLANES[view.plane]
    u, v, w = view.axes()
    out = np.full(view.shape, float(value["air"]))
    for solid in solids:
        low, high = solid.bounds()
        edge = soft * view.mm
        if not low[through] - edge <= w <= high[through] + edge:
            continue
        columns, rows = (
            _window(u, low[across] - edge, high[across] + edge),
            _window(v, low[down] - edge, high[down] + edge),
        )
        if columns.stop <= columns.start or rows.stop <= rows.start:
            continue
        place: list[Array] = [np.zeros(1)] * 3
        place[across], place[down], place[through] = u[None, columns], v[rows, None], np.full((1, 1), w)
        part = out[rows, columns]
        part += solid.coverage(place[0], place[1], place[2], edge) * (value[solid.tissue] - part)
    return out


def project(solids: Iterable[Solid], view: View, value: dict[str, float]) -> Array:
    """Sum value x length (mm) along rays across the view's plane: (rows, columns)."""
    across, down, through, *_ = PLANES[view.plane]
    u, v, _ = view.axes()
    out = np.zeros(view.shape)
    for solid in solids:
        low, high = solid.bounds()
        columns, rows = _window(u, low[across], high[across]), _window(v, low[down], high[down])
        if columns.stop <= columns.start or rows.stop <= rows.start:
            continue
        gain = value[solid.tissue] - value[solid.inside]
        out[rows, columns] += gain * solid.chord(u[None, columns], v[rows, None], (across, down, through))
    return out


def _around(centre: Point, r: list[float]) -> tuple[Point, Point]:
    return (
        (centre[0] - r[0], centre[1] - r[1], centre[2] - r[2]),
        (centre[0] + r[0], centre[1] + r[1], centre[2] + r[2]),
    )


def _window(axis: Array, low: float, high: float) -> slice:
    """The run of an evenly spaced, rising or falling axis that lies between low and high."""
    inside = np.flatnonzero((axis >= low) & (axis <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
