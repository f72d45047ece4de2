import json

import pytest
from sqlalchemy import text

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.explain import explain
from corpus_db.explain_output import render_explain
from corpus_db.search import search
from corpus_db.stats import render_stats, render_versions, stats, versions
from tests.corpus_db.corpus import READERS, Filler, build, fill, image


@pytest.fixture
def corpus(fresh_db: str) -> str:
    engine = db.create(fresh_db)
    fill(engine, cases=12)
    build(engine, READERS)
    return fresh_db


def test_a_kept_pair_is_explained_from_fetch_to_split(corpus: str) -> None:
    found = explain(db.open_readonly(corpus), "medpix:11", READERS)
    assert (found["status"], found["drop_reason"], found["caption"]) == (
        "kept",
        None,
        "Axial CT shows nodule 1 of the brain.",
    )
    assert found["caption_raw"] == "Axial CT shows nodule 1 of\n\n the  brain."
    assert found["edits"][0]["before"] == found["caption_raw"] and found["edits"][-1]["after"] == found["caption"]
    assert {(vote["field"], vote["value"]) for vote in found["labels"]} >= {("modality", "CT"), ("plane", "axial")}
    assert (found["fetch"]["path"], found["fetch"]["status"]) == ("/images/full/synpic11.jpg", "ok")
    assert found["case_fetch"]["path"] == "/rest/encounter.json?encounterID=case001"
    assert [record["key"] for record in found["raw_records"]] == ["case001"]
    assert found["image"]["width"] == 4
    assert [(version["name"], bool(version["current"])) for version in found["versions"]] == [("v1", True)]
    lines = render_explain(json.loads(json.dumps(found)))
    assert lines[0] == "medpix:11: kept"
    assert any("\\n\\n" in line for line in lines) and not any("\n" in line for line in lines)


def test_a_pair_is_found_by_id_name_and_unique_beginning(corpus: str) -> None:
    keys = {"synpic121": "medpix:121", "121": "medpix:121", "medpix:his": "medpix:histo", "synpichis": "medpix:histo"}
    engine = db.open_readonly(corpus)
    assert {key: explain(engine, key)["id"] for key in keys} == keys


def test_a_dropped_pair_tells_its_reason(corpus: str) -> None:
    found = explain(db.open_readonly(corpus), "synpicdash")
    assert (found["status"], found["drop_reason"]) == ("dropped", "placeholder")
    assert [(row["name"], row["split"], row["reason"]) for row in found["versions"]] == [("v1", None, "placeholder")]
    assert render_explain(found)[0] == "medpix:dash: dropped (placeholder)"


def test_an_image_that_is_no_pair_is_explained_from_its_fetch_row(corpus: str) -> None:
    engine = db.open_readonly(corpus)
    for name, status, reason in (("hidden", "skipped", "hidden"), ("failed", "refused", "not_an_image")):
        for key in (name, f"synpic{name}", f"/images/full/synpic{name}.jpg"):
            found = explain(engine, key, READERS)
            assert (found["id"], found["fetch"]["status"], found["drop_reason"]) == (None, status, reason)
            assert (found["upstream_name"], found["caption_raw"]) == (f"synpic{name}", "Axial CT shows a mass.")
            assert status in render_explain(json.loads(json.dumps(found)))[0]


def test_without_readers_the_name_is_enough(corpus: str) -> None:
    assert explain(db.open_readonly(corpus), "synpicfailed")["fetch"]["reason"] == "not_an_image"


def test_an_unknown_key_and_an_ambiguous_one_are_refused(corpus: str) -> None:
    engine = db.open_readonly(corpus)
    for key in ("synpic999", "%", "_", "\0", " ", "'; --"):
        with pytest.raises(UserError):
            explain(engine, key, READERS)
    with pytest.raises(UserError, match="which one"):
        explain(engine, "synpic1")


