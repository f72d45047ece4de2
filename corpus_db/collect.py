"""Remove what nothing refers to any more: image files and rows, half-written files, rows of lost versions."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, exists, func, or_, select, text
from sqlalchemy.exc import DBAPIError

from corpus_db import db, recent
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.sql_output import shown
from corpus_db.store import TEMPORARY, leads_out

_OF_VERSIONS = (  # tables whose rows are nothing without their version
    "version_pair",
    "version_drop",
    "version_tag",
    "version_tombstone",
    "edit",
    "label",
    "conflict",
    "duplicate",
    "case_edit",
)
_USERS = {"image_ref": "image_sha256", "pair": "image_sha256", "version_pair": "sha256", "question": "image_sha256"}
_SHOWN = 20


@dataclass
class Collected:
    """What was removed, or would be; plain values that JSON can hold."""

    dry_run: bool
    files: list[str] = field(default_factory=list)  # below the data folder
    bytes: int = 0
    image_rows: int = 0
    rows: dict[str, int] = field(default_factory=dict)  # of versions that are gone, by table
    kept: dict[str, list[str]] = field(default_factory=dict)  # files unknown here -> the databases that use them
    unwiped: str | None = None


def gc(engine: Engine, root: Path, dry_run: bool = False) -> Collected:
    """Remove what no row of this database, and of those that share its image folder, refers to.

    Nothing that a version, a source's name, or a question refers to goes. The caller holds `db.exclusive`.
    """
    found = Collected(dry_run)
    with engine.begin() as connection:
        unused = select(table("image").c.sha256).where(*(~exists().where(match) for match in _matches()))
        doomed = set(connection.execute(unused).scalars())
        found.image_rows = len(doomed)
        found.rows = {name: count for name, count in _orphans(connection, dry_run) if count}
        if not dry_run:
            _delete_images(connection, sorted(doomed))
        image = table("image")
        known = {row.path for row in connection.execute(select(image)) if row.sha256 not in doomed}
    files = [path for path in _files(root) if path not in known]
    found.bytes = sum((root / path).stat().st_size for path in files)
    found.files, found.kept = remove_files(engine, root, files, dry_run)
    found.bytes -= sum((root / path).stat().st_size for path in found.kept)
    if not dry_run:
        found.unwiped = wipe(engine)
    return found


def _matches() -> list:
    image = table("image")
    return [table(name).c[column] == image.c.sha256 for name, column in _USERS.items()]


def _orphans(connection: Connection, dry_run: bool) -> Iterator[tuple[str, int]]:
    for name in _OF_VERSIONS:
        lost = table(name).c.version_id.not_in(select(table("version").c.id))
        yield name, connection.execute(select(func.count()).select_from(table(name)).where(lost)).scalar_one()
        if not dry_run:
            connection.execute(delete(table(name)).where(lost))


def _delete_images(connection: Connection, sha256s: Sequence[str]) -> None:
    image, alike = table("image"), table("alike")
    for sha256 in sha256s:
        connection.execute(delete(alike).where(or_(alike.c.a_sha256 == sha256, alike.c.b_sha256 == sha256)))
        connection.execute(delete(image).where(image.c.sha256 == sha256))


def users_of(connection: Connection, sha256: str) -> list[str]:
    """What refers to these image bytes, for people: pairs, names of sources, questions."""
    pair, frozen, ref, question = (table(name) for name in ("pair", "version_pair", "image_ref", "question"))
    source = table("source")
    told = (
        select(pair.c.id).where(pair.c.image_sha256 == sha256),
        select(frozen.c.pair_id).where(frozen.c.sha256 == sha256),
        select(source.c.name + " " + ref.c.upstream_name)
        .join(source, source.c.id == ref.c.source_id)
        .where(ref.c.image_sha256 == sha256),
        select(source.c.name + " question " + question.c.upstream_id)
        .join(source, source.c.id == question.c.source_id)
        .where(question.c.image_sha256 == sha256),
    )
    return sorted({name for statement in told for name in connection.execute(statement).scalars()})


def remove_files(
    engine: Engine, root: Path, paths: Sequence[str], dry_run: bool = False
) -> tuple[list[str], dict[str, list[str]]]:
    """Remove files below `root`, but for those that another database with the same image folder refers to.

    Gives what was removed, and what was kept with the databases that hold it. Half-written files are nobody's.
    """
    removed, kept = [], {}
    users = _elsewhere(engine, root) if any(not path.endswith(TEMPORARY) for path in paths) else {}
    for path in paths:
        holders = [] if path.endswith(TEMPORARY) else [name for name, held in users.items() if path in held]
        if holders or leads_out(path):
            kept[path] = holders or ["leads out of the image folder"]
            continue
        if not dry_run:
            (root / path).unlink(missing_ok=True)
        removed.append(path)
    return removed, kept


def _elsewhere(engine: Engine, root: Path) -> dict[str, set[str]]:
    """Other databases with images below `root`, each with the paths it holds: SQLite files in it, and those used last.

    Raises UserError where one cannot be read: its images must not be taken for nobody's.
    """
    mine = str(Path(db.shown(engine.url)).resolve()) if db.is_sqlite(engine) else db.shown(engine.url)
    found = {}
    for path in sorted(root.glob("*.db")):
        if str(path.resolve()) != mine and _is_corpus(path):
            found[str(path)] = _image_paths(str(path))
    kinds: tuple[recent.Kind, ...] = ("crawled", "built")
    for address in map(recent.recall, kinds):
        if address and "://" in address and recent.data_folder().resolve() == root.resolve():
            name = db.shown(db.parse_url(address))
            if name not in (mine, *found):
                found[name] = _image_paths(address)
    return found


def _is_corpus(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'image_ref'").fetchone())
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be read ({error}), and its images may be among these; move it away") from error


def _image_paths(address: str) -> set[str]:
    try:
        other = db.open_readonly(address)
        with other.connect() as connection:
            return set(connection.execute(text("SELECT path FROM image")).scalars())
    except (UserError, DBAPIError) as error:
        raise UserError(f"{error}; it shares this image folder, so nothing was removed from it") from error


def _files(root: Path) -> list[str]:
    """Every file of the image store, half-written ones too, below `root`."""
    return sorted(str(path.relative_to(root)) for path in (root / "images").glob("*/*/*") if path.is_file())


def wipe(engine: Engine) -> str | None:
    """Rewrite the database, so that its files hold nothing that was deleted; why it could not, if so."""
    try:
        if db.is_sqlite(engine):
            return _wipe_sqlite(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (FULL)"))
    except (DBAPIError, sqlite3.Error) as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
        return f"{reason}: deleted text may still stand in the database's file; run: python cli.py gc"
    return None


def _wipe_sqlite(engine: Engine) -> str | None:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.close()
    return (
        "another program reads the database, so its -wal file remains; when it has ended: python cli.py gc"
        if busy
        else None
    )


def render_collected(found: Collected) -> list[str]:
    """What was removed, as lines."""
    verb = "would remove" if found.dry_run else "removed"
    lines = [f"{verb} {len(found.files)} files, {found.bytes / 1e6:.1f} MB; {found.image_rows} image rows"]
    lines += [f"  {path}" for path in found.files[:_SHOWN]]
    if len(found.files) > _SHOWN:
        lines.append(f"  ... and {len(found.files) - _SHOWN} more (--json has all)")
    lines += [f"{verb} {count} rows of {name}, of versions that are gone" for name, count in found.rows.items()]
    if found.kept:
        users = sorted({user for names in found.kept.values() for user in names})
        lines.append(f"kept {len(found.kept)} files that are not this database's: {', '.join(users)}")
    if found.unwiped:
        lines.append(f"not wiped: {found.unwiped}")
    return [shown(line) for line in lines]
