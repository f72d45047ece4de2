import json
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from corpus_db import clean, db
from corpus_db.diff import Diff, diff, plain, render_diff
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.models import now
from corpus_db.purge import purge
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import CAPTIONS, READERS, Pictures, fill_pictures


@pytest.fixture
def filler(fresh_db: str, tmp_path, monkeypatch) -> Pictures:
    """A corpus whose first version is v1."""
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    filler = fill_pictures(engine)
    build(engine, READERS)
    return filler


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def again(filler: Pictures, **options: Any) -> Diff:
    """Build anew, and compare with v1."""
    result = build(filler.engine, READERS, **options)
    found = diff(filler.engine, "v1", result.name)
    assert json.loads(json.dumps(plain(found)))["b"] == result.name
    assert not any("\n" in line for line in render_diff(found))
    return found


def reasons(found: Diff, pair_id: str) -> dict[str, tuple[str, str]]:
    (row,) = [row for row in found.changed if row.pair_id == pair_id]
    return {change.column: (change.reason, change.detail or "") for change in row.changes}


def test_a_version_does_not_differ_from_itself(filler: Pictures) -> None:
    found = diff(filler.engine, "v1", "v1")
    assert (found.added, found.removed, found.changed, found.unchanged) == ([], [], [], 5)


def test_a_new_pair_is_newly_crawled_and_the_other_way_round_not_there(filler: Pictures) -> None:
    filler.case("case5", filler.pictured("51", "Axial CT of the pelvis with a fluid collection."))
    filler.picture("51")
    found = again(filler)
    assert [(row.pair_id, row.reason) for row in found.added] == [("medpix:51", "newly_crawled")]
    back = diff(filler.engine, "v2", "v1")
    assert [(row.pair_id, row.reason) for row in back.removed] == [("medpix:51", "not_in_sources")]
    assert (back.added, back.changed, back.unchanged) == ([], [], 5)


def test_a_removed_pair_has_the_reason_for_which_the_second_build_left_it_out(filler: Pictures) -> None:
    filler.reached("/images/full/synpic11.png", "gone")
    filler.said_anew("case2", filler.pictured("21", " \n"))
    found = again(filler)
    assert {row.pair_id: row.reason for row in found.removed} == {"medpix:11": "gone_upstream", "medpix:21": "empty"}
    back = diff(filler.engine, "v2", "v1")
    assert {row.pair_id: (row.reason, row.detail) for row in back.added} == {
        "medpix:11": ("no_longer_dropped", "gone_upstream"),
        "medpix:21": ("no_longer_dropped", "empty"),
    }


def test_an_excluded_pair_says_for_what(filler: Pictures) -> None:
    source = insert(table("source")).values(name="vqa-rad", shape="questions", site="x").returning(table("source").c.id)
    with filler.engine.begin() as connection:
        asked = {"source_id": connection.execute(source).scalar_one(), "upstream_id": "1", "image_name": "synpic11"}
        asked |= {"question": "?", "answer": "!", "split": "test", "language": "en"}
        connection.execute(insert(table("question")).values(**asked))
    found = again(filler, excluding=["vqa-rad:test"])
    assert {(row.pair_id, row.reason) for row in found.removed} == {
        ("medpix:11", "excluded"),
        ("medpix:12", "excluded"),
    }
    assert "vqa-rad:test synpic11" in (found.removed[0].detail or "")


def test_a_caption_that_changed_upstream_is_drift_noted_by_its_crawl(filler: Pictures) -> None:
    with filler.engine.begin() as connection:
        crawl = insert(table("crawl")).values(source_id=filler.source_id, started=now()).returning(table("crawl").c.id)
        noted = {"source_id": filler.source_id, "crawl_id": connection.execute(crawl).scalar_one(), "path": "/x"}
        connection.execute(insert(table("drift")).values(**noted, key="21", field="caption", before="a", after="b"))
    filler.said_anew("case2", filler.pictured("21", "Coronal MR of the knee with a bone bruise."), title="Case 2")
    found = reasons(again(filler), "medpix:21")
    assert found["caption"][0] == "upstream_drift" and found["caption"][1].startswith("noted by the crawl of 20")
    assert found["caption_group"] == ("follows", "caption")


def test_a_caption_that_a_rule_changed_names_the_rule(filler: Pictures, monkeypatch) -> None:
    rule = type(clean.RULES[0])
    shout = rule(**{**vars(clean.RULES[0]), "name": "knee_rule"})
    object.__setattr__(shout, "apply", lambda caption: caption.replace("torn meniscus", "meniscus"))
    monkeypatch.setattr(clean, "RULES", (*clean.RULES, shout))
    found = reasons(again(filler), "medpix:21")
    assert found["caption"] == ("rule_changed", "knee_rule")


