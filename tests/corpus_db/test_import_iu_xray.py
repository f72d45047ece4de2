import csv
import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from corpus_db import build, importers
from corpus_db.errors import UserError
from corpus_db.importers import iu_xray
from corpus_db.importers.base import Files, Record
from corpus_db.records import CaseRecord
from tests.corpus_db.importing import rows

REPORTS = [
    ["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"],
    ["1", "normal", "normal", "Xray Chest PA and Lateral", "Cough", "None.", "The XXXX are clear.", "Normal chest."],
    ["2", "Cardiomegaly", "Cardiomegaly", "Chest, 2 views", "", "", "", "Large heart without edema."],
    ["7", "No Indexing", "No Indexing", "Chest, 2 views", "", "", "", ""],
]
PROJECTIONS = [
    ["uid", "filename", "projection"],
    ["1", "1_IM-0001-4001.dcm.png", "Frontal"],
    ["1", "1_IM-0001-3001.dcm.png", "Lateral"],
    ["2", "2_IM-0652-1001.dcm.png", "Frontal"],
    ["7", "7_IM-2263-1001.dcm.png", "Frontal"],
]
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="CXR1"/>
  <licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">Cough</AbstractText>
    <AbstractText Label="FINDINGS">The XXXX are clear.</AbstractText>
    <AbstractText Label="IMPRESSION">Normal chest.</AbstractText>
  </Abstract></Article></MedlineCitation>
  <MeSH><major>normal</major></MeSH>
  <parentImage id="CXR1_1_IM-0001-3001"><caption>Xray Chest PA and Lateral</caption></parentImage>
  <parentImage id="CXR1_1_IM-0001-4001"><caption>Xray Chest PA and Lateral</caption></parentImage>
</eCitation>
"""
SERPENT, R2GEN = (2069, 296, 590), (3062, 382, 382)
real = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")


def png(level: int) -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (64, 64), level)
    image.putpixel((level % 64, 3), 255)
    image.save(file, "PNG")
    return file.getvalue()


def write_table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def put_images(folder: Path, *names: str) -> None:
    for level, name in enumerate(names, 40):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(level))


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The Indiana CSVs, and three of four pictures."""
    made = tmp_path / "indiana"
    made.mkdir()
    write_table(made / "indiana_reports.csv", REPORTS)
    write_table(made / "indiana_projections.csv", PROJECTIONS)
    put_images(made / "images/images_normalized", *(row[1] for row in PROJECTIONS[1:4]))
    return made


@pytest.fixture
def r2gen(tmp_path: Path) -> Path:
    """R2Gen's form, its test set under four spaces."""
    made = tmp_path / "r2gen"
    entries = [entry("CXR1_IM-0001", "train"), entry("CXR2_IM-0652", "val"), entry("CXR7_IM-2263", "test")]
    put_images(made / "images", *(path for one in entries for path in one["image_path"]))
    write_annotation(made / "annotation.json", entries)
    return made


def entry(key: str, split: str) -> dict[str, Any]:
    return {"id": key, "report": f"Report {key}.", "image_path": [f"{key}/0.png", f"{key}/1.png"], "split": split}


def write_annotation(path: Path, entries: list[dict[str, Any]]) -> None:
    parts = {"train": "train", "val": "val", "    ": "test"}
    said = {key: [one for one in entries if one.get("split") == split] for key, split in parts.items()}
    path.write_text(json.dumps(said))


def cases(place: Path) -> dict[str, CaseRecord]:
    """What the reader makes of each record, without a database."""
    given = iu_xray.records(Files(place))
    read = (iu_xray.read("encounter", one.body) for one in given if isinstance(one, Record))
    return {case.key: case for case in read if case}


def split_counts(found: dict[str, CaseRecord]) -> tuple[int, ...]:
    counts = Counter(case.split for case in found.values())
    return tuple(counts[name] for name in ("train", "val", "test"))


def test_the_tables_come_in_and_a_missing_picture_is_told(engine: Engine, tables: Path) -> None:
    imported = importers.run(engine, "iu-xray", tables)
    assert imported.records == {"new": 3} and imported.images == {"ok": 3, "missing_file": 1}
    assert imported.whole is False and not imported.troubles
    again = importers.run(engine, "iu-xray", tables)
    assert again.records == {"unchanged": 3} and again.new_images == 0


def test_the_tables_tell_sections_views_and_redactions(tables: Path) -> None:
    found = cases(tables)
    assert (found["1"].findings, found["1"].impression) == ("The XXXX are clear.", "Normal chest.")
    assert (found["1"].history, found["1"].title, found["1"].patient_key) == ("Cough", "Xray Chest PA and Lateral", "1")
    assert [(image.key, image.plane, image.caption) for image in found["1"].images] == [
        ("CXR1_IM-0001-4001", "Frontal", "The XXXX are clear. Normal chest."),
        ("CXR1_IM-0001-3001", "Lateral", "The XXXX are clear. Normal chest."),
    ]
    assert [image.caption for image in found["2"].images] == ["Large heart without edema."]
    assert [image.caption for image in found["7"].images] == [None]
    assert split_counts(found) == (0, 0, 0)


