import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from corpus_db import importers
from corpus_db.errors import UserError
from corpus_db.importers import slake
from corpus_db.importers.base import Files, Record
from tests.corpus_db.importing import jpeg, rows

REAL = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")


def question(number: int, image: str = "xmlab1/source.jpg", **changes: Any) -> dict[str, Any]:
    base = {"img_id": 1, "img_name": image, "question": "Is there  a mass?", "answer": "Yes", "q_lang": "en"}
    base |= {"location": "Lung", "modality": "CT", "answer_type": "CLOSED", "base_type": "vqa", "triple": ["vhead"]}
    return base | {"content_type": "Abnormality", "qid": number} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three splits, and two images of three."""
    made = tmp_path / "slake"
    for number in (1, 2):
        (made / f"imgs/xmlab{number}").mkdir(parents=True)
        (made / f"imgs/xmlab{number}/source.jpg").write_bytes(jpeg(number))
    write(made, "train", [question(0), question(1, q_lang="zh", question="有肿块吗?", answer="是")])
    write(made, "validate", [question(2, "xmlab2/source.jpg", answer=3, answer_type="OPEN")])
    write(made, "test", [question(3, "xmlab3/source.jpg")])
    return made


def write(folder: Path, split: str, rows: Any) -> None:
    (folder / f"{split}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def test_questions_come_in_with_their_language_and_the_image_by_its_folder(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "slake", folder)
    assert imported.questions == {"train": 2, "val": 1, "test": 1}
    assert imported.images == {"ok": 2, "missing_file": 1}
    told = "upstream_id, image_name, question, answer, answer_type, question_type, split, language, organ, modality"
    assert rows(engine, f"SELECT {told} FROM question ORDER BY 1") == [
        ("0", "xmlab1", "Is there a mass?", "Yes", "closed", "Abnormality", "train", "en", "lung", "CT"),
        ("1", "xmlab1", "有肿块吗?", "是", "closed", "Abnormality", "train", "zh", "lung", "CT"),
        ("2", "xmlab2", "Is there a mass?", "3", "open", "Abnormality", "val", "en", "lung", "CT"),
        ("3", "xmlab3", "Is there a mass?", "Yes", "closed", "Abnormality", "test", "en", "lung", "CT"),
    ]
    assert rows(engine, "SELECT upstream_id FROM question WHERE image_sha256 IS NULL") == [("3",)]
    again = importers.run(engine, "slake", folder)
    assert (again.new_images, again.questions) == (0, imported.questions)


def test_a_broken_row_is_told_and_the_others_come_in(engine: Engine, folder: Path) -> None:
    write(folder, "test", [question(3), 7, question(4, qid=None), question(5, answer=None), question(6, answer="")])
    imported = importers.run(engine, "slake", folder)
    assert imported.questions["test"] == 2  # an empty answer is an answer: the set has one
    assert imported.troubles == {"bad_row": 2, "not_an_object": 1} and imported.examples["bad_row"] == "test.json:3"
    assert imported.details == {"bad_row": {"qid": 1, "answer": 1}}


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd", "..\\secret.jpg", "nul\0/source.jpg"])
def test_an_image_name_that_leads_out_is_refused(engine: Engine, folder: Path, name: str) -> None:
    (folder.parent / "secret.jpg").write_bytes(jpeg(9))
    write(folder, "test", [question(3, name)])
    imported = importers.run(engine, "slake", folder)
    assert imported.questions["test"] == 1 and imported.images["ok"] == 2 and imported.images.total() == 3
    assert rows(engine, "SELECT count(*) FROM image") == [(2,)]


@pytest.mark.parametrize(("content", "says"), [(b"{", "not JSON"), (b"{}", "not a list"), (b'["\xff"]', "not JSON")])
def test_a_file_of_another_form_is_refused_with_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "test.json").write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        list(slake.records(Files(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no train\.json or .* here"):
        list(slake.records(Files(tmp_path)))


@REAL
def test_the_real_set_comes_in_whole_and_its_languages_share_images_across_splits(engine: Engine) -> None:
    path = Path(os.environ["RGC_REAL_DATA"]) / "slake"
    imported = importers.run(engine, "slake", path)
    assert imported.questions == {"train": 9835, "val": 2099, "test": 2094}
    assert imported.images.total() == 642 and not imported.troubles
    english = "SELECT split, count(*) FROM question WHERE language = 'en' GROUP BY split"
    assert dict(rows(engine, english)) == {"train": 4919, "val": 1053, "test": 1061}
    images: dict[tuple[str, str], set[str]] = {}
    for split, language, name in rows(engine, "SELECT DISTINCT split, language, image_name FROM question"):
        images.setdefault((split, language), set()).add(name)
    for language in ("en", "zh"):
        assert [len(images[split, language]) for split in ("train", "val", "test")] == [450, 96, 96]
        assert len(set.union(*(images[split, language] for split in ("train", "val", "test")))) == 642
    assert len(images["test", "en"] & images["train", "zh"]) == 72
    assert len(images["test", "zh"] & images["train", "en"]) == 70


@REAL
def test_every_real_question_has_a_key_of_its_own() -> None:
    given = list(slake.records(Files(Path(os.environ["RGC_REAL_DATA"]) / "slake")))
    assert len({record.key for record in given if isinstance(record, Record)}) == len(given) == 14028
