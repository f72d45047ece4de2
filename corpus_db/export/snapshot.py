"""The version that is exported: its rows proved against its manifest, its image bytes against their hashes."""

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Select, select

from corpus_db import db, version
from corpus_db.errors import UserError
from corpus_db.gather import CHUNK, table
from corpus_db.sql_output import shown
from corpus_db.version import VersionRow

# what an exported row says: the columns of rgc, and the groups that a loader must not split or confuse
COLUMNS = (
    *("pair_id", "image_path", "sha256", "caption", "modality", "plane", "region", "laterality", "split", "case_id"),
    *("caption_group", "source", "source_id", "upstream_name", "title", "diagnosis", "credit", "licence"),
    *("duplicate_cluster", "split_group"),
)
_PAGE = 10_000  # rows
UNSTATED = "none stated"
# as corpus_db.store writes it; a database from a stranger may hold any path
_STORED = re.compile(r"images/[0-9a-f]{2}/[0-9a-f]{2}/([0-9a-f]{64})\.[a-z0-9]{1,5}")

Row = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """One version of one database, and where its images lie."""

    engine: Engine  # reads only
    root: Path  # the folder that holds images/
    version: VersionRow
    content_sha256: str  # the manifest of the rows that are still there: another one once a pair was taken down
    pairs: int
    splits: tuple[str, ...]  # those that have rows
    licences: dict[str, int]  # pairs by licence

    def rows(self, split: str | None = None, between: tuple[str, str] | None = None) -> Iterator[Row]:
        """The frozen rows, read page by page, in the order of pair_id: of one split, from one id through another."""
        rows = table("version_pair")
        # code points: a locale's order would give other files on another machine
        key = rows.c.pair_id.collate("BINARY" if db.is_sqlite(self.engine) else "C")
        page = select(*(rows.c[name] for name in COLUMNS)).where(rows.c.version_id == self.version.id)
        page = page.order_by(key).limit(_PAGE)
        if split is not None:
            page = page.where(rows.c.split == split)
        if between is not None:
            page = page.where(key >= between[0], key <= between[1])
        found = self._fetched(page)
        while found:
            yield from found
            found = self._fetched(page.where(key > found[-1]["pair_id"])) if len(found) == _PAGE else []

    def image_file(self, row: Row) -> Path:
        """Where a row's image bytes lie; UserError where that is no place in the image store, or where they are not."""
        found = _STORED.fullmatch(row["image_path"])
        path = self.root / row["image_path"]
        if found is None or found[1] != row["sha256"] or not path.resolve().is_relative_to(self._images):
            where = shown(row["image_path"][:200])
            raise UserError(f"pair {shown(row['pair_id'])}: {where} is no place in {self._images}; not exported")
        if not path.is_file():
            raise UserError(self._damage(row, "is missing"))
        return path

    def image_bytes(self, row: Row) -> bytes:
        """A row's image bytes as they were received; UserError where they are missing, unreadable or altered."""
        path = self.image_file(row)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise UserError(self._damage(row, f"cannot be read ({error.strerror})")) from error
        if hashlib.sha256(body).hexdigest() != row["sha256"]:
            raise UserError(self._damage(row, "was altered"))
        return body

    def _fetched(self, page: Select[Any]) -> list[Row]:
        with self.engine.connect() as connection:  # not held open while files are written, nor if one cannot be
            return [dict(row) for row in connection.execute(page).mappings()]

    @cached_property
    def _images(self) -> Path:
        return (self.root / "images").resolve()  # which may be a link to a larger disk

    def _damage(self, row: Row, what: str) -> str:
        return (
            f"pair {shown(row['pair_id'])}: {self.root / row['image_path']} {what}; see all that is wrong with: "
            f"python cli.py verify {shlex.quote(shown(self.version.name))}"
        )


def read_snapshot(engine: Engine, root: Path, key: str | None) -> Snapshot:
    """A version by what `version.resolve` takes, its rows proved against its manifest; raises UserError."""
    hashes: list[str] = []
    splits: set[str] = set()
    licences: Counter[str] = Counter()
    rows, gone = table("version_pair"), table("version_tombstone")
    with engine.connect() as connection:
        found = version.resolve(connection, key)
        held = select(rows).where(rows.c.version_id == found.id).execution_options(yield_per=CHUNK)
        for row in connection.execute(held).mappings():
            hashes.append(version.row_sha256(dict(row)))
            splits.add(row["split"])
            licences[row["licence"] or UNSTATED] += 1
        buried = connection.execute(select(gone.c.row_sha256).where(gone.c.version_id == found.id)).scalars().all()
    if version.manifest_sha256([*hashes, *buried]) != found.manifest_sha256:
        name = shown(found.name)
        raise UserError(
            f"{name}: its rows do not match its manifest; see why with: python cli.py verify {shlex.quote(name)}"
        )
    order = sorted(splits, key=lambda split: (split != "train", split != "val", split))
    content = version.manifest_sha256(hashes)
    return Snapshot(engine, root, found, content, len(hashes), tuple(order), dict(sorted(licences.items())))
