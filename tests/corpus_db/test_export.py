import csv
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select

from corpus_db import db, version
from corpus_db.errors import UserError
from corpus_db.export import FORMS, export, folder, render_export, snapshot
from corpus_db.gather import table
from tests.corpus_db.exporting import RAW, change, freeze_corpus, pair_id_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def corpus(fresh_db: str, tmp_path: Path) -> tuple[Engine, Path]:
    """A database with a version, on each engine in turn, and the folder of its images."""
    engine = db.create(fresh_db)
    root = tmp_path / "store"
    freeze_corpus(engine, root)
    return engine, root


@pytest.fixture
def lone(tmp_path: Path) -> tuple[Engine, Path]:
    """The same on SQLite alone, for what no engine has a part in."""
    engine = db.create(tmp_path / "store" / "corpus.db")
    freeze_corpus(engine, tmp_path / "store")
    return engine, tmp_path / "store"


def run(corpus: tuple[Engine, Path], target: Path, form: str = "webdataset", **options: Any) -> Any:
    options = {"with_images": True, "say": lambda line: None, **options}
    return export(corpus[0], None, form, target, root=corpus[1], **options)


def contents(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("with_images", [False, True])
def test_an_export_is_the_same_bytes_from_either_engine(form, with_images, new_postgres, tmp_path):
    made = []
    for name, address in (("sqlite", tmp_path / "corpus.db"), ("postgresql", new_postgres())):
        engine = db.create(address)
        freeze_corpus(engine, tmp_path / "store")
        run((engine, tmp_path / "store"), tmp_path / name, form, with_images=with_images)
        made.append(contents(tmp_path / name))
    assert made[0] == made[1]


@pytest.mark.parametrize("form", FORMS)
def test_sha256sum_accepts_every_file_and_export_json_names_them(form, corpus, tmp_path):
    done = run(corpus, tmp_path / "out", form)
    checked = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True)
    assert checked.returncode == 0, checked.stderr
    held = json.loads((tmp_path / "out" / "export.json").read_text())
    assert held["files"] == [vars(file) for file in done.files]
    on_disk = set(contents(tmp_path / "out"))
    assert on_disk == {file["path"] for file in held["files"]} | {"export.json", "SHA256SUMS"}
    assert checked.stdout.count(b": OK") == len(on_disk) - 1
    assert (held["pairs"], held["images"], held["licences"]) == (10, 10, {"CC BY 4.0": 4, "none stated": 6})
    with corpus[0].connect() as connection:
        assert held["manifest_sha256"] == version.resolve(connection, None).manifest_sha256


@pytest.mark.parametrize("form", FORMS)
def test_no_raw_text_is_in_any_file(form, corpus, tmp_path):
    run(corpus, tmp_path / "out", form)
    for name, body in contents(tmp_path / "out").items():
        assert RAW.encode() not in body, name
        if name.endswith(".parquet"):  # compressed
            parquet = pytest.importorskip("pyarrow.parquet")
            assert RAW not in str(parquet.read_table(tmp_path / "out" / name).drop_columns("image").to_pylist())


@pytest.mark.parametrize("form", FORMS)
def test_without_images_there_are_none_and_the_last_line_says_how_to_add_them(form, lone, tmp_path):
    done = run(lone, tmp_path / "out", form, with_images=False)
    image = next((lone[1] / "images").rglob("*.jpg")).read_bytes()
    assert not [name for name, body in contents(tmp_path / "out").items() if image in body]
    assert done.images == 0
    last = render_export(done)[-1]
    assert "--with-images" in last and "6 pairs: none stated" in last


def test_every_column_of_rgc_is_exported_with_its_groups(corpus, tmp_path):
    with corpus[0].connect() as connection:
        rgc = connection.exec_driver_sql("SELECT * FROM rgc").keys()
    assert {*rgc, "duplicate_cluster", "split_group"} == set(snapshot.COLUMNS)


