"""Freeze kept pairs into an immutable version, known by a hash of its content alone, and say which one is current."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from corpus_db.errors import UserError
from corpus_db.gather import CHUNK, table
from corpus_db.models import now

Row = dict[str, Any]


@dataclass(frozen=True)
class Frozen:
    """The version that holds the given rows."""

    id: int
    name: str
    manifest_sha256: str
    reused: bool


def manifest_sha256(rows: Iterable[Mapping[str, Any]]) -> str:
    """A hash of the frozen rows that no order, id, time or engine changes: sorted lines of canonical JSON."""
    lines = (
        json.dumps({key: value for key, value in row.items() if key != "version_id"}, sort_keys=True, ensure_ascii=True)
        for row in rows
    )
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def freeze(connection: Connection, rows: Sequence[Row], name: str | None, config: Mapping[str, Any]) -> Frozen:
    """The version of these rows: the one that already holds them, or a new one; it becomes the current one."""
    version = table("version")
    manifest = manifest_sha256(rows)
    same = select(version.c.id, version.c.name).where(version.c.manifest_sha256 == manifest).order_by(version.c.id)
    existing = connection.execute(same).first()
    if name is not None and (existing is None or existing.name != name):
        _refuse_taken(connection, name)
    if existing is not None:
        make_current(connection, existing.id)
        return Frozen(existing.id, existing.name, manifest, reused=True)
    name = name or _next_name(connection)
    values = {"name": name, "parent_id": current_id(connection), "manifest_sha256": manifest, "created": now()}
    statement = insert(version).values(**values, config=json.dumps(config, sort_keys=True))
    version_id = connection.execute(statement.returning(version.c.id)).scalar_one()
    insert_rows(connection, "version_pair", ({**row, "version_id": version_id} for row in rows))
    make_current(connection, version_id)
    return Frozen(version_id, name, manifest, reused=False)


def current_id(connection: Connection) -> int | None:
    """The id of the current version, if any."""
    return connection.execute(select(table("current_version").c.version_id)).scalar()


def make_current(connection: Connection, version_id: int) -> None:
    """Let `rgc` and `caption_fts` show this version, both in the caller's transaction."""
    current = table("current_version")
    if connection.execute(update(current).values(version_id=version_id)).rowcount == 0:
        connection.execute(insert(current).values(id=1, version_id=version_id))
    connection.execute(text("DELETE FROM caption_fts"))
    connection.execute(
        text(
            "INSERT INTO caption_fts (pair_id, caption) "
            "SELECT pair_id, caption FROM version_pair WHERE version_id = :version_id ORDER BY pair_id"
        ),
        {"version_id": version_id},
    )


def insert_rows(connection: Connection, name: str, rows: Iterable[Row]) -> None:
    """Insert rows into a table, in chunks."""
    statement, chunk = insert(table(name)), []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            connection.execute(statement, chunk)
            chunk = []
    if chunk:
        connection.execute(statement, chunk)


def replace_votes(connection: Connection, version_id: int, edits: Iterable[Row], labels: Iterable[Row]) -> None:
    """Write the edits and labels of the build that made this version, in place of those of an equal earlier build."""
    for name, rows in (("edit", edits), ("label", labels)):
        votes = table(name)
        connection.execute(delete(votes).where(votes.c.version_id == version_id))
        insert_rows(connection, name, ({**row, "version_id": version_id} for row in rows))


def _refuse_taken(connection: Connection, name: str) -> None:
    version = table("version")
    if connection.execute(select(version.c.id).where(version.c.name == name)).first():
        raise UserError(f"{name}: a version of that name holds other pairs; give another --name, or none")


def _next_name(connection: Connection) -> str:
    names = connection.execute(select(table("version").c.name)).scalars()
    taken = [int(found[1]) for name in names if (found := re.fullmatch(r"v(\d+)", name))]
    return f"v{max(taken, default=0) + 1}"