def test_an_annotation_tells_splits_and_two_views_a_report(engine: Engine, r2gen: Path) -> None:
    imported = importers.run(engine, "iu-xray", r2gen)
    assert imported.records == {"new": 3} and imported.images == {"ok": 6}
    found = cases(r2gen)
    assert {key: case.split for key, case in found.items()} == {"1": "train", "2": "val", "7": "test"}
    assert [image.key for image in found["7"].images] == ["CXR7_IM-2263_0", "CXR7_IM-2263_1"]
    assert {image.caption for image in found["7"].images} == {"Report CXR7_IM-2263."}
    assert (found["7"].findings, found["7"].impression) == ("Report CXR7_IM-2263.", None)


def test_a_build_keeps_the_annotations_split(engine: Engine, r2gen: Path) -> None:
    importers.run(engine, "iu-xray", r2gen)
    build.build(engine, importers.readers())
    told = "SELECT DISTINCT case_id, split, patient_key FROM version_pair"
    assert sorted(rows(engine, told)) == [
        ("iu-xray:1", "train", "iu-xray:1"),
        ("iu-xray:2", "val", "iu-xray:2"),
        ("iu-xray:7", "test", "iu-xray:7"),
    ]


def test_with_the_tables_beside_it_an_annotation_gains_sections_and_views(tables: Path) -> None:
    flat = {"id": "1", "report": "Mine.", "image_path": ["CXR1_IM-0001-4001.png"]}
    (tables / "annotation.json").write_text(json.dumps({"train": [], "val": [], "test": [flat]}))
    found = cases(tables)
    assert list(found) == ["1", "2", "7"]  # a report that the annotation leaves out comes in, too
    assert [case.split for case in found.values()] == ["test", None, None]
    (image,) = found["1"].images
    assert (image.caption, image.plane, found["1"].findings) == ("Mine.", "Frontal", "The XXXX are clear.")
    assert image.url == "images/CXR1_IM-0001-4001.png"
    # the file of another form of the same picture is taken
    files = [media.file for one in iu_xray.records(Files(tables)) if isinstance(one, Record) for media in one.media]
    assert files[0] == "images/images_normalized/1_IM-0001-4001.dcm.png"


def test_of_several_annotations_the_usual_name_is_read_or_the_one_that_is_given(r2gen: Path) -> None:
    usual = (r2gen / "annotation.json").read_bytes()
    write_annotation(r2gen / "serpent_annotation.json", [entry("CXR2_IM-0652", "test")])
    write_annotation(r2gen / "r2gen_annotation.json", [entry("CXR7_IM-2263", "train")])
    assert len(cases(r2gen)) == 3
    assert list(cases(r2gen / "r2gen_annotation.json")) == ["7"]
    (r2gen / "annotation.json").unlink()
    assert list(cases(r2gen)) == ["2"]
    (r2gen / "serpent_annotation.json").unlink()
    assert list(cases(r2gen)) == ["7"]
    (r2gen / "my_annotation.json").write_bytes(usual)
    with pytest.raises(UserError, match=r"several annotations .*give the path of one"):
        cases(r2gen)


def test_xml_reports_come_in_by_the_names_that_they_give(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology" / "1.xml").write_text(XML)
    put_images(tmp_path / "images", "CXR1_1_IM-0001-3001.png", "CXR1_1_IM-0001-4001.png")
    assert importers.run(engine, "iu-xray", tmp_path).images == {"ok": 2}
    case = cases(tmp_path)["1"]
    assert (case.findings, case.impression, case.history) == ("The XXXX are clear.", "Normal chest.", "Cough")
    assert case.licence == "http://creativecommons.org/licenses/by-nc-nd/4.0/"
    assert [image.name for image in case.images] == ["CXR1_IM-0001-3001", "CXR1_IM-0001-4001"]  # as the CSVs say it


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + XML.encode(), "bad_row"),
        (XML.replace("<?xml", '<!DOCTYPE e SYSTEM "file:///etc/passwd"><?xml').encode(), "bad_row"),
        (XML.replace("utf-8", "utf-16").encode("utf-16"), "bad_encoding"),
        (XML[:300].encode(), "bad_row"),
        (b"<html/>", "bad_row"),
        (b"", "bad_row"),
        (XML.encode() + b" " * 2**20, "too_large"),
    ],
)
def test_xml_that_is_no_report_is_left_out_and_told(engine: Engine, tmp_path: Path, body: bytes, reason: str) -> None:
    (tmp_path / "1.xml").write_text(XML)
    (tmp_path / "2.xml").write_bytes(body)
    imported = importers.run(engine, "iu-xray", tmp_path)
    assert imported.troubles == {reason: 1} and imported.records == {"new": 1}


