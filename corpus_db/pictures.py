"""Make a small 8-bit JPEG of a stored image, for pages."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from corpus_db.phash import canonical
from corpus_db.store import EXTENSIONS, MAX_PIXELS

_SHARE = 0.5  # percent of a deep image's pixels at each end that may turn black or white


def jpeg(file: str | Path, side: int, quality: int) -> bytes:
    """The image at most `side` pixels wide and high, as JPEG; empty where the file cannot be shown."""
    try:
        with Image.open(file, formats=tuple(EXTENSIONS)) as image:
            if image.width * image.height > MAX_PIXELS:
                return b""
            image.draft(None, (side, side))  # a JPEG is decoded at the smallest size that is large enough
            image.load()
            picture = _levelled(canonical(image))
        picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        body = io.BytesIO()
        picture.save(body, "JPEG", quality=quality)
    except Exception:  # whatever a decoder makes of a stranger's bytes: a page shows that the image is not here
        return b""
    return body.getvalue()


def _levelled(image: Image.Image) -> Image.Image:
    """Eight bits: deep values are spread from black to white, but for the few at both ends."""
    if image.mode in ("L", "RGB"):
        return image
    values = np.asarray(image, np.float64)
    low, high = np.percentile(values, (_SHARE, 100 - _SHARE))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / ((high - low) or 1))).clip(0, 255).astype(np.uint8))
