import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.explain import explain
from corpus_db.explain_output import render_explain
from corpus_db.gather import table
from corpus_db.ledger import Child, Ledger, Outcome
from corpus_db.models import now
from corpus_db.passes import finish, open_pass
from corpus_db.purge import gc, purge, render_collected, render_purged
from corpus_db.recent import packs
from corpus_db.store import BadImage, ImageStore
from corpus_db.tombstones import redact, refused_bytes, withdrawn
from corpus_db.verify import verify
from tests.corpus_db.corpus import build, image
from tests.corpus_db.pictures import CAPTIONS, READERS, Pictures, fill_pictures, hash_of, png

SECRET = "spiculated mass in the left upper lobe"  # in the caption of image 11 alone


@pytest.fixture
def filler(fresh_db: str, tmp_path, monkeypatch) -> Pictures:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    filler = fill_pictures(db.create(fresh_db))
    with filler.engine.begin() as connection:
        crawl = (
            insert(table("crawl"))
            .values(source_id=filler.source_id, started=now(), finished=now())
            .returning(table("crawl").c.id)
        )
        noted = {"source_id": filler.source_id, "crawl_id": connection.execute(crawl).scalar_one(), "path": "/x"}
        changed = {"key": "11", "field": "caption", "before": "A mass.", "after": CAPTIONS["11"]}
        connection.execute(insert(table("drift")).values(**noted, **changed))
    build(filler.engine, READERS)
    return filler


def asked(engine: Engine, statement: str) -> list:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def traces(engine: Engine, words: str) -> list[str]:
    """Where in the whole database these words still stand: table.column on either engine, else the file's bytes."""
    found = []
    with engine.connect() as connection:
        for name, columns in ((table_.name, table_.columns) for table_ in table("pair").metadata.sorted_tables):
            for column in columns:
                statement = text(f'SELECT count(*) FROM "{name}" WHERE CAST("{column.name}" AS TEXT) LIKE :words')
                if connection.execute(statement, {"words": f"%{words}%"}).scalar():
                    found.append(f"{name}.{column.name}")
    if db.is_sqlite(engine):
        files = Path(engine.url.database or "").parent.glob("*.db*")
        found += [file.name for file in files if words.encode() in file.read_bytes()]
    return found


def test_a_purged_pair_leaves_no_trace_but_its_tombstone_and_its_hashes(filler: Pictures) -> None:
    assert traces(filler.engine, SECRET)
    purged = purge(filler.engine, "synpic11", "asked by the patient")
    assert purged.pair_ids == ["medpix:11"] and purged.versions == ["v1"] and purged.raw_records == 1
    assert traces(filler.engine, SECRET) == [] and purged.left_to_do == []
    assert asked(filler.engine, "SELECT pair_id, why FROM tombstone") == [("medpix:11", "asked by the patient")]
    assert len(asked(filler.engine, "SELECT row_sha256 FROM version_tombstone")) == 1
    for name in ("pair", "version_pair", "version_drop", "edit", "label", "conflict", "duplicate", "caption_fts"):
        key = "id" if name == "pair" else "pair_id"
        assert asked(filler.engine, f"SELECT count(*) FROM {name} WHERE {key} = 'medpix:11'") == [(0,)], name
    assert "taken down  medpix:11" in render_purged(purged)
    json.dumps(vars(purged))


def test_its_bytes_leave_the_disk_and_other_images_stay(filler: Pictures) -> None:
    root = db.image_root(filler.engine.url)
    purged = purge(filler.engine, "medpix:11")
    (gone,) = purged.files
    assert not (root / gone).exists() and hashlib.sha256(png(hash_of("11"))).hexdigest() in gone
    assert len(list((root / "images").glob("*/*/*"))) == 3
    assert verify(filler.engine, "v1", root).ok


def test_pixels_that_training_packed_go_too(filler: Pictures) -> None:
    folder = packs() / "of-some-version"
    folder.mkdir(parents=True)
    (folder / "grey.npy").write_bytes(b"pixels")
    assert purge(filler.engine, "medpix:11").left_to_do == []
    assert not folder.exists()


def test_bytes_that_another_pair_shows_stay_and_that_pair_is_named(filler: Pictures) -> None:
    purged = purge(filler.engine, "medpix:31")
    assert purged.files == [] and [users for users in purged.kept_files.values()] == [["medpix synpic41", "medpix:41"]]
    assert verify(filler.engine, "v1", db.image_root(filler.engine.url)).ok
    assert any("medpix:41" in line for line in render_purged(purged))
    assert len(purge(filler.engine, "medpix:41").files) == 1


