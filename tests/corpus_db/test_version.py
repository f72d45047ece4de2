import pytest
from sqlalchemy import Engine, text

from corpus_db import db, version
from corpus_db.errors import UserError
from corpus_db.stats import render_versions, versions
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS, fill_pictures


@pytest.fixture
def engine(fresh_db: str, tmp_path, monkeypatch) -> Engine:
    """Two versions: v1 of four cases, and `more` of five."""
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    filler = fill_pictures(engine)
    build(engine, READERS)
    filler.case("case5", filler.pictured("51", "Axial CT of the pelvis with a fluid collection."))
    filler.picture("51")
    build(engine, READERS, name="more")
    return engine


def found(engine: Engine, key: str | None) -> str:
    with engine.connect() as connection:
        return version.resolve(connection, key).name


def test_a_version_is_found_by_name_tag_hash_prefix_and_as_the_current_one(engine: Engine) -> None:
    with engine.connect() as connection:
        manifest = version.resolve(connection, "v1").manifest_sha256
    version.tag(engine, "v1", "v1.0.0")
    keys = ["v1", "1.0.0", "v1.0.0", manifest, manifest[:8], manifest[:8].upper()]
    assert [found(engine, key) for key in keys] == ["v1"] * 6
    assert found(engine, None) == "more"


@pytest.mark.parametrize("key", ["", "v9", "1.0.0", "abcdef", "%", "\0", "\ud800", "x" * 10_000])
def test_an_unknown_version_is_told_with_what_there_is(engine: Engine, key: str) -> None:
    with pytest.raises(UserError, match=r"more, v1"):
        found(engine, key)


def test_a_database_without_versions_says_how_to_make_one(fresh_db: str) -> None:
    engine = db.create(fresh_db)
    for key in (None, "v1"):
        with pytest.raises(UserError, match=r"python cli\.py build"):
            found(engine, key)


def test_use_turns_the_view_and_the_full_text_together(engine: Engine) -> None:
    version.use(engine, "v1")
    with engine.connect() as connection:
        ids = [
            set(connection.execute(text(f"SELECT pair_id FROM {name}")).scalars()) for name in ("rgc", "caption_fts")
        ]
    assert ids[0] == ids[1] and len(ids[0]) == 5
    assert found(engine, None) == "v1"


def test_a_tag_never_moves_and_is_no_other_versions_name(engine: Engine) -> None:
    version.tag(engine, "v1", "1.0.0-rc.1")
    assert version.tag(engine, "v1", "v1.0.0-rc.1").tags == ("1.0.0-rc.1",)
    with pytest.raises(UserError, match="never moves"):
        version.tag(engine, "more", "1.0.0-rc.1")
    with engine.begin() as connection:
        connection.execute(text("UPDATE version SET name = 'v2.0.0' WHERE name = 'more'"))
    with pytest.raises(UserError, match="never moves"):
        version.tag(engine, "v1", "2.0.0")
    assert [row["tags"] for row in versions(engine)] == [["1.0.0-rc.1"], []]
    assert render_versions(versions(engine))[1].endswith("  1.0.0-rc.1")


@pytest.mark.parametrize("tag", ["", "1", "1.0", "01.0.0", "1.0.0-", "1.0.0+build", "1.0.0\n", "٣.0.0", "latest"])
def test_what_is_no_semantic_version_is_no_tag(engine: Engine, tag: str) -> None:
    with pytest.raises(UserError, match="not a tag"):
        version.tag(engine, "v1", tag)


def test_a_build_cannot_take_a_tag_for_its_name(engine: Engine) -> None:
    version.tag(engine, "v1", "1.0.0")
    with pytest.raises(UserError, match="tag"):
        build(engine, READERS, name="v1.0.0")
