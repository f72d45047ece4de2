import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine

from corpus_db import build, importers
from corpus_db.errors import UserError
from corpus_db.importers import medicat
from corpus_db.importers.base import Given, Record, Trouble
from corpus_db.importers.files import Files
from corpus_db.purge import purge
from corpus_db.store import MAX_PIXELS, BadImage
from tests.corpus_db.importing import rows

REAL = pytest.mark.skipif("RGC_REAL_DATA" not in os.environ, reason="RGC_REAL_DATA is not set: no real data to import")
READERS = {"medicat": medicat.read}
RELEASE = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"
CAPTION = "Figure 1. (A) Axial CT of the liver with a cyst. (B) Coronal MRI of the same cyst in the liver."


def figure(paper: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    access = {"doi_url": f"https://doi.org/10.1/{paper}", "oa": {"license": "cc-by"}}
    row = {"pdf_hash": paper, "fig_key": f"Figure{number}", "fig_uri": f"2-Figure{number}-1.png", "radiology": True}
    said = {"s2_caption": CAPTION, "s2orc_caption": "Other words.", "s2orc_references": ["As Figure 1 shows."]}
    return row | said | {"scope": True, "predicted_type": "Medical images", "oa_info": access} | changes


def tokens(words: str) -> list[dict[str, Any]]:
    found, start = [], 0
    for number, word in enumerate(words.split()):
        start = words.index(word, start)
        found.append({"text": word, "start": start, "end": start + len(word), "id": number})
        start += len(word)
    return found


def marked(paper: str, **changes: Any) -> dict[str, Any]:
    """The panels of figure 1: A to the left, B to the right."""
    row = {"pdf_hash": paper, "fig_key": "Figure1", "fig_uri": "2-Figure1-1.png", "width": 80, "height": 40}
    boxes = {"A": [[-0.4, 0], [39.7, 0], [39.7, 40.3], [-0.4, 40.3]], "B": [[40, 2], [80, 2], [80, 38], [40, 38]]}
    spans = [{"label": label, "points": points} for label, points in boxes.items()]
    words = {"A": list(range(2, 11)), "B": list(range(11, 21))}
    return row | {"text": CAPTION, "tokens": tokens(CAPTION), "subfigures": spans, "subcaptions": words} | changes


def picture(left: int, right: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    made = Image.new("RGB", (80, 40), (left, 9, 200))
    made.paste((9, right, 40), (40, 0, 80, 40))
    file = io.BytesIO()
    made.convert(mode).save(file, form)
    return file.getvalue()


def write(folder: Path, *rows: dict[str, Any] | str, panels: list[dict[str, Any]] | None = None) -> Path:
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        if isinstance(row, dict) and "fig_uri" in row:
            (folder / "figures" / f"{row['pdf_hash']}_{row['fig_uri']}").write_bytes(picture(number * 20, 250))
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / RELEASE).write_text("\n".join(lines) + "\n")
    if panels is not None:
        (folder / "subcaptions_public.jsonl").write_text("".join(json.dumps(row) + "\n" for row in panels))
    return folder


def given(folder: Path) -> list[Given]:
    return list(medicat.records(Files(folder)))


def images(folder: Path) -> list[tuple[str, str]]:
    return [(one.key, one.path) for record in given(folder) if isinstance(record, Record) for one in record.media]


def troubles(folder: Path) -> list[tuple[str, str, str | None]]:
    return [(one.path, one.reason, one.detail) for one in given(folder) if isinstance(one, Trouble)]


def test_figures_of_one_paper_are_one_case_with_the_papers_licence(engine: Engine, tmp_path: Path) -> None:
    chest = figure("p1", 2, s2_caption="Axial CT of the chest.")
    knee = figure("p2", s2_caption="Sagittal MRI of the knee.", oa_info=None)
    write(tmp_path / "m", figure("p1"), chest, knee)
    imported = importers.run(engine, "medicat", tmp_path / "m")
    assert imported.whole and imported.images == {"ok": 3} and imported.records == {"new": 3}
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id, case_id, licence, credit FROM rgc ORDER BY 1") == [
        ("p1_2-Figure1-1", "medicat:p1", "cc-by", "https://doi.org/10.1/p1"),
        ("p1_2-Figure2-1", "medicat:p1", "cc-by", "https://doi.org/10.1/p1"),
        ("p2_2-Figure1-1", "medicat:p2", medicat.ABOUT.licence, None),
    ]
    again = importers.run(engine, "medicat", tmp_path / "m")
    assert (again.records, again.new_images) == ({"unchanged": 3}, 0)


