import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from corpus_db import build, importers
from corpus_db.errors import UserError
from corpus_db.importers import open_i
from corpus_db.importers.base import Files, Record
from corpus_db.records import CaseRecord
from tests.corpus_db.importing import rows

CXR: dict[str, Any] = {
    "uid": "CXR1",
    "pmcid": "1",
    "title": "Indiana University Chest X-ray Collection",
    "authors": "Kohli MD, Rosenman M",
    "licenseType": "open-access",
    "licenseURL": "http://creativecommons.org/licenses/by-nc-nd/4.0/",
    "MeSH": {"minor": [], "major": ["normal"]},
    "abstract": "<p><b>Comparison: </b>None.</p><p><b>Indication: </b>Cough</p><p><b>Findings: </b>The XXXX are clear."
    "</p><p><b>Impression: </b>Normal chest &amp; heart.</p>",
    "image": {"id": "F1", "caption": "Xray Chest PA and Lateral", "modalityMajor": "x", "mention": ""},
    "imgLarge": "/imgs/512/1/1/CXR1_1_IM-0001-3001.png",
    "imgThumb": "/imgs/100/1/1/CXR1_1_IM-0001-3001.png",
}
MPX: dict[str, Any] = {
    "uid": "MPX1006",
    "title": "Pneumatosis",
    "authors": "A Resident",
    "image": {"id": "MPX1006_synpic52425", "caption": "Axial CT with <b>gas</b> in the wall.", "modalityMajor": "c"},
    "imgLarge": "/imgs/512/204/1006/MPX1006_synpic52425.png",
}
PMC: dict[str, Any] = {
    "uid": "PMC3047500",
    "pmcid": "3047500",
    "title": "A case",
    "licenseURL": "http://creativecommons.org/licenses/by/2.0/",
    "image": {"id": "F2", "caption": "Photograph of the hand.", "modalityMajor": "ph", "mention": "Figure 2 shows it."},
    "imgLarge": "/imgs/512/1/3047500/PMC3047500_1752-1947-5-1-2.png",
}


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    image = Image.new("L", (64, 64), level)
    image.putpixel((level % 64, 3), 255)
    image.save(file, "PNG")
    return file.getvalue()


def page(*items: Any, **changes: Any) -> str:
    return json.dumps({"min": 1, "max": len(items), "count": len(items), "total": 7470, "list": list(items)} | changes)


