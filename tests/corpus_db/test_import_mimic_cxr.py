"""MIMIC-CXR-JPG's layout with reports made up for it: the real ones are for credentialed users alone."""

import csv
import gzip
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from corpus_db import build, importers
from corpus_db.errors import UserError
from corpus_db.importers import mimic_cxr
from corpus_db.importers.base import Files, Record
from corpus_db.importers.report_sections import conclusion, sections
from corpus_db.records import CaseRecord
from tests.corpus_db.importing import rows

WHOLE = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 
 INDICATION:  ___-year-old woman with cough.
 
 COMPARISON:  Radiographs of ___.
 
 FINDINGS: 
 
 The lungs are clear. No effusion
 is seen.
 
 IMPRESSION: 
 
 No acute change since ___.
"""
LAST_PARAGRAPH = """                                 FINAL REPORT
 REASON FOR EXAM:  Fever.
 
 As compared to the previous radiograph, a left effusion is new.
 The heart is large.
"""
COLUMNS = ("dicom_id", "subject_id", "study_id")
IMAGES: dict[str, tuple[str, str, str]] = {  # dicom id -> subject, study, view position
    "02aa804e-bde0afdd": ("10000032", "50414267", "PA"),
    "174413ec-4ec4c1f7": ("10000032", "50414267", "LATERAL"),
    "2a2277a9-b0ded155": ("10000980", "53189527", "AP"),
    "68b5c4b1-227d0485": ("11000764", "57375967", "LL"),
    "e084de3b-be89b11e": ("11000898", "54205396", "SWIMMERS"),
}
SPLITS = {"50414267": "train", "53189527": "validate", "57375967": "test"}
REPORTS = {"50414267": WHOLE, "53189527": LAST_PARAGRAPH, "54205396": " FINAL REPORT\n FINDINGS: Clear.\n"}
LABELS = [("10000032", "50414267", "1.0", "", "-1.0"), ("19999999", "59999999", "", "1.0", "")]


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (64, 64), level)
    image.putpixel((level % 64, 3), 255)
    image.save(file, "JPEG")
    return file.getvalue()


def write_table(path: Path, rows: Iterable[Iterable[str]]) -> None:
    said = io.StringIO()
    csv.writer(said).writerows(rows)
    body = said.getvalue().encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


def place(subject: str, study: str) -> str:
    return f"files/p{subject[:2]}/p{subject}/s{study}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four studies: one without a report, one in no split, one image that is not there."""
    made = tmp_path / "mimic"
    made.mkdir()
    metadata = [[*COLUMNS, "PerformedProcedureStepDescription", "ViewPosition", "Rows"]]
    splits = [["dicom_id", "study_id", "subject_id", "split"]]
    for level, (image, (subject, study, view)) in enumerate(IMAGES.items(), 40):
        metadata.append([image, subject, study, "CHEST (PA AND LAT)", view, "3056"])
        if study in SPLITS:
            splits.append([image, study, subject, SPLITS[study]])
        below = made / place(subject, study)
        below.mkdir(parents=True, exist_ok=True)
        if study in REPORTS:
            below.with_suffix(".txt").write_text(REPORTS[study])
        if view != "LATERAL":
            (below / f"{image}.jpg").write_bytes(jpeg(level))
    write_table(made / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    write_table(made / "mimic-cxr-2.0.0-split.csv.gz", splits)
    labels = [["subject_id", "study_id", "Atelectasis", "Edema", "No Finding"], *map(list, LABELS)]
    write_table(made / "mimic-cxr-2.0.0-chexpert.csv", labels)
    return made


def cases(folder: Path) -> dict[str, CaseRecord]:
    """What the reader makes of each record, without a database."""
    given = mimic_cxr.records(Files(folder))
    read = (mimic_cxr.read("encounter", one.body) for one in given if isinstance(one, Record))
    return {case.key: case for case in read if case}


def test_studies_come_in_and_what_is_missing_is_told(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "mimic-cxr", folder)
    assert imported.records == {"new": 4}
    assert imported.images == {"ok": 4, "missing_file": 1}
    assert imported.troubles == {"missing_file": 1}
    assert sorted(rows(engine, "SELECT path FROM \"fetch\" WHERE reason = 'missing_file'")) == [
        ("files/p10/p10000032/s50414267/174413ec-4ec4c1f7.jpg",),
        ("files/p11/p11000764/s57375967.txt",),
    ]
    again = importers.run(engine, "mimic-cxr", folder)
    assert again.records == {"unchanged": 4} and again.new_images == 0


def test_a_build_keeps_the_official_split_the_patient_and_both_sections(engine: Engine, folder: Path) -> None:
    importers.run(engine, "mimic-cxr", folder)
    build.build(engine, importers.readers())
    told = "upstream_id, patient_key, title, findings, impression"
    assert rows(engine, f"SELECT {told} FROM study_case WHERE upstream_id = '50414267'") == [
        (
            "50414267",
            "mimic-cxr:10000032",
            "CHEST (PA AND LAT)",
            "The lungs are clear. No effusion\n is seen.",
            "No acute change since ___.",
        )
    ]
    joined = "pair JOIN version_pair ON version_pair.pair_id = pair.id"
    kept = "upstream_id, pair.caption, pair.modality, pair.plane, pair.region, version_pair.split"
    compared = "As compared to the previous radiograph, a left effusion is new. The heart is large."
    assert sorted(rows(engine, f"SELECT {kept} FROM {joined}"))[:2] == [
        ("02aa804e-bde0afdd", "No acute change since ___.", "DX", "pa", "chest", "train"),
        ("2a2277a9-b0ded155", compared, "DX", "ap", "heart", "val"),
    ]


def test_each_study_has_its_split_its_patient_and_its_history(folder: Path) -> None:
    found = cases(folder)
    assert {key: case.split for key, case in found.items()} == {
        "50414267": "train",
        "53189527": "val",
        "57375967": "test",
        "54205396": None,
    }
    assert {key: case.patient_key for key, case in found.items()}["57375967"] == "11000764"
    assert found["50414267"].history == "___-year-old woman with cough."
    planes = {image.key: image.plane for case in found.values() for image in case.images}
    assert list(planes.values()) == ["PA", "Lateral", "AP", "Lateral", "Other View (see caption)"]
    assert {image.caption for image in found["50414267"].images} == {"No acute change since ___."}
    assert [image.caption for image in found["57375967"].images] == [None]


def test_labels_are_kept_as_their_table_has_them(folder: Path) -> None:
    bodies = [one.body for one in mimic_cxr.records(Files(folder)) if isinstance(one, Record)]
    assert [body["chexpert"] for body in bodies if body and "chexpert" in body] == [
        {"Atelectasis": "1.0", "No Finding": "-1.0"}
    ]


@pytest.mark.parametrize("above", ["", "mimic-cxr-reports/"])
def test_reports_are_read_out_of_their_archive(engine: Engine, folder: Path, above: str) -> None:
    loose = cases(folder)
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w") as archive:
        for file in sorted(folder.glob("files/**/*.txt")):
            archive.write(file, above + file.relative_to(folder).as_posix())
            file.unlink()
    assert cases(folder) == loose
    assert importers.run(engine, "mimic-cxr", folder).troubles == {"missing_file": 1}


def test_malformed_rows_are_left_out_and_told(engine: Engine, folder: Path) -> None:
    bad = [
        ["../../etc", "10000032", "50414267", "", "PA", ""],
        ["aaaa", "1000x", "50414267", "", "PA", ""],
        ["bbbb", "19999999", "50414267", "", "PA", ""],  # another patient's study
        ["cccc", "10000032"],
    ]
    table = folder / "mimic-cxr-2.0.0-metadata.csv.gz"
    said = gzip.decompress(table.read_bytes()).decode().splitlines()
    write_table(table, [*csv.reader(said), *bad])
    splits = folder / "mimic-cxr-2.0.0-split.csv.gz"
    said = gzip.decompress(splits.read_bytes()).decode().splitlines()
    more = [["2a2277a9-b0ded155", "53189527", "10000980", "test"], ["dddd", "53189527", "10000980", "holdout"]]
    write_table(splits, [*csv.reader(said), *more])
    imported = importers.run(engine, "mimic-cxr", folder)
    assert imported.troubles == {"bad_row": 5, "wrong_width": 1, "missing_file": 1}
    twice = {"study_id of another patient": 1, "split of a study in two": 1}
    assert imported.details["bad_row"] == {"dicom_id": 1, "subject_id": 1, "split": 1} | twice
    assert imported.images == {"ok": 4, "missing_file": 1}
    assert cases(folder)["53189527"].split == "val"


def test_a_report_that_is_no_text_costs_its_study_the_caption_alone(engine: Engine, folder: Path) -> None:
    (folder / f"{place('10000980', '53189527')}.txt").write_bytes(b"\xff\xfe\x00")
    imported = importers.run(engine, "mimic-cxr", folder)
    assert imported.troubles == {"bad_encoding": 1, "missing_file": 1} and imported.images["ok"] == 4


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda at: (at / "mimic-cxr-2.0.0-split.csv.gz").unlink(), r"no mimic-cxr-2\.0\.0-split\.csv\.gz here"),
        (lambda at: write_table(at / "mimic-cxr-2.0.0-split.csv.gz", [["a"], ["b"]]), "no column dicom_id"),
        (lambda at: (at / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(b"\x1f\x8b"), "cannot be read"),
        (lambda at: (at / "mimic-cxr-reports.zip").write_bytes(b"PK"), "a damaged archive"),
        (lambda at: [file.unlink() for file in at.glob("files/**/*.txt")], "no reports here"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_with_one_line(
    engine: Engine, folder: Path, spoil: Any, says: str
) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=says) as caught:
        importers.run(engine, "mimic-cxr", folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (WHOLE, "No acute change since ___."),
        (LAST_PARAGRAPH, "As compared to the previous radiograph, a left effusion is new.\n The heart is large."),
        ("\n FINDINGS: A.\n IMPRESSION:\n \n \n", "A."),  # empty sections do not count
        ("\n IMPRESSION: A.\n \n IMPRESSION: B.\n", "B."),  # the last of a name does
        ("\n COMPARISON: None.  The lungs are clear.\n", "None.  The lungs are clear."),
        ("\n CHEST, PA AND LATERAL: Clear.\n", "Clear."),  # views for a heading
        ("\n IMPRSSION: Clear.\n", "Clear."),
        ("\n FINDINGS/IMPRESSION: Clear.\n", "Clear."),
        ("\n TECHNIQUE: Two views.\n", None),
        ("Nothing with a heading.", None),
        ("One.\n \n Two.\n \n Three.", "Two.\n \n Three."),
        ("", None),
    ],
)
def test_the_caption_is_the_last_section_that_concludes(report: str, says: str | None) -> None:
    assert conclusion(sections(report)) == says


def test_headings_of_one_meaning_have_one_name() -> None:
    report = "\n CLINICAL INFORMATION: A\n REASON FOR EXAM: B\n REFERENCE EXAM: C\n CONCUSION: D\n WET READ: E\n"
    found = sections(report)
    assert found == {
        "preamble": "",
        "history": "A",
        "indication": "B",
        "comparison": "C",
        "impression": "D",
        "wet read": "E",
    }
