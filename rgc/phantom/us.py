"""Ultrasound: a sector of echoes from a curved probe, with speckle, depth gain, shadows and enhancement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rgc.phantom.recipe import array_draws, draws
from rgc.phantom.scene import Scene
from rgc.phantom.shapes import PLANES, Array, Point, Solid, View, paint
from rgc.phantom.texture import blur, to_bytes
from rgc.phantom.tissue import column

RAYS, SAMPLES = 180, 320
TOWARDS = {  # from the finding's place to the probe, per section: (along columns, along rows), in image directions
    "head": (0.0, -1.0),
    "chest": (1.0, -0.15),
    "abdomen": (0.9, -0.45),
    "spine": (0.0, 1.0),
    "knee": (0.1, 1.0),
    "hand": (0.0, 1.0),
}


class Fan(NamedTuple):
    """A sector in the plane: the probe's centre of curvature (mm on the plane), its direction, and its reach."""

    centre: tuple[float, float]
    direction: tuple[float, float]
    start: float  # radius of the probe's face, mm
    depth: float  # mm
    half: float  # half of the opening angle, radians


def fan_of(scene: Scene, solids: list[Solid], target: Point) -> tuple[Fan, View]:
    """The sector that looks at the target from the nearest skin, and the Cartesian view that it samples."""
    rng = draws(scene.seed, "fan")
    across, down, *_ = PLANES[scene.section]
    sign = 1.0 if target[0] > 0 else -1.0
    du, dv = TOWARDS[scene.region]
    if scene.section == "sagittal" and scene.region != "head":
        du, dv = 1.0, 0.0  # columns run to the back: probe behind
    elif scene.region in ("chest", "abdomen"):
        du, dv = du * sign, dv if scene.section == "axial" else 0.0
    if scene.section != "axial":
        dv = -dv  # rows run downwards, z upwards
    norm = (du * du + dv * dv) ** 0.5
    du, dv = du / norm, dv / norm
    aim = list(target)
    if scene.region == "head":  # through the fontanelle, at the vertex
        aim[across], aim[down] = 0.0 if across == 0 else 2.0, 30.0
    solid = {tissue: 1.0 for tissue in column("mu")} | {"air": 0.0, "lung": 1.0}
    view = View(scene.section, (aim[0], aim[1], aim[2]), (340, 340), 1.0)
    body = paint(solids, view, solid)
    steps = np.arange(160.0, 0, -1.0) / view.mm
    flip = 1 if scene.section == "axial" else -1
    at_r = np.clip(np.rint(169.5 + flip * dv * steps), 0, 339).astype(int)
    at_c = np.clip(np.rint(169.5 + du * steps), 0, 339).astype(int)
    filled = body[at_r, at_c] > 0.5
    skin = float(steps[int(np.argmax(filled))] * view.mm) if filled.any() else 40.0
    start = {"hand": 70.0, "knee": 50.0, "head": 14.0}.get(scene.region, 38.0)
    depth = skin + {"hand": 26.0, "knee": 45.0, "head": 80.0}.get(scene.region, 70.0) * rng.uniform(0.9, 1.2)
    half = {"hand": 0.34, "knee": 0.5, "head": 0.85}.get(scene.region, 0.62) * rng.uniform(0.9, 1.1)
    reach = skin + start - 1.0
    centre = (aim[across] + du * reach, aim[down] + dv * reach)
    return Fan(centre, (-du, -dv), start, depth, half), view


def sample_points(fan: Fan, radii: Array, angles: Array) -> tuple[Array, Array]:
    """Plane coordinates (mm) of sector points."""
    du, dv = fan.direction
    c, s = np.cos(angles), np.sin(angles)
    return fan.centre[0] + radii * (du * c - dv * s), fan.centre[1] + radii * (dv * c + du * s)


