import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from corpus_db import db, sql
from corpus_db.errors import UserError
from tests.corpus_db.corpus import READERS, build, fill

ATTACKS = """
DELETE FROM pair
INSERT INTO source (name, shape) VALUES ('x', 'y')
UPDATE pair SET caption = 'x'
DROP TABLE pair
DROP VIEW rgc
CREATE TABLE mine (x int)
CREATE TEMP TABLE mine AS SELECT 1 AS x
CREATE INDEX mine ON pair (caption)
ALTER TABLE pair ADD COLUMN x int
SELECT 1; DELETE FROM pair
COMMIT; DELETE FROM pair
ROLLBACK; DELETE FROM pair; COMMIT
BEGIN; DELETE FROM pair; COMMIT
/* SELECT */ DELETE FROM pair
(SELECT 1); DELETE FROM pair
WITH x AS (SELECT 1) DELETE FROM pair
COMMIT
VACUUM
REINDEX
ANALYZE
INSERT INTO caption_fts (pair_id, caption) VALUES ('a', 'b')
"""
ON_SQLITE = """
PRAGMA query_only = OFF
PRAGMA writable_schema = ON
PRAGMA journal_mode = DELETE
PRAGMA user_version = 5
ATTACH '{folder}/evil.db' AS evil
VACUUM INTO '{folder}/evil.db'
SELECT load_extension('{folder}/evil.so')
DETACH main
SAVEPOINT x
INSERT INTO caption_fts (caption_fts) VALUES ('delete-all')
REPLACE INTO version (id, name) VALUES (1, 'x')
CREATE VIRTUAL TABLE temp.x USING fts5(y)
"""
ON_POSTGRESQL = """
SET transaction_read_only = off; DELETE FROM pair
SET TRANSACTION READ WRITE; DELETE FROM pair
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SELECT set_config('transaction_read_only', 'off', false)
SELECT set_config('default_transaction_read_only', 'off', false); DELETE FROM pair
WITH gone AS (DELETE FROM pair RETURNING id) SELECT * FROM gone
WITH off AS MATERIALIZED (SELECT set_config('transaction_read_only', 'off', true)) DELETE FROM pair USING off
EXPLAIN ANALYZE DELETE FROM pair
SELECT * INTO mine FROM pair
SELECT nextval('source_id_seq')
SELECT setval('source_id_seq', 99)
SELECT lo_create(0)
SELECT lo_from_bytea(0, 'x')
SELECT lo_export(lo_from_bytea(0, 'x'), '{folder}/evil')
SELECT pg_read_file('/etc/hostname')
SELECT pg_ls_dir('/')
SELECT query_to_xml('DELETE FROM pair RETURNING 1', true, true, '')
SELECT * FROM pair FOR UPDATE
COPY pair TO '{folder}/evil.csv'
COPY pair TO PROGRAM 'cat > {folder}/evil.csv'
/* a /* nested */ SELECT */ COPY pair TO '{folder}/evil.csv'
COPY pair FROM '/dev/null'
DO $$ BEGIN DELETE FROM pair; END $$
DO $$ BEGIN COMMIT; DELETE FROM pair; END $$
TRUNCATE pair CASCADE
LOCK TABLE pair IN ACCESS EXCLUSIVE MODE
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM pair; SELECT 1'
EXECUTE x
CALL x()
"""


@pytest.fixture
def corpus(fresh_db: str) -> str:
    engine = db.create(fresh_db)
    fill(engine, cases=2)
    build(engine, READERS)
    engine.dispose()
    return fresh_db


def content(engine: Engine) -> str:
    names = (
        "source",
        "fetch",
        "raw_record",
        "pair",
        "version",
        "version_pair",
        "current_version",
        "edit",
        "label",
        "caption_fts",
    )
    with engine.connect() as connection:
        found = [sorted(map(str, connection.execute(text(f'SELECT * FROM "{name}"')))) for name in names]
        schema = "sqlite_master" if db.is_sqlite(engine) else "pg_class WHERE relnamespace = 'public'::regnamespace"
        name = "name" if db.is_sqlite(engine) else "relname"
        found.append(sorted(map(str, connection.execute(text(f"SELECT {name} FROM {schema}")))))
        if not db.is_sqlite(engine):
            sizes = "SELECT last_value, (SELECT count(*) FROM pg_largeobject_metadata) FROM source_id_seq"
            found.append(list(map(str, connection.execute(text(sizes)))))
    return hashlib.sha256(str(found).encode()).hexdigest()


def attacks(address: str, folder: Path) -> list[str]:
    own = ON_POSTGRESQL if "://" in address else ON_SQLITE
    return (ATTACKS + own).replace("{folder}", str(folder)).strip().replace("\n\n", "\n").split("\n")


