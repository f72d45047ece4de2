import csv
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine

from corpus_db import importers
from corpus_db.build import build
from corpus_db.errors import UserError
from corpus_db.explain import pair_of
from corpus_db.importers import folder as importer
from corpus_db.importers.base import ENCOUNTER, Files, Given, Record, Trouble
from corpus_db.importers.engine import Imported
from corpus_db.records import CaseRecord
from tests.corpus_db.importing import rows


def png(level: int, size: int = 80) -> bytes:
    image = Image.new("L", (size, size))
    image.putdata([(level * 37 + x * x // 3 + 5 * (x // size)) % 256 for x in range(size * size)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def table(folder: Path, rows: list[dict[str, str]], name: str = "mine.csv", delimiter: str = ",") -> Path:
    """A table with images 1.png, 2.png, ... of as many rows."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    for number in range(1, len(rows) + 1):
        (folder / "images" / f"{number}.png").write_bytes(png(number))
    return folder


def given(path: Path) -> list[Given]:
    return list(importer.records(Files(path)))


def cases(path: Path) -> list[CaseRecord]:
    """What the importer gives and its reader understands."""
    read = [importer.read(ENCOUNTER, one.body) for one in given(path) if isinstance(one, Record)]
    return [case for case in read if case is not None]


def shard(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar; a text is what a link points to."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            told = tarfile.TarInfo(name)
            if isinstance(content, str):
                told.type, told.linkname = tarfile.SYMTYPE, content
                tar.addfile(told)
            else:
                told.size = len(content)
                tar.addfile(told, io.BytesIO(content))
    return path


def take(engine: Engine, path: Path) -> Imported:
    return importers.run(engine, "folder", path)


def test_images_and_captions_come_in_and_a_build_makes_pairs_of_them(engine: Engine, tmp_path: Path) -> None:
    captions = ("Axial CT shows a mass in the liver.", "Axial CT shows a cyst in the kidney.")
    told = [
        {"file": f"{n}.png", "caption": caption, "modality": "CT", "plane": "Axial", "licence": f"CC BY {n}.0"}
        for n, caption in enumerate(captions, 1)
    ]
    folder = table(tmp_path / "mine", told)
    imported = take(engine, folder)
    assert imported.whole and imported.records == {"new": 2} and imported.images == {"ok": 2}
    assert build(engine, importers.readers(), audited=False).by_status == {"kept": 2}
    assert rows(engine, "SELECT pair_id, caption, licence FROM version_pair ORDER BY 1") == [
        ("folder:mine/1.png", captions[0], "CC BY 1.0"),
        ("folder:mine/2.png", captions[1], "CC BY 2.0"),
    ]
    again = take(engine, folder)
    assert again.records == {"unchanged": 2} and again.new_images == 0


def test_a_row_that_goes_takes_its_image_out_of_the_next_build(engine: Engine, tmp_path: Path) -> None:
    told = [
        {"file": f"{n}.png", "patientid": "7", "modality": "CT", "caption": f"CT shows mass number {n} of the liver."}
        for n in (1, 2)
    ]
    folder = table(tmp_path / "mine", told)
    take(engine, folder)
    assert build(engine, importers.readers(), audited=False).by_status == {"kept": 2}
    table(folder, told[:1])
    assert take(engine, folder).records["changed"] == 1
    assert build(engine, importers.readers(), audited=False).by_status == {"kept": 1}


@pytest.mark.parametrize(
    ("image", "caption"), [("Image_Path", "TEXT"), ("FileName", "clinical_notes"), ("img", "Findings")]
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, image: str, caption: str) -> None:
    folder = table(tmp_path, [{image: "1.png", caption: "A mass.", "finding": "mass", "View": "PA", "Sex": "F"}])
    (case,) = cases(folder)
    assert (case.sex, case.diagnosis) == ("F", "mass")
    (one,) = case.images
    assert (one.caption, one.plane, one.name, one.url) == ("A mass.", "PA", "1", "1.png")


def test_of_two_columns_that_fit_the_first_is_meant_also_where_it_is_empty(tmp_path: Path) -> None:
    (case,) = cases(table(tmp_path, [{"image": "1.png", "case": "1", "caption": "A", "finding": "x"}]))
    assert case.images[0].caption == "A"
    found = cases(table(tmp_path, [{"image": f"{n}.png", "caption": "A"[n:], "finding": "x"} for n in (0, 1)]))
    assert [case.images[0].caption for case in found] == ["A", None]


def test_rows_of_a_case_or_else_of_a_patient_are_one_case(tmp_path: Path) -> None:
    row = {"caption": "A mass.", "split": "valid", "age": "60"}
    found = cases(table(tmp_path, [row | {"image": f"{n}.png", "patientid": str(n // 2)} for n in range(4)]))
    assert [(case.key, case.patient_key, len(case.images)) for case in found] == [
        ("mine/0", "0", 2),
        ("mine/1", "1", 2),
    ]
    assert {(case.split, case.age) for case in found} == {("val", "60")}
    patients = {"image": "1.png", "study_id": "s1", "subject_id": "p1", "text": "A"}
    (case,) = cases(table(tmp_path, [patients]))
    assert (case.key, case.patient_key) == ("mine/s1", "p1")


def test_a_case_in_two_splits_is_for_the_build_to_place(tmp_path: Path) -> None:
    row = {"caption": "A mass.", "case": "1"}
    (case,) = cases(
        table(tmp_path, [row | {"image": f"{n}.png", "split": split} for n, split in enumerate(("train", "test"))])
    )
    assert case.split is None


@pytest.mark.parametrize(("name", "delimiter"), [("mine.csv", ","), ("mine.TSV", "\t"), ("mine.tsv", "\t")])
def test_a_table_may_be_given_itself(tmp_path: Path, name: str, delimiter: str) -> None:
    table(tmp_path, [{"image": "1.png", "caption": "A mass, and more."}], name, delimiter)
    table(tmp_path, [{"image": "1.png", "caption": "Other."}], "other.csv")
    (case,) = cases(tmp_path / name)
    assert case.images[0].caption == "A mass, and more."
    if name == "mine.csv":
        with pytest.raises(UserError, match=r"several tables are here \(mine\.csv, other\.csv\)"):
            given(tmp_path)


def test_an_image_with_two_captions_is_two_images_of_one_file(tmp_path: Path) -> None:
    table(tmp_path, [{"image": "1.png", "caption": caption} for caption in ("A", "B")])
    found = cases(tmp_path)
    assert [(case.images[0].key, case.images[0].caption) for case in found] == [
        ("mine/1.png", "A"),
        ("mine/1.png#2", "B"),
    ]
    assert {case.images[0].url for case in found} == {"1.png"}


def test_broken_rows_are_told_and_the_others_come_in(tmp_path: Path) -> None:
    lines = [
        b'{"id": 1, "image": "1.png", "caption": "A"}',
        b"{",
        b'{"caption": "no image"}',
        b"\xff",
        b"[1]",
        b'{"id": 1, "image": "2.png", "caption": "same id"}',
        b'{"id": 2, "image": {"bytes": 1}, "caption": "B"}',
        b'{"id": 3, "image": "3.png", "Caption": ["C"]}',
    ]
    (tmp_path / "mine.jsonl").write_bytes(b"\n".join(lines))
    found = given(tmp_path)
    assert [one for one in found if isinstance(one, Trouble)] == [
        Trouble("mine.jsonl:2", "not_an_object", "not JSON"),
        Trouble("mine.jsonl:3", "bad_row", "image"),
        Trouble("mine.jsonl:4", "bad_encoding"),
        Trouble("mine.jsonl:5", "not_an_object"),
        Trouble("mine.jsonl:6", "repeated_id"),
        Trouble("mine.jsonl:7", "bad_row", "image"),
        Trouble("mine.jsonl:8", "bad_row", "Caption"),
    ]
    assert [one.key for one in found if isinstance(one, Record)] == ["mine/1"]


def test_rows_of_a_csv_in_another_encoding_or_of_another_width_are_told(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"image,caption\n1.png,A\n2.png,\xe9\n3.png,B,C\n")
    assert given(tmp_path)[:2] == [
        Trouble("mine.csv:3", "bad_encoding", "column caption"),
        Trouble("mine.csv:4", "wrong_width", "3 instead of 2"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_another_delimiter_or_in_utf_16_is_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    said = f'image{delimiter}caption\n1.png{delimiter}"Flüssigkeit, links; rechts"\n'
    (tmp_path / "mine.csv").write_bytes(said.encode(encoding))
    (case,) = cases(tmp_path)
    assert case.images[0].caption == "Flüssigkeit, links; rechts"


def test_lines_of_json_in_utf_16_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes('{"image": "1.png", "caption": "A"}\n'.encode("utf-16"))
    with pytest.raises(UserError, match=r"mine\.jsonl: UTF-16; save it as UTF-8"):
        given(tmp_path)


def test_an_image_folder_that_moves_changes_nothing_and_one_that_goes_is_told_once(
    engine: Engine, tmp_path: Path
) -> None:
    folder = table(tmp_path / "mine", [{"image": "1.png", "caption": "Axial CT of a mass.", "folder": "elsewhere"}])
    take(engine, folder)
    (folder / "images").rename(folder / "elsewhere")
    moved = take(engine, folder)
    assert (moved.records, moved.images, moved.new_images) == ({"unchanged": 1}, {"ok": 1}, 0)
    (folder / "elsewhere").rename(tmp_path / "away")
    gone = take(engine, folder)
    assert (gone.records, gone.images) == ({"unchanged": 1}, {"missing_file": 1})


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "..\\secret.png", "a\0.png", "link.png", "x" * 300, "\ud800.png"]
)
def test_an_image_name_that_leads_out_or_cannot_be_is_told(engine: Engine, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    folder = table(tmp_path / "mine", [{"image": "1.png", "caption": "A"}])
    (folder / "mine.csv").unlink()
    os.symlink(tmp_path / "secret.png", folder / "link.png")
    told = [{"image": "1.png", "caption": "A"}, {"image": name, "caption": "B", "folder": ".."}]
    (folder / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in told))
    imported = take(engine, folder)
    assert imported.images["ok"] == 1 and imported.images.total() == 2
    assert rows(engine, "SELECT count(*) FROM image") == [(1,)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no row has both"),
        ("image,caption\n", "no row has both"),
        ("bild,caption\n1.png,A\n", r"image \(image, image_path, file"),
        ("image,beschreibung\n1.png,A\n", r"caption \(caption, text, report"),
    ],
)
def test_a_table_without_images_or_captions_is_refused_with_the_names_that_are_known(
    tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        given(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2])
def test_a_table_of_another_encoding_is_told_as_such_and_not_blamed_on_its_columns(tmp_path: Path, count: int) -> None:
    (tmp_path / "mine.csv").write_bytes(
        b"image,caption\n" + count * "1.png,Zyste der Niere, über 2 cm\n".replace(", ", " ").encode("latin-1")
    )
    with pytest.raises(UserError, match=r"mine\.csv:2: text that is no UTF-8; save the file as UTF-8 \(column caption"):
        given(tmp_path)


def test_a_second_folder_under_the_name_of_the_first_says_what_went_and_how_to_keep_both(
    engine: Engine, tmp_path: Path
) -> None:
    first, second = ({"image": f"{n}.png", "caption": f"Axial CT of nodule {n}"} for n in (1, 2))
    table(tmp_path / "first", [first, second])
    table(tmp_path / "second", [first | {"caption": "A cyst"}])
    said: list[str] = []
    importers.run(engine, "folder", tmp_path / "first", say=said.append)
    importers.run(engine, "folder", tmp_path / "first", say=said.append)
    assert said == []
    importers.run(engine, "folder", tmp_path / "second", say=said.append)
    (line,) = said
    assert "held from first, 1 gone and 1 changed" in line and "give another --name to keep both" in line


def test_a_pair_is_found_by_the_name_of_its_file(engine: Engine, tmp_path: Path) -> None:
    files = ("a/scan 0.png", "b/scan 0.png", "b/scan 1.png")
    folder = table(
        tmp_path / "mine",
        [{"image": file, "caption": f"Axial CT shows a cyst in {file[0]}, {file[-5]}."} for file in files],
    )
    for number, file in enumerate(files, 1):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / "images" / f"{number}.png").rename(folder / file)
    take(engine, folder)
    build(engine, importers.readers())
    with engine.connect() as connection:
        assert pair_of(connection, "scan 1.png") == "folder:mine/b/scan 1.png"
        assert pair_of(connection, "a/scan 0.png") == "folder:mine/a/scan 0.png"
        assert pair_of(connection, "0.png") is None
        with pytest.raises(UserError, match=r"which one\? folder:mine/a/scan 0\.png, folder:mine/b/scan 0\.png"):
            pair_of(connection, "scan 0.png")


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a table"):
        given(tmp_path)


def test_medpix_2_is_not_taken_for_a_folder_but_its_table_may_be(tmp_path: Path) -> None:
    (tmp_path / "cases.json").write_text("[]")
    (tmp_path / "images.jsonl").write_text('{"image": "MPX1_synpic7.png", "case": "MPX1", "caption": "A cyst."}\n')
    with pytest.raises(UserError, match=r"this is MedPix 2\.0.* import medpix2"):
        given(tmp_path)
    assert len(cases(tmp_path / "images.jsonl")) == 1


def test_webdataset_shards_come_in_by_stem(engine: Engine, tmp_path: Path) -> None:
    shard(tmp_path / "a-0.tar", {"x/1.png": png(1), "x/1.txt": b"A mass.", "x/1.cls": b"3", "x/2.JPG": png(2)})
    told = {"caption": "A cyst.", "patient_id": 7, "licence": "CC0 1.0"}
    shard(tmp_path / "a-1.tar", {"1.left.png": png(3), "1.json": json.dumps(told).encode()})
    imported = take(engine, tmp_path)
    assert imported.whole and imported.images == {"ok": 3} and imported.records == {"new": 3}
    found = {case.key: case for case in cases(tmp_path)}
    assert set(found) == {"a-0/x/1.png", "a-0/x/2.JPG", "7"}
    assert found["a-0/x/1.png"].images[0].caption == "A mass." and found["a-0/x/2.JPG"].images[0].caption is None
    (image,) = found["7"].images
    assert (image.caption, image.licence, image.url) == ("A cyst.", "CC0 1.0", "a-1.tar!/1.left.png")
    assert [case.key for case in cases(tmp_path / "a-1.tar")] == ["7"]


def test_a_case_over_several_shards_is_one_case(tmp_path: Path) -> None:
    for number in (1, 2):
        told = json.dumps({"caption": "A mass.", "study": "s"}).encode()
        shard(tmp_path / f"{number}.tar", {"1.png": png(number), "1.json": told})
    (case,) = cases(tmp_path)
    assert (case.key, [image.key for image in case.images]) == ("s", ["1/1.png", "2/1.png"])


def test_what_is_broken_in_a_shard_is_told_and_the_rest_comes_in(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    members: dict[str, bytes | str] = {
        "1.png": png(1),
        "1.txt": b"A mass.",
        "2.png": png(2),
        "2.txt": b"\xff\xfe",
        "3.png": png(3),
        "3.json": b"{",
        "4.png": "../secret.png",
        "4.txt": b"A link.",
        "/5.png": png(5),
        "../6.png": png(6),
        "7.png": png(7),
        "7.json": b"[1]",
    }
    (tmp_path / "mine").mkdir()
    shard(tmp_path / "mine" / "a.tar", members)
    (tmp_path / "mine" / "b.tar").write_bytes(b"no tar")
    imported = take(engine, tmp_path / "mine")
    assert imported.images == {"ok": 1, "path_traversal": 3}  # the link, and two that climb
    assert imported.troubles == {"bad_encoding": 1, "bad_json": 2, "broken_archive": 1}


def test_a_row_with_a_number_that_json_does_not_have_comes_in(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    (tmp_path / "mine.jsonl").write_text('{"image": "1.png", "caption": "CT of a mass.", "age": NaN, "x": Infinity}\n')
    assert take(engine, tmp_path).whole
    assert build(engine, importers.readers(), audited=False).cases == 1


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
def test_a_real_folder_comes_in_whole_with_a_licence_an_image(engine: Engine) -> None:
    path = Path(os.environ["RGC_REAL_DATA"]) / "covid_chestxray"
    imported = take(engine, path)
    assert imported.whole and imported.images == {"ok": 128} and imported.records == {"new": 57}
    found = cases(path)
    images = [image for case in found for image in case.images]
    licences = {image.licence for image in images}
    assert licences == {"CC BY-NC-SA 4.0", "CC BY-NC-SA", "CC BY 4.0", "CC BY-NC-ND", "CC BY"}
    assert {image.modality for image in images} == {"X-ray", "CT"} and all(image.caption for image in images)
    assert len({case.patient_key for case in found}) == 57
