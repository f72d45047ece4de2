import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, Text, cast, event, func, select, text

from corpus_db import clean, db, measure
from corpus_db.errors import UserError
from corpus_db.gather import owned_listings, site_paths, table
from corpus_db.models import now
from corpus_db.records import CaseRecord, ImageRecord
from corpus_db.search import matching
from corpus_db.split import split_of
from corpus_db.version import insert_rows
from tests.corpus_db.corpus import READERS, Filler, build, fill, image

# of `fill`'s corpus: another hash here means that every published manifest has changed
GOLDEN = "be891e3ee7b2f8e6ac0d7a3ef1f3a40b2eb42e69347d4e1c90855c81f45fc1e1"


def rows(engine: Engine, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def drop_reasons(engine: Engine) -> dict[str, str | None]:
    return dict(rows(engine, "SELECT upstream_id, drop_reason FROM pair"))


def test_two_fresh_databases_give_the_same_manifest_on_both_engines(new_db: Callable[[], str]) -> None:
    first, second = db.create(new_db()), db.create(new_db())
    fill(first)
    fill(second, backwards=True, site="http://127.0.0.1:9999")
    assert build(first, READERS).manifest_sha256 == build(second, READERS).manifest_sha256 == GOLDEN


def test_each_image_is_kept_or_dropped_with_its_reason(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine, cases=3)
    result = build(engine, READERS)
    odd = {key: reason for key, reason in drop_reasons(engine).items() if not key[0].isdigit()}
    assert odd == {
        **{"histo": "not_radiology", "photo": "not_radiology", "blank": "empty", "dash": "placeholder"},
        **{"newmod": "unknown_modality", "newplane": None, "unassigned": "modality_not_assigned"},
        **{"left": "gone_upstream", "v1": "gone_upstream"},
    }
    assert (result.without_image, result.withheld) == (2, 1)
    assert result.by_status == {"kept": 7, "dropped": 8}
    assert dict(result.unknown_modalities) == {"XX - Unheard of": 1}
    assert dict(result.unknown_planes) == {"Sideways": 1}
    assert rows(engine, "SELECT plane, plane_raw FROM pair WHERE upstream_id = 'newplane'") == [(None, "Sideways")]


def test_where_a_caption_might_have_named_the_modality_no_caption_is_the_reason(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = fill(engine)
    wordless = image("wordless", "more", None, modality="Not Assigned")
    filler.case("more", wordless, image("slide", "more", None, modality="HE - High Power (>200X)"))
    filler.bytes_of("wordless")
    filler.bytes_of("slide")
    build(engine, READERS)
    found = drop_reasons(engine)
    assert (found["wordless"], found["slide"]) == ("empty", "not_radiology")


def test_rgc_is_flat_and_holds_what_the_case_and_topic_say(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine)
    build(engine, READERS)
    with engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM rgc WHERE pair_id = 'medpix:11'")).mappings()
    digest = hashlib.sha256(b"11").hexdigest()
    split = split_of("medpix:case001")
    group = hashlib.sha256(b"axial ct shows nodule 1 of the brain.").hexdigest()[:16]
    assert dict(row) == {
        **{"pair_id": "medpix:11", "image_path": f"images/{digest[:2]}/{digest[2:4]}/{digest}.jpg", "sha256": digest},
        **{"caption": "Axial CT shows nodule 1 of the brain.", "modality": "CT", "plane": "axial", "region": "brain"},
        **{"laterality": None, "split": split, "case_id": "medpix:case001", "caption_group": group},
        **{"source": "medpix", "source_id": "11", "upstream_name": "synpic11", "title": "Glioma"},
        **{"diagnosis": "Glioma", "credit": "A. Author", "licence": "none stated"},
    }
    assert rows(engine, "SELECT title, topic, location FROM study_case WHERE id = 'medpix:case001'") == [
        ("Glioma", "Glioma", "Brain")
    ]


def test_edits_and_votes_are_kept(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine, cases=1)
    build(engine, READERS)
    raw, lined = "Axial CT shows nodule 1 of\n\n the  brain.", "Axial CT shows nodule 1 of the  brain."
    assert rows(engine, "SELECT step, rule, before, after FROM edit WHERE pair_id = 'medpix:11' ORDER BY step") == [
        (1, "lines", raw, lined),
        (2, "whitespace", lined, "Axial CT shows nodule 1 of the brain."),
    ]
    votes = (
        "SELECT field, value, voter, evidence FROM label WHERE pair_id = 'medpix:11' AND voter = 'upstream' ORDER BY 1"
    )
    assert rows(engine, votes) == [
        ("contrast", "none", "upstream", "CT - noncontrast"),
        ("modality", "CT", "upstream", "CT - noncontrast"),
        ("plane", "axial", "upstream", "Axial"),
    ]
    others = "SELECT DISTINCT field FROM label WHERE pair_id = 'medpix:11' AND voter = 'text' ORDER BY 1"
    assert rows(engine, others) == [("modality",), ("plane",), ("region",)]


def test_a_build_leaves_ledger_and_raw_records_alone(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine, cases=3)

    def kept() -> list[Any]:
        with engine.connect() as connection:
            names = ("source", "fetch", "raw_record", "image", "image_ref")
            raw = table("raw_record").c
            bodies = connection.execute(select(cast(raw.body, Text)).order_by(raw.id)).all()
            return [bodies, *(connection.execute(select(table(name)).order_by(text("1"))).all() for name in names)]

    before = kept()
    build(engine, READERS)
    build(engine, READERS)
    assert kept() == before


def test_an_unchanged_corpus_reuses_its_version(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine, cases=3)
    first = build(engine, READERS)
    counts = "SELECT (SELECT count(*) FROM edit), (SELECT count(*) FROM label), (SELECT count(*) FROM version_pair)"
    before = rows(engine, counts)
    again = build(engine, READERS, name="other")
    assert (again.reused, again.name, again.version_id) == (True, "v1", first.version_id)
    assert rows(engine, counts) == before
    assert rows(engine, "SELECT count(*) FROM version") == [(1,)]


def test_newcomers_of_one_build_do_not_rename_a_cluster_in_the_next(
    fresh_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = db.create(fresh_db)
    filler = fill(engine, cases=3)
    old, newcomer = (hashlib.sha256(key.encode()).hexdigest() for key in ("21", "001"))
    likeness = measure.Likeness(old, newcomer, "near", 0.01)
    monkeypatch.setattr(measure, "measure", lambda *given: measure.Measured(likenesses=[likeness]))
    build(engine, READERS)
    filler.case("case000", image("001", "case000", "Axial CT shows something else."))
    filler.bytes_of("001")  # its key is before that of the pair whose image it repeats
    grown = build(engine, READERS)
    names = "SELECT pair_id, duplicate_cluster FROM version_pair WHERE version_id = :version ORDER BY pair_id"
    assert dict(rows(engine, names, version=grown.version_id))["medpix:001"] == old[:16]
    again = build(engine, READERS)
    assert (again.reused, again.manifest_sha256) == (True, grown.manifest_sha256)


def test_a_changed_caption_makes_a_child_version_and_leaves_the_first(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = fill(engine, cases=3)
    first = build(engine, READERS, name="paper")
    old = rows(engine, "SELECT * FROM version_pair WHERE version_id = 1 ORDER BY pair_id")
    images = [image("11", "case001", "Zebra stripes."), image("12", "case001")]
    filler.said("encounter", {"key": "case001", "images": images})
    second = build(engine, READERS)
    assert (second.name, second.reused) == ("v1", False)
    assert second.manifest_sha256 != first.manifest_sha256
    parents = rows(engine, "SELECT name, parent_id FROM version ORDER BY id")
    assert parents == [("paper", None), ("v1", first.version_id)]
    assert rows(engine, "SELECT * FROM version_pair WHERE version_id = 1 ORDER BY pair_id") == old
    assert rows(engine, "SELECT caption FROM rgc WHERE pair_id = 'medpix:11'") == [("Zebra stripes.",)]
    assert build(engine, READERS).name == "v1"
    filler.said("encounter", {"key": "case001", "images": []})
    with pytest.raises(UserError, match="paper: a version of that name"):
        build(engine, READERS, name="paper")
    assert rows(engine, "SELECT count(*) FROM pair WHERE upstream_id = '11'") == [(1,)]  # all or nothing


def test_going_back_upstream_gives_the_first_version_back(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = fill(engine, cases=3)
    one = image("11", "case001", "First words."), image("11", "case001", "Other words.")
    names = []
    for listed in (one[0], one[1], one[0]):
        filler.said("encounter", {"key": "case001", "images": [listed]})
        names.append(build(engine, READERS).name)
    assert names == ["v1", "v2", "v1"]
    assert rows(engine, "SELECT caption FROM rgc WHERE pair_id = 'medpix:11'") == [("First words.",)]


def test_no_case_is_in_two_splits(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine)
    result = build(engine, READERS)
    assert len(result.by_split) > 1
    assert rows(engine, "SELECT case_id FROM rgc GROUP BY case_id HAVING count(DISTINCT split) > 1") == []


def test_full_text_finds_a_word_of_the_current_version_only(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = Filler(engine)
    filler.case("a", image("1", "a", "Ring-enhancing lesion."), image("2", "a", 'A "quoted" cyst OR not.'))
    for key in "12":
        filler.bytes_of(key)
    build(engine, READERS)

    def found(words: str) -> list[str]:
        with engine.connect() as connection:
            return sorted(connection.execute(matching(engine, words)).scalars())

    assert found("lesion") == ["medpix:1"]
    assert found('"quoted cyst') == ["medpix:2"]
    assert found("lesion cyst") == []
    assert found("lesion AND (") in ([], ["medpix:1"])  # operators are words, never an error
    filler.said("encounter", {"key": "a", "images": [image("1", "a", "Nothing left.")]})
    build(engine, READERS)
    build(engine, READERS)
    assert (found("lesion"), found("left")) == ([], ["medpix:1"])


@pytest.mark.parametrize("caption", ["NUL \0 and \ud800 lone", "word " * 20_000 + "end", "w\u00f6rd \U0001f600"])
def test_hostile_captions_are_stored_on_both_engines(fresh_db: str, caption: str) -> None:
    engine = db.create(fresh_db)
    filler = Filler(engine)
    filler.case("a", image("1", "a", caption), title="\0\udfff")
    filler.bytes_of("1")
    build(engine, READERS)
    ((raw, clean),) = rows(engine, "SELECT caption_raw, caption FROM pair")
    assert raw == caption.replace("\0", "\\u0000").replace("\ud800", "\\ud800")
    assert clean == " ".join(caption.replace("\0", "").replace("\ud800", "").split()) + "."
    assert rows(engine, "SELECT title FROM study_case") == [("\\u0000\\udfff",)]


def test_nothing_to_build_from_says_what_to_do(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    with pytest.raises(UserError, match=r"python cli\.py crawl"):
        build(engine, READERS)
    filler = Filler(engine)
    filler.case("a", image("1", "a"))
    with pytest.raises(UserError, match="1 images without bytes") as raised:
        build(engine, READERS)
    assert "\n" not in str(raised.value)
    assert rows(engine, "SELECT count(*) FROM study_case") == [(0,)]


def test_an_image_of_two_cases_is_one_pair_of_its_owner(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = Filler(engine)
    filler.case(
        "a", image("1", "b", "Seen in a."), image("2", "nowhere", "Second in a."), image("3", "a", withheld="deleted")
    )
    filler.case("b", image("1", "b", "Seen in b."), image("2", "nowhere", "Second in b."), image("3", "a"))
    for key in "123":
        filler.bytes_of(key)
    build(engine, READERS)
    assert rows(engine, "SELECT pair_id, case_id, caption FROM rgc ORDER BY pair_id") == [
        ("medpix:1", "medpix:b", "Seen in b."),
        ("medpix:2", "medpix:a", "Second in a."),
    ]


def test_listings_do_not_depend_on_the_order_of_cases() -> None:
    listed = ImageRecord("1", None, "synpic1", None, "x", None, None)
    cases = {key: CaseRecord(key, images=(listed,)) for key in ("b", "a", "c")}
    assert [found.case.key for found in owned_listings(cases)] == ["a"]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("//images//full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("https://medpix.nlm.nih.gov/images/full/synpic1.jpg", "/images/full/synpic1.jpg"),
        ("/i?imageID=1", "/i?imageID=1"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_an_address_is_matched_in_the_ledgers_form(url: str, path: str) -> None:
    assert path in site_paths(url)


def test_an_image_is_found_under_any_writing_of_its_address_and_newest_bytes_count(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    filler = Filler(engine)
    filler.case("a", image("1", "a", url="//images//full//synpic1.jpg"), image("2", "a", url=None))
    filler.bytes_of("1", "old")
    filler.bytes_of("2")
    columns = "bytes, width, height, mode, format"
    copied = f"INSERT INTO image (sha256, path, {columns}) SELECT 'new', 'images/n', {columns} FROM image LIMIT 1"
    with engine.begin() as connection:
        connection.execute(text(copied))
    ref = {"upstream_name": "synpic1", "path": "/images/full/synpic1.jpg", "image_sha256": "new"}
    filler.add("image_ref", source_id=filler.source_id, seen_at=func.now(), **ref)
    build(engine, READERS)
    assert rows(engine, "SELECT source_id, sha256 FROM rgc ORDER BY 1") == [
        ("1", "new"),
        ("2", hashlib.sha256(b"2").hexdigest()),
    ]


def test_the_manifest_is_the_hash_of_the_sorted_frozen_rows(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    fill(engine, cases=2)
    result = build(engine, READERS)
    with engine.connect() as connection:
        frozen = [dict(row) for row in connection.execute(select(table("version_pair"))).mappings()]
    contents = [json.dumps({k: v for k, v in row.items() if k != "version_id"}, sort_keys=True) for row in frozen]
    lines = sorted(hashlib.sha256(content.encode()).hexdigest() for content in contents)
    assert hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest() == result.manifest_sha256
    assert json.loads(rows(engine, "SELECT config FROM version")[0][0])["rules"] == [rule.name for rule in clean.RULES]


def test_twenty_thousand_pairs_are_read_and_written_in_bulk(tmp_path: Any) -> None:
    engine = db.create(tmp_path / "big.db")
    filler = Filler(engine)
    cases = [{"key": f"c{n}", "images": [image(f"{n}-{m}", f"c{n}") for m in range(4)]} for n in range(5000)]
    keys = [f"{n}-{m}" for n in range(5000) for m in range(4)]
    seen = {"source_id": filler.source_id, "seen_at": now()}
    raw = [{**seen, "kind": "encounter", "key": c["key"], "sha256": "x", "body": json.dumps(c)} for c in cases]
    times = {"source_id": filler.source_id, "first_seen": now(), "last_seen": now(), "rank": 1}
    paths = {key: f"/images/full/synpic{key}.jpg" for key in keys}
    fetched = [{**times, "path": path, "kind": "image", "status": "ok"} for path in paths.values()]
    size = {"bytes": 1, "width": 1, "height": 1, "mode": "L", "format": "PNG"}
    images = [{**size, "sha256": key, "path": key} for key in keys]
    refs = [{**seen, "upstream_name": key, "path": path, "image_sha256": key} for key, path in paths.items()]
    with engine.begin() as connection:
        for name, values in (("raw_record", raw), ("fetch", fetched), ("image", images), ("image_ref", refs)):
            insert_rows(connection, name, values)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    assert build(engine, READERS).by_status == {"kept": 20_000}
    assert len(statements) < 1_000
