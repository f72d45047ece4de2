import shlex
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.gather import table


def test_models_and_migrated_schema_agree(fresh_db: str) -> None:
    engine = db.create(fresh_db)

    def theirs(_: object, name: str | None, kind: str, *__: object) -> bool:
        return not (kind == "table" and (name or "").startswith("caption_fts"))

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": theirs, "compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_partial_index_and_foreign_keys_are_there(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    found = inspect(engine)
    (due,) = [index for index in found.get_indexes("fetch") if index["name"] == "fetch_due"]
    assert due["column_names"] == ["source_id", "rank", "path"]
    assert "due" in str(due["dialect_options"][f"{engine.dialect.name}_where"])
    keys = {column for key in found.get_foreign_keys("fetch") for column in key["constrained_columns"]}
    assert keys == {"source_id", "parent_id", "crawl_id"}
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(insert(table("version_pair")).values(version_id=9, **_pair_row()))


def _pair_row() -> dict[str, str]:
    names = ("pair_id", "image_path", "sha256", "caption", "split", "case_id", "caption_group", "source", "source_id")
    return dict.fromkeys((*names, "upstream_name", "duplicate_cluster"), "x")


def test_ids_are_given_by_the_database(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    with engine.begin() as connection:
        statement = insert(table("source")).returning(table("source").c.id)
        ids = [connection.execute(statement.values(name=name, shape="x")).scalar_one() for name in ("a", "b")]
    assert ids == [1, 2]


def test_opening_again_changes_nothing(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(name="a", shape="x"))
    again = db.create(fresh_db)
    with again.connect() as connection:
        assert connection.execute(select(table("source").c.name)).scalars().all() == ["a"]


def test_a_failed_migration_leaves_nothing(fresh_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad = tmp_path / "migrations"
    (bad / "versions").mkdir(parents=True)
    (bad / "env.py").write_text((db.MIGRATIONS / "env.py").read_text())
    first = (db.MIGRATIONS / "versions" / "0001_first.py").read_text()
    (bad / "versions" / "0001_first.py").write_text(
        first.replace("    _full_text()\n\n", "    raise ValueError\n\n", 1)
    )
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", bad)
        with pytest.raises(ValueError):
            db.create(fresh_db)
    engine = db.create(fresh_db)  # an empty database still, so this makes it whole
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM rgc")).scalar() == 0


def test_a_question_of_an_older_schema_stays_and_lacks_what_that_did_not_hold(
    fresh_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "migrations"
    shutil.copytree(db.MIGRATIONS, old)
    for later in (old / "versions").glob("000[4-9]*.py"):
        later.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", old)
        engine = db.create(fresh_db)
    told = {"image_name": "synpic1", "question": "CT?", "answer": "yes", "split": "test", "language": "en"}
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(id=1, name="vqa-rad", shape="questions"))
        connection.execute(insert(table("question")).values(source_id=1, upstream_id="1", **told))
    with pytest.raises(UserError, match=r"older version .* python cli\.py build --db ") as refused:
        db.open_readonly(fresh_db)
    assert str(refused.value).endswith(f"build --db {shlex.quote(db.shown(db.parse_url(fresh_db)))}")
    with db.create(fresh_db).connect() as connection:
        question = table("question").c
        found = connection.execute(select(question.answer, question.organ, question.modality)).one()
    assert tuple(found) == ("yes", None, None)


def test_a_newer_schema_is_refused_by_reader_and_writer(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opened in (db.create, db.open_readonly):
        with pytest.raises(UserError, match="newer version"):
            opened(fresh_db)


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (x)")
    for opened in (db.create, db.open_readonly):
        with pytest.raises(UserError, match="something else"):
            opened(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than a header " * 20)
    before = path.read_bytes()
    for opened in (db.create, db.open_readonly):
        with pytest.raises(UserError):
            opened(path)
    assert path.read_bytes() == before


def test_reading_a_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such database"):
        db.open_readonly(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())


def test_reading_an_empty_database_says_what_to_do(new_postgres: Callable[[], str]) -> None:
    with pytest.raises(UserError, match=r"python cli\.py crawl"):
        db.open_readonly(new_postgres())


def test_only_one_writer_at_a_time(fresh_db: str) -> None:
    first, second = db.create(fresh_db), db.create(fresh_db)
    with db.exclusive(first), pytest.raises(UserError, match="another"), db.exclusive(second):
        raise AssertionError("both got in")
    with db.exclusive(second):
        pass
