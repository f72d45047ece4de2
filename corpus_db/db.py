"""Open a corpus database, SQLite or PostgreSQL: engines, migrations, the lock that one writing command holds."""

import contextlib
import os
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from corpus_db.errors import UserError
from corpus_db.recent import data_folder

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x524743  # "RGC": the advisory lock's number on PostgreSQL
BUSY_MS = 5000


def parse_url(db: str | Path) -> URL:
    """A path or a database URL, as a URL; raises UserError for an engine that is not supported."""
    if "://" not in str(db):
        return URL.create("sqlite", database=str(db))
    try:
        url = make_url(str(db))
    except ArgumentError as error:
        raise UserError(f"{db!s}: not a database URL; give a file or postgresql+psycopg://user@host/name") from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url
    raise UserError(
        f"{url.get_backend_name()}: no such engine here; give a file or postgresql+psycopg://user@host/name"
    )


def shown(url: URL) -> str:
    """The database as a user may read it: a file's path, or a URL with its password hidden."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def image_root(url: URL) -> Path:
    """The folder that holds images/: beside an SQLite file, else $RGC_DATA or data/."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or ".").resolve().parent
    return data_folder().resolve()


def is_sqlite(bind: Engine | Connection) -> bool:
    """Whether this is SQLite (else PostgreSQL)."""
    return bind.dialect.name == "sqlite"


def upserts(bind: Engine | Connection) -> Any:
    """The engine's own insert(), which knows ON CONFLICT."""
    return sqlite.insert if is_sqlite(bind) else postgresql.insert


def create(db: str | Path) -> Engine:
    """An engine that may write, its database made or migrated to the newest schema."""
    url = parse_url(db)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if path.is_dir():
            raise UserError(f"{path}: a folder, not a database file")
        _make_parent(path)
        engine = create_engine(url)
        event.listen(engine, "connect", _prepare_sqlite)
        # IMMEDIATE: a transaction that reads first and then writes would fail at once if another wrote in between
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    else:
        engine = create_engine(url)
    with _told(url, "cannot be written"):
        upgrade(engine)
    return engine


@contextlib.contextmanager
def filling(db: str | Path) -> Iterator[Engine]:
    """`create` and `exclusive`; a file that was made here goes again where a UserError ends it before anything came."""
    url = parse_url(db)
    made_here = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
    engine = create(db)
    try:
        with exclusive(engine):
            try:
                yield engine
            except UserError:
                if made_here and not _holds_anything(engine):
                    engine.dispose()
                    for ending in ("", "-wal", "-shm", ".lock"):
                        Path(f"{url.database}{ending}").unlink(missing_ok=True)
                raise
    finally:
        engine.dispose()


def _holds_anything(engine: Engine) -> bool:
    """Whether anything was said by a source, or refused by it for a reason that the ledger keeps."""
    with engine.connect() as connection:
        told = ("SELECT 1 FROM raw_record", "SELECT 1 FROM \"fetch\" WHERE status <> 'pending'")
        return any(connection.exec_driver_sql(f"{statement} LIMIT 1").first() for statement in told)


def open_existing(db: str | Path) -> Engine:
    """`create` for a database that must be there: a mistyped name makes none."""
    url = parse_url(db)
    if url.get_backend_name() == "sqlite":
        _require_file(url)
    return create(db)


def open_readonly(db: str | Path, timeout_s: float | None = None) -> Engine:
    """An engine that cannot write, by the database's own means; each statement ends after `timeout_s` seconds."""
    url = parse_url(db)
    if url.get_backend_name() == "sqlite":
        path = _require_file(url)
        engine = create_engine(url, creator=lambda: connect_readonly(path), poolclass=NullPool)
    else:
        options = "-c default_transaction_read_only=on"
        if timeout_s is not None:
            options += f" -c statement_timeout={int(timeout_s * 1000)}"
        engine = create_engine(url, connect_args={"options": options}, poolclass=NullPool)
    with _told(url, "cannot be read"):
        state = schema_state(engine)
    if state != "current":
        raise UserError(f"{shown(url)}: {_STATES[state].format(db=shlex.quote(shown(url)))}")
    return engine


_STATES = {
    "empty": "not a corpus database; make one with: python cli.py crawl && python cli.py build",
    "older": "made by an older version of this program; any writing command migrates it: python cli.py build --db {db}",
    "newer": "made by a newer version of this program; update this one (git pull, make install)",
    "foreign": "a database of something else; give another file with --db",
}


def schema_state(engine: Engine) -> str:
    """How this database's schema stands to the program's: current, empty, older, newer or foreign."""
    script = ScriptDirectory(str(MIGRATIONS))
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        tables = inspect(connection).get_table_names()
    if revision is None:
        return "foreign" if tables else "empty"
    if revision == script.get_current_head():
        return "current"
    return "older" if revision in {known.revision for known in script.walk_revisions()} else "newer"


def upgrade(engine: Engine) -> None:
    """Bring the schema to the newest, all migrations in one transaction; refuse a newer or a foreign database."""
    state = schema_state(engine)
    if state in ("newer", "foreign"):
        raise UserError(f"{shown(engine.url)}: {_STATES[state]}")
    if state == "current":
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def exclusive(engine: Engine) -> Iterator[None]:
    """Hold the lock of the commands that write (crawl, import, build); the system lets go of it if the process dies."""
    busy = UserError(f"{shown(engine.url)}: another crawl or build is writing to it; wait for it to end")
    if is_sqlite(engine):
        import fcntl

        with open(f"{engine.url.database}.lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar():
            raise busy
        yield  # closing the connection would only return it to the pool, with the lock
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})


def _require_file(url: URL) -> Path:
    path = Path(url.database or "").resolve()
    if path.is_dir():
        raise UserError(f"{url.database}: a folder, not a database file")
    if not path.is_file():
        raise UserError(f"{url.database}: no such database; make one with: python cli.py crawl && python cli.py build")
    return path


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot make this folder ({error.strerror}); give another place with --db"
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late for DDL; ours is in the begin listener
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", f"busy_timeout={BUSY_MS}", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def connect_readonly(path: Path) -> sqlite3.Connection:
    """A connection to an SQLite file that cannot write to it; any thread may use it."""
    wal = Path(f"{path}-wal")
    # A WAL database in a folder that cannot be written opens only if told that nobody else writes it, either.
    lone = not os.access(path.parent, os.W_OK) and not (wal.exists() and wal.stat().st_size)
    uri = f"{path.as_uri()}?mode=ro{'&immutable=1' if lone else ''}"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA query_only=ON")
    # json_extract of a lone surrogate gives bytes that are no UTF-8
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


@contextlib.contextmanager
def _told(url: URL, unable: str) -> Iterator[None]:
    """Turn what goes wrong on opening into one line."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        if "locked" in reason:
            raise UserError(f"{shown(url)}: another command is writing to it; wait for it to end") from error
        if "unable to open" in reason or "readonly" in reason:
            raise UserError(
                f"{shown(url)}: this file or its folder {unable} ({reason}); give another place with --db"
            ) from error
        raise UserError(f"{shown(url)}: cannot open this database ({reason})") from error
    except DBAPIError as error:
        raise UserError(f"{shown(url)}: not a database that can be read ({error.orig})") from error
