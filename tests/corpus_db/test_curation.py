"""The whole build over real image bytes: exclusions, duplicates, splits over several builds."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sqlalchemy import Engine, insert, text

from corpus_db import db
from corpus_db.build import BuildResult
from corpus_db.gather import table
from corpus_db.models import now
from corpus_db.split import split_of
from corpus_db.store import ImageStore
from tests.corpus_db.corpus import READERS, Filler, build, image


def picture(seed: int) -> Image.Image:
    """A picture of its own: smooth blobs on black."""
    blobs = np.random.default_rng(seed).normal(size=(12, 12))
    blobs = (blobs - blobs.min()) / (blobs.max() - blobs.min())
    return Image.fromarray((blobs * 255).astype("uint8")).resize((256, 256), Image.Resampling.BICUBIC)


def encoded(shown: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    shown.save(file, form, **options)
    return file.getvalue()


class Corpus:
    """A source whose images have bytes, and builds of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.filler = engine, Filler(engine)
        self.store = ImageStore(db.image_root(engine.url))

    def keep(self, body: bytes) -> str:
        stored = self.store.put(body)
        with self.engine.begin() as connection:
            known = connection.execute(text("SELECT 1 FROM image WHERE sha256 = :sha"), {"sha": stored.sha256}).first()
            if not known:
                connection.execute(insert(table("image")).values(**vars(stored)))
        return stored.sha256

    def case(self, key: str, **pictures: tuple[bytes, str]) -> None:
        """A case of images: name -> (bytes, caption)."""
        listed = [image(name, key, caption) for name, (_, caption) in pictures.items()]
        self.filler.case(key, *listed)
        for name, (body, _) in pictures.items():
            path = f"/images/full/synpic{name}.jpg"
            self.filler.fetched(path, "image")
            ref = {"upstream_name": f"synpic{name}", "path": path, "image_sha256": self.keep(body)}
            self.filler.add("image_ref", source_id=self.filler.source_id, seen_at=now(), **ref)

    def questions(self, name: str, *images: tuple[str, str | None], split: str = "test") -> None:
        with self.engine.begin() as connection:
            made = insert(table("source")).values(name=name, shape="questions").returning(table("source").c.id)
            source_id = connection.execute(made).scalar_one()
            base = {"source_id": source_id, "question": "q", "answer": "a", "split": split, "language": "en"}
            rows = [{**base, "upstream_id": each, "image_name": each, "image_sha256": sha} for each, sha in images]
            connection.execute(insert(table("question")), rows)

    def build(self, *excluding: str, **options: Any) -> BuildResult:
        return build(self.engine, READERS, excluding=excluding, **options)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def dropped(self) -> dict[str, tuple[str, str]]:
        return {
            row[0]: row[1:]
            for row in self.rows("SELECT upstream_id, drop_reason, drop_detail FROM pair WHERE status = 'dropped'")
        }


@pytest.fixture
def corpus(fresh_db: str) -> Corpus:
    return Corpus(db.create(fresh_db))


def caption(number: int) -> str:
    return f"Axial CT of the chest with nodule {number} in the right upper lobe."


def jpeg(shown: Image.Image) -> bytes:
    return encoded(shown, "JPEG", quality=50)


