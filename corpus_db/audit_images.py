"""Look at image files for the audit: are the bytes those that were frozen, and which of them show one picture?"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from corpus_db import audit_near, burnt_in
from corpus_db.progress import told
from corpus_db.store import MAX_BYTES, MAX_PIXELS, leads_out
from corpus_db.workers import mapped

_MANY = 128  # images or pairs from which a line says what is under way
_SQUARES = 1000  # images that a process keeps ready for comparison, 16 KiB each
Say = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """What one file holds. With a `fault` (missing, altered, unreadable) nothing else of it is known."""

    fault: str | None = None
    side: int = 0  # the shorter one, in pixels
    pixels: str = ""  # sha256 of the decoded pixels
    thumbnails: np.ndarray | None = None  # as audit_near makes them; float16, 3 KiB
    text: float = 0.0  # as burnt_in scores it


@dataclass(frozen=True)
class Alike:
    """Two images, by sha256, that show one picture, or may."""

    one: str
    other: str
    kind: str  # pixels, near, suspect
    likeness: float  # 0 to 1


class Images:
    """The image files below `root`, by the sha256 that they should have."""

    def __init__(self, root: Path, paths: Mapping[str, str], say: Say = lambda line: None):
        self.files = {sha256: None if leads_out(path) else root / path for sha256, path in sorted(paths.items())}
        self.say = say
        if len(paths) > _MANY:
            say(f"audit: reading {len(paths)} images")
        chunks = mapped(_see_all, list(self.files.items()))
        seen = (one for chunk in told(chunks, len(paths), "images read", say) for one in chunk)
        self.seen: dict[str, Seen] = dict(zip(self.files, seen, strict=True))

    def alike(self, ones: Sequence[str], others: Sequence[str]) -> list[Alike]:
        """Each of `ones` with each of `others` (sha256) that shows the same picture from other bytes, or may."""
        ones, others = ([key for key in keys if not self.seen[key].fault] for keys in (ones, others))
        by_pixels = defaultdict(list)
        for key in others:
            by_pixels[self.seen[key].pixels].append(key)
        same = [(one, other) for one in ones for other in by_pixels[self.seen[one].pixels] if one != other]
        found = [Alike(one, other, "pixels", 1.0) for one, other in same]
        proposed = [
            (ones[i], others[j])
            for i, j in audit_near.candidates(self._thumbnails(ones), self._thumbnails(others))
            if self.seen[ones[i]].pixels != self.seen[others[j]].pixels
        ]
        if len(proposed) > _MANY:
            self.say(f"audit: comparing {len(proposed)} pairs of images that may be one")
        files = [(self.files[one], self.files[other]) for one, other in proposed]
        chunks = told(mapped(_compare_all, files), len(files), "pairs compared", self.say)
        scores = (score for chunk in chunks for score in chunk)
        for (one, other), likeness in zip(proposed, scores, strict=True):
            if likeness >= audit_near.SUSPECT:
                found.append(Alike(one, other, "near" if likeness >= audit_near.SAME else "suspect", likeness))
        return found

    def _thumbnails(self, keys: Sequence[str]) -> np.ndarray:
        return np.array([self.seen[key].thumbnails for key in keys])


def _see_all(files: Sequence[tuple[str, Path | None]]) -> list[Seen]:
    return [_see(sha256, path) for sha256, path in files]


def _see(sha256: str, path: Path | None) -> Seen:
    try:
        if path is None or not path.is_file():
            return Seen("missing")
        if path.stat().st_size > MAX_BYTES:
            return Seen("altered")
        body = path.read_bytes()
    except OSError:
        return Seen("missing")
    if hashlib.sha256(body).hexdigest() != sha256:
        return Seen("altered")
    try:
        with Image.open(io.BytesIO(body)) as image:
            if image.width * image.height > MAX_PIXELS:
                return Seen("unreadable")
            shown = ImageOps.exif_transpose(image)
            side, pixels, grey = min(shown.size), _pixels(shown), _grey(shown)
    except Exception:  # Pillow's decoders raise what they like on bytes from strangers
        return Seen("unreadable")
    return Seen(None, side, pixels, audit_near.thumbnails(audit_near.square(grey)), burnt_in.suspects(grey))


def _pixels(image: Image.Image) -> str:
    """The sha256 of size and pixels, equal for a grey image and the same one in colour channels."""
    plain = image if image.mode[0] in "IF" else image.convert("RGB")
    return hashlib.sha256(f"{plain.mode[0]} {plain.size} ".encode() + plain.tobytes()).hexdigest()


def _grey(image: Image.Image) -> Image.Image:
    """Grey levels; values deeper than 8 bits are spread over 0 to 255."""
    if image.mode[0] not in "IF":
        return image.convert("L")
    values = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
    values = values - values.min()
    return Image.fromarray((values * (255 / (values.max() or 1))).astype(np.uint8))


def _compare_all(files: Sequence[tuple[Path | None, Path | None]]) -> list[float]:
    return [audit_near.likeness(_square(one), _square(other)) for one, other in files]


@lru_cache(_SQUARES)
def _square(path: Path | None) -> Image.Image:
    assert path is not None  # only what was seen is compared
    with Image.open(path) as image:
        return audit_near.square(_grey(ImageOps.exif_transpose(image)))
