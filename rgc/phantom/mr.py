"""Magnetic resonance: the spin-echo signal of each tissue, coil shading and Rician noise."""

from __future__ import annotations

import math

import numpy as np

from rgc.phantom.recipe import array_draws, draws
from rgc.phantom.scene import Scene
from rgc.phantom.shapes import Folds, Solid, View, paint
from rgc.phantom.texture import smooth_noise, to_bytes
from rgc.phantom.tissue import TISSUE

# Repetition, echo and inversion times, ms; 0: no inversion.
SEQUENCES = {
    "T1": (520, 12, 0),
    "T2": (4200, 98, 0),
    "FLAIR": (9000, 118, 2450),
    "PD": (2600, 16, 0),
    "STIR": (4600, 42, 165),
}
TAKES_UP_GADOLINIUM = {
    "mass": 330,
    "blood": 260,
    "vessel": 300,
    "kidney": 420,
    "dura": 380,
    "oedema": 700,
    "cystwall": 400,
}


def signal(tissue: str, sequence: str, gadolinium: bool) -> float:
    """Signal of a tissue, 0..1."""
    row, (tr, te, ti) = TISSUE[tissue], SEQUENCES[sequence]
    t1 = TAKES_UP_GADOLINIUM.get(tissue, row.t1) if gadolinium else row.t1
    recovered = abs(1 - 2 * math.exp(-ti / t1) + math.exp(-tr / t1)) if ti else 1 - math.exp(-tr / t1)
    moving = 0.3 if tissue == "blood" and not gadolinium else 1.0  # flow void
    return round(row.pd * recovered * math.exp(-te / row.t2) * moving, 6)


def mr(scene: Scene, view: View, solids: list[Solid]) -> np.ndarray:
    """One MR slice, uint8 (rows, columns)."""
    rng, draw = draws(scene.seed, "mr"), array_draws(scene.seed, "mr")
    value = {tissue: signal(tissue, scene.technique, scene.contrast) for tissue in TISSUE}
    # White level: what the brightest common tissue gives. Fluid on T2 may saturate, as radiologists set it.
    bright = {"T1": "fat", "T2": "csf", "FLAIR": "gray", "PD": "fat", "STIR": "csf"}[scene.technique]
    white = value[bright] * {"T1": 1.0, "T2": 0.8, "FLAIR": 1.9, "PD": 1.0, "STIR": 0.9}[scene.technique]
    if scene.region == "chest":
        solids = [s for s in solids if not isinstance(s, Folds)]  # vessels in the lung give no signal
    image = paint(solids, view, value, soft=1.6) / white
    image = image * (1 + 0.05 * smooth_noise(draw, view.shape, 4))
    shade = smooth_noise(draw, view.shape, max(view.shape) * 0.7)
    image = image * np.clip(1 + 0.16 * shade, 0.5, 1.6) * rng.uniform(0.75, 1.0)
    spread = rng.uniform(0.018, 0.04)
    real = image + spread * draw.standard_normal(view.shape)
    imaginary = spread * draw.standard_normal(view.shape)
    magnitude = np.sqrt(real * real + imaginary * imaginary)
    return to_bytes(magnitude**0.9)
