"""Each export read back with the tool it is made for; on SQLite: test_export shows that the engine does not matter."""

import csv
import io
import json
import shutil
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from corpus_db import db, version
from corpus_db.errors import UserError
from corpus_db.export import croissant, export, parquet, sqlite, webdataset
from corpus_db.export.snapshot import COLUMNS
from corpus_db.gather import table
from corpus_db.search import matching
from corpus_db.sql import query
from tests.corpus_db.exporting import AWKWARD, RAW, change, freeze_corpus, pair_id_of

pytestmark = pytest.mark.filterwarnings("ignore::Warning:rdflib", "ignore::Warning:mlcroissant")


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Engine, Path]:
    engine = db.create(tmp_path / "store" / "corpus.db")
    freeze_corpus(engine, tmp_path / "store")
    return engine, tmp_path / "store"


def run(corpus: tuple[Engine, Path], target: Path, form: str, **options: Any) -> Path:
    export(corpus[0], None, form, target, root=corpus[1], **{"with_images": True, **options})
    return target


def frozen(corpus: tuple[Engine, Path], split: str = "%") -> dict[str, dict[str, Any]]:
    statement = text(f"SELECT {', '.join(COLUMNS)} FROM version_pair WHERE split LIKE :split")
    with corpus[0].connect() as connection:
        return {row["pair_id"]: dict(row) for row in connection.execute(statement, {"split": split}).mappings()}


def stored(corpus: tuple[Engine, Path], row: dict[str, Any]) -> bytes:
    return (corpus[1] / row["image_path"]).read_bytes()


# WebDataset


def test_webdataset_reads_each_pair_with_its_image(corpus, tmp_path):
    wds = pytest.importorskip("webdataset")
    run(corpus, tmp_path / "out", "webdataset")
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        samples = list(wds.WebDataset(str(tmp_path / "out" / f"{split}-000000.tar"), shardshuffle=False))
        rows = frozen(corpus, split)
        assert len(samples) == len(rows) == count
        for sample in samples:
            row = rows[unquote(sample["__key__"])]
            assert json.loads(sample["json"]) == row
            assert sample["txt"].decode() == row["caption"]
            assert sample[row["image_path"].rpartition(".")[2]] == stored(corpus, row)
        decoded = wds.WebDataset(str(tmp_path / "out" / f"{split}-000000.tar"), shardshuffle=False).decode("pil")
        pictures = [sample.get("jpg", sample.get("png")) for sample in decoded]
        assert [picture.size for picture in pictures] == [(24, 16)] * count


def test_a_shard_is_no_larger_than_asked_unless_one_sample_is(corpus, tmp_path):
    limit = 20_480
    run(corpus, tmp_path / "out", "webdataset", shard_bytes=limit)
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert [path.name for path in shards][:3] == ["test-000000.tar", "train-000000.tar", "train-000001.tar"]
    assert all(path.stat().st_size <= limit for path in shards)
    run(corpus, tmp_path / "single", "webdataset", shard_bytes=1)
    singles = list((tmp_path / "single").glob("*.tar"))
    assert len(singles) == 10
    for shard_set in (shards, singles):
        names = [name.partition(".")[0] for path in shard_set for name in members(path)]
        assert sorted(map(unquote, set(names))) == sorted(frozen(corpus))
    with pytest.raises(UserError, match="give 1 or more"):
        run(corpus, tmp_path / "none", "webdataset", shard_bytes=0)


