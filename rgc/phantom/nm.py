"""Nuclear medicine: tracer uptake blurred by the collimator and counted, in few counts, on a coarse matrix."""

from __future__ import annotations

import numpy as np

from rgc.phantom.recipe import array_draws, draws
from rgc.phantom.scene import Scene
from rgc.phantom.shapes import Array, Solid, View, paint, project
from rgc.phantom.texture import blur, stretch, to_bytes
from rgc.phantom.tissue import column

MATRIX = 128  # px along the longer side


def uptake(scene: Scene, view: View, solids: list[Solid]) -> tuple[Array, float]:
    """Tracer seen by each px of the camera's matrix, and the mm of such a px."""
    shrink = MATRIX / max(view.shape)
    shape = (max(8, round(view.shape[0] * shrink)), max(8, round(view.shape[1] * shrink)))
    coarse = View(view.plane, view.centre, shape, view.mm / shrink)
    table = column("uptake")
    if scene.plane in ("frontal", "lateral"):
        return project(solids, coarse, table) / 60, coarse.mm
    return paint(solids, coarse, table, soft=1.0), coarse.mm


def nm(scene: Scene, view: View, solids: list[Solid], reference: list[Solid]) -> np.ndarray:
    """One scintigram, uint8 (rows, columns); `reference`: the solids without the finding, which set the scale."""
    rng, draw = draws(scene.seed, "nm"), array_draws(scene.seed, "nm")
    found, mm = uptake(scene, view, solids)
    plain, _ = uptake(scene, view, reference)
    sharp = {"head": 3.2, "chest": 4.2, "abdomen": 4.2, "spine": 3.2, "knee": 2.4, "hand": 1.8}[scene.region] / mm
    found, plain = (np.maximum(blur(image, sharp), 0) for image in (found, plain))
    top = round(float(np.quantile(plain, 0.99)), 4) or 1.0
    counts = rng.uniform(28, 70)
    # Poisson counts by Anscombe's transform: one normal draw a px, so that a finding changes only its own px.
    mean = np.minimum(found / top, 3.0) * counts + 0.4
    root = np.sqrt(mean + 0.375) + draw.standard_normal(mean.shape) / 2
    counted = np.rint(np.maximum(np.maximum(root, 0) ** 2 - 0.375, 0))
    image = stretch(counted, view.shape) / (counts * rng.uniform(1.15, 1.5))
    return to_bytes(np.clip(image, 0, 1) ** 0.85)
