import json
import os
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine

from corpus_db import importers
from corpus_db.errors import UserError
from corpus_db.importers import vqa_med_2019
from corpus_db.importers.base import Files, Given, Record, Trouble
from tests.corpus_db.importing import jpeg, rows

TRAIN, VAL, TEST = "ImageClef-2019-VQA-Med-Training", "ImageClef-2019-VQA-Med-Validation", "VQAMed2019Test"
TEST_FILE = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The set as published, small: an image a split, with its bytes."""
    made = tmp_path / "set"
    files = {
        f"{TRAIN}/All_QA_Pairs_train.txt": "synpic1|what modality is shown?|xr - plain film\n"
        "synpic1|is this an mri?|no\nsynpic1|what is seen?|a mass | a cyst\n",
        f"{TRAIN}/QAPairsByCategory/C1_Modality_train.txt": "synpic1|what modality is shown?|xr - plain film\n"
        "synpic1|is this an mri?|no\n",
        f"{VAL}/All_QA_Pairs_val.txt": "synpic2|in which plane?|axial\r\n",
        f"{VAL}/QAPairsByCategory/C2_Plane_val.txt": "synpic2|in which plane?|axial\r\n",
        f"{TEST}/{TEST_FILE}": "synpic3|organ|what organ is it?|skull and contents#spine and contents\n",
    }
    for name, content in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(content)
    images = (f"{TRAIN}/Train_images", f"{VAL}/Val_images", f"{TEST}/VQAMed2019_Test_Images")
    for number, name in enumerate(images, 1):
        (made / name).mkdir()
        (made / name / f"synpic{number}.jpg").write_bytes(jpeg(number))
    return made


def given(folder: Path) -> list[Given]:
    return list(vqa_med_2019.records(Files(folder)))


def test_the_three_splits_come_in_with_categories_and_images(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "vqa-med-2019", folder)
    assert imported.whole and imported.images == {"ok": 3}
    told = "upstream_id, image_name, answer, answer_type, question_type, split"
    assert rows(engine, f"SELECT {told} FROM question WHERE image_sha256 IS NOT NULL ORDER BY 1") == [
        ("test:1", "synpic3", "skull and contents#spine and contents", "open", "organ", "test"),
        ("train:1", "synpic1", "xr - plain film", "open", "modality", "train"),
        ("train:2", "synpic1", "no", "closed", "modality", "train"),
        ("train:3", "synpic1", "a mass | a cyst", "open", None, "train"),
        ("val:1", "synpic2", "axial", "open", "plane", "val"),
    ]


def test_the_test_file_alone_is_enough_without_its_images(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "vqa-med-2019", folder / TEST / TEST_FILE)
    assert imported.questions == {"test": 1} and imported.images == {"ok": 1}
    (folder / TEST / "VQAMed2019_Test_Images" / "synpic3.jpg").unlink()
    (folder / TEST / "VQAMed2019_Test_Images").rmdir()
    assert importers.run(engine, "vqa-med-2019", folder / TEST).images == {"missing_file": 1}


def test_a_folder_with_no_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="All_QA_Pairs_train"):
        given(tmp_path)


def test_broken_lines_are_told_by_their_number_and_the_others_come_in(folder: Path) -> None:
    lines = [
        b"synpic3|organ|what organ?|skull",
        b"synpic4|organ|what?",
        b"",
        b"synpic5|plane||axial",
        b"synpic6|\xff||",
    ]
    (folder / TEST / TEST_FILE).write_bytes(b"\n".join(lines))
    found = [one for one in given(folder) if isinstance(one, Trouble) or one.key.startswith("test")]
    assert found[1:] == [
        Trouble(f"{TEST}/{TEST_FILE}:2", "bad_row", "not 4 fields with bars between"),
        Trouble(f"{TEST}/{TEST_FILE}:4", "bad_row", "not 4 fields with bars between"),
        Trouble(f"{TEST}/{TEST_FILE}:5", "bad_encoding"),
    ]
    assert isinstance(found[0], Record)


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", "..\\secret"])
def test_an_image_name_cannot_lead_out_of_the_folder(engine: Engine, folder: Path, name: str) -> None:
    (folder.parent / "secret.jpg").write_bytes(jpeg(9))
    (folder / TEST / TEST_FILE).write_text(f"{name}|organ|what organ?|skull\n")
    imported = importers.run(engine, "vqa-med-2019", folder)
    assert imported.images["ok"] == 2 and imported.images.total() == 3
    assert rows(engine, "SELECT count(*) FROM image") == [(2,)]


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
def test_the_real_test_set_comes_in_whole_and_some_of_its_images_are_in_medpix_2(engine: Engine) -> None:
    root = Path(os.environ["RGC_REAL_DATA"])
    imported = importers.run(engine, "vqa-med-2019", root / "vqa_med_2019")
    assert imported.questions == {"test": 500} and not imported.troubles
    kinds = Counter(dict(rows(engine, "SELECT question_type, count(*) FROM question GROUP BY 1")))
    assert kinds == dict.fromkeys(("abnormality", "modality", "organ", "plane"), 125)
    names = {name for (name,) in rows(engine, "SELECT image_name FROM question")}
    with (root / "medpix2" / "images.jsonl").open(encoding="utf-8") as file:
        medpix = {Path(json.loads(line)["image"]).stem.rpartition("_")[2] for line in file}
    assert len(names) == 500 and len(names & medpix) == 23  # of the 28 in MedPix 2.0 as a whole, which is not here