def members(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_tar_headers_tell_nothing_of_the_machine(corpus, tmp_path):
    run(corpus, tmp_path / "out", "webdataset")
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        for member in tar.getmembers():
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert member.isreg() and member.pax_headers == {}


@pytest.mark.parametrize("pair_id", ["medpix:1", "a/../b.jpg#2", "~/x", "é😀\n\0", "x" * 10_000, "é" * 500, ".", "%2E"])
def test_a_key_is_one_plain_short_name_for_any_id(pair_id):
    key = webdataset.sample_key(pair_id)
    assert key.isascii() and len(key) <= 90 and not set(key) & set("./\\~ #:\n\0")
    assert unquote(key) == pair_id or len(pair_id) > 90
    assert key != webdataset.sample_key(pair_id + "x")


# Parquet


def test_pyarrow_reads_each_split_with_its_images(corpus, tmp_path):
    arrow = pytest.importorskip("pyarrow.parquet")
    run(corpus, tmp_path / "out", "parquet")
    for split in ("train", "val", "test"):
        rows = frozen(corpus, split)
        for found in arrow.read_table(tmp_path / "out" / f"{split}.parquet").to_pylist():
            image = found.pop("image")
            assert found == rows.pop(found["pair_id"])
            assert image == {"bytes": stored(corpus, found), "path": found["image_path"]}
        assert rows == {}


def test_the_image_column_bears_the_mark_of_hugging_face_datasets(corpus, tmp_path):
    arrow = pytest.importorskip("pyarrow.parquet")
    run(corpus, tmp_path / "out", "parquet")
    schema = arrow.read_schema(tmp_path / "out" / "train.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) != [] and set(features) == set(schema.names) == {*COLUMNS, "image"}
    assert features["image"] == {"_type": "Image"}
    run(corpus, tmp_path / "bare", "parquet", with_images=False)
    assert arrow.read_schema(tmp_path / "bare" / "train.parquet").names == list(COLUMNS)


@pytest.mark.parametrize(("limit", "value"), [("GROUP_ROWS", 2), ("GROUP_BYTES", 1)])
def test_row_groups_are_bounded_by_rows_and_by_image_bytes(limit, value, corpus, tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, limit, value)
    run(corpus, tmp_path / "out", "parquet")
    found = arrow.ParquetFile(tmp_path / "out" / "train.parquet")
    assert found.num_row_groups == (3 if limit == "GROUP_ROWS" else 6)
    assert found.read().num_rows == 6


@pytest.mark.parametrize("form", ["parquet", "croissant"])
def test_without_pyarrow_the_extra_is_named(form, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[parquet\]'"):
        run(corpus, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


# CSV


def test_csv_reads_back_to_the_letter_with_the_images_beside_it(corpus, tmp_path):
    out = run(corpus, tmp_path / "out", "csv")
    body = (out / "pairs.csv").read_bytes()
    assert body.startswith(b"pair_id,image_path,") and body.endswith(b"\r\n")
    found = list(csv.DictReader(io.StringIO(body.decode("utf-8"), newline="")))
    rows = frozen(corpus)
    assert [row["pair_id"] for row in found] == sorted(rows)
    for row in found:
        expected = rows[row["pair_id"]]
        assert row == {name: "" if value is None else value for name, value in expected.items()}
        assert (out / row["image_path"]).read_bytes() == stored(corpus, expected)
    assert AWKWARD in [row["caption"] for row in found]
    assert len(list((out / "images").rglob("*.*"))) == 9  # two pairs share one


# Croissant


@pytest.mark.parametrize("with_images", [False, True])
def test_mlcroissant_validates_it_without_a_warning_and_reads_every_record(with_images, corpus, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    out = run(corpus, tmp_path / "out", "croissant", with_images=with_images)
    dataset = mlcroissant.Dataset(str(out / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    for split in ("train", "val", "test"):
        rows = frozen(corpus, split)
        for record in dataset.records(split):
            found = {name.partition("/")[2]: value for name, value in record.items()}
            image = found.pop("image", None)
            row = rows.pop(found["pair_id"].decode())
            assert found == {name: None if value is None else value.encode() for name, value in row.items()}
            if with_images:
                with Image.open(io.BytesIO(stored(corpus, row))) as expected:
                    assert image.tobytes() == expected.tobytes()
        assert rows == {}


def test_mlcroissant_refuses_a_file_that_is_not_the_one_described(corpus, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    out = run(corpus, tmp_path / "out", "croissant")
    shutil.copy(out / "val.parquet", out / "train.parquet")
    with pytest.raises(mlcroissant.GenerationError) as told:
        list(mlcroissant.Dataset(str(out / "croissant.json")).records("train"))
    assert "not identical with the reference" in str(told.value.__cause__)


def test_croissant_tells_licences_citation_and_the_versions_tag(corpus, tmp_path):
    out = run(corpus, tmp_path / "out", "croissant")
    said = json.loads((out / croissant.CROISSANT).read_text())
    assert said["license"] == ["CC BY 4.0", "none stated"]
    assert said["citeAs"] == "Pelka 2018"
    assert said["version"] == "1.1.0"
    assert said["datePublished"] == "2026-01-02"
    assert [creator["name"] for creator in said["creator"]] == ["medpix", "roco"]
    with corpus[0].begin() as connection:
        connection.execute(text("DELETE FROM version_tag"))
    run(corpus, tmp_path / "untagged", "croissant")
    said = json.loads((tmp_path / "untagged" / croissant.CROISSANT).read_text())
    assert said["version"].startswith("0.0.0+")


@pytest.mark.parametrize("name", ["my corpus!", "ünï/cöde", '"', "v1\n", "x" * 300])
def test_any_name_of_a_version_makes_a_valid_description(name, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    engine = db.create(tmp_path / "corpus.db")
    freeze_corpus(engine, tmp_path, name=name)
    out = run((engine, tmp_path), tmp_path / "out", "croissant")
    assert len(list(mlcroissant.Dataset(str(out / "croissant.json")).records("val"))) == 2


# SQLite


@pytest.fixture
def shared(corpus, tmp_path):
    """A copy to share."""
    return run(corpus, tmp_path / "out", "sqlite") / sqlite.CORPUS


def test_a_shared_copy_answers_sql_and_full_text(corpus, shared):
    found = query(shared, "SELECT pair_id, caption FROM rgc ORDER BY pair_id")
    rows = frozen(corpus)
    assert list(found.rows) == [(pair_id, rows[pair_id]["caption"]) for pair_id in sorted(rows)]
    engine = db.open_readonly(shared)
    with engine.connect() as connection:
        assert len(connection.execute(matching(engine, "mass")).all()) == 9
    checks = ("PRAGMA integrity_check", "PRAGMA foreign_key_check", "PRAGMA journal_mode")
    with closing(sqlite3.connect(shared)) as plain:
        assert [plain.execute(check).fetchall() for check in checks] == [[("ok",)], [], [("delete",)]]


def test_a_shared_copy_tells_what_may_be_told_and_nothing_else(shared):
    def asked(statement: str) -> list[tuple[Any, ...]]:
        return list(query(shared, statement).rows)

    assert asked("SELECT step, rule, before, after FROM edit") == [(1, "names", "", "")]
    assert asked("SELECT rule, before, after FROM case_edit") == [("names", "", "")]
    assert asked("SELECT voter, evidence FROM label ORDER BY id") == [
        ("upstream", "upstream: CT - noncontrast"),
        ("text", ""),
    ]
    assert asked("SELECT evidence, other_evidence FROM conflict") == [("upstream: CT", "")]
    assert asked("SELECT count(*), count(caption_raw) FROM pair") == [(10, 0)]
    assert asked("SELECT id, name, parent_id FROM version") == [(1, "v1", None)]
    for name in sqlite.LEFT_OUT:
        assert asked(f'SELECT count(*) FROM "{name}"') == [(0,)], name


def test_no_byte_of_a_shared_copy_is_of_another_version(corpus, tmp_path):
    change(corpus[0], pair_id_of(4), refreeze=True, caption="Zygote of another version.")
    with corpus[0].begin() as connection:
        rows = table("version_pair")
        held = [dict(row) for row in connection.execute(rows.select()).mappings()]
        changed = [{**row, "caption": row["caption"].replace("Zygote", "Quagga")} for row in held]
        for row in changed:
            del row["version_id"]
        version.freeze(connection, changed, None, {})
    export(corpus[0], "v2", "sqlite", tmp_path / "out", root=corpus[1])
    body = (tmp_path / "out" / sqlite.CORPUS).read_bytes()
    assert b"Quagga" in body and b"Zygote" not in body and RAW.encode() not in body


def test_a_shared_copy_exports_as_its_source_does(corpus, shared, tmp_path):
    copy = (db.open_readonly(shared), shared.parent)
    for form in ("csv", "webdataset", "parquet", "sqlite"):
        first, second = (run(source, tmp_path / name / form, form) for source, name in ((corpus, "a"), (copy, "b")))
        assert (first / "SHA256SUMS").read_bytes() == (second / "SHA256SUMS").read_bytes()


def test_each_table_and_text_column_was_judged_before_it_is_shared():
    """A new column of a table that is copied is shared from then on: may it be? Then add it here."""
    judged = {
        "source": "id name shape site licence citation",
        "version": "id name parent_id manifest_sha256 created config",
        "image": "sha256 bytes width height mode format phash path pixel_sha256 facts",
        "image_ref": "id source_id upstream_name path image_sha256 seen_at",
        "study_case": "id source_id upstream_id patient_key title history exam findings impression ddx diagnosis "
        "diagnosis_by treatment discussion topic location age sex credit licence",
        "pair": "id source_id upstream_id upstream_name panel study_case_id image_sha256 caption_raw caption status "
        "drop_reason drop_detail modality_raw modality plane_raw plane region laterality age sex acr_code figure_part "
        "credit",
        "version_drop": "version_id pair_id reason detail",
        "version_tag": "tag version_id",
        "version_tombstone": "version_id pair_id row_sha256",
        "edit": "id version_id pair_id step rule before after",
        "case_edit": "id version_id study_case_id field step rule before after",
        "label": "id version_id pair_id field value voter evidence confidence",
        "conflict": "id version_id pair_id field value voter evidence other_value other_voter other_evidence",
        "duplicate": "id version_id pair_id cluster kind distance like_pair_id",
        "version_pair": " ".join(["version_id", "patient_key", *COLUMNS]),
    }
    tables = SQLModel.metadata.tables
    assert set(tables) == {*judged, *sqlite.LEFT_OUT, "current_version"}
    for name, columns in judged.items():
        assert set(tables[name].columns.keys()) == set(columns.split()), name
