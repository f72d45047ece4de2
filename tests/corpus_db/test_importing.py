"""The engine that all importers share, with a source made for it: records.jsonl, images and archives beside it."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, select

from corpus_db import db, importers
from corpus_db.build import build
from corpus_db.errors import UserError
from corpus_db.gather import joined, table
from corpus_db.importers import engine as importing
from corpus_db.importers import medpix2
from corpus_db.importers.base import ENCOUNTER, About, Bad, Files, Given, Media, Record, Trouble
from corpus_db.importers.engine import Imported, render_imported, take_in
from corpus_db.purge import purge
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.store import BadImage
from tests.corpus_db.importing import rows

ROOT = Path(__file__).resolve().parent.parent.parent
ABOUT = About("trial", "CC0 1.0", "nobody")


def records(files: Files) -> Iterator[Given]:
    for number, row in files.json_lines("records.jsonl"):
        if isinstance(row, Bad):
            yield Trouble(f"records.jsonl:{number}", *row)
            continue
        images = [Media(key=name, name=name, file=file, member=member) for name, file, member in row["files"]]
        body = {"case": row["case"], "images": [{"key": one.key, "path": one.path} for one in images]}
        body["images"] = [image | {"caption": row["caption"]} for image in body["images"]]
        yield Record(row["key"], body, tuple(images))


def read(kind: str, body: Any) -> CaseRecord | None:
    if kind != ENCOUNTER:
        return None
    images = [
        ImageRecord(each["key"], None, each["key"], each["path"], each["caption"], "CT", "Axial")
        for each in body["images"]
    ]
    return CaseRecord(body["case"], images=tuple(images))


def png(level: int, size: int = 24) -> bytes:
    image = Image.new("L", (size, size))
    image.putdata([(level * 7 + x * x // 3 + 5 * (x // size)) % 256 for x in range(size * size)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def row(number: int, **changes: Any) -> dict[str, Any]:
    base = {"key": f"r{number}", "case": f"c{number // 2}", "caption": f"Axial CT shows mass number {number}."}
    return base | {"files": [[f"i{number}", f"images/{number}.png", None]]} | changes


def put(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six records of three cases, an image each."""
    made = tmp_path / "trial"
    (made / "images").mkdir(parents=True)
    for number in range(6):
        (made / "images" / f"{number}.png").write_bytes(png(number))
    put(made, [row(number) for number in range(6)])
    return made


def run(engine: Engine, folder: Path, **options: Any) -> Imported:
    files = Files(folder)
    return take_in(engine, ABOUT, files, records(files), **options)


def counts(engine: Engine) -> list[int]:
    return [
        rows(engine, f"SELECT count(*) FROM {name}")[0][0] for name in ("raw_record", "image", "image_ref", "drift")
    ]


def told(imported: Imported) -> str:
    return "\n".join(render_imported(imported))


def test_records_and_images_come_in_and_become_pairs_of_joined_cases(engine: Engine, folder: Path) -> None:
    imported = run(engine, folder)
    assert imported.whole and imported.records == {"new": 6} and imported.images == {"ok": 6}
    assert told(imported) == "trial: 6 records (6 new); 6 images (6 new)."
    assert rows(engine, "SELECT name, licence, citation FROM source") == [("trial", "CC0 1.0", "nobody")]
    made = build(engine, {"trial": read}, audited=False)
    assert made.cases == 3 and made.by_status == {"kept": 6}
    assert rows(engine, "SELECT DISTINCT licence FROM rgc") == [("CC0 1.0",)]


def test_the_same_folder_again_brings_nothing_and_reads_no_image(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, folder)
    before = counts(engine)
    monkeypatch.setattr(importing, "image_bytes", lambda *_: pytest.fail("an image was read"))
    imported = run(engine, folder)
    assert imported.records == {"unchanged": 6} and imported.new_images == 0 and imported.images == {"ok": 6}
    assert counts(engine) == before


def test_two_folders_of_one_layout_are_two_sources_under_two_names(engine: Engine, folder: Path) -> None:
    run(engine, folder)
    put(folder, [row(7, files=[["i7", "images/0.png", None]])])
    assert run(engine, folder, name="other").records == {"new": 1}
    assert rows(engine, "SELECT name, shape FROM source ORDER BY 1") == [("other", "trial"), ("trial", "trial")]
    made = build(engine, {"trial": read}, audited=False)
    assert made.sources == ["other", "trial"] and made.by_status == {"kept": 7}


