"""What was taken down for good stays away: out of what a source says anew, and out of the image store."""

from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection, func, select

from corpus_db.gather import table
from corpus_db.text import storable

PURGED = "purged"  # the reason in the ledger, and the mark in a raw record that no longer matches its sha256
_KEY_FIELDS = {"imageid", "id", "key"}  # how sources name the field that holds an image's own id, in lower case


def withdrawn(connection: Connection, source_id: int) -> frozenset[str]:
    """The upstream ids of a source's images that were taken down."""
    source, tombstone = table("source"), table("tombstone")
    name = connection.execute(select(source.c.name).where(source.c.id == source_id)).scalar_one()
    mine = select(tombstone.c.pair_id).where(func.substr(tombstone.c.pair_id, 1, len(name) + 1) == f"{name}:")
    return frozenset(pair_id.removeprefix(f"{name}:") for pair_id in connection.execute(mine).scalars())


def refused_bytes(connection: Connection) -> frozenset[str]:
    """The sha256 of image bytes that were taken down and that nothing else here refers to."""
    tombstone, image = table("tombstone"), table("image")
    statement = (
        select(tombstone.c.image_sha256)
        .join(image, image.c.sha256 == tombstone.c.image_sha256, isouter=True)
        .where(tombstone.c.image_sha256.is_not(None), image.c.sha256.is_(None))
    )
    return frozenset(connection.execute(statement).scalars())


def redact(body: Any, ids: AbstractSet[str]) -> bool:
    """Take the images of these ids, with all that is said of them, out of a parsed JSON body, in place.

    An image is an object in a list, at any depth, with one of the ids in a field such as imageID. Returns whether any
    was there; an object's body is then marked.
    """
    found, waiting = False, [body] if ids else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            kept = [item for item in value if not _is_image(item, ids)]
            found |= len(kept) < len(value)
            value[:] = kept
            waiting += kept
    if found and isinstance(body, dict):
        body[PURGED] = True
    return found


def _is_image(item: Any, ids: AbstractSet[str]) -> bool:
    return isinstance(item, dict) and any(
        isinstance(value, str | int)
        and storable(str(value)).strip() in ids
        and name.replace("_", "").lower() in _KEY_FIELDS
        for name, value in item.items()
    )
