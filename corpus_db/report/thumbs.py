"""Make small pictures of image files for a page that holds them itself, as data: addresses."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

from corpus_db.pictures import jpeg
from corpus_db.store import leads_out
from corpus_db.workers import mapped

SIDE = 192  # pixels of the longer side
_QUALITY = 70


def thumbnails(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Each path below `root` -> its small picture as a data: address, empty where it cannot be read or leads out."""
    wanted = sorted(set(paths))
    files = [None if leads_out(path) else str(root / path) for path in wanted]
    made = [uri for batch in mapped(_small, files) for uri in batch]
    return dict(zip(wanted, made, strict=True))


def _small(paths: Sequence[str | None]) -> list[str]:
    return [_one(path) if path else "" for path in paths]


def _one(path: str) -> str:
    body = jpeg(path, SIDE, _QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(body).decode('ascii')}" if body else ""
