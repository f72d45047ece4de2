"""The image store: bytes as received, named by their sha256, verified first, written so that a kill loses none."""

import contextlib
import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from corpus_db.files import sync

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 100_000_000  # a 10,000 x 10,000 film scan; beyond it a small file may be a decompression bomb
MAX_SIDE = 65_535  # JPEG's own limit; a line of more is no picture, and what resizes it fails
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp", "JPEG2000": "jp2"}
TEMPORARY = ".part"

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap decides


class BadImage(Exception):
    """These bytes do not count as an image; `reason` is a key of reasons.REASONS, `detail` what of it."""

    def __init__(self, reason: str, detail: str | None = None):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def leads_out(path: str) -> bool:
    """Whether a relative path, from a database or a file of a stranger's, may leave the folder that it is joined to."""
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or "\0" in path


@dataclass(frozen=True)
class StoredImage:
    """A verified image: the columns of `image`."""

    sha256: str
    bytes: int
    width: int
    height: int
    mode: str
    format: str
    path: str  # relative to the folder that holds images/


def examine(body: bytes) -> StoredImage:
    """Decode all of an image and describe it; raises BadImage."""
    if not body:
        raise BadImage("empty_body")
    if len(body) > MAX_BYTES:
        raise BadImage("too_large")
    try:
        with Image.open(io.BytesIO(body), formats=tuple(EXTENSIONS)) as image:
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise BadImage("too_many_pixels")
            form, mode, size = image.format or "", image.mode, image.size
            image.load()
    except Image.DecompressionBombError:
        raise BadImage("too_many_pixels") from None
    except UnidentifiedImageError:
        raise BadImage("not_an_image") from None
    except BadImage:
        raise
    except Exception as error:  # Pillow's decoders raise what they like on bytes from strangers
        raise BadImage("truncated_image" if "truncated" in str(error) else "broken_image") from None
    digest = hashlib.sha256(body).hexdigest()
    path = f"images/{digest[:2]}/{digest[2:4]}/{digest}.{EXTENSIONS[form]}"
    return StoredImage(digest, len(body), *size, mode, form, path)


def _size(path: str) -> int | None:
    """Of a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _create(path: str) -> int:
    """A new file, open for writing; its folder is made where it is not there yet."""
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags)


class ImageStore:
    """The folder images/ below `root`; safe to use from several threads."""

    def __init__(self, root: Path, refused: AbstractSet[str] = frozenset()):
        self.root = root
        self.refused = refused  # sha256 of bytes that were taken down for good

    def put(self, body: bytes) -> StoredImage:
        """Verify an image and keep its bytes, durably; raises BadImage, or OSError where the disk refuses."""
        image = examine(body)
        if image.sha256 in self.refused:
            raise BadImage("purged")
        target = os.path.join(self.root, image.path)
        if _size(target) != image.bytes:
            self._write(target, body)
        return image

    def holds(self, sha256: str) -> bool:
        """Whether the bytes of that hash are here."""
        folder = self.root / "images" / sha256[:2] / sha256[2:4]
        return any((folder / f"{sha256}.{ending}").is_file() for ending in EXTENSIONS.values())

    def _write(self, target: str, body: bytes) -> None:
        temporary = f"{target}.{os.getpid()}-{threading.get_ident()}{TEMPORARY}"
        handle = _create(temporary)
        try:
            with open(handle, "wb") as file:
                os.fchmod(handle, 0o644)  # whatever the umask: a team reads its own corpus
                file.write(body)
                file.flush()
                os.fsync(handle)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        sync(os.path.dirname(target))  # the rename itself

    def sweep(self) -> int:
        """Remove what a killed process left half-written; for the holder of the database's lock only."""
        leftovers = list((self.root / "images").glob(f"*/*/*{TEMPORARY}"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)