def other_view() -> dict[str, Any]:
    item = copy.deepcopy(CXR)
    item["image"]["id"] = "F2"
    item["imgLarge"] = "/imgs/512/1/1/CXR1_1_IM-0001-4001.png"
    return item


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pages, one picture of four not there."""
    made = tmp_path / "openi"
    (made / "images").mkdir(parents=True)
    (made / "page1.json").write_text(page(CXR, other_view()))
    (made / "page2.json").write_text(page(other_view(), MPX, PMC))  # pages may overlap
    for level, name in enumerate(("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "MPX1006_synpic52425"), 40):
        (made / "images" / f"{name}.png").write_bytes(jpeg(level))
    return made


def cases(folder: Path) -> list[CaseRecord]:
    """What the reader makes of each record, without a database."""
    given = open_i.records(Files(folder))
    read = (open_i.read("encounter", one.body) for one in given if isinstance(one, Record))
    return [case for case in read if case]


def test_each_picture_comes_in_once_and_a_missing_one_is_told(engine: Engine, folder: Path) -> None:
    imported = importers.run(engine, "open-i", folder)
    assert imported.records == {"new": 4}
    assert imported.images == {"ok": 3, "missing_file": 1}
    again = importers.run(engine, "open-i", folder)
    assert again.records == {"unchanged": 4} and again.new_images == 0


def test_pictures_have_the_names_of_the_sources_they_are_from(engine: Engine, folder: Path) -> None:
    importers.run(engine, "open-i", folder)
    assert sorted(rows(engine, "SELECT upstream_name FROM image_ref")) == [
        ("CXR1_IM-0001-3001",),
        ("CXR1_IM-0001-4001",),
        ("synpic52425",),
    ]


def test_a_build_joins_the_views_of_a_report_and_keeps_each_items_licence(engine: Engine, folder: Path) -> None:
    importers.run(engine, "open-i", folder)
    build.build(engine, importers.readers())
    told = "SELECT upstream_id, findings, impression, history, licence FROM study_case WHERE upstream_id = 'CXR1'"
    licence = "http://creativecommons.org/licenses/by-nc-nd/4.0/"
    assert rows(engine, told) == [("CXR1", "The XXXX are clear.", "Normal chest & heart.", "Cough", licence)]
    kept = "SELECT study_case_id, caption, modality FROM pair WHERE status = 'kept'"
    assert sorted(rows(engine, kept)) == [
        ("open-i:CXR1", "The XXXX are clear. Normal chest & heart.", "DX"),
        ("open-i:CXR1", "The XXXX are clear. Normal chest & heart.", "DX"),
        ("open-i:MPX1006", "Axial CT with gas in the wall.", "CT"),
    ]


def test_the_picture_is_found_beside_its_page_and_where_wget_mirrors_it(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "mpx").mkdir()
    (tmp_path / "mpx" / "1.json").write_text(page(MPX))
    (tmp_path / "mpx" / "MPX1006_synpic52425.jpg").write_bytes(jpeg(40))
    (tmp_path / "2.json").write_text(page(PMC))
    mirrored = tmp_path / PMC["imgLarge"].lstrip("/")
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(jpeg(41))
    assert importers.run(engine, "open-i", tmp_path).images == {"ok": 2}


def test_one_page_can_be_given_alone(engine: Engine, folder: Path) -> None:
    assert importers.run(engine, "open-i", folder / "page1.json").records == {"new": 2}


def test_an_image_says_its_modality_in_words_that_are_known(folder: Path) -> None:
    modalities = {image.key: image.modality for case in cases(folder) for image in case.images}
    assert list(modalities.values()) == ["XR - Plain Film", "XR - Plain Film", "CT", "Photograph"]


def test_what_an_image_says_goes_with_it_when_it_is_taken_down(folder: Path) -> None:
    bodies = [one.body for one in open_i.records(Files(folder)) if isinstance(one, Record)]
    for body in bodies:
        assert body and len(body["images"]) == 1 and "caption" in body["images"][0]
        body.pop("images")
        assert "caption" not in json.dumps(body) and "imgLarge" not in body


def test_an_items_own_fields_cannot_stand_for_the_images_key(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(page({**MPX, "image": {**MPX["image"], "key": "x", "path": "/etc/passwd"}}))
    (case,) = cases(tmp_path)
    assert [(one.key, one.url) for one in case.images] == [("MPX1006_synpic52425", "images/MPX1006_synpic52425.png")]


def test_what_is_no_item_and_no_page_is_left_out_and_told(engine: Engine, folder: Path) -> None:
    bad = [1, {}, {**MPX, "uid": ""}, {**MPX, "image": []}, {**MPX, "imgLarge": "/imgs/512/../..", "image": {}}]
    (folder / "page3.json").write_text(page(*bad, {**MPX, "imgLarge": "/imgs/nul\0.png"}))
    (folder / "page4.json").write_text('{"total": 7470, "list": [')
    (folder / "page5.json").write_text("[1]")
    (folder / "page6.json").write_text('{"total": 0, "count": 0}')
    imported = importers.run(engine, "open-i", folder)
    assert imported.troubles == {"bad_row": 5, "not_an_object": 1, "bad_json": 1, "wrong_shape": 1}
    assert imported.details["bad_row"] == {"uid": 2, "image": 1, "imgLarge": 2}
    assert imported.records == {"new": 4}


def test_a_picture_is_looked_for_in_the_folder_alone(engine: Engine, folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes(jpeg(9))
    (folder / "page3.json").write_text(page({**MPX, "imgLarge": "/imgs/../../secret.png"}))
    assert importers.run(engine, "open-i", folder).images == {"ok": 3, "missing_file": 2}


def test_a_folder_without_a_page_is_refused_with_one_line(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match=r"no page of Open-i's here") as caught:
        importers.run(engine, "open-i", tmp_path)
    assert "\n" not in str(caught.value)
