"""Freeze kept pairs into an immutable version, known by a hash of its content alone; tag versions, choose one."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from corpus_db.errors import UserError
from corpus_db.gather import CHUNK, table
from corpus_db.models import now
from corpus_db.sql_output import shown
from corpus_db.text import UNSTORABLE

Row = dict[str, Any]
SHORTEST_PREFIX = 8  # hex digits of a manifest hash that may stand for a version
# Semantic Versioning 2.0.0, https://semver.org/, without build metadata
_TAG = re.compile(r"v?((?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){2}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)", re.ASCII)


@dataclass(frozen=True)
class Frozen:
    """The version that holds the given rows."""

    id: int
    name: str
    manifest_sha256: str
    reused: bool


@dataclass(frozen=True)
class VersionRow:
    """One version as the database knows it."""

    id: int
    name: str
    parent_id: int | None
    manifest_sha256: str
    created: str  # UTC, to the second
    config: Mapping[str, Any]
    tags: tuple[str, ...]


def row_sha256(row: Mapping[Any, Any]) -> str:
    """A hash of one frozen row's content, that no id or engine changes: of canonical JSON, without the version's id."""
    content = {key: value for key, value in row.items() if key != "version_id"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def manifest_sha256(rows: Iterable[str]) -> str:
    """A version's hash from those of its rows, in any order.

    It is made of hashes, so that it can still be proved when a row was taken down and its hash is all that is left.
    """
    return hashlib.sha256("".join(f"{row}\n" for row in sorted(rows)).encode("ascii")).hexdigest()


def freeze(connection: Connection, rows: Sequence[Row], name: str | None, config: Mapping[str, Any]) -> Frozen:
    """The version of these rows: the one that already holds them, or a new one; it becomes the current one."""
    version = table("version")
    manifest = manifest_sha256(map(row_sha256, rows))
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


def resolve(connection: Connection, key: str | None) -> VersionRow:
    """The version of a name, a tag or the beginning of a manifest hash; of None, the current one.

    A name comes before a tag, and a tag before a hash. Raises UserError, naming what there is, where none fits.
    """
    if key is None:
        version_id = current_id(connection)
        if version_id is None:
            raise UserError("no version yet; make one with: python cli.py build")
        return _version_row(connection, version_id)
    found = [] if UNSTORABLE.search(key) else _ids_of(connection, key)
    if len(found) == 1:
        return _version_row(connection, found[0])
    version = table("version")
    named = select(version.c.name).order_by(version.c.id.desc())
    if found:
        names = ", ".join(map(shown, connection.execute(named.where(version.c.id.in_(found))).scalars()))
        raise UserError(f"{shown(key)}: which version? {names}")
    names = ", ".join(map(shown, connection.execute(named.limit(6)).scalars())) or "none yet: python cli.py build"
    raise UserError(f"{shown(key[:80])}: no such version; there are (newest first): {names}")


def use(engine: Engine, key: str) -> VersionRow:
    """Make a version the current one: `rgc` and `caption_fts` then show it. The caller holds `db.exclusive`."""
    with engine.begin() as connection:
        found = resolve(connection, key)
        make_current(connection, found.id)
    return found


def tag(engine: Engine, key: str | None, name: str) -> VersionRow:
    """Give a version a semantic tag, MAJOR.MINOR.PATCH[-pre]; a `v` before it is left out. A tag never moves."""
    form = _TAG.fullmatch(name)
    if form is None:
        raise UserError(f"{shown(name[:80])}: not a tag; give MAJOR.MINOR.PATCH, such as 1.0.0 or 1.1.0-rc.1")
    version, tagged = table("version"), table("version_tag")
    with engine.begin() as connection:
        found = resolve(connection, key)
        holder = connection.execute(
            select(version.c.name)
            .join(tagged, tagged.c.version_id == version.c.id, isouter=True)
            .where((tagged.c.tag == form[1]) | version.c.name.in_((form[1], f"v{form[1]}")))
        ).scalar()
        if form[1] in found.tags:
            return found
        if holder is not None:
            raise UserError(f"{form[1]}: stands for version {shown(holder)}, and a tag never moves; give another one")
        connection.execute(insert(tagged).values(tag=form[1], version_id=found.id))
        return _version_row(connection, found.id)


def _ids_of(connection: Connection, key: str) -> list[int]:
    version, tagged = table("version"), table("version_tag")
    asked = [select(version.c.id).where(version.c.name == key)]
    if form := _TAG.fullmatch(key):
        asked.append(select(tagged.c.version_id).where(tagged.c.tag == form[1]))
    if re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", key.lower()):
        asked.append(select(version.c.id).where(version.c.manifest_sha256.startswith(key.lower())))
    return next((ids for statement in asked if (ids := list(connection.execute(statement).scalars()))), [])


def _version_row(connection: Connection, version_id: int) -> VersionRow:
    version, tagged = table("version"), table("version_tag")
    row = connection.execute(select(version).where(version.c.id == version_id)).one()
    tags = connection.execute(select(tagged.c.tag).where(tagged.c.version_id == version_id).order_by(tagged.c.tag))
    config = json.loads(row.config)
    created = str(row.created)[:19]
    return VersionRow(row.id, row.name, row.parent_id, row.manifest_sha256, created, config, tuple(tags.scalars()))


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


def replace_rows(connection: Connection, version_id: int, rows: Mapping[str, Iterable[Row]]) -> None:
    """Write what the build of this version did, by table, in place of what an equal earlier build did."""
    for name, written in rows.items():
        built = table(name)
        connection.execute(delete(built).where(built.c.version_id == version_id))
        insert_rows(connection, name, ({**row, "version_id": version_id} for row in written))


def _refuse_taken(connection: Connection, name: str) -> None:
    version, tagged = table("version"), table("version_tag")
    if connection.execute(select(version.c.id).where(version.c.name == name)).first():
        raise UserError(f"{name}: a version of that name holds other pairs; give another --name, or none")
    form = _TAG.fullmatch(name)
    if form and connection.execute(select(tagged.c.tag).where(tagged.c.tag == form[1])).first():
        raise UserError(f"{name}: the tag of another version; give another --name, or none")


def _next_name(connection: Connection) -> str:
    names = connection.execute(select(table("version").c.name)).scalars()
    taken = [int(found[1]) for name in names if (found := re.fullmatch(r"v(\d+)", name))]
    return f"v{max(taken, default=0) + 1}"
