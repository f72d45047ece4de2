import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from corpus_db import build as building
from corpus_db import card, db
from corpus_db.errors import UserError
from corpus_db.models import now
from corpus_db.purge import purge
from corpus_db.report.make import render_made, report
from tests.corpus_db.corpus import build, fill, image
from tests.corpus_db.pages import Reader
from tests.corpus_db.pictures import READERS, Pictures, fill_pictures

SCRIPT = "<script>alert(document.cookie)</script>"
HEBREW = "בדיקת CT של החזה מראה גוש"
SECTIONS = ("holds", "sheets", "cleaning", "drops", "conflicts", "duplicates", "splits", "drift", "holes")


@pytest.fixture
def filler(fresh_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pictures:
    """A corpus with image files, not yet built."""
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    return fill_pictures(db.create(fresh_db))


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """A function that makes a report and gives its text."""

    def made(engine: Engine, *versions: str, **options: Any) -> str:
        target = tmp_path / "page.html"
        told = report(engine, target, *versions, **options)
        assert told.bytes == target.stat().st_size and str(target) in render_made(told)[0]
        return target.read_text(encoding="utf-8")

    return made


def run(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def rows_of(written: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    table = written.partition(heading)[2].partition("</table>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)]
    return [row for row in cells if row]


def section(written: str, name: str) -> str:
    return written.partition(f'<h2 id="{name}"')[2].partition("<h2 ")[0]


def test_a_report_tells_what_a_version_holds_in_every_section(filler, page):
    build(filler.engine, READERS)
    written = page(filler.engine)
    found = Reader(written)
    links = [value for _, name, value in found.attributes if name == "href"]
    assert {f"#{name}" for name in SECTIONS} <= set(links)
    assert all(section(written, name) for name in SECTIONS)
    assert "<dt>pairs</dt><dd>5<" in written and "<dt>distinct images</dt><dd>4<" in written
    assert rows_of(written, "<h3>Sources</h3>")[0][:4] == ["medpix", "5", "http://127.0.0.1:1234", "none stated"]
    assert "http" not in "".join(links) and "script" not in found.tags


def test_pictures_stand_in_the_page_itself_and_the_same_ones_each_time(filler, page):
    build(filler.engine, READERS)
    first = page(filler.engine)
    sources = [value for tag, name, value in Reader(first).attributes if (tag, name) == ("img", "src")]
    assert len(set(sources)) == 4 and all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert page(filler.engine) == first


def test_what_a_stranger_wrote_is_shown_and_not_run(filler, page):
    escaped = f"Axial CT with {SCRIPT.replace('<', '&lt;')} of the chest and a long tail of words."
    filler.case("case5", filler.pictured("51", f"Axial CT {SCRIPT} with a lung mass."), filler.pictured("52", escaped))
    for key in ("51", "52"):
        filler.picture(key)
    run(filler.engine, "UPDATE source SET site = :script, licence = :script, citation = :script", script=SCRIPT)
    build(filler.engine, READERS)
    run(filler.engine, "UPDATE version_pair SET region = :script, upstream_name = :script", script=SCRIPT)
    found = Reader(page(filler.engine))
    assert "script" not in found.tags
    assert found.text.count(SCRIPT) > 5
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]


def test_captions_are_shown_before_and_after_with_the_rules_that_fired(filler, page):
    filler.case("case5", filler.pictured("51", "Fig. 3. Axial  CT shows a renal mass on 3/4/2001"))
    filler.picture("51")
    build(filler.engine, READERS)
    cleaning = section(page(filler.engine), "cleaning")
    assert "<summary>whitespace " in cleaning and "<summary>final_stop " in cleaning
    assert "<del" in cleaning and "3/4/2001" in Reader(cleaning).text
    assert '<span class="tag">whitespace</span>' in cleaning


def test_a_public_report_holds_no_text_as_it_came_and_images_only_on_demand(filler, page):
    filler.case("case5", filler.pictured("51", "Axial CT, seen by Dr. John Miller on 3/4/2001, shows a renal mass."))
    filler.case("case6", filler.pictured("61", "Replace this - DESCRIPTION OF THE IMAGE OR FINDINGS."))
    for key in ("51", "61"):
        filler.picture(key)
    build(filler.engine, READERS)
    run(
        filler.engine,
        "INSERT INTO crawl (source_id, started, finished) SELECT id, :now, :now FROM source",
        now=now(),
    )
    run(
        filler.engine,
        "INSERT INTO drift (source_id, crawl_id, path, field, before, after) "
        "SELECT source_id, id, '/a', 'caption', 'Mr. Smith before', 'Mr. Smith after' FROM crawl",
    )
    raw = ("John Miller", "3/4/2001", "Replace this", "Mr. Smith")
    working = page(filler.engine)
    assert all(text in working for text in raw) and "not for publication" in working
    public = page(filler.engine, public=True)
    assert not [text for text in raw if text in public]
    assert "<img" not in public and "image not here" not in public and "not for publication" not in public
    with_images = page(filler.engine, public=True, with_images=True)
    assert not [text for text in raw if text in with_images] and "<img" in with_images


def test_missing_and_damaged_images_are_shown_as_missing(filler, page, tmp_path):
    build(filler.engine, READERS)
    files = sorted((db.image_root(filler.engine.url) / "images").glob("*/*/*.png"))
    files[0].unlink()
    files[1].write_bytes(b"\x89PNG\r\n\x1a\n broken")
    run(
        filler.engine,
        "UPDATE version_pair SET image_path = '../../etc/passwd' WHERE image_path LIKE :name",
        name=f"%{files[2].name}",
    )
    made = report(filler.engine, tmp_path / "a.html")
    assert (made.pictures, made.missing_pictures) == (4, 3)
    assert "3 of them not readable" in render_made(made)[0]
    assert "image not here" in (tmp_path / "a.html").read_text()


def test_odd_texts_and_absent_labels_are_shown(filler, page):
    filler.case("case5", filler.pictured("51", HEBREW + ". " + "word " * 20_000), filler.pictured("52", HEBREW + " a"))
    for key in ("51", "52"):
        filler.picture(key)
    build(filler.engine, READERS)
    run(filler.engine, "UPDATE version_pair SET modality = NULL, plane = NULL, region = NULL, laterality = NULL")
    written = page(filler.engine)
    assert len(written) < 200_000
    assert HEBREW in Reader(written).text and 'dir="auto"' in written
    assert "not labelled <small>" in section(written, "sheets")


def test_pairs_left_out_are_told_with_their_reason(engine, page):
    fill(engine)
    build(engine, {"test": READERS["test"]})
    drops = section(page(engine), "drops")
    assert "not_radiology" in drops and "a photograph, a slide, a drawing" in drops
    assert "medpix:histo" in drops and "Photograph of the skin lesion." in drops


def test_labels_that_votes_disagree_on_are_told_with_both_votes(filler, page):
    filler.case("case5", filler.pictured("51", "Sagittal MR of the knee shows a torn ligament."))
    filler.picture("51")
    build(filler.engine, READERS)
    conflicts = section(page(filler.engine), "conflicts")
    assert rows_of(conflicts, "<summary>plane")[0] == ["axial", "sagittal", "2"]
    plane = conflicts.partition("<summary>plane")[2].partition("</summary>")[0]
    run(filler.engine, "DELETE FROM version_pair WHERE pair_id = 'medpix:51'")
    after = section(page(filler.engine), "conflicts").partition("<summary>plane")[2].partition("</summary>")[0]
    assert "left out" not in plane and after == plane.replace(" pairs<", " pairs, 1 of them left out<")
    assert "<strong>axial (upstream: Axial)</strong>" in conflicts and "against sagittal (text: Sagittal)" in conflicts


def test_duplicates_stand_side_by_side(filler, page):
    filler.case("case5", filler.pictured("51", "Axial CT of the abdomen with a hypodense liver lesion of 3 cm."))
    filler.picture("51")
    build(filler.engine, READERS)
    duplicates = section(page(filler.engine), "duplicates")
    cluster = duplicates.partition('<div class="cluster">')[2].partition("</div>")[0]
    assert cluster.count("<img") == 2 and "the oldest" in cluster and "bytes" in cluster
    assert "Captions that most images share" in duplicates


def test_splits_are_counted_and_what_stands_in_two_is_told(filler, page):
    build(filler.engine, READERS)
    run(filler.engine, "UPDATE version_pair SET split = 'train'")
    run(filler.engine, "UPDATE version_pair SET split = 'test' WHERE pair_id = 'medpix:12'")
    splits = section(page(filler.engine), "splits")
    assert rows_of(splits, "<caption>")[0][:5] == ["all", "5", "4", "80.0%", "+0.0"]
    assert rows_of(splits, "counted now")[0] == ["cases", "1", "4"]
    assert rows_of(splits, "counted now")[1] == ["patients", "0", "0"]


def test_an_audit_is_told_only_where_it_is_on_record(filler, page):
    name = building.build(filler.engine, READERS, audited=True).name
    splits = section(page(filler.engine), "splits")
    assert "Held" in splits and ["split_case", "cases in two splits", "0", ""] in rows_of(splits, "Checks that count")
    kept = card.path_of(filler.engine.url, name)
    written = kept.read_text()
    kept.write_text(re.sub(r"(\| split_case \| .* \|) 0 \|", r"\1 7 (fails) |", written))
    whole = page(filler.engine)
    assert "The audit does not hold:" in whole and ["split_case", "cases in two splits", "7", "fails"] in rows_of(
        whole, "Checks that count"
    )
    kept.write_text(re.sub(r"`[0-9a-f]{64}`", "`0`", written))
    assert "No audit is on record" in page(filler.engine)
    kept.unlink()
    assert "No audit is on record" in page(filler.engine)


def test_phantoms_are_told_from_patients(filler, page):
    build(filler.engine, READERS)
    assert "not patients" not in page(filler.engine)
    run(filler.engine, "UPDATE version_pair SET source = 'sample' WHERE pair_id = 'medpix:11'")
    assert "holds pairs of the embedded sample site: rendered phantoms, not patients" in page(filler.engine)


def test_what_moved_upstream_is_told(filler, page):
    build(filler.engine, READERS)
    run(filler.engine, "INSERT INTO crawl (source_id, started) SELECT id, :now FROM source", now=now())
    run(
        filler.engine,
        "INSERT INTO drift (source_id, crawl_id, path, field, before, after) "
        "SELECT source_id, id, '/a', 'history', 'was', 'is' FROM crawl",
    )
    run(filler.engine, "UPDATE \"fetch\" SET crawl_id = (SELECT max(id) FROM crawl), change = 'unchanged'")
    run(filler.engine, "UPDATE \"fetch\" SET change = 'changed' WHERE path LIKE '%case1'")
    run(
        filler.engine, "UPDATE \"fetch\" SET change = 'gone', status = 'gone', reason = 'http_404' WHERE path LIKE '%2'"
    )
    run(filler.engine, "UPDATE version SET created = '2001-01-01'")
    drift = section(page(filler.engine), "drift")
    ((source, _, finished, *changes),) = rows_of(drift, "Drift since the last crawl")
    assert (source, finished, changes) == ("medpix", "not finished", ["0", "1", "1", "7"])
    assert "4 records came after this version was built" in drift
    assert rows_of(drift, "found changed") == [["medpix", "history", "1"]]
    assert ["encounter", "gone", "http_404", "not found", "1"] in rows_of(drift, "never arrived")


def test_holes_are_told(filler, page):
    build(filler.engine, READERS)
    run(filler.engine, "UPDATE version_pair SET split = 'train', laterality = NULL, region = 'lower limb'")
    holes = section(page(filler.engine), "holes")
    assert "Of 10 cells of modality and region, 9 are empty and 1 hold" in holes
    assert rows_of(holes, "without a side") == [["lower limb", "5", "5"]]
    assert rows_of(holes, "without a pair") == [["CT", "val", "5"], ["CT", "test", "5"]]


def test_a_version_without_pairs_has_a_report(engine, page):
    fill(engine, cases=1)
    build(engine, READERS)
    run(engine, "DELETE FROM version_pair")
    written = page(engine)
    assert "holds no pair" in written and all(section(written, name) for name in SECTIONS)


def test_what_was_taken_down_is_not_in_a_new_report(filler, page):
    build(filler.engine, READERS)
    purge(filler.engine, "medpix:21", "asked for", READERS)
    assert "torn meniscus" not in page(filler.engine)


def test_a_version_that_does_not_exist_is_told_in_a_line(filler, tmp_path):
    with pytest.raises(UserError, match="no version yet"):
        report(filler.engine, tmp_path / "a.html")
    build(filler.engine, READERS)
    with pytest.raises(UserError, match="nope: no such version"):
        report(filler.engine, tmp_path / "a.html", "nope")
    with pytest.raises(UserError, match="nope: no such version"):
        report(filler.engine, tmp_path / "a.html", "v1", "nope")
    assert not (tmp_path / "a.html").exists()


def test_the_difference_of_two_versions_is_told(filler, page):
    build(filler.engine, READERS)
    filler.case("case5", filler.pictured("51", f"Axial CT of the pelvis with a fluid collection {SCRIPT}."))
    filler.picture("51")
    filler.said_anew("case2", filler.pictured("21", "Coronal MR of the knee with a torn ligament and joint fluid."))
    filler.reached("/rest/encounter.json?encounterID=case4", "gone")
    build(filler.engine, READERS)
    written = page(filler.engine, "v1", "v2")
    assert "<dt>added</dt><dd>1<" in written and "<dt>removed</dt><dd>1<" in written
    assert "newly_crawled" in section(written, "added") and "gone_upstream" in section(written, "removed")
    assert section(written, "added").count("<img") == 1
    assert "<del>meniscus</del><ins>ligament</ins>" in section(written, "captions")
    assert ["caption", "upstream_drift", "1"] in rows_of(written, "Changed columns")
    assert "script" not in Reader(written).tags
    public = page(filler.engine, "v1", "v2", public=True)
    assert "not for publication" in written and "not for publication" not in public and "<img" not in public


def test_commands_on_a_page_quote_the_names_of_versions(filler, page):
    build(filler.engine, READERS, name="after review")
    assert "report after" not in page(filler.engine) and "report &#39;after review&#39; --public" in page(filler.engine)
    assert "verify &#39;after review&#39;" in page(filler.engine)
    both = page(filler.engine, "after review", "after review")
    assert "report &#39;after review&#39; &#39;after review&#39; --public" in both
    assert "diff &#39;after review&#39; &#39;after review&#39; --json" in both


def test_equal_versions_and_pairs_taken_down_have_a_difference_page(filler, page):
    build(filler.engine, READERS)
    filler.case("case5", image("51", "case5"))
    build(filler.engine, READERS, name="second")
    purge(filler.engine, "medpix:21", "asked for", READERS)
    build(filler.engine, READERS, name="third")
    assert "<dt>changed</dt><dd>0<" in page(filler.engine, "v1", "v1")
    assert "purged" in page(filler.engine, "v1", "third") or "taken down" in page(filler.engine, "v1", "third")
