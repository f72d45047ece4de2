import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from corpus_db import card, db, version
from tests.corpus_db.corpus import build, fill
from tests.corpus_db.pictures import CAPTIONS, READERS, fill_pictures


@pytest.fixture
def engine(fresh_db: str, tmp_path, monkeypatch) -> Engine:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    fill_pictures(engine)
    build(engine, READERS)
    return engine


def read(engine: Engine, audit: str | None = None) -> str:
    with engine.connect() as connection:
        return card.card(connection, 1, audit)


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_a_build_writes_the_card_beside_its_database(engine: Engine) -> None:
    folder = card.folder_of(engine.url)
    assert folder.parent == db.image_root(engine.url)
    assert (folder / "v1.md").read_text("utf-8") == read(engine)


def test_the_card_counts_what_the_version_holds(engine: Engine) -> None:
    version.tag(engine, "v1", "1.0.0")
    told = read(engine, audit="All **17** checks hold.")
    assert "5 image-caption pairs of 4 cases, 4 distinct images." in told
    assert "| tag | 1.0.0 |" in told and re.search(r"manifest \(SHA-256\) \| `[0-9a-f]{64}` \|", told)
    assert "| CT | 5 | 4 |" in told
    assert "All **17** checks hold." in told
    assert "| medpix | 5 | http://127.0.0.1:1234 | none stated |" in told
    assert "Licence gaps: 0 pairs without a stated licence, 5 without a credit." in told
    for heading in ("Noise before and after", "Duplicates", "Conflicts", "Exclusions", "Known limits"):
        assert f"\n## {heading}" in told


def test_the_card_tells_noise_deidentification_conflicts_and_exclusions(engine: Engine) -> None:
    for statement in (
        "INSERT INTO edit (version_id, pair_id, step, rule, before, after) "
        "VALUES (1, 'medpix:11', 9, 'deid_date', 'a', 'b')",
        "INSERT INTO case_edit (version_id, study_case_id, field, step, rule, before, after) "
        "VALUES (1, 'medpix:case1', 'history', 1, 'deid_name', 'a', 'b')",
        "INSERT INTO conflict (version_id, pair_id, field, value, voter, evidence, other_value, other_voter, "
        "other_evidence) VALUES (1, 'medpix:11', 'sequence', 'T1', 'upstream', 'T1', 'T2', 'text', 'T2')",
        "INSERT INTO version_drop VALUES (1, 'medpix:98', 'excluded', 'vqa-rad:test synpic9 (name), in the same case')",
        "INSERT INTO version_drop VALUES (1, 'medpix:99', 'template', NULL)",
    ):
        change(engine, statement)
    config = '{"exclude": ["vqa-rad:test", "slake:test"], "exclude_cases": true}'
    change(engine, f"UPDATE version SET config = '{config}'".replace(":", "\\:"))
    told = read(engine)
    for line in (
        "| deid_date | 1 | 1 |",
        "| deid_name | 1 | 1 |",
        "| sequence | 1 | 1 |",
        "| template | 1 |",
        "| vqa-rad:test | 1 |",
        "| slake:test | 0 |",
    ):
        assert line in told, line
    assert "--exclude vqa-rad:test --exclude slake:test" in told
    assert "Before: 7 captioned images that arrived. After: 5 pairs; 2 left out" in told


def test_no_caption_and_no_title_stands_in_the_card(engine: Engine) -> None:
    told = read(engine)
    assert not [caption for caption in CAPTIONS.values() if caption in told] and "Case 1" not in told


def test_equal_content_gives_an_equal_card_but_for_the_time(engine: Engine, new_db) -> None:
    other = db.create(new_db())
    fill_pictures(other)
    build(other, READERS)
    change(engine, "UPDATE version SET created = '2020-01-01 00:00:00'".replace(":", "\\:"))
    lines = [[line for line in read(each).splitlines() if "created" not in line] for each in (engine, other)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "name", ["../../up", "a/b", ".hidden", "con|pipe <b> [x](y)", "x" * 5000, "lung 肺", " ", "a\nb", "..", "v1.0"]
)
def test_a_versions_name_is_neither_a_path_nor_markup(engine: Engine, name: str, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE version SET name = :name"), {"name": name})
        target = card.write(connection, 1, tmp_path / "cards")
    assert target.parent == tmp_path / "cards" and not target.name.startswith(".") and len(target.name) < 200
    head = target.read_text("utf-8").splitlines()[0]
    assert not re.search(r"(?<!\\)[|<>\[\]]", head)


def test_an_odd_corpus_has_a_card(fresh_db: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    fill(engine, cases=5)
    build(engine, READERS)
    assert "| not_radiology | 2 |" in read(engine)