def test_every_name_of_the_same_bytes_is_told(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    for source in ("medpix", "other"):
        filler = Filler(engine, source)
        filler.case("a", image("1", "a"))
        filler.bytes_of("1", "same")
    build(engine, READERS)
    found = explain(engine, "other:1")
    assert [(row["source"], row["upstream_name"]) for row in found["names"]] == [
        ("medpix", "synpic1"),
        ("other", "synpic1"),
    ]
    with pytest.raises(UserError, match="medpix:1, other:1"):
        explain(engine, "synpic1")


def test_stats_count_what_is_there(corpus: str) -> None:
    found = stats(db.open_readonly(corpus))
    assert json.loads(json.dumps(found)) == found
    assert {(row["status"], row["reason"]) for row in found["fetch"] if row["kind"] == "image"} == {
        ("ok", None),
        ("gone", None),
        ("refused", "not_an_image"),
        ("skipped", "hidden"),
    }
    assert found["pairs"][0] == {"status": "kept", "drop_reason": None, "count": 25}
    assert sum(found["current"]["modality_split"]["CT"].values()) == found["current"]["pairs"] == 25
    assert found["current"]["caption_words"] == {"min": 3, "median": 4, "max": 8}
    assert any("CT" in line for line in render_stats(found))


def test_versions_are_listed_with_parent_and_size(corpus: str) -> None:
    engine = db.create(corpus)
    filler = Filler(engine, "second")
    filler.case("z", image("z", "z"))
    filler.bytes_of("z")
    build(engine, READERS, name="more")
    first, second = versions(db.open_readonly(corpus))
    assert (first["name"], first["parent"], first["current"], first["pairs"]) == ("v1", None, False, 25)
    assert (second["name"], second["parent"], second["current"], second["pairs"]) == ("more", "v1", True, 26)
    assert first["train"] + first["val"] + first["test"] == 25
    assert render_versions([first, second])[2].startswith("* more")


def test_an_empty_corpus_has_stats_and_no_versions(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    assert stats(engine)["current"] is None
    assert "python cli.py build" in render_stats(stats(engine))[-1]
    assert "python cli.py build" in render_versions(versions(engine))[0]
    for ask in (lambda: explain(engine, "synpic11"), lambda: search(engine, "liver")):
        with pytest.raises(UserError, match=r"no version yet; make one with: python cli\.py build"):
            ask()


def test_an_old_version_is_explained_as_its_build_had_it(corpus: str) -> None:
    engine = db.create(corpus)
    filler = Filler(engine, "second")
    changed = "Coronal CT shows a nodule."
    with engine.begin() as connection:
        medpix = connection.execute(text("SELECT id FROM source WHERE name = 'medpix'")).scalar_one()
    filler.source_id = medpix
    filler.said("encounter", {"key": "case001", "images": [image("11", "case001", changed)], "topic_key": "t"})
    build(engine, READERS)
    now, then = (explain(engine, "medpix:11", READERS, version) for version in (None, "v1"))
    assert (now["caption"], then["caption"]) == (changed, "Axial CT shows nodule 1 of the brain.")
    assert then["caption_raw"] == "Axial CT shows nodule 1 of\n\n the  brain." and then["edits"] and not now["edits"]
    gone = explain(engine, "medpix:12", READERS)  # the case lists it no more
    assert (gone["status"], gone["versions"][0]["name"]) == ("in the last build no more", "v1")
    assert render_explain(explain(engine, "medpix:12", READERS, "v1"))[0] == "medpix:12: kept  (in version v1)"
    dropped = explain(engine, "synpicdash", READERS, "v1")
    assert (dropped["status"], dropped["drop_reason"], dropped["version"]) == ("dropped", "placeholder", "v1")
    with pytest.raises(UserError, match="no such version"):
        explain(engine, "medpix:11", READERS, "v9")
    with pytest.raises(UserError, match="neither holds"):
        explain(engine, "medpix:12", READERS, "v2")


def test_conflicts_duplicates_and_what_a_pair_was_dropped_for_are_told(corpus: str) -> None:
    engine = db.create(corpus)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO conflict (version_id, pair_id, field, value, voter, evidence, other_value, other_voter, "
                "other_evidence) VALUES (1, 'medpix:11', 'modality', 'CT', 'upstream', 'CT', 'MR', 'text', 'MRI')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO duplicate (version_id, pair_id, cluster, kind, distance, like_pair_id) "
                "VALUES (1, 'medpix:11', 'c', 'near', 0.0125, 'medpix:21')"
            )
        )
        connection.execute(text("UPDATE pair SET drop_detail = 'as medpix:21' WHERE id = 'medpix:dash'"))
    lines = render_explain(json.loads(json.dumps(explain(engine, "medpix:11"))))
    assert any("modality: upstream CT (CT) against text MR (MRI)" in line for line in lines)
    assert any("near of medpix:21, distance 0.013" in line or "distance 0.012" in line for line in lines)
    assert render_explain(explain(engine, "synpicdash"))[0] == "medpix:dash: dropped (placeholder: as medpix:21)"