def screen(fan: Fan, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Of each screen px: sample index along the ray, ray index, and whether it is in the sector (rows, columns)."""
    rows, columns = shape
    tall = fan.start + fan.depth - fan.start * np.cos(fan.half)
    wide = 2 * (fan.start + fan.depth) * np.sin(fan.half)
    mm = max(tall / (rows * 0.94), wide / (columns * 0.96))
    y = (np.arange(rows) - rows * 0.03)[:, None] * mm + fan.start * np.cos(fan.half)
    x = (np.arange(columns) - (columns - 1) / 2)[None, :] * mm
    radius, angle = np.sqrt(x * x + y * y), np.arctan2(x, y)
    k = (radius - fan.start) / fan.depth * (SAMPLES - 1)
    ray = (angle / fan.half + 1) / 2 * (RAYS - 1)
    return k, ray, (k >= 0) & (k <= SAMPLES - 1) & (ray >= 0) & (ray <= RAYS - 1)


def sector(fan: Fan, view: View, image: Array, mirrored: bool) -> Array:
    """Sample a Cartesian image along the rays: (SAMPLES, RAYS)."""
    radii = fan.start + np.linspace(0, fan.depth, SAMPLES)[:, None]
    angles = np.linspace(-fan.half, fan.half, RAYS)[None, :] * (-1 if mirrored else 1)
    pu, pv = sample_points(fan, radii, angles)
    u, v, _ = view.axes()
    column_at = np.clip(np.rint((pu - u[0]) / (u[1] - u[0])), 0, len(u) - 1).astype(int)
    row_at = np.clip(np.rint((pv - v[0]) / (v[1] - v[0])), 0, len(v) - 1).astype(int)
    return np.asarray(image[row_at, column_at])


def to_screen(fan: Fan, polar: Array, shape: tuple[int, int]) -> Array:
    """Scan conversion with bilinear interpolation (rows, columns); 0 outside the sector."""
    k, ray, inside = screen(fan, shape)
    k, ray = np.clip(k, 0, SAMPLES - 1.001), np.clip(ray, 0, RAYS - 1.001)
    i, j = k.astype(int), ray.astype(int)
    fk, fr = k - i, ray - j
    mixed = (polar[i, j] * (1 - fr) + polar[i, j + 1] * fr) * (1 - fk)
    mixed = mixed + (polar[i + 1, j] * (1 - fr) + polar[i + 1, j + 1] * fr) * fk
    return np.where(inside, mixed, 0.0)


def us(scene: Scene, solids: list[Solid], target: Point) -> np.ndarray:
    """One ultrasound image, uint8 (rows, columns)."""
    rng, draw = draws(scene.seed, "us"), array_draws(scene.seed, "us")
    fan, view = fan_of(scene, solids, target)
    echo, att = column("echo"), column("att")
    mirrored = scene.region in ("chest", "abdomen", "spine", "knee", "hand") and target[0] < 0
    level = sector(fan, view, paint(solids, view, echo, soft=1.0), mirrored)
    loss = sector(fan, view, paint(solids, view, att, soft=0.5), mirrored)
    # What is in front weakens what is behind; depth gain assumes tissue of 0.004 per mm, so behind fluid it is bright.
    step = fan.depth / SAMPLES
    behind = np.cumsum(loss - 0.004, axis=0) * step
    behind = np.concatenate([np.zeros((1, RAYS)), behind[:-1]])
    shine = np.clip(np.exp(-2.2 * behind), 0.02, 1.9)
    edges = np.abs(np.diff(level, axis=0, prepend=level[:1]))  # interfaces across the beam
    amplitude = (1.6 * np.maximum(level, 0) ** 1.7 + 0.8 * blur(edges, 0.8)) * shine
    real, imaginary = (blur(draw.standard_normal((SAMPLES, RAYS)), 0.9) for _ in range(2))
    speckle = np.sqrt(real * real + imaginary * imaginary)
    speckle = speckle / speckle.mean()
    amplitude = amplitude * speckle + 0.012 * rng.uniform(0.7, 1.4)
    shown = np.log10(1 + 26 * rng.uniform(0.8, 1.3) * amplitude) / 1.6
    grey = to_screen(fan, shown, (scene.rows, scene.columns))
    return to_bytes(grey * rng.uniform(0.78, 0.95) + 0.012)