ALTERED: dict[str, Callable[[Image.Image], bytes]] = {
    "bytes": encoded,
    "pixels": lambda shown: encoded(shown, "BMP"),
    "re-encoded": jpeg,
    "half size": lambda shown: jpeg(shown.resize((128, 128), Image.Resampling.LANCZOS)),
    "brightened": lambda shown: jpeg(shown.point(lambda level: min(255, level * 1.1))),
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_an_image_of_an_evaluation_set_goes_with_its_case_in_whatever_form(
    corpus: Corpus, alter: Callable[[Image.Image], bytes]
) -> None:
    corpus.case("1", a=(encoded(picture(1)), caption(1)), b=(encoded(picture(2)), caption(2)))
    corpus.case("2", c=(encoded(picture(3)), caption(3)))
    corpus.questions("vqa-rad", ("elsewhere", corpus.keep(alter(picture(1)))))
    corpus.build("vqa-rad:test")
    assert set(corpus.dropped()) == {"a", "b"}
    assert {reason for reason, _ in corpus.dropped().values()} == {"excluded"}
    assert corpus.dropped()["b"][1].endswith("in the same case")
    corpus.build("vqa-rad:test", whole_cases=False)
    assert set(corpus.dropped()) == {"a"}
    corpus.build()
    assert corpus.dropped() == {}


def test_an_image_is_excluded_by_name_where_its_bytes_are_not_here(corpus: Corpus) -> None:
    corpus.case("1", a=(encoded(picture(1)), caption(1)))
    corpus.case("2", c=(encoded(picture(3)), caption(3)))
    corpus.questions("vqa-rad", ("synpica", None))
    corpus.build("vqa-rad:test")
    assert corpus.dropped() == {"a": ("excluded", "vqa-rad:test synpica (name)")}


def test_a_case_goes_too_for_an_image_of_it_that_was_never_fetched(corpus: Corpus) -> None:
    corpus.filler.case("1", image("a", "1", caption(1)), image("held", "1", caption(2), withheld="deleted"))
    corpus.filler.fetched("/images/full/synpica.jpg", "image")
    ref = {
        "upstream_name": "synpica",
        "path": "/images/full/synpica.jpg",
        "image_sha256": corpus.keep(encoded(picture(1))),
    }
    corpus.filler.add("image_ref", source_id=corpus.filler.source_id, seen_at=now(), **ref)
    corpus.case("2", c=(encoded(picture(3)), caption(3)))
    corpus.questions("vqa-rad", ("synpicheld", None))
    corpus.build("vqa-rad:test", audited=True)
    assert corpus.dropped() == {"a": ("excluded", "vqa-rad:test synpicheld (name), in the same case")}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_one_image_in_many_cases_is_one_cluster_and_one_split(
    corpus: Corpus, alter: Callable[[Image.Image], bytes]
) -> None:
    cases = 40
    for number in range(cases):
        body = encoded(picture(1)) if number % 2 else alter(picture(1))
        corpus.case(f"c{number:02}", **{f"i{number:02}": (body, caption(number))})
    corpus.build()
    ((clusters, splits, groups, count),) = corpus.rows(
        "SELECT count(DISTINCT duplicate_cluster), count(DISTINCT split), count(DISTINCT split_group), count(*) "
        "FROM version_pair"
    )
    assert (clusters, splits, groups, count) == (1, 1, 1, cases)


def test_a_repeated_image_with_its_caption_is_dropped_and_names_the_older_pair(corpus: Corpus) -> None:
    corpus.case("1", a=(encoded(picture(1)), caption(1)))
    corpus.case("2", b=(jpeg(picture(1)), caption(1)), c=(jpeg(picture(1)), caption(2)))
    corpus.build()
    assert corpus.dropped() == {"b": ("duplicate", "medpix:a")}
    kinds = corpus.rows("SELECT pair_id, kind, like_pair_id FROM duplicate ORDER BY pair_id")
    assert kinds == [("medpix:a", "first", None), ("medpix:b", "near", "medpix:a"), ("medpix:c", "bytes", "medpix:b")]


def case_in(split: str) -> str:
    return next(f"k{number}" for number in range(200) if split_of(f"medpix:k{number}") == split)


def test_a_newcomer_that_bridges_train_and_test_is_dropped_and_old_pairs_stay_put(corpus: Corpus) -> None:
    train, test = case_in("train"), case_in("test")
    corpus.case(train, a=(encoded(picture(1)), caption(1)))
    corpus.case(test, b=(encoded(picture(2)), caption(2)))
    corpus.build(name="first")
    before = corpus.rows("SELECT pair_id, split FROM rgc ORDER BY 1")
    corpus.case("0", c=(jpeg(picture(1)), caption(2)), d=(encoded(picture(4)), caption(4)))
    corpus.build(name="second")
    reason, detail = corpus.dropped()["c"]
    assert reason == "split_conflict" and f"medpix:{train}" in detail and f"medpix:{test}" in detail
    assert corpus.rows("SELECT pair_id, split FROM rgc WHERE source_id IN ('a', 'b') ORDER BY 1") == before
    assert corpus.rows("SELECT source_id FROM rgc ORDER BY 1") == [("a",), ("b",), ("d",)]


def test_a_newcomer_joins_the_split_of_the_old_pair_it_resembles(corpus: Corpus) -> None:
    test = case_in("test")
    corpus.case(test, a=(encoded(picture(1)), caption(1)))
    corpus.build()
    for number in range(12):  # of their own, most would fall to train
        corpus.case(f"0{number}", **{f"n{number}": (jpeg(picture(1)), caption(50 + number))})
    corpus.build()
    assert corpus.rows("SELECT DISTINCT split, split_group FROM version_pair") == [("test", f"medpix:{test}")]


def test_the_same_build_twice_is_one_version_with_an_exclusion_too(corpus: Corpus) -> None:
    corpus.case("1", a=(encoded(picture(1)), caption(1)))
    corpus.case("2", b=(encoded(picture(2)), caption(2)))
    corpus.questions("vqa-rad", ("synpica", None))
    first, second = corpus.build("vqa-rad:test"), corpus.build("vqa-rad:test")
    assert second.reused and first.manifest_sha256 == second.manifest_sha256
    assert corpus.rows("SELECT count(*) FROM version_drop") == [(1,)]


def test_case_texts_are_de_identified_and_each_change_is_kept(corpus: Corpus) -> None:
    corpus.filler.case("1", image("a", "1", caption(1)), history="Seen on 12/03/2019, call 555-123-4567.", age="94")
    corpus.filler.fetched("/images/full/synpica.jpg", "image")
    sha256 = corpus.keep(encoded(picture(1)))
    ref = {"upstream_name": "synpica", "path": "/images/full/synpica.jpg", "image_sha256": sha256}
    corpus.filler.add("image_ref", source_id=corpus.filler.source_id, seen_at=now(), **ref)
    result = corpus.build()
    ((history, age),) = corpus.rows("SELECT history, age FROM study_case")
    assert "2019" not in history and "4567" not in history and "94" not in age
    edits = corpus.rows("SELECT study_case_id, field, rule, before FROM case_edit ORDER BY step")
    assert {edit[:2] for edit in edits} == {("medpix:1", "history")}
    assert all(rule.startswith("deid_") for _, _, rule, _ in edits) and "2019" in edits[0][3]
    assert sum(result.case_edits.values()) == len(edits)
    assert "2019" in str(corpus.rows("SELECT body FROM raw_record"))


def test_a_picture_is_not_taken_for_another(corpus: Corpus) -> None:
    soft = picture(1).filter(ImageFilter.GaussianBlur(6))
    for number, shown in enumerate([picture(2), picture(3), picture(4), soft.rotate(90)]):
        corpus.case(f"c{number}", **{f"i{number}": (encoded(shown), caption(number))})
    corpus.build()
    assert corpus.rows("SELECT count(DISTINCT duplicate_cluster) FROM version_pair") == [(4,)]