def test_malformed_rows_are_left_out_and_told(engine: Engine, tables: Path) -> None:
    write_table(tables / "indiana_reports.csv", [*REPORTS, ["8"], ["x", *REPORTS[1][1:]], REPORTS[1]])
    write_table(tables / "indiana_projections.csv", [*PROJECTIONS, ["1", "", "Frontal"], ["", "a.png", "Frontal"]])
    imported = importers.run(engine, "iu-xray", tables)
    assert imported.troubles == {"bad_row": 3, "wrong_width": 1, "repeated_id": 1} and imported.records == {"new": 3}
    assert imported.details["bad_row"] == {"uid": 2, "filename": 1}


def test_malformed_entries_are_left_out_and_told(engine: Engine, r2gen: Path) -> None:
    good = entry("CXR1_IM-0001", "train")
    bad: list[Any] = [1, good, {**good, "id": None}, {**good, "id": "CXR9_IM-1", "image_path": [3]}]
    (r2gen / "annotation.json").write_text(json.dumps({"train": [good, *bad], "extra": [{**good, "split": None}]}))
    imported = importers.run(engine, "iu-xray", r2gen)
    assert imported.troubles == {"bad_row": 3, "not_an_object": 1, "repeated_id": 1}
    assert imported.details["bad_row"] == {"id": 1, "image_path": 1, "split": 1}
    assert imported.records == {"new": 1} and imported.images == {"ok": 2}


def test_a_picture_whose_name_leads_out_of_the_folder_is_refused(engine: Engine, r2gen: Path) -> None:
    (r2gen.parent / "secret.png").write_bytes(png(9))
    paths = ["../../secret.png", "/etc/passwd.png", "a\\..\\b.png", "nul\0.png"]
    (r2gen / "annotation.json").write_text(json.dumps({"train": [entry("CXR1", "train") | {"image_path": paths}]}))
    imported = importers.run(engine, "iu-xray", r2gen)
    assert imported.images["ok"] == 0 and imported.images.total() == 4
    assert rows(engine, "SELECT count(*) FROM image") == [(0,)]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("annotation.json", "{", "not JSON"),
        ("annotation.json", "[]", "not an annotation of R2Gen's form"),
        ("indiana_reports.csv", "uid,MeSH\n1,normal\n", r"no indiana_projections\.csv here"),
        ("readme.txt", "", r"neither R2Gen's annotation\.json"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_with_one_line(
    engine: Engine, tmp_path: Path, name: str, content: str, says: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        importers.run(engine, "iu-xray", tmp_path)
    assert "\n" not in str(caught.value)


@real
def test_the_real_tables_come_in_whole(tmp_path: Path) -> None:
    for name in ("indiana_reports.csv", "indiana_projections.csv"):
        shutil.copy(Path(os.environ["RGC_REAL_DATA"]) / "iu_xray" / name, tmp_path)
    found = cases(tmp_path)
    planes = Counter(image.plane for case in found.values() for image in case.images)
    assert len(found) == 3851 and planes == {"Frontal": 3818, "Lateral": 3648}
    assert len({image.key for case in found.values() for image in case.images}) == 7466
    assert sum("XXXX" in (case.findings or "") for case in found.values()) == 1426


@real
@pytest.mark.parametrize(
    ("name", "counts", "pictures"), [("serpent_annotation.json", SERPENT, 5910), ("r2gen_annotation.json", R2GEN, 7430)]
)
def test_the_real_annotations_have_their_own_splits(
    tmp_path: Path, name: str, counts: tuple[int, int, int], pictures: int
) -> None:
    shutil.copy(Path(os.environ["RGC_REAL_DATA"]) / "iu_xray" / name, tmp_path)
    found = cases(tmp_path)
    assert split_counts(found) == counts
    assert len({image.key for case in found.values() for image in case.images}) == pictures


@real
def test_the_real_folder_has_every_report_once_with_its_split(engine: Engine) -> None:
    folder = Path(os.environ["RGC_REAL_DATA"]) / "iu_xray"
    imported = importers.run(engine, "iu-xray", folder)
    assert imported.records == {"new": 3851} and not imported.troubles
    found = cases(folder)
    assert split_counts(found) == SERPENT and len(found) == 3851
    other = cases(folder / "r2gen_annotation.json")
    assert split_counts(other) == R2GEN and len(other) == 3851
    views = [image.plane for case in other.values() if case.split for image in case.images]
    assert len(views) == 7430 and sum(view is not None for view in views) > 7400