@pytest.mark.parametrize(
    "name", ["", " ", "a:b", "a/b", "a\nb", "../x", "rgc", "vqa-rad", "medpix", "-x", "A", "a" * 61]
)
def test_a_name_that_means_something_else_is_refused(engine: Engine, folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="--name") as caught:
        importers.run(engine, "medpix2", folder, name=name)
    assert "\n" not in str(caught.value)


def test_a_name_of_a_source_of_another_kind_is_refused_and_leaves_it_alone(engine: Engine, folder: Path) -> None:
    run(engine, folder, name="mine")
    with pytest.raises(UserError, match=r"source mine: .* of another kind \(trial, not medpix2\)"):
        take_in(engine, medpix2.ABOUT, Files(folder), [], name="mine")
    assert rows(engine, "SELECT shape, licence FROM source") == [("trial", "CC0 1.0")]


def test_an_emptied_table_or_an_unreadable_archive_makes_nothing_gone(engine: Engine, folder: Path) -> None:
    run(engine, folder)
    whole = list(records(Files(folder)))
    put(folder, [])
    assert told(run(engine, folder)) == "trial: 0 images (0 new)."
    take_in(engine, ABOUT, Files(folder), [Trouble("a.zip", "broken_archive"), *whole[:2]])
    assert rows(engine, "SELECT count(*) FROM \"fetch\" WHERE status = 'gone'") == [(0,)]
    take_in(engine, ABOUT, Files(folder), whole[:2])
    assert rows(engine, "SELECT count(*) FROM \"fetch\" WHERE status = 'gone'") == [(8,)]


def test_a_quote_that_never_ends_swallows_no_rows_in_silence(tmp_path: Path) -> None:
    def read_rows(text: str) -> list[Any]:
        (tmp_path / "t.csv").write_text(text)
        return list(Files(tmp_path).rows("t.csv"))

    assert read_rows('a,b\n1,"open\n2,x\n3,y\n') == [(2, Bad("bad_row", "a quote that never ends"))]
    whole = read_rows('a,b\n1,"two\nlines"\n2,5" tube\n3,y')
    assert [row["b"] for _, row in whole] == ["two\nlines", '5" tube', "y"]


def test_a_number_that_no_database_holds_is_none_and_what_is_nested_without_end_is_told(
    engine: Engine, folder: Path
) -> None:
    odd = json.dumps(row(6, caption="CAPTION", files=[])).replace('"CAPTION"', '[1e999, NaN, -Infinity, 1e9, "A"]')
    deep = {levels: json.dumps(row(7)).replace('"c3"', "[" * levels + "]" * levels) for levels in (60, 300, 100_000)}
    with open(folder / "records.jsonl", "a") as file:
        file.write("\n".join([odd.replace('"caption"', '"case"'), *deep.values()]))
    imported = run(engine, folder)
    assert imported.details == {"not_an_object": {"nested more than 64 deep": 2}}
    assert imported.examples["not_an_object"] == "records.jsonl:9"  # of 9 and 10
    with engine.connect() as connection:
        raw = table("raw_record").c
        body = connection.execute(select(raw.body).where(raw.key == "r6")).scalar_one()
    assert body["case"] == [None, None, None, 1e9, "A"]


def test_a_file_of_json_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1e999, NaN, 1.5]")
    assert Files(tmp_path).json("a.json") == [None, None, 1.5]
    (tmp_path / "a.json").write_bytes("[1]".encode("utf-16"))
    assert Files(tmp_path).json("a.json") == [1]
    for levels in (300, 100_000):
        (tmp_path / "a.json").write_text("[" * levels + "]" * levels)
        with pytest.raises(UserError, match="nested more than 64 deep"):
            Files(tmp_path).json("a.json")


