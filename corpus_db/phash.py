"""Signatures of an image: a hash of its pixels in one canonical form, and a perceptual hash that finds its copies."""

import contextlib
import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageOps

GRID = 128  # side, in cells, of the square that images are compared on
FLAT = 1.0  # grey levels: below this standard deviation of the grid there is no structure to hash
_SIDE = 32  # the perceptual hash sees this many cells a side
_KEPT = 8  # and keeps this many frequencies a side: 64 bits
# Shares cut off the left, top, right and bottom: the whole image, smaller ones in its middle and in its four corners.
_CROPS = (
    (0.0, 0.0, 0.0, 0.0),
    (0.02, 0.02, 0.02, 0.02),
    (0.04, 0.04, 0.04, 0.04),
    (0.03, 0.03, 0.0, 0.0),
    (0.0, 0.03, 0.03, 0.0),
    (0.03, 0.0, 0.0, 0.03),
    (0.0, 0.0, 0.03, 0.03),
)
_DEEP = ("I", "F")  # and I;16 in its byte orders: modes with more than 8 bits a channel


@dataclass(frozen=True)
class Signature:
    """What an image is found by.

    `phash`: 112 hex digits, 64 bits each of the whole image and of six crops; `pixel_sha256`: of its canonical form.
    """

    phash: str
    pixel_sha256: str


def canonical(image: Image.Image) -> Image.Image:
    """The image that a viewer shows: mode L if all its pixels are grey, I or F if deeper than 8 bits, else RGB.

    An animation gives its first frame, EXIF orientation is applied, transparency lies on black. Deep images whose
    values are whole and within 0..255 become L. Any image that Pillow has loaded is accepted, and left as it is.
    """
    if getattr(image, "n_frames", 1) > 1:
        with contextlib.suppress(EOFError, OSError, ValueError):
            image.seek(0)
    with contextlib.suppress(Exception):  # EXIF from strangers: what cannot be read turns nothing
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(_DEEP):
        return _deep(image)
    if "transparency" in image.info or image.mode in ("PA", "LA", "La", "RGBA", "RGBa"):
        shown = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    try:
        image = image.convert("RGB")
    except (ValueError, OSError, ImportError):  # LAB needs an optional part of Pillow: its lightness is its grey
        return image.getchannel(0)
    red, green, blue = image.split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else image


def _deep(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32 if image.mode == "F" else np.int32)
    values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    if values.min() >= 0 and values.max() <= 255 and (values == np.floor(values)).all():
        return Image.fromarray(values.astype(np.uint8))
    return Image.fromarray(values)


def grid(shown: Image.Image) -> np.ndarray:
    """A canonical image as GRID x GRID uint8 grey levels, squeezed to a square; deep values span black to white."""
    if shown.mode in ("I", "F"):
        values = np.asarray(shown, np.float64)
        low, high = values.min(), values.max()
        shown = Image.fromarray(((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    return np.asarray(shown.convert("L").resize((GRID, GRID), Image.Resampling.BILINEAR))


def pixel_sha256(shown: Image.Image) -> str:
    """The sha256, in hex, of a canonical image's mode, size and pixels."""
    header = f"{shown.mode} {shown.width} {shown.height}\n".encode()
    return hashlib.sha256(header + shown.tobytes()).hexdigest()


def signature(image: Image.Image) -> Signature:
    """The signature of any image that Pillow has loaded; never raises for one.

    A flat image has nothing to hash: its `phash` is taken from its pixels' sha256, so that only equals meet.
    """
    shown = canonical(image)
    pixels, cells = pixel_sha256(shown), grid(shown)
    if cells.std() < FLAT:
        return Signature(pixels[:16] * len(_CROPS), pixels)
    square = Image.fromarray(cells)
    return Signature("".join(_hash(square, crop) for crop in _CROPS), pixels)


@cache
def _cosines() -> np.ndarray:
    """The first _KEPT rows of the DCT-II of _SIDE points."""
    frequency, point = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * frequency * (2 * point + 1) / (2 * _SIDE))


def _hash(square: Image.Image, crop: tuple[float, ...]) -> str:
    """pHash (Zauner, 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"), 16 hex digits.

    Each bit says whether one of the 64 lowest DCT coefficients is above the median of all but the mean's.
    """
    left, top, right, bottom = (GRID * share for share in crop)
    box = (left, top, GRID - right, GRID - bottom)
    cells = np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box), np.float64)
    waves = (_cosines() @ cells @ _cosines().T).ravel()
    return np.packbits(waves > np.median(waves[1:])).tobytes().hex()
