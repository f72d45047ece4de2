"""Computed tomography: CT numbers of a slice, scanner noise, a table, and a display window."""

from __future__ import annotations

import numpy as np

from rgc.phantom.recipe import array_draws, draws
from rgc.phantom.scene import Scene
from rgc.phantom.shapes import Ellipsoid, Solid, View, paint
from rgc.phantom.texture import blur, smooth_noise, to_bytes
from rgc.phantom.tissue import column

WINDOWS = {"brain": (95, 38), "soft tissue": (420, 45), "lung": (1500, -500), "bone": (1100, 240)}  # width, level
WITHOUT_CONTRAST = {"blood": 44, "vessel": 40, "kidney": 33, "medulla": 26, "liver": 58, "spleen": 50, "heart": 42}
WITHOUT_CONTRAST |= {"pancreas": 40, "haemorrhage": 96}


def ct(scene: Scene, view: View, solids: list[Solid]) -> np.ndarray:
    """One CT slice, uint8 (rows, columns)."""
    rng, draw = draws(scene.seed, "ct"), array_draws(scene.seed, "ct")
    numbers = column("hu")
    if not scene.contrast:
        numbers |= WITHOUT_CONTRAST
    width, level = WINDOWS[scene.technique]
    if scene.section == "axial" and rng.random() < 0.8:
        solids = [*_table(scene.region), *solids]
    image = paint(solids, view, numbers, soft=1.4)
    # Noise is stronger in the middle of the body, where fewer photons arrive; the kernel correlates it.
    grain = blur(draw.standard_normal(view.shape), 0.8) * 2.2
    dose = {"brain": 5.0, "soft tissue": 14.0, "lung": 30.0, "bone": 40.0}[scene.technique] * rng.uniform(0.7, 1.4)
    mottle = np.clip((image + 950) / 400, 0, 1)
    image = image + dose * grain * (0.35 + 0.65 * mottle) + 0.6 * dose * smooth_noise(draw, view.shape, 9) * mottle
    if scene.technique == "bone":
        image = image + 60 * smooth_noise(draw, view.shape, 3) * np.clip((image - 120) / 150, 0, 1)
    shown, middle = width * rng.uniform(0.85, 1.25), level + width * rng.uniform(-0.06, 0.06)
    return to_bytes((image - middle) / shown + 0.5)


def _table(region: str) -> list[Solid]:
    """The couch's top under the patient: a shallow trough."""
    y = {"head": 108, "chest": 134, "abdomen": 124, "spine": 124, "knee": 68, "hand": 30}[region]
    return [
        Ellipsoid("muscle", (0, y - 250 + 6, 0), (320, 250, 9000), "air"),
        Ellipsoid("air", (0, y - 250 + 2.5, 0), (330, 250, 9000), "air"),
    ]
