"""Pictures that are no radiology: what a crawl of MedPix also brings."""

from __future__ import annotations

import numpy as np

from rgc.phantom.recipe import array_draws
from rgc.phantom.texture import blur, smooth_noise, to_bytes


def picture(kind: str, rows: int, columns: int, seed: str) -> np.ndarray:
    """A histology, photograph, drawing or logo picture, uint8 (rows, columns)."""
    draw = array_draws(seed, "picture", kind)
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    if kind == "histology":
        image = 0.74 + 0.07 * smooth_noise(draw, (rows, columns), 14)
        for _ in range(260):
            cy, cx, r = draw.uniform(0, rows), draw.uniform(0, columns), draw.uniform(3.5, 6.5)
            near = (slice(max(0, int(cy - 9)), int(cy + 9)), slice(max(0, int(cx - 9)), int(cx + 9)))
            inside = np.clip(r - np.hypot(y[near] - cy, (x[near] - cx) * draw.uniform(0.7, 1.3)), 0, 1)
            image[near] = image[near] * (1 - inside) + draw.uniform(0.2, 0.4) * inside
        return to_bytes(blur(image, 0.7) + 0.02 * draw.standard_normal((rows, columns)))
    if kind == "photograph":
        light = 0.75 - 0.3 * np.hypot((x / columns - 0.4), (y / rows - 0.35))
        spot = np.exp(-(((x / columns - 0.55) / 0.13) ** 2 + ((y / rows - 0.5) / 0.1) ** 2))
        return to_bytes(
            light
            - 0.25 * spot
            + 0.03 * smooth_noise(draw, (rows, columns), 8)
            + 0.02 * smooth_noise(draw, (rows, columns), 2)
        )
    image = np.full((rows, columns), 0.97)
    rings = 4 if kind == "drawing" else 2
    for n in range(rings):
        cy, cx = rows * (0.5 + 0.12 * draw.uniform(-1, 1)), columns * (0.5 + 0.12 * draw.uniform(-1, 1))
        r = min(rows, columns) * (0.12 + 0.09 * n)
        line = np.abs(np.hypot((y - cy) * draw.uniform(0.8, 1.2), x - cx) - r)
        image = np.minimum(image, np.clip(line - (1.0 if kind == "drawing" else 6.0), 0.08, 0.97))
    return to_bytes(image)
