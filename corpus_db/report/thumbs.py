"""Make small pictures of image files for a page that holds them itself, as data: addresses."""

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from corpus_db.phash import canonical
from corpus_db.store import EXTENSIONS, MAX_PIXELS, leads_out
from corpus_db.workers import mapped

SIDE = 192  # pixels of the longer side
_QUALITY = 70
_SHARE = 0.5  # percent of a deep image's pixels at each end that may turn black or white


def thumbnails(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Each path below `root` -> its small picture as a data: address, empty where it cannot be read or leads out."""
    wanted = sorted(set(paths))
    files = [None if leads_out(path) else str(root / path) for path in wanted]
    made = [uri for batch in mapped(_small, files) for uri in batch]
    return dict(zip(wanted, made, strict=True))


def _small(paths: Sequence[str | None]) -> list[str]:
    return [_one(path) if path else "" for path in paths]


def _one(path: str) -> str:
    try:
        with Image.open(path, formats=tuple(EXTENSIONS)) as image:
            if image.width * image.height > MAX_PIXELS:
                return ""
            image.draft(None, (SIDE, SIDE))  # a JPEG is decoded at the smallest size that is large enough
            image.load()
            picture = levelled(canonical(image))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
        body = io.BytesIO()
        picture.save(body, "JPEG", quality=_QUALITY)
    except Exception:  # whatever a decoder makes of a stranger's bytes: a report shows that the image is not here
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(body.getvalue()).decode('ascii')}"


def levelled(image: Image.Image) -> Image.Image:
    """Eight bits: deep values are spread from black to white, but for the few at both ends."""
    if image.mode in ("L", "RGB"):
        return image
    values = np.asarray(image, np.float64)
    low, high = np.percentile(values, (_SHARE, 100 - _SHARE))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / ((high - low) or 1))).clip(0, 255).astype(np.uint8))
