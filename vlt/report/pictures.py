"""Images as a page carries them: small ones as data addresses, made of files that anybody may have named."""

import base64
import io
from pathlib import Path

from PIL import Image

from corpus_db.read import UserError
from corpus_db.read import image as read_image

SIDE = 176  # pixels of a thumbnail's longer side
QUALITY = 80
PNG = b"\x89PNG\r\n\x1a\n"
MOST_BYTES = 2 * 2**20  # of a picture that is taken as it is


def thumbnail(path: str | None) -> str:
    """A small JPEG of an image as a data address; "" where the image is not there or cannot be read."""
    try:
        if not path or not Path(path).is_file():  # a pipe would wait for ever
            return ""
        small = Image.fromarray(read_image(path))
        small.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        small.convert("L" if small.mode == "L" else "RGB").save(file, "JPEG", quality=QUALITY)
    except (UserError, OSError, ValueError):
        return ""
    return _address("jpeg", file.getvalue())


def drawn(path: Path) -> str:
    """A PNG that `evaluate` drew, as it is, as a data address; "" where it is not there or none."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return ""
        content = path.read_bytes()
    except OSError:
        return ""
    return _address("png", content) if content.startswith(PNG) else ""


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