def test_no_statement_can_write(corpus: str, tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    folder.chmod(0o777)  # the server may run as another user: what stops it must not be the folder's rights
    tmp_path.chmod(0o755)
    before = content(db.create(corpus))
    let_through = []
    for statement in attacks(corpus, folder):
        try:
            list(sql.query(corpus, statement).rows)
            let_through.append(statement)
        except UserError as error:
            assert "\n" not in str(error), statement
    # PostgreSQL before 16 lets a read-only transaction make large objects; that it is rolled back is checked below
    assert [statement for statement in let_through if not statement.startswith("SELECT lo_")] == []
    assert content(db.create(corpus)) == before
    assert list(folder.iterdir()) == []


def test_the_writing_engine_itself_may_be_given_and_cannot_write(corpus: str) -> None:
    engine = db.create(corpus)
    with pytest.raises(UserError):
        sql.query(engine, "DELETE FROM pair")
    assert list(sql.query(engine, "SELECT count(*) FROM rgc").rows) == [(5,)]
    assert list(sql.query(db.open_readonly(corpus), "SELECT 1").rows) == [(1,)]
    with engine.begin() as connection:  # and writes as before, itself
        connection.execute(text("UPDATE source SET citation = 'x'"))


READING: list[tuple[str, list[str] | None, list[tuple[object, ...]]]] = [
    ("SELECT modality, count(*) AS n FROM rgc GROUP BY modality", ["modality", "n"], [("CT", 5)]),
    ("-- why\n/* x */ WITH a AS (SELECT 1 AS b) SELECT b FROM a;", ["b"], [(1,)]),
    ("VALUES (1), (2)", None, [(1,), (2,)]),
    ("SELECT caption AS c FROM rgc WHERE 1 = 0", ["c"], []),
    ("SELECT '100%s' AS x, '%(a)s' AS y, ':z' AS z", ["x", "y", "z"], [("100%s", "%(a)s", ":z")]),
]


def test_reading_gives_columns_and_rows(corpus: str) -> None:
    for statement, columns, rows in READING:
        result = sql.query(corpus, statement)
        assert columns is None or list(result.columns) == columns
        assert list(result.rows) == rows


def test_full_text_plans_and_columns_can_be_read(corpus: str) -> None:
    if "://" in corpus:
        found = "SELECT pair_id FROM caption_fts WHERE tsv @@ to_tsquery('masses')"
        plan, columns = "EXPLAIN SELECT * FROM rgc", "SHOW server_version"
    else:
        found = "SELECT pair_id FROM caption_fts WHERE caption_fts MATCH 'mass' ORDER BY bm25(caption_fts)"
        plan, columns = "EXPLAIN QUERY PLAN SELECT * FROM rgc", "PRAGMA table_info(pair)"
    assert len(list(sql.query(corpus, found).rows)) == 3
    assert list(sql.query(corpus, plan).rows)
    assert list(sql.query(corpus, columns).rows)


def test_a_wrong_statement_is_one_line_with_the_databases_message(corpus: str) -> None:
    for statement in ("SELEC 1", "SELECT nothing FROM rgc", "SELECT * FROM nowhere", "", "SELECT '", "\0"):
        with pytest.raises(UserError) as raised:
            list(sql.query(corpus, statement).rows)
        assert str(raised.value).startswith("SQL: ") and "\n" not in str(raised.value)


def test_the_message_names_what_is_wrong(corpus: str) -> None:
    with pytest.raises(UserError, match="nowhere"):
        sql.query(corpus, "SELECT * FROM nowhere")


def test_a_slow_statement_is_stopped_and_the_limit_told(corpus: str) -> None:
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(UserError, match=r"longer than 0\.3 s"):  # unstopped, it would never end
        list(sql.query(corpus, count, timeout_s=0.3).rows)


def test_rows_are_streamed_and_stopping_early_is_clean(corpus: str, caplog: pytest.LogCaptureFixture) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT i FROM n"
    result = sql.query(corpus, endless)
    assert [next(result.rows) for _ in range(3)] == [(1,), (2,), (3,)]
    del result
    assert list(sql.query(corpus, "SELECT 1").rows) == [(1,)]
    assert caplog.records == []  # what is logged would reach the user's terminal


def test_one_value_cannot_take_the_machines_memory(tmp_path: Path) -> None:
    db.create(tmp_path / "a.db")
    with pytest.raises(UserError, match="too big"):
        list(sql.query(tmp_path / "a.db", "SELECT zeroblob(2000000000)").rows)


def test_a_reader_does_not_wait_for_a_writer(corpus: str) -> None:
    engine = db.create(corpus)
    with engine.begin() as connection:
        connection.execute(text("UPDATE source SET citation = 'unseen'"))
        assert list(sql.query(corpus, "SELECT citation FROM source").rows) == [(None,)]
