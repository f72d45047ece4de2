import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from corpus_db import db, importers
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.importers import engine as importing
from tests.corpus_db.importing import jpeg, rows


def question(number: int, image: str = "synpic1.jpg", **changes: Any) -> dict[str, Any]:
    base = {
        "qid": number,
        "image_name": image,
        "question": "Is there  a mass?",
        "answer": "Yes",
        "phrase_type": "freeform",
    }
    return base | {"answer_type": "CLOSED ", "question_type": "PRES", "image_organ": " HEAD"} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The form most Med-VQA code trains on, with two images of three."""
    made = tmp_path / "vqa"
    (made / "images").mkdir(parents=True)
    for number in (1, 2):
        (made / "images" / f"synpic{number}.jpg").write_bytes(jpeg(number))
    (made / "trainset.json").write_text(json.dumps([question(1), question(2, "synpic2.jpg", answer=3)]))
    (made / "testset.json").write_text(json.dumps([question(1), question(9, "synpic3.jpg", answer_type="OPEN")]))
    return made


def test_questions_and_images_come_in_and_a_missing_image_is_told(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "vqa-rad", folder)
    assert imported.questions == {"train": 2, "test": 2}
    assert imported.images == {"ok": 2, "missing_file": 1}
    assert rows(engine, "SELECT upstream_id, image_name, answer, answer_type, split FROM question ORDER BY 1") == [
        ("test:1", "synpic1", "Yes", "closed", "test"),
        ("test:9", "synpic3", "Yes", "open", "test"),
        ("train:1", "synpic1", "Yes", "closed", "train"),
        ("train:2", "synpic2", "3", "closed", "train"),
    ]
    assert rows(engine, "SELECT count(*) FROM question WHERE image_sha256 IS NULL") == [(1,)]
    asked = rows(engine, "SELECT DISTINCT question, question_type, organ, modality FROM question")
    assert asked == [("Is there a mass?", "PRES", "head", None)]
    root = db.image_root(engine.url)
    assert all((root / path).is_file() for (path,) in rows(engine, "SELECT path FROM image"))
    assert "images: the files at hand lack it: images/synpic3.jpg" in "\n".join(importing.render_imported(imported))


def test_a_second_import_adds_only_what_is_new(engine: Engine, folder: Path) -> None:
    importers.run(engine, "vqa-rad", folder)
    (folder / "images" / "synpic3.jpg").write_bytes(jpeg(3))
    imported = importers.run(engine, "vqa-rad", folder)
    assert imported.images == {"ok": 3}
    assert rows(engine, "SELECT count(*), count(image_sha256) FROM question") == [(4, 4)]
    assert rows(engine, "SELECT count(*) FROM image_ref") == [(3,)]


def test_a_second_import_fills_in_what_questions_of_before_the_migration_lack(engine: Engine, folder: Path) -> None:
    importers.run(engine, "vqa-rad", folder)
    with engine.begin() as connection:
        connection.execute(update(table("question")).values(organ=None))
    importers.run(engine, "vqa-rad", folder)
    assert rows(engine, "SELECT organ, count(*) FROM question GROUP BY 1") == [("head", 4)]


def test_the_published_form_marks_its_test_questions_by_phrase_type(engine: Engine, folder: Path) -> None:
    for name in ("trainset.json", "testset.json"):
        (folder / name).unlink()
    kinds = ("freeform", "test_freeform", "test_para")
    questions = [question(number, phrase_type=kind) for number, kind in enumerate(kinds)]
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(questions))
    assert importers.run(engine, "vqa-rad", folder).questions == {"train": 1, "test": 2}


def test_strict_ends_at_the_first_image_that_is_missing(engine: Engine, folder: Path) -> None:
    with pytest.raises(UserError, match=r"images/synpic3\.jpg: the files at hand lack it"):
        importers.run(engine, "vqa-rad", folder, strict=True)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/passwd", "a\\..\\b.jpg", "nul\0.jpg"])
def test_an_image_name_that_leads_out_of_the_folder_is_refused(engine: Engine, folder: Path, name: str) -> None:
    (folder.parent / "secret.jpg").write_bytes(jpeg(9))
    (folder / "testset.json").write_text(json.dumps([question(1, name)]))
    imported = importers.run(engine, "vqa-rad", folder)
    assert imported.images["ok"] == 2 and imported.images.total() == 3
    assert rows(engine, "SELECT count(*) FROM image") == [(2,)]


def test_a_link_that_leads_out_of_the_folder_is_refused(engine: Engine, folder: Path) -> None:
    (folder.parent / "secret.jpg").write_bytes(jpeg(9))
    os.symlink(folder.parent / "secret.jpg", folder / "images" / "synpic3.jpg")
    assert importers.run(engine, "vqa-rad", folder).images == {"ok": 2, "path_traversal": 1}


@pytest.mark.parametrize(("content", "says"), [("{", "not JSON"), ("[1]", "not a list of questions")])
def test_files_of_another_form_are_refused_with_one_line(engine: Engine, folder: Path, content: str, says: str) -> None:
    (folder / "testset.json").write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        importers.run(engine, "vqa-rad", folder)
    assert "\n" not in str(caught.value)


def test_questions_that_are_none_or_stand_twice_are_told_and_the_others_come_in(engine: Engine, folder: Path) -> None:
    odd = [question(1), {"qid": 2}, None, question(1), question(9, "synpic2.jpg")]
    (folder / "testset.json").write_text(json.dumps(odd))
    imported = importers.run(engine, "vqa-rad", folder)
    assert imported.questions == {"train": 2, "test": 2}
    assert imported.troubles == {"bad_row": 1, "not_an_object": 1, "repeated_id": 1}
    places = {"bad_row": "testset.json:2", "not_an_object": "testset.json:3", "repeated_id": "question test:1"}
    assert imported.examples == places and imported.details == {"bad_row": {"image_name": 1}}


def test_the_row_told_is_the_first_in_the_file(engine: Engine, folder: Path) -> None:
    bad = (3, 4, 6, 10)
    odd = [{"qid": row} if row in bad else question(row) for row in range(1, 12)]
    (folder / "testset.json").write_text(json.dumps(odd))
    imported = importers.run(engine, "vqa-rad", folder)
    assert (imported.troubles, imported.examples) == ({"bad_row": 4}, {"bad_row": "testset.json:3"})


def test_the_image_told_is_the_first_by_its_number(engine: Engine, folder: Path) -> None:
    asked = [question(number, f"synpic{number}.jpg") for number in (1, 100, 20, 3)]
    (folder / "testset.json").write_text(json.dumps(asked))
    assert importers.run(engine, "vqa-rad", folder).examples == {"missing_file": "images/synpic3.jpg"}


def test_an_empty_folder_and_an_unknown_source_are_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither trainset"):
        importers.run(engine, "vqa-rad", tmp_path)
    with pytest.raises(UserError, match=r"no importer of that name; there are .*vqa-rad"):
        importers.run(engine, "vqarad", tmp_path)


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
def test_the_real_set_comes_in_whole(engine: Engine) -> None:
    imported = importers.run(engine, "vqa-rad", Path(os.environ["RGC_REAL_DATA"]) / "vqa_rad")
    assert imported.questions == {"train": 3064, "test": 451}
    assert set(imported.images) <= {"ok", "missing_file"} and imported.images["ok"] > 300
    question_ = table("question")
    with engine.connect() as connection:
        types = set(connection.execute(select(question_.c.answer_type)).scalars())
    assert types == {"closed", "open"}
