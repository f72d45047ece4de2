"""Show stored images in a browser: by their sha256 alone, made smaller, 8 bits, as JPEG; kept in memory."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image
from sqlalchemy import Engine, select

from corpus_db.gather import table
from corpus_db.phash import canonical
from corpus_db.report.thumbs import levelled
from corpus_db.store import EXTENSIONS, MAX_PIXELS, leads_out

SIDES = {"thumb": 160, "image": 1024}  # pixels of the longer side, at most
_KEPT = 64 * 2**20  # bytes of pictures in memory
_QUALITY = 88


class Pictures:
    """The images of one corpus as a browser can show them; safe to use from several threads."""

    def __init__(self, engine: Engine, root: Path):
        self.engine, self.root = engine, root.resolve()
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()  # the one used last at the end
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, sha256: str, side: int) -> bytes | None:
        """JPEG of at most `side` pixels; empty where the file cannot be shown, None where the database lacks it."""
        image = table("image")
        with self.engine.connect() as connection:  # each time: what was purged meanwhile must not be shown from memory
            path = connection.execute(select(image.c.path).where(image.c.sha256 == sha256)).scalar()
        if path is None:
            return None
        with self._lock:
            if (sha256, side) in self._made:
                self._made.move_to_end((sha256, side))
                return self._made[sha256, side]
        body = self._make(path, side)
        self._keep((sha256, side), body)
        return body

    def _make(self, path: str, side: int) -> bytes:
        try:
            file = (self.root / path).resolve()
            if leads_out(path) or not file.is_relative_to((self.root / "images").resolve()):
                return b""
            with Image.open(file, formats=tuple(EXTENSIONS)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return b""
                image.draft(None, (side, side))  # a JPEG is decoded at the smallest size that is large enough
                image.load()
                picture = levelled(canonical(image))
            picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
            body = io.BytesIO()
            picture.save(body, "JPEG", quality=_QUALITY)
        except Exception:  # whatever a decoder makes of a stranger's bytes: the page shows that the image is not here
            return b""
        return body.getvalue()

    def _keep(self, key: tuple[str, int], body: bytes) -> None:
        if not body:  # the file may come back
            return
        with self._lock:
            self._bytes += len(body) - len(self._made.pop(key, b""))
            self._made[key] = body
            while self._bytes > _KEPT:
                self._bytes -= len(self._made.popitem(last=False)[1])
