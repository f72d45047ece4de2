"""What each case and image of a sample will be, drawn from the recipe without rendering anything.

Cases are independent of each other's draws: `plan_case(recipe, n)` is the same whatever else is planned, and wherever.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, replace

from rgc.phantom.captions import Shown, caption, case_caption, tells_side
from rgc.phantom.findings import Finding, draw_finding
from rgc.phantom.noise import Noisy, add_noise
from rgc.phantom.recipe import Recipe, draws
from rgc.phantom.scene import Scene
from rgc.phantom.wordings import WORDS

REGIONS = ("head", "chest", "abdomen", "spine", "knee", "hand")
SIZES = (256, 288, 320, 352, 384, 448, 512)
COUNTS = {1: 8, 2: 16, 3: 24, 4: 22, 5: 13, 6: 9, 7: 5, 8: 3}  # images a case: weight
SHARE = {"ct": 0.30, "mr": 0.30, "dx": 0.16, "us": 0.12, "nm": 0.12}
PICTURES = {  # not radiology: modality and plane of the pick lists
    "histology": ("HE - Med Power (~50-200x)", "Histology"),
    "photograph": ("CP - Clinical photograph", "Photograph"),
    "drawing": ("Drawing", "Drawing"),
    "logo": ("LOGO", "Image Plane"),
}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/rgc-vlt/phantom")


@dataclass(frozen=True)
class ImagePlan:
    """One image: how to draw it, what the site says of it, and what the caption is and should be."""

    number: int
    scene: Scene
    picture: str  # "" or a key of PICTURES
    modality: str  # as in the pick list
    plane: str
    words: Noisy
    burnt_in: tuple[tuple[str, str, str], ...]  # kind, text, corner
    montage: str  # the other panel's plane, or ""
    duplicate_of: int | None  # another image's number
    side_visible: bool
    hidden: str  # "", "deleted" or "show"
    figure_part: str | None

    @property
    def name(self) -> str:
        """The file's name on the site."""
        return file_name(self.number, self.duplicate_of is not None)


@dataclass(frozen=True)
class CasePlan:
    """One case and its images."""

    index: int
    case_id: str
    finding: Finding
    images: tuple[ImagePlan, ...]


def file_name(number: int, again: bool) -> str:
    """`synpicN.png`, or `.jpg` of an image that repeats another."""
    return f"synpic{number:05d}.{'jpg' if again else 'png'}"


def stable_id(recipe: Recipe, *name: object) -> str:
    """The UUID of a thing of this sample."""
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, (recipe.seed, *name)))))


def plan_case(recipe: Recipe, index: int) -> CasePlan:
    """One case's plan."""
    rng = draws(recipe.seed, "case", index)
    region = rng.choice(REGIONS)
    finding = draw_finding(region, rng, f"{recipe.seed}/{index}/finding")
    present, shared = rng.random() < 0.62, rng.random() < 0.48
    count = rng.choices(list(COUNTS), list(COUNTS.values()))[0]
    weights = [SHARE[m] for m in recipe.modalities]
    main = rng.choices(recipe.modalities, weights)[0]
    images = []
    for k in range(count):
        draw = draws(recipe.seed, "image", index, k)
        modality = main if draw.random() < 0.7 else draw.choices(recipe.modalities, weights)[0]
        here = replace(finding, present=present and (shared or draw.random() < 0.88))
        images.append(_plan_image(recipe, index, k, _draw_scene(recipe, index, k, modality, here, draw), draw))
    if shared and count > 1:
        images = _share_caption(recipe, index, images)
    images = [_repeat(recipe, index, k, image, images[0]) for k, image in enumerate(images)]
    return CasePlan(index, stable_id(recipe, "case", index), replace(finding, present=present), tuple(images))


def plan_sample(recipe: Recipe) -> list[CasePlan]:
    """All cases' plans."""
    return [plan_case(recipe, n) for n in range(recipe.cases)]