@pytest.mark.parametrize("damage", ["cut at a header", "cut inside a header", "a broken header"])
def test_a_tar_that_does_not_end_where_its_members_do_is_damaged(folder: Path, damage: str) -> None:
    with tarfile.open(folder / "s.tar", "w") as file:
        for number in range(4):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = 600
            file.addfile(info, io.BytesIO(bytes(600)))
    body = bytearray((folder / "s.tar").read_bytes())
    second = 512 + 1024
    if damage == "a broken header":
        body[second : second + 300] = b"\x07" * 300
    else:
        del body[second + (100 if "inside" in damage else 0) :]
    (folder / "s.tar").write_bytes(bytes(body))
    with pytest.raises(BadImage, match="broken_archive"):
        Files(folder).members("s.tar")


def test_what_changed_is_taken_anew_and_what_changed_is_told(engine: Engine, folder: Path) -> None:
    run(engine, folder)
    put(folder, [row(0, caption="Axial CT shows a cyst."), *(row(number) for number in range(1, 6))])
    (folder / "images" / "1.png").write_bytes(png(77))
    assert run(engine, folder).records == {"changed": 1, "unchanged": 5}
    assert sorted(rows(engine, "SELECT key, field, after FROM drift WHERE field = 'caption'")) == [
        ("i0", "caption", "Axial CT shows a cyst.")
    ]
    assert rows(engine, "SELECT key FROM drift WHERE field = 'bytes'") == [("i1",)]
    assert counts(engine)[:3] == [7, 7, 7]


def test_a_record_that_is_no_longer_there_takes_its_pair_out(engine: Engine, folder: Path) -> None:
    run(engine, folder)
    put(folder, [row(number) for number in range(5)])
    assert run(engine, folder).records == {"gone": 1, "unchanged": 5}
    made = build(engine, {"trial": read}, audited=False)
    assert made.by_status == {"kept": 5, "dropped": 1} and made.by_drop_reason == {"gone_upstream": 1}


def test_rows_and_files_at_fault_are_in_the_ledger_with_a_reason_and_the_rest_comes_in(
    engine: Engine, folder: Path
) -> None:
    (folder / "images" / "1.png").write_bytes(b"no image")
    (folder / "images" / "2.png").write_bytes(png(2)[:-60])
    (folder / "images" / "3.png").unlink()
    with open(folder / "records.jsonl", "ab") as file:
        file.write(b"{broken\n\xff\xfe\n[1]\n")
    imported = run(engine, folder)
    assert imported.troubles == {"not_an_object": 2, "bad_encoding": 1} and not imported.whole
    asked = "SELECT path, status, reason, detail FROM \"fetch\" WHERE kind = 'file' AND status <> 'ok' ORDER BY path"
    assert rows(engine, asked) == [
        ("records.jsonl:7", "failed", "not_an_object", "not JSON"),
        ("records.jsonl:8", "failed", "bad_encoding", None),
        ("records.jsonl:9", "failed", "not_an_object", None),
    ]
    assert "left out    2 rows: no JSON object (not JSON: 1): records.jsonl:7" in told(imported)
    assert imported.images == {"ok": 3, "not_an_image": 1, "truncated_image": 1, "missing_file": 1}
    assert "left out    1 images: the files at hand lack it: images/3.png" in told(imported)


@pytest.mark.parametrize("fault", ["row", "image"])
def test_strict_ends_at_the_first_fault_and_keeps_what_came_before(engine: Engine, folder: Path, fault: str) -> None:
    if fault == "row":
        with open(folder / "records.jsonl", "a") as file:
            file.write("{\n")
    else:
        (folder / "images" / "3.png").unlink()
    with pytest.raises(UserError, match=r"records\.jsonl:7" if fault == "row" else r"images/3\.png"):
        run(engine, folder, strict=True)


