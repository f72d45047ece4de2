import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, insert, text, update

from corpus_db import db, read, recent
from corpus_db.gather import table
from corpus_db.read import UserError
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS, fill_pictures

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def engine(fresh_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two versions: v1, and the current one, `more`, with one pair more."""
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    filler = fill_pictures(engine)
    build(engine, READERS)
    filler.case("case5", filler.pictured("51", "Axial CT of the pelvis with a fluid collection."))
    filler.picture("51")
    build(engine, READERS, name="more")
    return engine


def test_a_version_is_its_frozen_pairs_in_order(engine: Engine, fresh_db: str) -> None:
    found = read.version("v1", fresh_db)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT p.* FROM version_pair p JOIN version v ON v.id = version_id WHERE v.name = 'v1'")
        ).mappings()
        frozen = {row["pair_id"]: dict(row) for row in rows}
        manifest = connection.execute(text("SELECT manifest_sha256 FROM version WHERE name = 'v1'")).scalar()
    assert (found.name, found.manifest_sha256) == ("v1", manifest)
    assert [pair.pair_id for pair in found.pairs] == sorted(frozen)
    for pair in found.pairs:
        values = dataclasses.asdict(pair)
        path = Path(values.pop("image_path"))
        assert values == {name: frozen[pair.pair_id][name] for name in values}
        assert path.is_absolute() and path.is_file() and str(path).endswith(frozen[pair.pair_id]["image_path"])


def test_without_names_it_is_the_current_version_of_the_database_built_last(engine: Engine, fresh_db: str) -> None:
    recent.remember("built", fresh_db)
    found = read.version()
    assert found.name == "more" and len(found.pairs) == len(read.version("v1").pairs) + 1
    assert read.version(found.manifest_sha256[:10]) == found


def test_what_is_not_there_is_told_in_a_line(engine: Engine, fresh_db: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"v9: no such version; there are .*more, v1"):
        read.version("v9", fresh_db)
    with pytest.raises(UserError, match=r"none\.db: no such database"):
        read.version(db=str(tmp_path / "none.db"))
    with pytest.raises(UserError, match="no corpus yet; make one with: make rgc"):
        read.version()


def test_the_shown_database_bears_no_password(engine: Engine, fresh_db: str) -> None:
    assert read.version(db=fresh_db).database == db.shown(db.parse_url(fresh_db))


def test_pairs_travel_between_processes_and_share_their_labels(engine: Engine, fresh_db: str) -> None:
    found = read.version(db=fresh_db)
    assert pickle.loads(pickle.dumps(found)) == found
    assert len({id(pair.split) for pair in found.pairs}) == len({pair.split for pair in found.pairs})


def test_an_image_path_that_leaves_its_folder_is_refused(engine: Engine, fresh_db: str) -> None:
    frozen = table("version_pair")
    with engine.begin() as connection:
        connection.execute(update(frozen).where(frozen.c.version_id == 1).values(image_path="../../etc/passwd"))
    with pytest.raises(UserError, match=r"'\.\./\.\./etc/passwd': an image path that leaves its folder"):
        read.version("v1", fresh_db)


def test_a_missing_image_is_told_when_it_is_read_and_not_before(engine: Engine, fresh_db: str) -> None:
    path = read.version(db=fresh_db).pairs[0].image_path
    os.unlink(path)
    assert read.version(db=fresh_db).pairs[0].image_path == path
    with pytest.raises(UserError, match=f"{path}: cannot read this image"):
        read.image(path)


def ask(engine: Engine, **values: object) -> None:
    defaults = {"image_name": "synpic1", "question": "Is it a CT?", "answer": "yes", "split": "test", "language": "en"}
    with engine.begin() as connection:
        connection.execute(insert(table("question")).values(**defaults | values))


def test_questions_are_those_of_a_source_and_a_split(engine: Engine, fresh_db: str) -> None:
    pair = read.version(db=fresh_db).pairs[0]
    with engine.begin() as connection:
        source = connection.execute(
            insert(table("source")).values(name="vqa-rad", shape="file", licence="CC0").returning(table("source").c.id)
        ).scalar_one()
    of_image = {"image_sha256": pair.sha256, "organ": "head", "modality": "CT"}
    ask(engine, source_id=source, upstream_id="1", answer_type="closed", **of_image)
    ask(engine, source_id=source, upstream_id="2", split="train")
    first, second = read.questions("vqa-rad", db=fresh_db)
    assert (first.source, first.upstream_id, first.image_path) == ("vqa-rad", "1", pair.image_path)
    assert (first.question, first.answer, first.answer_type, first.language) == ("Is it a CT?", "yes", "closed", "en")
    assert (first.organ, first.modality, second.organ, second.modality) == ("head", "CT", None, None)
    assert (second.image_sha256, second.image_path) == (None, None)
    assert read.questions("vqa-rad", "test", fresh_db) == [first]
    for source_name, split in (("vqa-rad", "val"), ("slake", None)):
        with pytest.raises(UserError, match="no such questions; sources here: medpix, vqa-rad"):
            read.questions(source_name, split, fresh_db)
    with pytest.raises(UserError, match=r"Import them: python cli.py import slake PATH \(docs/evaluate.md\)$"):
        read.questions("slake", None, fresh_db)


def test_questions_that_are_not_here_are_told_with_how_they_are_had() -> None:
    how = "; or the sample's own: python cli.py import sample-truth PATH, then --source sample-truth (docs/evaluate.md)"
    assert read._missing("vqa-rad", ["sample"]) == f". Import them: python cli.py import vqa-rad PATH{how}"
    assert "; or take those of the sample: --source sample-truth (" in read._missing("vqa-rad", ["sample-truth"])
    assert read._missing("medpix", ["medpix"]) == ""


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_grey_images_are_told_by_their_pixels(tmp_path: Path) -> None:
    cells = np.arange(48, dtype=np.uint8).reshape(6, 8)
    grey = Image.fromarray(cells)
    assert (read.image(saved(grey, tmp_path / "grey.png")) == cells).all()
    assert (read.image(saved(grey.convert("RGB"), tmp_path / "rgb.png")) == cells).all()
    colour = np.stack([cells, cells, cells + 1], axis=-1)
    assert (read.image(saved(Image.fromarray(colour), tmp_path / "colour.png")) == colour).all()


@pytest.mark.parametrize("dtype,suffix", [(np.uint16, "png"), (np.int32, "tif"), (np.float32, "tif")])
def test_deep_images_are_spread_over_8_bits(tmp_path: Path, dtype: type, suffix: str) -> None:
    values: np.ndarray = np.linspace(1000, 5000, 64 * 64).reshape(64, 64).astype(dtype)
    values[0, 0] = 60_000  # one hot pixel must not turn the rest black
    found = read.image(saved(Image.fromarray(values), tmp_path / f"deep.{suffix}"))
    assert found.dtype == np.uint8 and found.shape == (64, 64)
    assert found.min() == 0 and found.max() == 255 and 120 < np.median(found) < 135
    assert (np.diff(found.ravel()[1:].astype(int)) >= 0).all()


def test_a_flat_deep_image_is_black(tmp_path: Path) -> None:
    flat = Image.fromarray(np.full((8, 8), 4000, np.uint16))
    assert not read.image(saved(flat, tmp_path / "flat.png")).any()


@pytest.mark.parametrize("body", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_told_by_its_name(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "file.png"
    path.write_bytes(body)
    with pytest.raises(UserError, match=r"file\.png: cannot read this image") as error:
        read.image(path)
    assert "\n" not in str(error.value)


def test_formats_that_the_store_does_not_keep_are_not_opened(tmp_path: Path) -> None:
    for form in ("eps", "ppm", "pdf"):  # Pillow hands PostScript to a program that runs it
        path = saved(Image.new("RGB", (4, 4)), tmp_path / f"image.{form}")
        with pytest.raises(UserError, match="cannot read this image"):
            read.image(path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus_db.store.MAX_PIXELS", 99)
    with pytest.raises(UserError, match=r"10 x 10 pixels, more than 99"):
        read.image(saved(Image.new("L", (10, 10)), tmp_path / "bomb.png"))
    assert read.image(saved(Image.new("L", (9, 11)), tmp_path / "most.png")).shape == (11, 9)


def test_reading_the_module_loads_no_database_and_no_image_package() -> None:
    code = "import sys, corpus_db.read; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & {"sqlalchemy", "sqlmodel", "PIL", "numpy"}


def test_what_a_version_has_of_one_source_is_a_corpus_of_its_own(engine: Engine, fresh_db: str) -> None:
    whole = read.version("v1", fresh_db)
    part = read.version("v1/medpix", fresh_db)
    assert (part.name, part.pairs) == ("v1/medpix", whole.pairs)
    assert part.manifest_sha256 != whole.manifest_sha256  # packed apart
    assert read.version("v1/medpix", fresh_db) == part
    assert read.version("medpix", fresh_db).name == "more/medpix"
    with pytest.raises(UserError, match="v1/roco: no source roco in this database; there are medpix"):
        read.version("v1/roco", fresh_db)
    with pytest.raises(UserError, match="v9: no such version"):
        read.version("v9/medpix", fresh_db)
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(id=90, name="roco", shape="roco"))
    with pytest.raises(UserError, match="roco: version more holds no pair of that source"):
        read.version("roco", fresh_db)


def test_rgc_is_all_that_was_crawled_of_medpix_unless_a_version_bears_that_name(engine: Engine, fresh_db: str) -> None:
    with pytest.raises(UserError, match="rgc: no such version"):
        read.version("rgc", fresh_db)
    with engine.begin() as connection:
        connection.execute(update(table("source")).values(shape="medpix"))
    assert read.version("rgc", fresh_db).pairs == read.version("more", fresh_db).pairs
    with engine.begin() as connection:
        connection.execute(update(table("version")).where(table("version").c.name == "v1").values(name="rgc"))
    assert len(read.version("rgc", fresh_db).pairs) < len(read.version("more", fresh_db).pairs)


def test_training_pairs_that_a_test_set_holds_are_found_by_name_bytes_and_what_builds_judged(
    engine: Engine, fresh_db: str
) -> None:
    found = read.version(db=fresh_db)
    by_name, by_bytes, by_pixels, of_train = [pair for pair in found.pairs if pair.split != "test"][:4]
    assert read.leaks(found, fresh_db) == {}
    base = {"question": "q", "answer": "a", "language": "en", "source_id": 90}
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(id=90, name="vqa-rad", shape="questions"))
        size = {"bytes": 1, "width": 1, "height": 1, "mode": "L", "format": "PNG", "path": "images/a"}
        connection.execute(insert(table("image")).values(sha256="0" * 64, **size))
        judged = {"a_sha256": "0" * 64, "b_sha256": by_pixels.sha256, "algorithm": 1, "kind": "near", "distance": 0.1}
        connection.execute(insert(table("alike")).values(**judged))
        for number, (name, sha256, split) in enumerate(
            [
                (by_name.upstream_name, None, "test"),
                ("x", by_bytes.sha256, "test"),
                ("y", "0" * 64, "test"),
                (of_train.upstream_name, None, "train"),
            ]
        ):
            row = base | {"upstream_id": str(number), "image_name": name, "image_sha256": sha256, "split": split}
            connection.execute(insert(table("question")).values(**row))
    told = read.leaks(found, fresh_db)
    assert list(told) == ["vqa-rad:test"]
    expected = {
        f"{by_name.pair_id} vqa-rad:test {by_name.upstream_name} (name)",
        f"{by_bytes.pair_id} vqa-rad:test (bytes)",
        f"{by_pixels.pair_id} vqa-rad:test (near)",
    }
    assert expected <= set(told["vqa-rad:test"])  # and what the build found to be like the second
    assert all("(near)" in each or "(pixels)" in each for each in set(told["vqa-rad:test"]) - expected)
    assert f"{of_train.pair_id} vqa-rad:test {of_train.upstream_name} (name)" not in told["vqa-rad:test"]
