"""A planned image becomes the bytes of its file and the row of its truth."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from rgc.phantom.findings import measured_mm
from rgc.phantom.overlay import Box, burn_in, side_by_side
from rgc.phantom.pictures import picture
from rgc.phantom.plan import CasePlan, ImagePlan, file_name, plan_case
from rgc.phantom.recipe import Recipe, draws
from rgc.phantom.records import image_id
from rgc.phantom.render import render

DICOM = {"ct": "CT", "mr": "MR", "dx": "DX", "us": "US", "nm": "NM"}
BurntIn = list[dict[str, Any]]


def pixels_of(image: ImagePlan) -> tuple[np.ndarray, Box | None, BurntIn]:
    """Pixels (uint8, rows x columns) of an image, its finding's box and its burnt-in texts."""
    scene = image.scene
    if image.picture:
        return picture(image.picture, scene.rows, scene.columns, scene.seed), None, []
    if image.montage:
        scene = replace(scene, rows=256, columns=254)
        other = replace(scene, plane=image.montage, seed=f"{scene.seed}/other")
        left, right = render(scene), render(other)
        return side_by_side(left.pixels, right.pixels), left.box, []
    pixels, box = render(scene)
    burnt: BurntIn = []
    for kind, text, corner in image.burnt_in:
        pixels, where = burn_in(pixels, text, corner, big=kind == "side_marker")
        burnt.append({"box": list(where), "text": text, "kind": kind})
    return pixels, box, burnt


def png(pixels: np.ndarray) -> bytes:
    """An 8-bit grey PNG, each row filtered by its left neighbours (filter 1); no time stamp, no text."""
    rows, columns = pixels.shape
    left = np.zeros_like(pixels)
    left[:, 1:] = pixels[:, :-1]
    lines = np.empty((rows, columns + 1), dtype=np.uint8)
    lines[:, 0], lines[:, 1:] = 1, pixels - left  # uint8 wraps, as PNG wants it
    body = zlib.compress(lines.tobytes(), 4)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def again(pixels: np.ndarray, seed: str) -> tuple[np.ndarray, bytes, float]:
    """A re-encoded copy: perhaps smaller, always JPEG. Its pixels before the JPEG, the file, and its scale."""
    rng = draws(seed, "again")
    scale = rng.choice((1.0, 1.0, 0.75))
    copy = Image.fromarray(pixels)
    if scale != 1.0:
        copy = copy.resize((round(copy.width * scale), round(copy.height * scale)), Image.Resampling.BOX)
    out = io.BytesIO()
    copy.save(out, "JPEG", quality=rng.randint(70, 92))
    return np.asarray(copy), out.getvalue(), scale


def draw_case(recipe: Recipe, index: int) -> tuple[CasePlan, list[tuple[str, bytes, np.ndarray]], list[dict[str, Any]]]:
    """A case's plan; of each image its name, file and pixels (before a JPEG); and the truth's rows."""
    case = plan_case(recipe, index)
    files, truth = [], []
    for image in case.images:
        pixels, box, burnt = pixels_of(image)
        if image.duplicate_of is None:
            data = png(pixels)
        else:
            pixels, data, scale = again(pixels, f"{recipe.seed}/{image.number}")
            box = _scaled(box, scale)
            burnt = [b | {"box": list(_scaled(tuple(b["box"]), scale) or ())} for b in burnt]
        files.append((image.name, data, pixels))
        truth.append(truth_row(recipe, case, image, box, burnt))
    return case, files, truth


def truth_row(recipe: Recipe, case: CasePlan, image: ImagePlan, box: Box | None, burnt: BurntIn) -> dict[str, Any]:
    """One line of truth.jsonl."""
    scene, finding, radiology = image.scene, image.scene.finding, not image.picture
    shown = radiology and finding.present
    sized = shown and finding.kind not in ("fracture", "effusion")
    plane = f"{scene.plane}+{image.montage}" if image.montage else scene.plane
    return {
        "image_id": image_id(recipe, image),
        "name": image.name,
        "case_id": case.case_id,
        "caption": image.words.served,
        "clean_caption": image.words.clean,
        "drop_reason": image.words.drop_reason,
        "noise": image.words.kinds,
        "modality": DICOM[scene.modality] if radiology else None,
        "sequence": scene.technique if radiology and scene.modality == "mr" else None,
        "window": scene.technique if radiology and scene.modality == "ct" else None,
        "contrast": scene.contrast if radiology and scene.modality in ("ct", "mr") else None,
        "plane": plane if radiology else None,
        "region": scene.region if radiology else None,
        "finding": finding.kind if shown else None,
        "place": finding.place if shown else None,
        "side": finding.side if shown and image.side_visible else None,
        "size_mm": measured_mm(finding) if sized else None,
        "box": list(box) if box and shown else None,
        "burnt_in": burnt,
        "duplicate_of": None if image.duplicate_of is None else file_name(image.duplicate_of, False),
        "montage": bool(image.montage),
        "radiology": radiology,
    }


def _scaled(box: tuple[int, ...] | None, scale: float) -> Box | None:
    if box is None:
        return None
    x0, y0, x1, y1 = (round(v * scale) for v in box)
    return x0, y0, x1, y1
