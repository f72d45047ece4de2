import json

import pytest
from sqlalchemy import Engine, text

from corpus_db import db, passes
from corpus_db.purge import purge
from corpus_db.verify import plain, render_verification, verify
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS, fill_pictures


@pytest.fixture
def engine(fresh_db: str, tmp_path, monkeypatch) -> Engine:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    fill_pictures(engine)
    build(engine, READERS)
    return engine


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def image_files(engine: Engine):
    return sorted((db.image_root(engine.url) / "images").glob("*/*/*.png"))


def test_a_version_as_it_was_frozen_verifies(engine: Engine) -> None:
    found = verify(engine, None, db.image_root(engine.url))
    assert found.ok and (found.rows, found.images) == (5, 4)
    assert found.bytes == sum(file.stat().st_size for file in image_files(engine))
    assert json.loads(json.dumps(plain(found)))["ok"] is True
    assert render_verification(found)[-1] == "All is as it was frozen."


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE version_pair SET caption = 'Another.' WHERE pair_id = 'medpix:11'", "medpix:11"),
        ("UPDATE version_pair SET split = 'held' WHERE pair_id = 'medpix:21'", "medpix:21"),
        ("UPDATE version_pair SET sha256 = 'abc' WHERE pair_id = 'medpix:31'", "medpix:31"),
        ("UPDATE version_pair SET modality = 'US' WHERE pair_id = 'medpix:31'", None),
        ("DELETE FROM version_pair WHERE pair_id = 'medpix:41'", None),
    ],
)
def test_an_altered_row_breaks_the_manifest_and_is_named_where_it_contradicts_itself(
    engine: Engine, statement: str, named: str | None
) -> None:
    change(engine, statement)
    found = verify(engine, "v1", db.image_root(engine.url))
    assert not found.ok and found.found_sha256 != found.manifest_sha256
    assert {row["pair_id"] for row in found.suspects} == ({named} if named else set())
    assert any("ALTERED" in line for line in render_verification(found))


def test_missing_and_altered_image_bytes_are_named_with_what_to_do(engine: Engine) -> None:
    gone, altered, folder, _ = image_files(engine)
    gone.unlink()
    altered.write_bytes(altered.read_bytes()[:-1] + b"\0")
    folder.unlink()
    folder.mkdir()
    found = verify(engine, None, db.image_root(engine.url))
    assert [path.rpartition("/")[2] for path in found.missing] == [gone.name]
    assert [row["path"].rpartition("/")[2] for row in found.altered] == [altered.name, folder.name]
    assert (found.altered[0]["expected"], found.altered[1]["found"]) == (altered.stem, "not a file")
    assert not found.ok and any("python cli.py crawl" in line for line in render_verification(found))


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "images/../../secret", "a\\u0000b"])
def test_a_path_that_leads_out_of_the_store_is_not_followed(engine: Engine, path: str, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    change(engine, f"UPDATE version_pair SET image_path = '{path}' WHERE pair_id = 'medpix:11'")
    found = verify(engine, None, db.image_root(engine.url))
    assert path in [*found.missing, *(row["path"] for row in found.altered if "leads out" in row["found"])]


def test_rows_that_were_taken_down_still_prove_the_manifest_by_their_hashes(engine: Engine) -> None:
    purge(engine, "medpix:11")
    found = verify(engine, "v1", db.image_root(engine.url))
    assert found.ok and (found.rows, found.purged) == (4, 1)
    change(engine, "DELETE FROM version_tombstone")
    assert not verify(engine, "v1", db.image_root(engine.url)).ok


def test_a_version_of_the_first_schema_is_not_called_altered(engine: Engine) -> None:
    config = json.dumps({"schema": "0001"})
    change(engine, f"UPDATE version SET config = '{config}', manifest_sha256 = 'other'")
    found = verify(engine, "v1", db.image_root(engine.url))
    assert found.ok and found.found_sha256 is None and "0001" in (found.note or "")


def test_the_next_pass_asks_whole_for_an_image_whose_file_is_gone(engine: Engine) -> None:
    image_files(engine)[0].unlink()
    with engine.begin() as connection:
        assert passes.ask_anew_for_missing(connection, db.image_root(engine.url)) == 1
        etags = connection.execute(text("SELECT etag FROM \"fetch\" WHERE kind = 'image'")).scalars().all()
    assert 1 <= etags.count(None) <= 2 and len(etags) == 5