def archive(folder: Path, kind: str) -> str:
    """An archive of an image and of what a stranger may put beside it."""
    name = f"shard.{kind}"
    members = {"a.png": png(50), "../out.png": png(51), "/etc/abs.png": png(52), "huge.png": b"\0" * (70 << 20)}
    if kind == "zip":
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
            for member, body in members.items():
                file.writestr(member, body)
    else:
        with tarfile.open(folder / name, "w") as file:
            for member, body in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(body)
                file.addfile(info, io.BytesIO(body))
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(link)
    return name


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archives_members_come_in_and_what_climbs_or_swells_is_refused(
    engine: Engine, folder: Path, kind: str
) -> None:
    name = archive(folder, kind)
    members = ["a.png", "../out.png", "/etc/abs.png", "huge.png", "absent.png"] + ["link.png"] * (kind == "tar")
    put(folder, [row(9, files=[[member, name, member] for member in members])])
    imported = run(engine, folder)
    assert imported.images == {
        "ok": 1,
        "path_traversal": 2 + (kind == "tar"),
        "too_large": 1,
        "missing_file": 1,
    }
    assert rows(engine, "SELECT path FROM image_ref") == [(f"{name}!/a.png",)]


@pytest.mark.parametrize("kind", ["zip", "tar", "encrypted"])
def test_an_archive_that_is_damaged_or_closed_is_told(engine: Engine, folder: Path, kind: str) -> None:
    name = archive(folder, "tar" if kind == "tar" else "zip")
    body = bytearray((folder / name).read_bytes())
    if kind == "encrypted":
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            body[body.index(mark) + offset] |= 1
    else:
        body = body[: len(body) // 2] if kind == "zip" else bytearray(b"\x01" * 2000)
    (folder / name).write_bytes(bytes(body))
    put(folder, [row(9, files=[["a.png", name, "a.png"]])])
    assert set(run(engine, folder).images) == {"encrypted" if kind == "encrypted" else "broken_archive"}


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "images/link.png", "a\\..\\b.png", "nul\0.png"])
def test_a_name_or_link_that_leads_out_is_refused(engine: Engine, folder: Path, name: str) -> None:
    (folder.parent / "secret.png").write_bytes(png(60))
    os.symlink(folder.parent / "secret.png", folder / "images" / "link.png")
    put(folder, [row(0), row(9, files=[["i9", name, None]])])
    imported = run(engine, folder)
    assert imported.images == {"ok": 1, "path_traversal": 1}
    assert len(rows(engine, "SELECT * FROM image")) == 1


def test_what_was_taken_down_does_not_come_back(engine: Engine, folder: Path) -> None:
    put(folder, [row(0), row(1, files=[["i1", "images/1.png", None], ["i2", "images/2.png", None]])])
    run(engine, folder)
    readers = {"trial": read}
    build(engine, readers, audited=False)
    purge(engine, "trial:i1", "asked for", readers)
    (folder / "images" / "1.png").touch()
    assert run(engine, folder).images["ok"] == 2
    assert rows(engine, "SELECT path FROM image_ref WHERE path = 'images/1.png'") == []
    assert build(engine, readers, audited=False).by_status == {"kept": 2}
    bodies = json.dumps([body for (body,) in rows(engine, "SELECT body FROM raw_record")], default=str)
    assert "images/1.png" not in bodies and "images/2.png" in bodies


def test_records_of_one_case_are_joined_and_the_first_text_counts() -> None:
    one = CaseRecord("c", title=None, history="first", images=(ImageRecord("1", None, "1", None, "a", None, None),))
    two = CaseRecord("c", title="told", history="second", images=(ImageRecord("2", None, "2", None, "b", None, None),))
    both = joined(joined(None, one), two)
    assert (both.title, both.history, [image.key for image in both.images]) == ("told", "first", ["1", "2"])


