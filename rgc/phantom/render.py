"""A scene becomes pixels, and the box of its finding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rgc.phantom.anatomy import anatomy
from rgc.phantom.ct import ct
from rgc.phantom.dx import dx
from rgc.phantom.findings import solids as finding_solids
from rgc.phantom.mr import mr
from rgc.phantom.nm import nm
from rgc.phantom.recipe import draws
from rgc.phantom.scene import Scene, one_limb, view_of
from rgc.phantom.shapes import Array, Point, Solid, Tube, View, paint, project
from rgc.phantom.tissue import TISSUE
from rgc.phantom.us import fan_of, sector, to_screen, us

Box = tuple[int, int, int, int]


class Picture(NamedTuple):
    """Pixels, uint8 (rows, columns), and the finding's box x0, y0, x1, y1 (px, the ends not included) or None."""

    pixels: np.ndarray
    box: Box | None


def render(scene: Scene, without_finding: bool = False) -> Picture:
    """Render a scene; `without_finding` leaves the finding out and changes nothing else."""
    body = anatomy(scene.region, draws(scene.body_seed, "anatomy"), open_skull=scene.modality == "us")
    drawn, target = finding_solids(scene.finding)
    if scene.modality == "us":
        body = _window_for_sound(body, scene.region)
    if scene.section == "sagittal" or scene.modality == "us":
        body, drawn = one_limb(body, target, scene.region), one_limb(drawn, target, scene.region)
    present = scene.finding.present and not without_finding
    everything = [*body, *drawn] if present else body
    view = view_of(scene)
    if scene.modality == "us":
        pixels = us(scene, everything, target)
    elif scene.modality == "ct":
        pixels = ct(scene, view, everything)
    elif scene.modality == "mr":
        pixels = mr(scene, view, everything)
    else:
        image = dx if scene.modality == "dx" else nm
        pixels = image(scene, view, everything, everything if not present else body)
    box = _box(scene, view, drawn, body, target) if present else None
    return Picture(pixels, box)


def _window_for_sound(body: list[Solid], region: str) -> list[Solid]:
    """What a sonographer avoids is left out: ribs, and the shell of the lung's surface."""
    if region not in ("chest", "abdomen"):
        return body
    return [s for s in body if not (isinstance(s, Tube) and s.tissue == "bone")]


def _box(scene: Scene, view: View, drawn: list[Solid], body: list[Solid], target: Point) -> Box | None:
    """The smallest box of the px that the finding fills by half or more; a little wider for blurred modalities."""
    ones = {tissue: 1.0 for tissue in TISSUE} | {"air": 0.0}
    margin = 1
    if scene.modality == "us":
        fan, plane = fan_of(scene, body, target)
        mirrored = scene.region != "head" and target[0] < 0
        cover: Array = to_screen(
            fan, sector(fan, plane, paint(drawn, plane, ones), mirrored), (scene.rows, scene.columns)
        )
    elif scene.modality == "dx" or scene.plane in ("frontal", "lateral"):
        depth = np.zeros(view.shape)
        for solid in drawn:  # one by one, each against nothing: parts of a finding must not cancel
            depth += np.abs(project([solid], view, ones | {solid.inside: 0.0, solid.tissue: 1.0}))
        cover = depth / 2.0
    else:
        cover = paint(drawn, view, ones)
    rows, columns = np.flatnonzero((cover >= 0.5).any(1)), np.flatnonzero((cover >= 0.5).any(0))
    if not rows.size:
        return None
    if scene.modality == "nm":
        margin = max(2, round(2.0 / view.mm))
    return (
        max(0, int(columns[0]) - margin),
        max(0, int(rows[0]) - margin),
        min(scene.columns, int(columns[-1]) + 1 + margin),
        min(scene.rows, int(rows[-1]) + 1 + margin),
    )