def test_a_raw_record_loses_the_image_alone_and_is_marked(filler: Pictures) -> None:
    purge(filler.engine, "medpix:11")
    with filler.engine.connect() as connection:
        bodies = connection.execute(table("raw_record").select().order_by(table("raw_record").c.id)).all()
    assert [[entry["key"] for entry in row.body["images"]] for row in bodies] == [["12"], ["21"], ["31"], ["41"]]
    assert [row.body.get("purged", False) for row in bodies] == [True, False, False, False]
    assert bodies[0].body["title"] == "Case 1"


def test_no_build_makes_it_again_and_old_versions_still_verify(filler: Pictures) -> None:
    purge(filler.engine, "medpix:11")
    result = build(filler.engine, READERS)
    assert asked(filler.engine, "SELECT count(*) FROM rgc") == [(4,)] and not result.reused
    filler.said_anew("case1", filler.pictured("11", CAPTIONS["11"]))  # a source that is not crawled by this program
    filler.picture("11")
    build(filler.engine, READERS)
    assert asked(filler.engine, "SELECT count(*) FROM version_pair WHERE pair_id = 'medpix:11'") == [(0,)]
    for name in ("v1", "v2"):
        assert verify(filler.engine, name, db.image_root(filler.engine.url)).ok


def test_no_pass_asks_for_it_and_no_answer_brings_its_words_or_bytes_back(filler: Pictures) -> None:
    purge(filler.engine, "medpix:11")
    path = "/images/full/synpic11.png"
    state = f"SELECT status, reason, due, etag FROM \"fetch\" WHERE path = '{path}'"
    assert [tuple(row) for row in asked(filler.engine, state)] == [("skipped", "purged", False, None)]
    crawl_id, _ = open_pass(filler.engine, filler.source_id, [Child("/case", "encounter")], False)
    ledger = Ledger(filler.engine, filler.source_id, crawl_id, lambda *_: ())
    assert ledger.withdrawn == {"11"}
    body = {"key": "1", "images": [image("11", "1", SECRET)]}
    assert redact(body, ledger.withdrawn)
    task = ledger.due(1, "encounter")[0]
    children = (Child(path, "image"), Child("/images/full/synpic12.png", "image"))
    ledger.record([Outcome(task, "ok", sha256="1", key="1", body=json.dumps(body), children=children)])
    assert [task.path for task in ledger.due(9, "image")] == ["/images/full/synpic12.png"]
    ledger.record([Outcome(ledger.due(1, "image")[0], "ok", sha256="2")])
    finish(ledger)
    assert [tuple(row) for row in asked(filler.engine, state)] == [("skipped", "purged", False, None)]
    assert traces(filler.engine, SECRET) == []
    with filler.engine.connect() as connection:
        store = ImageStore(db.image_root(filler.engine.url), refused_bytes(connection))
    with pytest.raises(BadImage, match="purged"):
        store.put(png(hash_of("11")))
    store.put(png(hash_of("12")))


def test_purging_twice_is_purging_once(filler: Pictures) -> None:
    purge(filler.engine, "synpic11", "first")
    for key in ("medpix:11", "synpic11"):
        again = purge(filler.engine, key, "second")
        assert (again.versions, again.raw_records, again.files) == ([], 0, [])
    assert asked(filler.engine, "SELECT pair_id, why FROM tombstone") == [("medpix:11", "first")]
    assert len(asked(filler.engine, "SELECT * FROM version_tombstone")) == 1


@pytest.mark.parametrize("finisher", ["gc", "purge"])
def test_what_a_kill_left_on_the_disk_is_removed_later(filler: Pictures, monkeypatch, finisher: str) -> None:
    root = db.image_root(filler.engine.url)
    with monkeypatch.context() as killed:
        killed.setattr("corpus_db.collect.remove_files", lambda *_: ([], {}))
        purge(filler.engine, "medpix:11")
    assert len(list((root / "images").glob("*/*/*"))) == 4
    files = gc(filler.engine, root).files if finisher == "gc" else purge(filler.engine, "medpix:11").files
    assert len(files) == 1 and len(list((root / "images").glob("*/*/*"))) == 3


def test_a_pair_of_an_old_version_and_an_image_that_became_no_pair_can_be_purged(filler: Pictures) -> None:
    filler.said_anew("case2")  # lists its image no more
    filler.case("case6", image("61", "case6", "Hidden words about somebody.", withheld="hidden"))
    build(filler.engine, READERS)
    assert purge(filler.engine, "medpix:21").versions == ["v1"]
    assert traces(filler.engine, "torn meniscus") == []
    assert purge(filler.engine, "synpic61", readers=READERS).pair_ids == ["medpix:61"]
    assert traces(filler.engine, "Hidden words") == []
    with filler.engine.connect() as connection:
        assert withdrawn(connection, filler.source_id) == {"21", "61"}