def kept(address: str) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds, but for ids and times."""
    engine = db.create(address)
    return {
        name: sorted(rows(engine, f"SELECT {columns} FROM {name}"), key=repr)
        for name, columns in {
            "raw_record": "kind, key, sha256",
            "image": "sha256, bytes, path",
            "image_ref": "upstream_name, path, image_sha256",
            "fetch": "path, kind, status, reason, sha256, etag, due",
        }.items()
    }


def start(folder: Path, address: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "cli.py", "import", "medpix2", str(folder), "--db", str(address), "--workers", "2"]
    environment = os.environ | {"RGC_DATA": str(address.parent)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_killed_at_random_moments_an_import_ends_as_one_that_never_was(tmp_path: Path) -> None:
    folder = tmp_path / "medpix2"
    (folder / "images").mkdir(parents=True)
    cases, images = [], []
    for number in range(900):
        cases.append({"U_id": f"MPX{number}", "Case": {"Title": f"Case {number}"}, "Topic": {}})
        images.append({"image": f"MPX{number}_synpic{number}.png", "case": f"MPX{number}", "caption": f"CT {number}."})
        (folder / "images" / f"MPX{number}_synpic{number}.png").write_bytes(png(number, 64))
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "images.jsonl").write_text("".join(json.dumps(image) + "\n" for image in images))
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = tmp_path / "whole" / "a.db", tmp_path / "killed" / "a.db"
    begun = time.monotonic()
    assert start(folder, whole).wait() == 0
    took, chance, kills = time.monotonic() - begun, random.Random(4), 0
    for _ in range(4):
        process = start(folder, killed)
        time.sleep(took * chance.uniform(0.35, 0.8))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills
    assert start(folder, killed).wait() == 0
    assert kept(str(killed)) == kept(str(whole)) and len(kept(str(whole))["image_ref"]) == 900
    assert not list((tmp_path / "killed").rglob("*.part"))


# -- MedPix 2.0


@pytest.mark.parametrize("form", ["published", "flat"])
def test_medpix2_is_read_in_both_its_forms(engine: Engine, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "m"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "MPX1_synpic7.png").write_bytes(png(1))
    case = {
        "U_id": "MPX1",
        "TAC": ["MPX1_synpic7"],
        "MRI": [],
        "Case": {"Title": "Cyst", "History": "N/A"},
        "Topic": {},
    }
    if form == "published":
        said = {"Caption": "A cyst.", "Modality": "CT - noncontrast", "Plane": "Axial", "ACR Codes": "8.9", "Age": "7"}
        image = {"Type": "CT", "U_id": "MPX1", "image": "MPX1_synpic7", "Description": said | {"Sex": "male"}}
        (folder / "Case_topic.json").write_text(json.dumps([case]))
        (folder / "Descriptions.json").write_text(json.dumps([image, {"Type": "CT"}, 5]))
    else:
        flat = {"image": "MPX1_synpic7.png", "case": "MPX1", "caption": "A cyst.", "modality": "CT - noncontrast"}
        flat |= {"plane": "Axial", "acr": "8.9", "age": "7", "sex": "male"}
        (folder / "cases.json").write_text(json.dumps([case]))
        (folder / "images.jsonl").write_text(json.dumps(flat) + '\n{"image": "x.png"}\n[\n')
    files = Files(folder)
    imported = take_in(engine, medpix2.ABOUT, files, medpix2.records(files))
    assert imported.images == {"ok": 1} and imported.troubles == {"bad_row": 1, "not_an_object": 1}
    assert imported.details["bad_row"] == {"image" if form == "published" else "case": 1}
    with engine.connect() as connection:
        (body,) = connection.execute(
            select(table("raw_record").c.body).where(table("raw_record").c.kind == ENCOUNTER)
        ).scalars()
    found = medpix2.read(ENCOUNTER, body)
    assert found is not None and (found.key, found.title, found.history, found.sex) == ("MPX1", "Cyst", None, "male")
    (image_,) = found.images
    assert (image_.name, image_.caption, image_.modality, image_.acr_code) == (
        "synpic7",
        "A cyst.",
        "CT - noncontrast",
        "8.9",
    )


@pytest.mark.parametrize("content", ["{", '{"a": 1}'])
def test_medpix2_files_of_another_form_are_refused_in_one_line(engine: Engine, tmp_path: Path, content: str) -> None:
    (tmp_path / "cases.json").write_text(content)
    (tmp_path / "images.jsonl").write_text("")
    with pytest.raises(UserError, match=r"cases\.json: not") as caught:
        list(medpix2.records(Files(tmp_path)))
    assert "\n" not in str(caught.value)
    (tmp_path / "cases.json").unlink()
    with pytest.raises(UserError, match="no Case_topic"):
        list(medpix2.records(Files(tmp_path)))


@pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
def test_the_real_medpix2_comes_in_whole(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    files = Files(Path(os.environ["RGC_REAL_DATA"]) / "medpix2")
    imported = take_in(engine, medpix2.ABOUT, files, medpix2.records(files))
    assert imported.whole and imported.records == {"new": 602} and imported.images == {"ok": 1850}
