import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from sqlalchemy import Engine

from corpus_db import build, importers
from corpus_db.errors import UserError
from corpus_db.importers import roco
from corpus_db.importers.base import Given, Record, Trouble
from corpus_db.importers.files import Files
from tests.corpus_db.importing import rows

REAL = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
READERS = {"roco": roco.read}
WGET = "wget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/{}.tar.gz -P /path/to/Dir"


def picture(number: int) -> bytes:
    """A scan-like image that differs from that of any other number."""
    made = Image.new("L", (96, 96), 20)
    draw, bits = ImageDraw.Draw(made), number * 2654435761 % 2**32
    for place in range(32):
        if bits >> place & 1:
            draw.rectangle((place % 8 * 12, place // 8 * 24, place % 8 * 12 + 10, place // 8 * 24 + 20), fill=230)
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()


def write(folder: Path, prefix: str, numbers: dict[int, str]) -> None:
    """The files of one split and kind: rows of these numbers, each with its article."""
    (folder / f"{prefix}captions.txt").parent.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {name: [] for name in ("captions", "dlinks", "keywords", "cuis", "semtypes")}
    licences = ["ROCO_ID,PMC_ID,CC"]
    for number, article in numbers.items():
        key = f"ROCO_{number:05}"
        lines["captions"].append(f"{key}\t Axial CT of patient number {number} shows a  mass.")
        lines["dlinks"].append(f"{key}\t{WGET.format(article)}\tfig-{number}.jpg")
        lines["keywords"].append(f"{key}\t\taxial\tct")
        lines["cuis"].append(f"{key}\t")
        lines["semtypes"].append(f"{key}\t\tT060\tDiagnostic Procedure")
        licences.append(f"{key},{article}_fig-{number}.jpg,CC BY-NC")
    for name, told in lines.items():
        (folder / f"{prefix}{name}.txt").write_text("\n".join(told) + "\n")
    (folder / f"{prefix}licences.txt").write_text("\n".join(licences) + "\n")


def write_image(folder: Path, name: str, number: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(picture(number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The published layout, images as fetch.py and as copies of the set name them; the split parts an article."""
    made = tmp_path / "roco"
    write(made, "data/train/radiology/", {1: "PMC11", 2: "PMC12"})
    write(made, "data/test/radiology/", {3: "PMC11"})
    write(made, "data/test/non-radiology/", {4: "PMC14"})
    write_image(made, "data/train/radiology/images/ROCO_00001.jpg", 1)
    write_image(made, "data/train/radiology/images/PMC12_fig-2.jpg", 2)
    return made


def given(folder: Path) -> list[Given]:
    return list(roco.records(Files(folder)))


def bodies(folder: Path) -> dict[str, dict[str, Any]]:
    return {one.key: one.body for one in given(folder) if isinstance(one, Record) and one.body}


def troubles(folder: Path) -> list[tuple[str, str, str | None]]:
    return [(one.path, one.reason, one.detail) for one in given(folder) if isinstance(one, Trouble)]


def test_a_row_is_a_record_with_all_that_the_files_beside_it_say(folder: Path) -> None:
    assert bodies(folder)["ROCO_00001"] == {
        **{"article": "PMC11", "split": "train", "kind": "radiology"},
        "images": [
            {
                **{"key": "ROCO_00001", "path": "data/train/radiology/images/ROCO_00001.jpg"},
                **{"caption": "Axial CT of patient number 1 shows a  mass.", "figure": "fig-1.jpg"},
                "dlink": "ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/8d/34/PMC11.tar.gz",
                **{"PMC_ID": "PMC11_fig-1.jpg", "CC": "CC BY-NC"},
                **{"keywords": ["axial", "ct"], "cuis": [], "semtypes": ["T060", "Diagnostic Procedure"]},
            }
        ],
    }
    assert troubles(folder) == []


def test_images_are_found_under_both_names_and_a_missing_one_is_told(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "roco", folder)
    assert imported.records == {"new": 4}
    assert imported.images == {"ok": 2, "missing_file": 1}
    assert imported.examples["missing_file"] == "data/test/radiology/images/ROCO_00003.jpg"
    again = importers.run(engine, "roco", folder)
    assert (again.records, again.new_images) == ({"unchanged": 4}, 0)


def test_rows_that_are_no_radiology_are_records_without_images(folder: Path) -> None:
    body = bodies(folder)["ROCO_00004"]
    assert body["images"] == [] and body["row"]["caption"].startswith("Axial CT")
    assert roco.read("encounter", body) is None


def test_figures_of_one_article_are_one_case_and_never_part_whatever_the_official_split(
    engine: Engine, folder: Path
) -> None:
    write_image(folder, "data/test/radiology/images/ROCO_00003.jpg", 3)
    importers.run(engine, "roco", folder)
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id, case_id, licence, modality FROM rgc ORDER BY 1") == [
        ("ROCO_00001", "roco:PMC11", "CC BY-NC", "CT"),
        ("ROCO_00002", "roco:PMC12", "CC BY-NC", "CT"),
        ("ROCO_00003", "roco:PMC11", "CC BY-NC", "CT"),
    ]
    assert rows(engine, "SELECT count(DISTINCT split) FROM rgc WHERE case_id = 'roco:PMC11'") == [(1,)]


def test_a_caption_that_names_no_modality_is_kept_with_it_left_open(engine: Engine, folder: Path) -> None:
    captions = folder / "data/train/radiology/captions.txt"
    captions.write_text(captions.read_text().replace("Axial CT of patient number 2", "Image of patient number 2"))
    importers.run(engine, "roco", folder)
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id, modality FROM rgc ORDER BY 1") == [
        ("ROCO_00001", "CT"),
        ("ROCO_00002", "OT"),
    ]


def test_the_flat_layout_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, "test_radiology_", {1: "PMC1"})
    write(tmp_path, "validation_radiology_", {2: "PMC2"})
    write_image(tmp_path, "images/PMC2_fig-2.jpg", 2)
    found = bodies(tmp_path)
    assert [(body["split"], body["images"][0]["path"]) for body in found.values()] == [
        ("validation", "images/ROCO_00002.jpg"),  # whatever the file's name
        ("test", "images/ROCO_00001.jpg"),
    ]
    assert [one.media[0].file for one in given(tmp_path) if isinstance(one, Record)] == [
        "images/PMC2_fig-2.jpg",
        "images/ROCO_00001.jpg",
    ]


def test_without_files_beside_the_captions_each_image_is_its_own_case(folder: Path) -> None:
    for path in folder.rglob("*.txt"):
        if path.name != "captions.txt":
            path.unlink()
    found = bodies(folder)
    assert found["ROCO_00001"]["article"] is None
    case = roco.read("encounter", found["ROCO_00001"])
    assert case is not None and case.key == "ROCO_00001"
    assert (case.images[0].licence, case.images[0].modality) == (None, roco.UNSTATED)
    assert troubles(folder) == []


def test_rows_that_cannot_be_taken_are_told_with_their_place_and_the_rest_comes_in(folder: Path) -> None:
    prefix = "data/train/radiology/"
    with open(folder / f"{prefix}captions.txt", "ab") as file:
        file.write(b"ROCO_00009 no tab\nROCO_00010\t \xff\n../../etc\t a name\nROCO_00001\t again\n\n")
    with open(folder / f"{prefix}dlinks.txt", "a") as other:
        other.write(f"ROCO_00001\t{WGET.format('PMC1')}\tagain.jpg\nROCO_00077\t{WGET.format('PMC1')}\torphan.jpg\n")
        other.write("ROCO_00002\tno address\n")
    with open(folder / f"{prefix}licences.txt", "a") as other:
        other.write("ROCO_00001,too,many,fields\n")
    assert sorted(troubles(folder)) == [
        (f"{prefix}captions.txt:3", "bad_row", "no tab"),
        (f"{prefix}captions.txt:4", "bad_encoding", None),
        (f"{prefix}captions.txt:5", "bad_row", "id"),
        (f"{prefix}captions.txt:6", "repeated_id", None),
        (f"{prefix}dlinks.txt:3", "repeated_id", None),
        (f"{prefix}dlinks.txt:4", "unknown_id", None),
        (f"{prefix}dlinks.txt:5", "bad_row", "dlinks"),
        (f"{prefix}licences.txt:4", "wrong_width", "4 instead of 3"),
    ]
    assert set(bodies(folder)) == {"ROCO_00001", "ROCO_00002", "ROCO_00003", "ROCO_00004"}
    assert bodies(folder)["ROCO_00001"]["images"][0]["caption"].startswith("Axial")


def test_a_figure_name_that_leads_out_of_the_folder_is_refused(engine: Engine, folder: Path) -> None:
    licences = folder / "data/train/radiology/licences.txt"
    licences.write_text(licences.read_text().replace("PMC12_fig-2.jpg", "PMC12/../../../../../../secret.jpg"))
    (folder / "data/train/radiology/images/PMC12").mkdir()
    write_image(folder.parent, "secret.jpg", 7)
    assert importers.run(engine, "roco", folder).images == {"ok": 1, "path_traversal": 1, "missing_file": 1}


def test_an_image_that_was_dropped_from_the_set_is_dropped_from_the_next_version(engine: Engine, folder: Path) -> None:
    importers.run(engine, "roco", folder)
    captions = folder / "data/train/radiology/captions.txt"
    captions.write_text("".join(captions.read_text().splitlines(keepends=True)[1:]))
    importers.run(engine, "roco", folder)
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id FROM rgc") == [("ROCO_00002",)]


def write_second(folder: Path, zipped: bool) -> None:
    """ROCOv2: a train image and a test image."""
    folder.mkdir()
    licences = ["ID,PMCID,Attribution,Link"]
    for number, split in enumerate(("train", "test"), 1):
        key = f"ROCOv2_2023_{split}_00000{number}"
        (folder / f"{split}_captions.csv").write_text(f'ID,Caption\n{key},"A mass, in lobe {number} of 5."\n')
        (folder / f"{split}_concepts.csv").write_text(f"ID,CUIs\n{key},C0024485;C0577559\n")
        (folder / f"{split}_concepts_manual.csv").write_text(f"ID,CUIs\n{key},C0024485\n")
        licences.append(f"{key},PMC{number},CC BY-NC [Author et al. (2020)],https://example.org/PMC{number}")
        if zipped:
            with zipfile.ZipFile(folder / f"{split}_images.zip", "w") as archive:
                archive.writestr(f"{split}/{key}.jpg", picture(number))
        else:
            write_image(folder, f"{split}_images/{key}.jpg", number)
    (folder / "license_information.csv").write_text("\n".join(licences) + "\n")


@pytest.mark.parametrize("zipped", [False, True])
def test_the_second_edition_is_read_from_its_tables_unpacked_or_not(
    engine: Engine, tmp_path: Path, zipped: bool
) -> None:
    write_second(tmp_path / "rocov2", zipped)
    imported = importers.run(engine, "roco", tmp_path / "rocov2")
    assert imported.whole and imported.records == {"new": 2} and imported.images == {"ok": 2}
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id, case_id, modality, licence, credit, caption FROM rgc ORDER BY 2") == [
        (
            *(f"ROCOv2_2023_{split}_00000{number}", f"roco:PMC{number}", "MR", "CC BY-NC"),
            *("CC BY-NC [Author et al. (2020)]", f"A mass, in lobe {number} of 5."),
        )
        for number, split in enumerate(("train", "test"), 1)
    ]


def test_a_broken_archive_of_images_is_told_and_the_rows_come_in(engine: Engine, tmp_path: Path) -> None:
    write_second(tmp_path / "rocov2", zipped=True)
    (tmp_path / "rocov2" / "test_images.zip").write_bytes(b"PK, but no zip")
    imported = importers.run(engine, "roco", tmp_path / "rocov2")
    assert imported.troubles == {"broken_archive": 1}
    assert imported.images == {"ok": 1, "missing_file": 1} and imported.records == {"new": 2}


def test_a_folder_without_captions_is_refused_with_one_line(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data/train/radiology/captions\.txt or .*train_captions\.csv here"):
        importers.run(engine, "roco", tmp_path)


def real() -> Path:
    return Path(os.environ["RGC_REAL_DATA"]) / "roco"


@REAL
def test_the_real_rows_come_in_whole_though_their_images_are_not_there(engine: Engine) -> None:
    imported = importers.run(engine, "roco", real())
    assert imported.records == {"new": 5000}
    assert imported.images == {"missing_file": 5000} and not imported.troubles
    licences = {body["images"][0]["CC"] for body in bodies(real()).values()}
    assert licences == {"CC0", "CC BY", "CC BY-NC", "CC BY-NC-ND", "CC BY-NC-SA", "CC BY-ND", "CC BY-SA", "NO-CC CODE"}


@REAL
def test_articles_that_the_official_split_parts_are_whole_after_a_build(engine: Engine, tmp_path: Path) -> None:
    articles: dict[str, dict[str, str]] = {"test": {}, "validation": {}}  # split -> id -> article
    for key, body in bodies(real()).items():
        articles[body["split"]][key] = body["article"]
    validation = set(articles["validation"].values())
    parted = {article for article in articles["test"].values() if article in validation}
    # 17.9 % of the full test set; here are 2,500 of its 8,179 rows and 2,500 of validation's 8,180
    assert sum(article in parted for article in articles["test"].values()) / 2500 == pytest.approx(0.0616)

    folder = tmp_path / "roco"
    shutil.copytree(real(), folder, copy_function=shutil.copyfile)
    chosen = [key for split in articles.values() for key, article in split.items() if article in parted]
    for number, key in enumerate(chosen):
        write_image(folder, f"images/{key}.jpg", number)
    assert importers.run(engine, "roco", folder).images["ok"] == len(chosen) > 300
    build.build(engine, READERS)
    kept, cases = rows(engine, "SELECT count(*), count(DISTINCT case_id) FROM rgc")[0]
    assert kept > 0.9 * len(chosen) and cases > 100
    assert rows(engine, "SELECT case_id FROM rgc GROUP BY case_id HAVING count(DISTINCT split) > 1") == []
