import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text

from corpus_db import db, importers
from corpus_db.errors import UserError
from corpus_db.importers import sample_truth
from corpus_db.importers.base import Files, QuestionRecord, Record, Trouble
from corpus_db.split import split_of

FINDINGS = ("mass", "cyst", "atrophy", "effusion", None)
MODALITIES, PLANES, REGIONS = ("CT", "MR", "US"), ("axial", "sagittal", "coronal"), ("head", "chest", "knee")


def truth(number: int, **changes: Any) -> dict[str, Any]:
    finding = FINDINGS[number % 5]
    row: dict[str, Any] = {"image_id": f"i{number}", "name": f"synpic{number}.png", "case_id": f"c{number // 2}"}
    row |= {"modality": MODALITIES[number % 3], "plane": PLANES[number // 3 % 3], "region": REGIONS[number // 9 % 3]}
    found: dict[str, Any] = {
        "side": ("left", "right")[number // 5 % 2],
        "size_mm": 10 + 10 * (number % 4),
        "box": [1, 1, 5, 5],
    }
    found = found if finding else dict.fromkeys(found)
    if finding == "effusion":
        found["size_mm"] = None
    return row | {"radiology": True, "finding": finding} | found | changes


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (16, 16), level).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "truth.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def asked(folder: Path) -> dict[str, QuestionRecord]:
    """Every question of a sample, by its key."""
    given = sample_truth.records(Files(folder))
    return {question.key: question for one in given if isinstance(one, Record) for question in one.questions}


def test_questions_come_in_with_the_bytes_of_their_images(fresh_db: str, tmp_path: Path) -> None:
    engine = db.create(fresh_db)
    folder = write(tmp_path / "sample", [truth(number) for number in range(4)])
    (folder / "images").mkdir()
    for number in range(4):
        (folder / "images" / f"synpic{number}.png").write_bytes(png(number))
    imported = importers.run(engine, "sample-truth", folder)
    assert imported.whole and imported.images == {"ok": 4}
    with engine.connect() as connection:
        counted = text("SELECT count(*), count(image_sha256), count(DISTINCT image_name) FROM question")
        total, with_bytes, names = connection.execute(counted).one()
        shape = connection.execute(text("SELECT shape FROM source")).scalar_one()
    assert total == with_bytes == imported.questions.total() and names == 4
    assert shape == "questions"  # so no build takes it for pairs


def test_an_open_question_has_the_truth_as_its_answer(tmp_path: Path) -> None:
    found = asked(write(tmp_path / "sample", [truth(number) for number in range(30)]))
    answers = {kind: found[f"synpic0:{kind}:open"].answer for kind in ("modality", "plane", "region", "finding")}
    assert answers == {"modality": "CT", "plane": "axial", "region": "head", "finding": "mass"}
    assert {(one.organ, one.modality) for key, one in found.items() if key.startswith("synpic0:")} == {("head", "CT")}
    assert (found["synpic0:side:open"].answer, found["synpic0:size:open"].answer) == ("left", "10")
    assert found["synpic0:side:open"].question == "On which side is the mass?"
    assert found["synpic4:finding:open"].answer == "none" and "synpic4:side:open" not in found
    assert found["synpic4:finding:any"].answer == "no" and found["synpic0:finding:any"].answer == "yes"
    assert "synpic3:size:open" not in found  # an effusion has no one size
    assert {question.answer_type for question in found.values()} == {"open", "closed"}


def test_yes_is_right_about_as_often_as_no_and_only_where_it_is_true(tmp_path: Path) -> None:
    images = [truth(number) for number in range(600)]
    found = asked(write(tmp_path / "sample", images))
    for kind in ("modality", "plane", "region", "finding", "side"):
        closed = {key: question for key, question in found.items() if key.endswith(f":{kind}:closed")}
        right = [question.answer == "yes" for question in closed.values()]
        assert 0.4 < sum(right) / len(right) < 0.6
        for key, question in closed.items():
            true = str(images[int(key.partition(":")[0].removeprefix("synpic"))][kind])
            assert (f" {true} " in question.question.replace("?", " ")) == (question.answer == "yes")


def test_a_plane_is_not_denied_under_another_name_of_it(tmp_path: Path) -> None:
    planes = ("axial", "transverse")
    found = asked(write(tmp_path / "sample", [truth(number, plane=planes[number % 2]) for number in range(50)]))
    assert not [key for key in found if key.endswith("plane:closed")]


def test_what_cannot_be_seen_or_would_be_half_true_is_not_asked(tmp_path: Path) -> None:
    rows = [truth(number) for number in range(20)]
    rows[0] |= {"box": None}
    rows[1] |= {"side": "bilateral"}
    rows[2] |= {"plane": "axial+sagittal"}
    rows[6] |= {"radiology": False, "modality": None, "plane": None, "region": None}
    found = asked(write(tmp_path / "sample", rows))
    assert not [key for key in found if key.startswith(("synpic0:finding", "synpic0:side", "synpic0:size", "synpic6:"))]
    assert found["synpic1:side:open"].answer == "bilateral" and "synpic1:side:closed" not in found
    assert found["synpic2:plane:open"].answer == "axial and sagittal" and "synpic2:plane:closed" not in found


def test_the_split_is_that_of_a_case_that_shares_nothing_with_others(tmp_path: Path) -> None:
    found = asked(write(tmp_path / "sample", [truth(number) for number in range(200)]))
    by_case: dict[int, set[str]] = {}
    for question in found.values():
        by_case.setdefault(int(question.image_name.removeprefix("synpic")) // 2, set()).add(question.split)
    assert by_case == {case: {split_of(f"sample:c{case}")} for case in range(100)}
    assert set.union(*by_case.values()) == {"train", "val", "test"}


def test_the_same_sample_gives_the_same_questions(tmp_path: Path) -> None:
    rows = [truth(number) for number in range(40)]
    assert asked(write(tmp_path / "a", rows)) == asked(write(tmp_path / "b", rows))


def test_broken_lines_are_told_and_the_others_come_in(tmp_path: Path) -> None:
    broken = [truth(1, region=None), truth(2, size_mm="big"), truth(3, name=None), truth(4, radiology="yes"), [7]]
    folder = write(tmp_path / "sample", [truth(0), *broken])
    with (folder / "truth.jsonl").open("ab") as file:
        file.write(b"{\n\xff\n")
    given, fields = list(sample_truth.records(Files(folder))), ("region", "size_mm", "name", "radiology")
    assert [one for one in given if isinstance(one, Trouble)] == [
        *(Trouble(f"truth.jsonl:{n}", "bad_row", field) for n, field in enumerate(fields, 2)),
        Trouble("truth.jsonl:6", "not_an_object"),
        Trouble("truth.jsonl:7", "not_an_object", "not JSON"),
        Trouble("truth.jsonl:8", "bad_encoding"),
    ]
    assert len(given) == 8


def test_an_image_name_that_leads_out_is_refused(fresh_db: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    folder = write(tmp_path / "sample", [truth(0, name="../../secret.png"), truth(1, name="/etc/passwd")])
    imported = importers.run(db.create(fresh_db), "sample-truth", folder)
    assert imported.images == {"path_traversal": 1, "missing_file": 1}  # images//etc/passwd


@pytest.mark.parametrize("rows", [[], [truth(0, radiology=False)]])
def test_a_truth_without_radiology_images_is_refused(tmp_path: Path, rows: list[Any]) -> None:
    with pytest.raises(UserError, match="no radiology image"):
        list(sample_truth.records(Files(write(tmp_path / "sample", rows))))


def test_a_folder_that_is_no_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no truth\.jsonl here"):
        list(sample_truth.records(Files(tmp_path)))
