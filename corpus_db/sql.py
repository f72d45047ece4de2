"""Run a user's SQL: one statement, read-only by the database's own means, within a time limit, its rows streamed."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine

from corpus_db import db
from corpus_db.errors import UserError

MAX_VALUE_BYTES = 100_000_000  # of one SQLite value: zeroblob(1e9) must not take the machine's memory
_BATCH = 500
_STEPS = 10_000  # SQLite instructions between looks at the clock

# SELECT, READ, FUNCTION, RECURSIVE; the sqlite3 module names only some of the codes
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, 33))
_PRAGMAS = frozenset(
    # those that only read; FTS5 itself asks for data_version
    ("data_version", "table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")
)
# What a PostgreSQL read-only transaction still lets through (COPY TO a file or a program, LOAD, SET) begins otherwise.
_READS = ("select", "with", "values", "table", "explain", "show")


@dataclass
class Result:
    """Column names and the rows, which can be gone through once."""

    columns: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


def query(database: Engine | URL | str | Path, statement: str, timeout_s: float = 30) -> Result:
    """The rows of one reading statement; a wrong one, a writing one or a slow one is a UserError of one line."""
    engine = _readonly(database, timeout_s)
    run = _query_sqlite if db.is_sqlite(engine) else _query_postgresql
    # The first row is computed here, so that an error comes before any output.
    steps = run(engine, statement, timeout_s)
    return Result(next(steps), _after_first(steps))


def _after_first(steps: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    first = next(steps, None)

    def rows() -> Iterator[tuple[Any, ...]]:
        if first is not None:
            yield first
            yield from steps

    return rows()


def _readonly(database: Engine | URL | str | Path, timeout_s: float) -> Engine:
    if isinstance(database, Engine):
        database = database.url
    if isinstance(database, URL):
        database = database.render_as_string(hide_password=False)
    return db.open_readonly(database, timeout_s)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _too_slow(timeout_s: float) -> UserError:
    return UserError(
        f"the statement took longer than {timeout_s:g} s and was stopped; narrow it, or give it longer with --timeout"
    )


def _query_sqlite(engine: Engine, statement: str, timeout_s: float) -> Iterator[Any]:
    left = timeout_s
    deadline = time.monotonic() + left
    with closing(engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        # FTS5 writes to the schema in memory when a connection first meets one of its tables: before the guard stands
        connection.execute("SELECT 1 FROM caption_fts LIMIT 0")
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            cursor = connection.execute(statement)
            if cursor.description is None:
                raise UserError("SQL: the statement gives no rows; write a SELECT")
            yield [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(_BATCH):
                # the reader's own time, as in a pager, does not count
                left = deadline - time.monotonic()
                yield from rows
                deadline = time.monotonic() + left
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                if time.monotonic() <= deadline:  # a signal's exception is lost in SQLite
                    raise KeyboardInterrupt from None
                raise _too_slow(timeout_s) from None
            raise UserError(f"SQL: {_one_line(error)}") from None
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError, ValueError) as error:
            hint = " (only reading is allowed here)" if "not authorized" in str(error) else ""
            raise UserError(f"SQL: {_one_line(error)}{hint}") from None


def _authorize(action: int, name: str | None, detail: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if (name or "").lower() in _PRAGMAS else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (detail or "").lower() == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _first_word(statement: str) -> str:
    """The statement's first word, after comments and brackets."""
    rest = statement
    while True:
        rest = rest.lstrip(" \t\r\n\f\v(")
        if rest.startswith("--"):
            rest = rest.partition("\n")[2]
        elif rest.startswith("/*"):
            depth, at = 1, 2  # PostgreSQL's comments nest
            while depth and at < len(rest):
                step = {"/*": 1, "*/": -1}.get(rest[at : at + 2], 0)
                depth, at = depth + step, at + (2 if step else 1)
            rest = rest[at:]
        else:
            break
    word = 0
    while word < len(rest) and rest[word].isalpha():
        word += 1
    return rest[:word].lower()


def _query_postgresql(engine: Engine, statement: str, timeout_s: float) -> Iterator[Any]:
    import psycopg
    from psycopg.pq import ExecStatus

    if _first_word(statement) not in _READS:
        raise UserError(f"SQL: only reading is allowed here: a statement begins with {', '.join(_READS).upper()}")
    if "\0" in statement:
        raise UserError("SQL: the statement holds a NUL character")
    with closing(engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        try:
            # A statement of this one transaction cannot turn it to READ WRITE once a first query has run in it.
            connection.execute("SET TRANSACTION READ ONLY")
            superuser = connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("on",)
            if superuser and connection.info.server_version >= 140000:
                # else functions such as lo_export would write, and pg_read_file read, the server's own files
                connection.execute("SET LOCAL ROLE pg_read_all_data")
            # Preparing takes a single statement, by the protocol; describing gives the columns even of no rows.
            for answer in (
                connection.pgconn.prepare(b"", statement.encode(connection.info.encoding)),
                described := connection.pgconn.describe_prepared(b""),
            ):
                if answer.status != ExecStatus.COMMAND_OK:
                    raise UserError(f"SQL: {_message(answer.error_message.decode(errors='replace'))}")
            yield [(described.fname(at) or b"").decode(errors="replace") for at in range(described.nfields)]
            with connection.cursor() as cursor:
                yield from cursor.stream(statement.encode(connection.info.encoding))
        except psycopg.errors.QueryCanceled:
            raise _too_slow(timeout_s) from None
        except (psycopg.Error, UnicodeEncodeError) as error:
            raise UserError(f"SQL: {_message(str(error))}") from None
        finally:
            pooled.invalidate()  # closes it: never a commit, also where the reader stops early with rows under way


def _message(text: str) -> str:
    """PostgreSQL's own message without the drawing of the place in the statement."""
    return " ".join(text.strip().partition("\nLINE ")[0].split()).removeprefix("ERROR: ")