def test_a_title_that_changed_upstream_is_drift(filler: Pictures) -> None:
    filler.said_anew("case2", filler.pictured("21", CAPTIONS["21"]), title="Another title")
    assert reasons(again(filler), "medpix:21")["title"][0] == "upstream_drift"


def test_a_label_names_the_votes_that_differ(filler: Pictures) -> None:
    filler.said_anew("case3", filler.pictured("31", CAPTIONS["31"], plane="Coronal"), title="Case 3")
    found = reasons(again(filler), "medpix:31")
    reason, detail = found["plane"]
    assert reason == "upstream_drift" and "Coronal" in detail and "Axial" in detail
    change(filler.engine, "DELETE FROM label WHERE voter = 'upstream' AND version_id = 1")
    assert reasons(diff(filler.engine, "v1", "v2"), "medpix:31")["plane"][0] == "votes_changed"


def test_bytes_that_changed_upstream_are_image_drift(filler: Pictures) -> None:
    filler.picture("11", seed=7)
    found = reasons(again(filler), "medpix:11")
    assert found["sha256"][0] == "image_drift" and found["image_path"] == ("follows", "sha256")
    assert found["duplicate_cluster"] == ("follows", "sha256")


def test_a_changed_cluster_names_the_duplicate(filler: Pictures) -> None:
    change(
        filler.engine,
        "INSERT INTO version (name, manifest_sha256, created, config) VALUES ('v0', 'x', '2026-01-01 00:00:00', '{}')",
    )
    columns = [column.name for column in table("version_pair").c if column.name != "version_id"]
    chosen = ", ".join("'another'" if name == "duplicate_cluster" else name for name in columns)
    change(
        filler.engine,
        f"INSERT INTO version_pair (version_id, {', '.join(columns)}) "
        f"SELECT 2, {chosen} FROM version_pair WHERE version_id = 1",
    )
    found = reasons(diff(filler.engine, "v0", "v1"), "medpix:41")
    assert found["duplicate_cluster"][0] == "duplicate_found" and "medpix:31" in found["duplicate_cluster"][1]


def test_a_cluster_of_the_same_pairs_under_another_name_found_no_duplicate(filler: Pictures) -> None:
    filler.case("case5", filler.pictured("51", "Axial CT of the pelvis with a fluid collection."))
    filler.picture("51")
    build(filler.engine, READERS)
    mine = "(SELECT duplicate_cluster FROM version_pair WHERE version_id = 1 AND pair_id = 'medpix:41')"
    change(filler.engine, f"UPDATE duplicate SET cluster = 'x' WHERE version_id = 2 AND cluster = {mine}")
    change(
        filler.engine,
        "UPDATE version_pair SET duplicate_cluster = 'x' WHERE version_id = 2 AND pair_id = 'medpix:41'",
    )
    found = reasons(diff(filler.engine, "v1", "v2"), "medpix:41")
    assert found["duplicate_cluster"] == ("cluster_renamed", "the same pairs under another name")


def test_a_split_that_moved_is_said_first_and_loudly(filler: Pictures) -> None:
    filler.case("case5", filler.pictured("51", "Axial CT of the pelvis with a fluid collection."))
    filler.picture("51")
    build(filler.engine, READERS)
    change(
        filler.engine,
        "UPDATE version_pair SET split = CASE split WHEN 'test' THEN 'train' ELSE 'test' END "
        "WHERE version_id = 2 AND pair_id = 'medpix:21'",
    )
    found = diff(filler.engine, "v1", "v2")
    assert found.moved == ["medpix:21"]
    assert render_diff(found)[1].startswith("SPLIT MOVED")


def test_a_purged_pair_is_told_as_taken_down(filler: Pictures) -> None:
    purge(filler.engine, "medpix:11")
    found = again(filler)
    assert [(row.pair_id, row.reason) for row in found.removed] == [("medpix:11", "purged")]
    back = diff(filler.engine, "v1", "v1")
    assert (back.removed, back.purged_in_both, back.unchanged) == ([], 1, 4)


def test_many_rows_are_counted_by_reason_and_cut(filler: Pictures) -> None:
    for number in range(100, 140):
        key = str(number)
        filler.case(f"case{key}", filler.pictured(key, f"Axial CT of the pelvis with collection number {key}."))
        filler.picture(key)
    lines = render_diff(again(filler))
    assert any("40  newly_crawled" in line for line in lines)
    assert any("... and 20 more (--json has all)" in line for line in lines) and len(lines) < 30


def test_an_unknown_version_is_refused(filler: Pictures) -> None:
    with pytest.raises(UserError, match="no such version"):
        diff(filler.engine, "v1", "v9")