def test_only_rows_that_are_said_to_be_radiology_name_images_and_the_others_are_kept(tmp_path: Path) -> None:
    others = [figure("p2", radiology=False), figure("p3", radiology=None), figure("p4", radiology="true")]
    found = [one for one in given(write(tmp_path, figure("p1"), *others)) if isinstance(one, Record)]
    assert [len(one.media) for one in found] == [1, 0, 0, 0]
    for record, row in zip(found[1:], others, strict=True):
        assert record.body == {"pdf_hash": row["pdf_hash"], "row": row, "images": []}
        assert medicat.read("encounter", record.body) is None


def test_the_second_caption_stands_in_where_the_first_is_blank(tmp_path: Path) -> None:
    (record,) = given(write(tmp_path, figure("p1", s2_caption=" ")))
    assert isinstance(record, Record)
    case = medicat.read("encounter", record.body)
    assert case is not None and case.images[0].caption == "Other words."


def test_panels_with_box_and_caption_are_pairs_in_the_place_of_their_figure(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "m", figure("p1"), panels=[marked("p1")])
    file = "figures/p1_2-Figure1-1.png"
    assert images(tmp_path / "m") == [
        ("p1_2-Figure1-1#A", f"{file}#0,0,40,40"),
        ("p1_2-Figure1-1#B", f"{file}#40,2,80,38"),
    ]
    imported = importers.run(engine, "medicat", tmp_path / "m")
    assert imported.whole and imported.images == {"ok": 2}
    build.build(engine, READERS)
    assert rows(engine, "SELECT source_id, case_id, caption, modality FROM rgc ORDER BY 1") == [
        ("p1_2-Figure1-1#A", "medicat:p1", "Axial CT of the liver with a cyst.", "CT"),
        ("p1_2-Figure1-1#B", "medicat:p1", "Coronal MRI of the same cyst in the liver.", "MR"),
    ]
    assert rows(engine, "SELECT width, height FROM image ORDER BY height DESC") == [(40, 40), (40, 36)]
    assert rows(engine, "SELECT panel, figure_part FROM pair ORDER BY 1") == [("A", "A"), ("B", "B")]


@pytest.mark.parametrize("key", ["medicat:p1_2-Figure1-1", "medicat:p1_2-Figure1-1#B"])
def test_all_panels_of_a_figure_are_taken_down_together(engine: Engine, tmp_path: Path, key: str) -> None:
    write(tmp_path / "m", figure("p1"), figure("p2"), panels=[marked("p1")])
    importers.run(engine, "medicat", tmp_path / "m")
    build.build(engine, READERS, audited=False)
    taken = purge(engine, key, "asked for", READERS)
    assert taken.raw_records == 1 and len(taken.files) == 2
    bodies = json.dumps([body for (body,) in rows(engine, "SELECT body FROM raw_record")], default=str)
    assert "p1_2-Figure1-1" not in bodies and "p2_2-Figure1-1" in bodies
    assert importers.run(engine, "medicat", tmp_path / "m").images["ok"] == 1  # and stay away


@pytest.mark.parametrize(
    "changes",
    [
        {"subfigures": []},
        {"subfigures": None, "subcaptions": None},
        {"subcaptions": {}},
        {"subcaptions": {"C": [1]}},
        {"subcaptions": {"A": [], "B": [999]}},
        {"subcaptions": {"A": "x", "B": 3}, "subfigures": [{"label": "B", "points": [[0, 0], [9, 9]]}]},
        {"subfigures": [{"label": "A", "points": "?"}, {"label": "B", "points": [[5, 5], [5, 9]]}, 7]},
        {"subfigures": [{"label": "A", "points": [[90, 0], [99, 9]]}, {"label": "B", "points": [["x", 0]]}]},
        {"subfigures": [{"label": "A", "points": [[float("nan"), 0]]}, {"label": "B", "points": [[1e999, 0]]}]},
        {"answer": "reject"},
        {"tokens": None},
    ],
)
def test_a_figure_without_a_panel_that_has_both_stays_whole(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path, figure("p1"), panels=[marked("p1", **changes)])
    assert images(tmp_path) == [("p1_2-Figure1-1", "figures/p1_2-Figure1-1.png")]
    assert troubles(tmp_path) == []


def test_a_panels_caption_is_its_tokens_with_what_stands_between_them() -> None:
    row = marked("p1", subcaptions={"A": [10, 2, 3, 7, 6], "B": "  B in words. "})
    assert [caption for _, caption, _ in medicat._panels(row)] == ["(A) Axial the liver cyst.", "B in words."]


