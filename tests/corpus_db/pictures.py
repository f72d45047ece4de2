"""A small corpus with real image files, which can be crawled again, changed and built."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import Engine, insert, select, update

from corpus_db import db
from corpus_db.gather import table
from corpus_db.models import now
from corpus_db.store import ImageStore, StoredImage
from corpus_db.tombstones import PURGED
from tests.corpus_db import corpus
from tests.corpus_db.corpus import Filler, image


def read(kind: str, body: Any) -> Any:
    """The tests' reader, for bodies that may bear the mark of what was cut out of them."""
    return corpus.read(kind, {name: value for name, value in body.items() if name != PURGED})


READERS = {"test": read}


def png(seed: int) -> bytes:
    """A 48 x 48 grey image of smooth noise, of its own for each seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(cells).resize((48, 48), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


class Pictures(Filler):
    """`Filler` whose images are files of the store."""

    def __init__(self, engine: Engine, root: Path, name: str = "medpix") -> None:
        super().__init__(engine, name)
        self.root = root

    def picture(self, key: str, seed: int | None = None) -> StoredImage:
        """The image's fetch row, its bytes on disk, and their rows."""
        stored = ImageStore(self.root).put(png(seed if seed is not None else abs(hash_of(key))))
        path = f"/images/full/synpic{key}.png"
        with self.engine.begin() as connection:
            known = connection.execute(select(table("fetch").c.id).where(table("fetch").c.path == path)).first()
            if (
                connection.execute(select(table("image")).where(table("image").c.sha256 == stored.sha256)).first()
                is None
            ):
                connection.execute(insert(table("image")).values(**vars(stored)))
            ref = {"source_id": self.source_id, "upstream_name": f"synpic{key}", "path": path}
            connection.execute(insert(table("image_ref")).values(**ref, image_sha256=stored.sha256, seen_at=now()))
        if not known:
            self.fetched(path, "image", etag='"1"')
        return stored

    def pictured(self, key: str, caption: str, **changes: Any) -> dict[str, Any]:
        """A listed image whose address is that of `picture`."""
        return image(key, changes.pop("case", None), caption, url=f"/images/full/synpic{key}.png", **changes)

    def said_anew(self, case: str, *images: dict[str, Any], **fields: Any) -> None:
        """A later pass found the case changed."""
        self.said("encounter", {"key": case, "images": images, **fields})

    def reached(self, path: str, status: str) -> None:
        """A later pass ended otherwise."""
        fetch = table("fetch")
        with self.engine.begin() as connection:
            connection.execute(update(fetch).where(fetch.c.path == path).values(status=status))


def hash_of(key: str) -> int:
    """A small number of a key, the same in every process."""
    return int.from_bytes(key.encode()[-6:], "big") % 100_003


CAPTIONS = {
    "11": "Axial CT of the chest shows a spiculated mass in the left upper lobe.",
    "12": "Axial CT, the same spiculated mass with pleural contact.",
    "21": "Coronal MR of the knee with a torn meniscus and joint fluid.",
    "31": "Axial CT of the abdomen with a hypodense liver lesion of 3 cm.",
    "41": "Sagittal MR of the spine with a collapsed vertebral body at L1.",
}


def fill_pictures(engine: Engine) -> Pictures:
    """Four cases, five images; image 41's bytes are those of 31 under another caption."""
    filler = Pictures(engine, db.image_root(engine.url))
    for number in "1234":
        keys = [key for key in CAPTIONS if key.startswith(number)]
        filler.case(f"case{number}", *(filler.pictured(key, CAPTIONS[key]) for key in keys), title=f"Case {number}")
    for key in CAPTIONS:
        filler.picture(key, seed=hash_of("31") if key == "41" else None)
    return filler
