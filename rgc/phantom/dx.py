"""Radiography: line integrals of attenuation, scatter, a film's curve turned to bone-white, and edge enhancement."""

from __future__ import annotations

import numpy as np

from rgc.phantom.recipe import array_draws, draws
from rgc.phantom.scene import Scene
from rgc.phantom.shapes import Folds, Solid, View, project
from rgc.phantom.texture import blur, smooth_noise, to_bytes
from rgc.phantom.tissue import column


def dx(scene: Scene, view: View, solids: list[Solid], reference: list[Solid]) -> np.ndarray:
    """One radiograph, uint8 (rows, columns). `reference`: the solids without the finding, which set the exposure, so
    that a finding does not shift the greys of the whole image."""
    rng, draw = draws(scene.seed, "dx"), array_draws(scene.seed, "dx")
    attenuation = column("mu")
    depth = project(solids, view, attenuation)
    plain = depth if reference is solids else project(reference, view, attenuation)
    inside = plain[plain > 6]
    low, high = np.quantile(inside, (0.04, 0.985)) if inside.size else (0.0, 1.0)
    low, high = round(float(low), 3), round(float(high), 3)
    image = (depth - low) / (high - low)
    # Detail enhancement, as computed radiography does it: small structures gain, broad ones lose.
    wide = blur(image, max(view.shape) / 26)
    image = 0.62 * image + 1.5 * (image - wide) + 0.14
    for lung in [s for s in reference if isinstance(s, Folds) and s.tissue == "vessel"]:
        rows, columns = view.shape
        low_corner, high_corner = lung.bounds()
        _, v, _ = view.axes()
        fade = ((v > low_corner[2]) & (v < high_corner[2]))[:, None]
        image = image + 0.010 * fade * smooth_noise(draw, (rows, columns), 5)
    image = image * rng.uniform(0.85, 1.05) + rng.uniform(-0.03, 0.05)
    image = image + 0.012 * draw.standard_normal(view.shape) + 0.012 * smooth_noise(draw, view.shape, 3)
    image = np.where(depth < 2, rng.uniform(0.02, 0.09) + 0.01 * draw.standard_normal(view.shape), image)
    return to_bytes(blur(np.clip(image, 0, 1.05), 0.55) ** rng.uniform(0.9, 1.15))