def test_render_gives_the_figures_own_bytes_or_the_box_as_png() -> None:
    body = picture(10, 250, form="BMP")
    assert medicat.render(body, None) is body
    with Image.open(io.BytesIO(medicat.render(body, "40,2,80,38"))) as panel:
        assert (panel.format, panel.size, panel.getpixel((0, 0))) == ("PNG", (40, 36), (9, 250, 40))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_a_panel_is_cut_from_an_image_of_any_mode(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    with Image.open(io.BytesIO(medicat.render(picture(10, 250, mode, form), "0,0,30,20"))) as panel:
        assert panel.size == (30, 20)


@pytest.mark.parametrize(
    "part", ["0,0,81,40", "10,0,10,40", "5,5,1,1", "-1,0,4,4", "1,2,3", "a,b,c,d", "", "0,0,9,9\n"]
)
def test_a_box_that_is_none_or_leaves_the_figure_is_a_broken_image(part: str) -> None:
    with pytest.raises(BadImage) as caught:
        medicat.render(picture(10, 250), part)
    assert caught.value.reason == "broken_image"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_figure_with_too_many_pixels_is_not_decoded_for_its_panels() -> None:
    file = io.BytesIO()
    Image.new("1", (MAX_PIXELS // 100 + 1, 101)).save(file, "PNG")
    with pytest.raises(BadImage, match="too_many_pixels"):
        medicat.render(file.getvalue(), "0,0,9,9")
    with pytest.raises(BadImage, match="not_an_image"):
        medicat.render(b"no image", "0,0,9,9")


def test_rows_that_cannot_be_taken_are_told_with_their_place_and_the_rest_comes_in(tmp_path: Path) -> None:
    bad = ["{", "[1]", json.dumps({"pdf_hash": "p2"}), json.dumps(figure("p1"))]
    panels = [marked("p1"), marked("p1"), {"pdf_hash": "p1"}, marked("nowhere")]
    write(tmp_path, figure("p1"), *bad, "", figure("p3"), panels=panels)
    assert sorted(troubles(tmp_path)) == [
        (f"{RELEASE}:2", "not_an_object", "not JSON"),
        (f"{RELEASE}:3", "not_an_object", None),
        (f"{RELEASE}:4", "bad_row", "fig_uri"),
        (f"{RELEASE}:5", "repeated_id", None),
        ("subcaptions_public.jsonl:2", "repeated_id", None),
        ("subcaptions_public.jsonl:3", "bad_row", "fig_uri"),
        ("subcaptions_public.jsonl:4", "unknown_id", None),
    ]
    assert len(images(tmp_path)) == 3


def test_missing_broken_and_straying_figures_are_told(engine: Engine, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", figure("p1"), figure("p2"), figure("p3"))
    (folder / "figures" / "p1_2-Figure1-1.png").unlink()
    (folder / "figures" / "p2_2-Figure1-1.png").write_bytes(picture(1, 2)[:90])
    (tmp_path / "secret.png").write_bytes(picture(1, 2))
    with open(folder / RELEASE, "a") as file:
        file.write(json.dumps(figure("x/../../..", fig_uri="/secret.png")) + "\n")
    imported = importers.run(engine, "medicat", folder)
    bad = {reason: count for reason, count in imported.images.items() if reason not in ("ok", "missing_file")}
    assert imported.images["ok"] == 1 and imported.images["missing_file"] == 1
    assert imported.images.total() == 4 and "path_traversal" in bad


def test_one_file_may_be_given_and_a_folder_without_any_is_refused(engine: Engine, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", figure("p1"))
    (folder / "notes.jsonl").write_text("{}\n")  # beside the release, no figures
    (folder / "sample.jsonl").write_text(json.dumps(figure("p9")) + "\n")
    assert images(folder) == images(folder / RELEASE) == [("p1_2-Figure1-1", "figures/p1_2-Figure1-1.png")]
    assert images(folder / "sample.jsonl") == [("p9_2-Figure1-1", "figures/p9_2-Figure1-1.png")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \*\.jsonl here; give the folder that MedICaT was unpacked into"):
        importers.run(engine, "medicat", tmp_path / "empty")


@REAL
def test_the_real_sample_comes_in_whole(engine: Engine) -> None:
    imported = importers.run(engine, "medicat", Path(os.environ["RGC_REAL_DATA"]) / "medicat")
    assert imported.whole and imported.records == {"new": 10} and imported.images == {"ok": 6}
    result = build.build(engine, READERS)
    assert sum(result.by_status.values()) == 6
    told = rows(engine, "SELECT case_id, licence FROM rgc")
    assert len(told) >= 5 and {licence for _, licence in told} <= {medicat.ABOUT.licence, "cc-by-nc-nd", "cc-by-nc"}
