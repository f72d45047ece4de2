"""What the tests of imports share."""

import io
from typing import Any

from PIL import Image
from sqlalchemy import Engine, text


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """What a statement answers."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def jpeg(level: int) -> bytes:
    """An even grey image."""
    file = io.BytesIO()
    Image.new("L", (16, 16), level).save(file, "JPEG")
    return file.getvalue()
