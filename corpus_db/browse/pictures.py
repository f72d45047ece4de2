"""Show stored images in a browser: by their sha256 alone, made smaller, 8 bits, as JPEG; kept in memory."""

import threading
from collections import OrderedDict
from pathlib import Path

from sqlalchemy import Engine, select

from corpus_db.gather import table
from corpus_db.pictures import jpeg
from corpus_db.store import leads_out

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
        file = (self.root / path).resolve()
        if leads_out(path) or not file.is_relative_to((self.root / "images").resolve()):
            return b""
        return jpeg(file, side, _QUALITY)

    def _keep(self, key: tuple[str, int], body: bytes) -> None:
        if not body:  # the file may come back
            return
        with self._lock:
            self._bytes += len(body) - len(self._made.pop(key, b""))
            self._made[key] = body
            while self._bytes > _KEPT:
                self._bytes -= len(self._made.popitem(last=False)[1])
