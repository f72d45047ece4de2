"""What one image shows, as a few values that a picture is rendered from, and the view that they mean."""

from __future__ import annotations

from dataclasses import dataclass

from rgc.phantom.findings import Finding, solids
from rgc.phantom.limbs import HAND_X, KNEE_X
from rgc.phantom.recipe import draws
from rgc.phantom.shapes import Point, Solid, View

# Height and width of the field of view, mm, by region: axial, coronal, sagittal.
FIELD: dict[str, dict[str, tuple[float, float]]] = {
    "head": {"axial": (216, 182), "coronal": (215, 190), "sagittal": (225, 225)},
    "chest": {"axial": (270, 368), "coronal": (360, 370), "sagittal": (360, 290)},
    "abdomen": {"axial": (262, 362), "coronal": (370, 360), "sagittal": (370, 270)},
    "spine": {"axial": (190, 210), "coronal": (250, 200), "sagittal": (260, 200)},
    "knee": {"axial": (140, 280), "coronal": (230, 290), "sagittal": (210, 150)},
    "hand": {"axial": (90, 240), "coronal": (235, 260), "sagittal": (235, 120)},
}
MIDDLE: dict[str, Point] = {
    "head": (0, -4, -8),
    "chest": (0, 4, -8),
    "abdomen": (0, 0, -20),
    "spine": (0, 46, 0),
    "knee": (0, 4, 4),
    "hand": (0, 2, -12),
}
PLANE_OF = {"frontal": "coronal", "lateral": "sagittal", "transverse": "axial", "longitudinal": "sagittal"}


@dataclass(frozen=True)
class Scene:
    """One image before it is rendered. `plane` is anatomical (axial, coronal, sagittal) or a projection's or a scan's
    (frontal, lateral, transverse, longitudinal); `technique` a sequence, a CT window or nothing."""

    modality: str  # ct mr dx us nm
    region: str
    plane: str
    technique: str
    contrast: bool
    rows: int
    columns: int
    body_seed: str
    seed: str
    finding: Finding

    @property
    def section(self) -> str:
        """The anatomical plane of the image; along the flank, a longitudinal scan is coronal."""
        if self.plane == "longitudinal" and self.region in ("chest", "abdomen"):
            return "coronal"
        return PLANE_OF.get(self.plane, self.plane)


def view_of(scene: Scene) -> View:
    """The window on the plane through the finding's place, whether the finding is there or not."""
    rng = draws(scene.seed, "view")
    target = solids(scene.finding)[1]
    height, width = FIELD[scene.region][scene.section]
    mm = max(height / scene.rows, width / scene.columns) * rng.uniform(1.0, 1.1)
    off = 0.12 * scene.finding.size_mm
    centre = list(MIDDLE[scene.region])
    through = {"axial": 2, "coronal": 1, "sagittal": 0}[scene.section]
    for axis in range(3):
        centre[axis] += rng.uniform(-4, 4)
    centre[through] = target[through] + rng.uniform(-off, off)
    if scene.section != "axial" and scene.region == "abdomen" and target[2] > 100:
        centre[2] += 60  # the lower ribs
    return View(scene.section, (centre[0], centre[1], centre[2]), (scene.rows, scene.columns), mm)


def one_limb(parts: list[Solid], target: Point, region: str) -> list[Solid]:
    """The solids of the limb that holds the target: a lateral view shows one limb."""
    if region not in ("knee", "hand"):
        return parts
    reach = KNEE_X if region == "knee" else HAND_X
    kept = []
    for part in parts:
        low, high = part.bounds()
        if ((low[0] + high[0]) / 2 > 0) == (target[0] > 0) and reach:
            kept.append(part)
    return kept