def _draw_scene(recipe: Recipe, index: int, k: int, modality: str, finding: Finding, rng: random.Random) -> Scene:
    """A plane, a technique and a size for one image; none depends on whether the finding is there."""
    region = finding.region
    technique, contrast = "", False
    if modality == "ct":
        plane = rng.choices(("axial", "coronal", "sagittal"), (0.6, 0.2, 0.2))[0]
        technique = "brain" if region == "head" else "soft tissue"
        if rng.random() < 0.12:
            technique = "bone"
        elif region == "chest" and rng.random() < 0.45:
            technique = "lung"
        contrast = rng.random() < 0.5
    elif modality == "mr":
        plane = rng.choices(("axial", "coronal", "sagittal"), (0.5, 0.2, 0.3))[0]
        last = "FLAIR" if region in ("head", "spine") else "STIR"
        technique = rng.choices(("T1", "T2", last, "PD"), (0.36, 0.3, 0.24, 0.1))[0]
        contrast = technique == "T1" and rng.random() < 0.45
    elif modality == "dx":
        plane = rng.choices(("frontal", "lateral"), (0.68, 0.32))[0]
    elif modality == "us":
        plane = rng.choice(("coronal", "sagittal")) if region == "head" else rng.choice(("transverse", "longitudinal"))
    else:
        plane = rng.choices(("frontal", "axial", "coronal"), (0.6, 0.25, 0.15))[0]
    columns, rows = rng.choice(SIZES), rng.choice(SIZES)
    if rng.random() < 0.6 or max(rows, columns) > 1.4 * min(rows, columns):
        rows = columns
    if modality == "us":
        rows = max(256, round(columns * 0.75))
    body = f"{recipe.seed}/{index}"
    return Scene(modality, region, plane, technique, contrast, rows, columns, body, f"{body}/{k}", finding)


def _plan_image(recipe: Recipe, index: int, k: int, scene: Scene, rng: random.Random) -> ImagePlan:
    number = 10_000 + index * 37 + k * 3 + rng.randrange(3)
    burnt = _burnt_in(scene, rng)
    montage = ""
    if rng.random() < 0.02 and scene.modality in ("ct", "mr"):
        montage = rng.choice([p for p in ("axial", "coronal", "sagittal") if p != scene.plane])
        burnt = ()
    side = scene.section != "sagittal" and scene.modality != "us"
    side = side or any(kind == "side_marker" for kind, *_ in burnt) or tells_side(scene.finding)
    picture = rng.choice(sorted(PICTURES)) if k > 0 and rng.random() < 0.03 else ""
    modality, plane, name = pick_list(scene, rng)
    if montage:
        modality, plane = f"{scene.modality.upper()} - Montage", "Multiple or Montage"
    if picture:
        modality, plane = PICTURES[picture]
        burnt, montage = (), ""
    words = WORDS[recipe.wordings]
    told = draws(recipe.seed, recipe.wordings, "caption", index, k)
    if picture:
        sentences = [PICTURE_CAPTIONS[recipe.wordings][picture]]
    else:
        sentences = caption(Shown(scene, side, name, montage), words, told)
    noisy = _noise(recipe, sentences, scene.modality, index, k)
    hidden = rng.choices(("", "deleted", "show"), (0.98, 0.01, 0.01))[0] if k > 0 else ""
    figure = f"{k + 1}{rng.choice(('', 'a', 'b'))}" if rng.random() < 0.19 else None
    return ImagePlan(number, scene, picture, modality, plane, noisy, burnt, montage, None, side, hidden, figure)


PICTURE_CAPTIONS = {
    "development": {
        "histology": "Histology shows clusters of round cells.",
        "photograph": "Clinical photograph of the skin.",
        "drawing": "Drawing of the anatomy.",
        "logo": "Logo of the teaching file.",
    },
    "measure": {
        "histology": "Microscopic section with rounded nuclei.",
        "photograph": "Photograph of the skin surface.",
        "drawing": "Schematic diagram.",
        "logo": "Emblem of the collection.",
    },
}