def test_an_unclear_key_takes_nothing_down(filler: Pictures) -> None:
    for key in ("synpic", "", "nothing", "\0", "%", "synpic2", "medpix:2"):
        with pytest.raises(UserError):
            purge(filler.engine, key, readers=READERS)
    assert asked(filler.engine, "SELECT count(*) FROM tombstone") == [(0,)]
    assert asked(filler.engine, "SELECT count(*) FROM rgc") == [(5,)]


def test_a_purged_pair_is_explained_as_taken_down(filler: Pictures) -> None:
    purge(filler.engine, "medpix:11", "asked by the patient")
    found = explain(filler.engine, "medpix:11", READERS)
    lines = render_explain(json.loads(json.dumps(found)))
    assert lines[0].startswith("medpix:11: taken down on 20") and "asked by the patient" in lines[0]
    assert any("purged" in line for line in lines)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"imageList": [{"imageID": "x", "imageCaption": "c"}, {"imageID": "y"}]}, {"imageList": [{"imageID": "y"}]}),
        ({"a": {"b": [[{"image_id": "x"}]]}}, {"a": {"b": [[]]}}),
        ({"images": [{"ID": 7}]}, {"images": []}),
    ],
)
def test_redaction_finds_an_image_at_any_depth_by_its_id(body: dict, left: dict) -> None:
    assert redact(body, {"x", "7"}) and body == {**left, "purged": True}


@pytest.mark.parametrize("body", [{"imageID": "x"}, {"l": [{"case": "x", "caption": "x"}, "x"]}, ["x"], None, 7, "x"])
def test_redaction_leaves_alone_what_only_mentions_the_id(body: object) -> None:
    before = json.dumps(body)
    assert not redact(body, {"x"}) and json.dumps(body) == before


def test_gc_removes_what_nothing_refers_to_and_nothing_else(filler: Pictures) -> None:
    root = db.image_root(filler.engine.url)
    stray = ImageStore(root).put(png(900))
    unused = ImageStore(root).put(png(901))
    part = root / "images" / stray.sha256[:2] / stray.sha256[2:4] / "half.part"
    part.write_bytes(b"half")
    with filler.engine.begin() as connection:
        connection.execute(insert(table("image")).values(**vars(unused)))
    dry = gc(filler.engine, root, dry_run=True)
    assert len(dry.files) == 3 and dry.image_rows == 1 and part.exists()
    found = gc(filler.engine, root)
    assert (found.files, found.bytes, found.image_rows) == (dry.files, dry.bytes, dry.image_rows)
    assert sorted(found.files) == sorted([stray.path, unused.path, str(part.relative_to(root))])
    assert verify(filler.engine, "v1", root).ok and gc(filler.engine, root).files == []
    assert render_collected(found)[0].startswith("removed 3 files")


def test_gc_keeps_old_bytes_of_an_image_that_changed_and_those_of_an_old_version(filler: Pictures) -> None:
    root = db.image_root(filler.engine.url)
    filler.picture("11", seed=5)
    build(filler.engine, READERS)
    with filler.engine.begin() as connection:
        connection.execute(text("DELETE FROM image_ref WHERE upstream_name = 'synpic21'"))
    assert gc(filler.engine, root).files == []
    assert all(verify(filler.engine, name, root).ok for name in ("v1", "v2"))


def test_gc_and_purge_leave_the_images_of_another_database_in_the_same_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    one, other = (fill_pictures(db.create(tmp_path / f"{name}.db")) for name in ("one", "other"))
    build(one.engine, READERS)
    build(other.engine, READERS)
    alone = one.picture("99")
    assert gc(other.engine, tmp_path).kept == {alone.path: [str(tmp_path / "one.db")]}
    purged = purge(one.engine, "medpix:11")
    assert purged.files == [] and list(purged.kept_files.values()) == [[str(tmp_path / "other.db")]]
    assert verify(other.engine, "v1", tmp_path).ok
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    assert any("broken.db" in trouble for trouble in purge(one.engine, "medpix:21").left_to_do)


def test_gc_removes_rows_of_versions_that_are_gone(tmp_path: Path) -> None:
    # on SQLite alone: PostgreSQL does not let a version go while rows refer to it
    filler = fill_pictures(db.create(tmp_path / "corpus.db"))
    build(filler.engine, READERS)
    connection = filler.engine.raw_connection()
    connection.cursor().execute("PRAGMA foreign_keys=OFF")
    connection.cursor().execute("INSERT INTO version_drop VALUES (99, 'medpix:1', 'template', NULL)")
    connection.cursor().execute("PRAGMA foreign_keys=ON")
    connection.close()
    assert gc(filler.engine, db.image_root(filler.engine.url)).rows == {"version_drop": 1}
    assert asked(filler.engine, "SELECT count(*) FROM version_drop WHERE version_id = 99") == [(0,)]
