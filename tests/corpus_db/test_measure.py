import json
from pathlib import Path

import pytest
from PIL import Image, ImageFilter
from sqlalchemy import Engine, func, insert, select, update

from corpus_db import dedup, measure
from corpus_db.db import create
from corpus_db.gather import table
from corpus_db.store import ImageStore


def picture(seed: int, size: int = 128) -> Image.Image:
    noise = Image.effect_noise((size, size), 90) if seed < 0 else Image.radial_gradient("L").rotate(seed * 37)
    return noise.resize((size, size)).filter(ImageFilter.GaussianBlur(2))


def put(engine: Engine, root: Path, image: Image.Image, **options: object) -> str:
    file = root / "incoming"
    image.save(file, options.pop("format", "PNG"), **options)  # type: ignore[arg-type]
    stored = ImageStore(root).put(file.read_bytes())
    with engine.begin() as connection:
        connection.execute(insert(table("image")).values(**vars(stored)))
    return stored.sha256


@pytest.fixture
def engine(fresh_db: str) -> Engine:
    return create(fresh_db)


def test_each_image_is_measured_once_and_again_only_for_a_new_algorithm(engine: Engine, tmp_path: Path) -> None:
    sha256 = put(engine, tmp_path, picture(1))
    assert list(measure.measure(engine, tmp_path).facts) == [sha256]
    image = table("image")
    with engine.begin() as connection:
        row = connection.execute(select(image)).mappings().one()
        assert row["phash"] and row["pixel_sha256"]
        connection.execute(update(image).values(phash="kept as it is"))
    measure.measure(engine, tmp_path)
    with engine.begin() as connection:
        assert connection.scalar(select(image.c.phash)) == "kept as it is"
        old = json.loads(row["facts"]) | {"algorithms": {"hash": -1}}
        connection.execute(update(image).values(facts=json.dumps(old)))
    measure.measure(engine, tmp_path)
    with engine.begin() as connection:
        assert connection.scalar(select(image.c.phash)) == row["phash"]


def test_one_picture_in_two_lossless_files_has_equal_pixels(engine: Engine, tmp_path: Path) -> None:
    first, second = put(engine, tmp_path, picture(1)), put(engine, tmp_path, picture(1), format="BMP")
    (found,) = measure.measure(engine, tmp_path).likenesses
    assert {found.one, found.other} == {first, second} and found.kind == "pixels"


def test_verdicts_are_kept_and_not_made_twice(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(engine, tmp_path, picture(1, 300))
    put(engine, tmp_path, picture(1, 300), format="JPEG", quality=60)
    first = measure.measure(engine, tmp_path).likenesses
    assert [found.kind for found in first] == ["near"]
    monkeypatch.setattr(dedup, "compare", None)  # would fail if it were called
    assert measure.measure(engine, tmp_path).likenesses == first
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(table("alike"))) == 1


def test_an_image_whose_bytes_are_gone_or_broken_is_told_and_the_others_are_measured(
    engine: Engine, tmp_path: Path
) -> None:
    shas = [put(engine, tmp_path, picture(number)) for number in (1, 2, 3)]
    with engine.connect() as connection:
        image = table("image")
        paths = {sha256: path for sha256, path in connection.execute(select(image.c.sha256, image.c.path))}
    (tmp_path / paths[shas[0]]).unlink()
    (tmp_path / paths[shas[1]]).write_bytes(b"no image")
    found = measure.measure(engine, tmp_path)
    assert sorted(found.unreadable) == sorted(str(tmp_path / paths[sha]) for sha in shas[:2])
    assert list(found.facts) == [shas[2]]