def test_a_version_is_found_by_name_and_by_tag(lone, tmp_path):
    assert export(lone[0], "v1", "csv", tmp_path / "a").version == "v1"
    assert export(lone[0], "1.1.0", "csv", tmp_path / "b").version == "v1"
    with pytest.raises(UserError, match="no such version"):
        export(lone[0], "v7", "csv", tmp_path / "c")
    with pytest.raises(UserError, match="no such format"):
        export(lone[0], "v1", "zip", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Interrupt the next export when it has finished so many files."""
    put = folder.Folder.put

    def interrupted(self: folder.Folder, part: folder.Part) -> folder.File:
        if len(self.files) == count:
            raise KeyboardInterrupt
        return put(self, part)

    monkeypatch.setattr(folder.Folder, "put", interrupted)


@pytest.mark.parametrize("form", ["webdataset", "csv", "croissant", "sqlite"])
def test_an_interrupted_export_keeps_its_finished_files_and_goes_on(form, lone, tmp_path):
    run(lone, tmp_path / "whole", form)
    target = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 1)
        run(lone, target, form)
    assert not (target / "export.json").exists()
    (first,) = [path for path in target.rglob("*") if path.is_file() and path.name != folder.JOURNAL]
    before = first.stat().st_ino
    assert run(lone, target, form).resumed
    assert first.stat().st_ino == before
    assert contents(target) == contents(tmp_path / "whole")


def test_an_export_killed_in_the_middle_of_a_file_goes_on(lone, tmp_path):
    target = tmp_path / "out"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom corpus_db import db\n"
        "from corpus_db.export import export, snapshot\n"
        "real, seen = snapshot.Snapshot.image_bytes, []\n"
        "def image_bytes(self, row):\n"
        "    seen.append(row)\n"
        "    if len(seen) == 8: os.kill(os.getpid(), 9)\n"
        "    return real(self, row)\n"
        "snapshot.Snapshot.image_bytes = image_bytes\n"
        "export(db.open_existing(sys.argv[1]), None, 'webdataset', Path(sys.argv[2]), with_images=True)"
    )
    words = [sys.executable, "-c", code, str(lone[1] / "corpus.db"), str(target)]
    assert subprocess.run(words, cwd=ROOT).returncode == -9
    assert sorted(contents(target)) == ["train-000000.tar", "unfinished.jsonl", "val-000000.tar.part"]
    assert run(lone, target).resumed
    run(lone, tmp_path / "whole")
    assert contents(target) == contents(tmp_path / "whole")


def test_a_finished_file_that_was_altered_is_written_again(lone, tmp_path):
    for form, name in (("webdataset", "train-000000.tar"), ("csv", next(iter_images(lone)))):
        target = tmp_path / form
        run(lone, target, form)
        before = contents(target)
        (target / name).write_bytes(b"x" + before[name][1:])
        again = run(lone, target, form)
        assert (again.resumed, again.mended) == (True, 1)
        assert contents(target) == before


def iter_images(corpus: tuple[Engine, Path]) -> Any:
    return (str(path.relative_to(corpus[1])) for path in (corpus[1] / "images").rglob("*.png"))


def test_a_journal_whose_last_line_was_cut_still_counts(lone, tmp_path):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 1)
        run(lone, tmp_path / "out")
    with open(tmp_path / "out" / folder.JOURNAL, "a") as journal:
        journal.write('{"path": "val-0000')
    assert run(lone, tmp_path / "out").resumed
    run(lone, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(lone, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty, and holds no export"):
        run(lone, other)
    run(lone, tmp_path / "out", "csv")
    for form, options in (("parquet", {}), ("csv", {"with_images": False})):
        with pytest.raises(UserError, match="holds another export"):
            run(lone, tmp_path / "out", form, **options)
    (other / "notes.txt").rename(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write here"):
        run(lone, tmp_path / "file")
    assert contents(other) == {}


@pytest.mark.parametrize("body", ["[1, 2]", "null", "{}", '{"files": 3}', "nothing", "\n\n"])
def test_a_foreign_export_json_is_no_export(body, lone, tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("export.json", folder.JOURNAL):
        (tmp_path / "out" / name).write_text(body)
        with pytest.raises(UserError, match="give another folder"):
            run(lone, tmp_path / "out")
        (tmp_path / "out" / name).unlink()


def test_two_exports_do_not_write_to_one_folder_at_once(lone, tmp_path):
    run(lone, tmp_path / "out")
    identity = json.loads((tmp_path / "out" / "export.json").read_text())
    with folder.opened(tmp_path / "out", {"form": identity["form"]}), pytest.raises(UserError, match="another export"):
        run(lone, tmp_path / "out")


def test_rows_that_do_not_match_the_manifest_are_not_exported(corpus, tmp_path):
    change(corpus[0], pair_id_of(4), caption="Somebody else's words.")
    with pytest.raises(UserError, match=r"do not match its manifest.*verify v1"):
        run(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_that_was_taken_down_is_left_out_and_an_older_export_is_not_gone_on_with(corpus, tmp_path):
    engine, rows = corpus[0], table("version_pair")
    run(corpus, tmp_path / "before", "csv")
    with engine.begin() as connection:
        row = connection.execute(select(rows).where(rows.c.pair_id == pair_id_of(4))).mappings().one()
        kept = {"version_id": row["version_id"], "pair_id": row["pair_id"]}
        values = {**kept, "row_sha256": version.row_sha256(dict(row))}
        connection.execute(insert(table("version_tombstone")).values(**values))
        connection.execute(delete(rows).where(rows.c.pair_id == pair_id_of(4)))
    with pytest.raises(UserError, match="holds another export"):
        run(corpus, tmp_path / "before", "csv")
    run(corpus, tmp_path / "after", "csv")
    with open(tmp_path / "after" / "pairs.csv", newline="", encoding="utf-8") as file:
        assert pair_id_of(4) not in [row["pair_id"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_bytes_that_are_missing_or_altered_stop_it_and_name_the_pair(form, damage, lone, tmp_path):
    with lone[0].connect() as connection:
        where = table("version_pair").c
        path = connection.execute(select(where.image_path).where(where.pair_id == pair_id_of(6))).scalar_one()
    body = (lone[1] / path).read_bytes()
    if damage == "missing":
        (lone[1] / path).unlink()
    else:
        (lone[1] / path).write_bytes(body[:-1] + b"?")
    with pytest.raises(UserError) as told:
        run(lone, tmp_path / "out", form)
    assert pair_id_of(6) in str(told.value) and damage in str(told.value) and "verify v1" in str(told.value)
    assert "\n" not in str(told.value)
    (lone[1] / path).write_bytes(body)
    run(lone, tmp_path / "out", form)
    run(lone, tmp_path / "whole", form)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("form", FORMS)
def test_a_path_that_leads_out_of_the_image_store_is_never_read_or_written(form, lone, tmp_path):
    engine, root = lone
    secret = tmp_path / "secret.txt"
    secret.write_text("classified")
    digest = folder.file_sha256(secret)
    inside = f"images/{digest[:2]}/{digest[2:4]}/{digest}.txt"
    (root / inside).parent.mkdir(parents=True)
    (root / inside).symlink_to(secret)
    for path in ("../secret.txt", str(secret), f"images/../../{secret.name}", inside, f"{inside}\n", ""):
        change(engine, pair_id_of(4), refreeze=True, image_path=path, sha256=digest)
        with pytest.raises(UserError, match="is no place in"):
            run(lone, tmp_path / "out", form)
        assert not [name for name, body in contents(tmp_path / "out").items() if b"classified" in body]
        shutil.rmtree(tmp_path / "out")


def test_a_store_on_another_disk_may_be_a_link(lone, tmp_path):
    (lone[1] / "images").rename(tmp_path / "disk")
    (lone[1] / "images").symlink_to(tmp_path / "disk")
    assert run(lone, tmp_path / "out", "csv").images == 10


@pytest.mark.parametrize("form", ["webdataset", "parquet", "csv"])
def test_a_full_disk_is_told_in_a_line_and_the_finished_files_stay(form, lone, tmp_path):
    target = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 1)
        run(lone, target, form)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    finished = contents(target)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # the journal fits, no other file does
    try:
        with pytest.raises(UserError, match="cannot be written") as told:
            run(lone, target, form)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(told.value)
    assert contents(target).items() >= {name: finished[name] for name in finished if name != folder.JOURNAL}.items()
    assert not list(target.rglob("*.part"))
    assert run(lone, target, form).resumed


@pytest.mark.parametrize(("title", "same"), [("NA", True), ("Another", False)])
def test_others_may_write_meanwhile_but_not_to_the_version_itself(title, same, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("corpus_db.export._SAY_EVERY_S", -1.0)  # a line after each file

    def say(line: str) -> None:
        change(corpus[0], pair_id_of(0), refreeze=True, title=title)

    if same:
        assert run(corpus, tmp_path / "out", "csv", say=say).pairs == 10
    else:
        with pytest.raises(UserError, match="changed while it was exported"):
            run(corpus, tmp_path / "out", "csv", say=say)
        assert not (tmp_path / "out" / "export.json").exists()


def test_a_build_that_holds_the_write_lock_does_not_stop_an_export(lone, tmp_path):
    with closing(sqlite3.connect(lone[1] / "corpus.db", isolation_level=None)) as build:
        build.execute("BEGIN IMMEDIATE")
        assert run(lone, tmp_path / "out", "sqlite").pairs == 10


def test_a_line_with_the_rate_is_said_on_the_way(lone, tmp_path, monkeypatch):
    monkeypatch.setattr("corpus_db.export._SAY_EVERY_S", -1.0)
    lines = []
    run(lone, tmp_path / "out", "csv", say=lines.append)
    assert lines[0].startswith("1 file, ") and lines[0].endswith("MB/s")