def _noise(recipe: Recipe, sentences: list[str], modality: str, index: int, k: int | str) -> Noisy:
    seed = recipe.seed if recipe.noise_seed is None else recipe.noise_seed
    rng = draws(seed, recipe.wordings, "noise", index, k)
    return add_noise(sentences, modality, recipe.noise, recipe.wordings, rng)


def _share_caption(recipe: Recipe, index: int, images: list[ImagePlan]) -> list[ImagePlan]:
    """One caption for all radiology images of a case."""
    shown = [Shown(i.scene, i.side_visible, "", "") for i in images if not i.picture]
    told = draws(recipe.seed, recipe.wordings, "caption", index, "all")
    sentences = case_caption(shown, WORDS[recipe.wordings], told)
    noisy = _noise(recipe, sentences, shown[0].scene.modality, index, "all")
    return [image if image.picture else replace(image, words=noisy) for image in images]


def _repeat(recipe: Recipe, index: int, k: int, image: ImagePlan, first: ImagePlan) -> ImagePlan:
    """Now and then an image is its case's first one again, or an earlier case's first one, re-encoded."""
    rng = draws(recipe.seed, "repeat", index, k)
    if k == 0 or image.picture or rng.random() >= 0.025:
        return image
    source = first
    if index > 0 and rng.random() < 0.4:
        source = plan_case(recipe, rng.randrange(index)).images[0]
    return replace(source, number=image.number, duplicate_of=source.number, figure_part=image.figure_part)


def _burnt_in(scene: Scene, rng: random.Random) -> tuple[tuple[str, str, str], ...]:
    """Text in the picture: kind, text and corner (tl tr bl br)."""
    out = []
    marker = {"dx": 0.3, "us": 0.25, "ct": 0.06, "mr": 0.04, "nm": 0.1}[scene.modality]
    if rng.random() < marker:
        if scene.section == "sagittal" or scene.modality == "us":
            side = {"left": "L", "right": "R"}.get(scene.finding.side)
            if side:  # of a lateral view, the side it was taken on
                text = {"us": f"{side}T"}.get(scene.modality, side)
                out.append(("side_marker", text, "tl"))
        else:
            out.append(rng.choice((("side_marker", "R", "tl"), ("side_marker", "L", "tr"))))
    if rng.random() < 0.04:
        out.append(("logo", "PhantomPix", "br"))
    if rng.random() < 0.03:
        who = rng.choice(("DOE^JANE", "ROE^RICHARD", "MUSTER^MAX", "SAMPLE^SUE"))
        out.append(
            ("name_date", f"{who} {rng.randint(1, 12):02d}/{rng.randint(1, 28):02d}/{rng.randint(1994, 2015)}", "bl")
        )
    return tuple(out)


def pick_list(scene: Scene, rng: random.Random) -> tuple[str, str, str]:
    """MedPix's modality and plane strings, and the plane's name in a caption."""
    plane, name = scene.plane.capitalize(), scene.plane
    if scene.modality == "ct":
        choices = ("CT w/contrast (IV)", "CT w/contrast (IV)", "CT - GI & IV Contrast")
        modality = rng.choice(choices) if scene.contrast else "CT - noncontrast"
    elif scene.modality == "mr":
        modality = {
            "T1": "MR - T1W w/Gadolinium" if scene.contrast else "MR - T1W - noncontrast",
            "T2": "MR - T2 weighted",
            "FLAIR": "MR - FLAIR",
            "PD": "MR - PDW Proton Density",
            "STIR": "MR - STIR",
        }[scene.technique]
    elif scene.modality == "dx":
        modality = "XR - Plain Film"
        if scene.plane == "frontal":
            plane = (
                rng.choice(("AP", "PA", "Frontal"))
                if scene.region in ("chest", "hand")
                else rng.choice(("AP", "Frontal"))
            )
            name = "frontal" if plane == "Frontal" else plane
    elif scene.modality == "us":
        modality = "US - Ultrasound"
    else:
        modality = "NM - Nuclear Medicine" if scene.plane == "frontal" else "SPECT - Single Photon"
        if scene.plane == "frontal":
            plane, name = rng.choice(("Frontal", "AP")), "anterior"
    return modality, plane, name
