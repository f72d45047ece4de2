import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from corpus_db import audit, db, verdicts
from corpus_db import build as building
from corpus_db.build_output import render_build
from corpus_db.diff import diff
from corpus_db.errors import UserError
from corpus_db.explain import explain
from corpus_db.explain_output import render_explain
from corpus_db.export import export
from corpus_db.gather import table
from corpus_db.purge import purge
from corpus_db.verdicts import DROP, EDIT, KEEP, RELABEL, WITHDRAW, Decision
from tests.corpus_db.corpus import READERS, Filler, build, fill, image
from tests.corpus_db.pictures import READERS as PICTURE_READERS
from tests.corpus_db.pictures import fill_pictures


@pytest.fixture
def corpus(fresh_db: str) -> Engine:
    engine = db.create(fresh_db)
    fill(engine, cases=3)
    build(engine, READERS)
    return engine


def decide(engine: Engine, key: str, *decisions: Decision, by: str = "A. Reader", why: str | None = None) -> list[str]:
    with engine.begin() as connection:
        return verdicts.record(connection, f"medpix:{key}", decisions, by, why)


def decided(engine: Engine, key: str, decision: str, field: str | None = None, value: str | None = None) -> Any:
    decide(engine, key, Decision(decision, field, value))
    return build(engine, READERS)


def row(engine: Engine, key: str) -> dict[str, Any]:
    with engine.connect() as connection:
        statement = text("SELECT * FROM pair WHERE upstream_id = :key")
        return dict(connection.execute(statement, {"key": key}).mappings().one())


def outcomes(engine: Engine, key: str) -> list[str]:
    return [told["outcome"] for told in explain(engine, key)["verdicts"]]


def test_a_dropped_pair_leaves_the_version_as_reviewed(corpus: Engine) -> None:
    result = decided(corpus, "11", DROP)
    assert (row(corpus, "11")["status"], row(corpus, "11")["drop_reason"]) == ("dropped", "reviewed")
    assert result.by_drop_reason["reviewed"] == 1 and result.reviewed == {"drop": 1}
    assert "reviewed    drop 1 verdicts obeyed" in list(render_build(result))
    assert [(gone.pair_id, gone.reason) for gone in diff(corpus, "v1", "v2").removed] == [("medpix:11", "reviewed")]


def test_keep_undoes_what_a_rule_judged(corpus: Engine) -> None:
    assert row(corpus, "newmod")["drop_reason"] == "unknown_modality"
    decided(corpus, "newmod", KEEP)
    assert (row(corpus, "newmod")["status"], row(corpus, "newmod")["modality"]) == ("kept", None)
    with corpus.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM rgc WHERE source_id = 'newmod'")).scalar() == 1


@pytest.mark.parametrize("reason", ["duplicate", "excluded", "split_conflict", "gone_upstream"])
def test_keep_of_a_pair_that_the_whole_corpus_leaves_out_is_refused(corpus: Engine, reason: str) -> None:
    with corpus.begin() as connection:
        connection.execute(
            text("UPDATE pair SET status = 'dropped', drop_reason = :reason WHERE upstream_id = '11'"),
            {"reason": reason},
        )
    with pytest.raises(UserError, match=f"medpix:11: cannot be kept: {reason}, which no review undoes"):
        decide(corpus, "11", Decision(KEEP))


def test_a_keep_that_a_later_build_cannot_obey_is_told(corpus: Engine) -> None:
    decide(corpus, "11", Decision(KEEP))
    Filler(corpus, "roco").case("x")  # another source, so that not all is gone
    with corpus.begin() as connection:
        gone = "UPDATE fetch SET status = 'gone' WHERE path = '/images/full/synpic11.jpg'"
        connection.execute(text(gone.replace("fetch", '"fetch"')))
    result = build(corpus, READERS)
    assert result.not_obeyed == ["medpix:11: keep: gone_upstream, which no review undoes"]
    assert any(line.startswith("not obeyed  medpix:11: keep") for line in render_build(result))
    assert outcomes(corpus, "11") == ["gone_upstream, which no review undoes"]


def test_a_pair_without_words_cannot_be_kept_before_someone_writes_a_caption(corpus: Engine) -> None:
    with pytest.raises(UserError, match="it has no caption; write one"):
        decide(corpus, "blank", Decision(KEEP))
    decide(corpus, "blank", Decision(EDIT, None, "Axial CT of a cyst."))
    decide(corpus, "blank", Decision(KEEP))
    decided(corpus, "blank", EDIT, value="Axial CT of a mass.")
    assert (row(corpus, "blank")["status"], row(corpus, "blank")["caption"]) == ("kept", "Axial CT of a mass.")


@pytest.mark.parametrize(
    ("field", "value"), [("modality", "MR"), ("plane", "coronal"), ("region", "spine"), ("laterality", "left")]
)
def test_a_persons_label_outranks_all_votes(corpus: Engine, field: str, value: str) -> None:
    before = row(corpus, "11")
    decided(corpus, "11", RELABEL, field, value)
    after = row(corpus, "11")
    assert after == before | {field: value}
    voters = {(vote["voter"], vote["value"]) for vote in explain(corpus, "11")["labels"] if vote["field"] == field}
    assert ("person", value) in voters
    changed = [change for each in diff(corpus, "v1", "v2").changed for change in each.changes]
    assert [(change.column, change.reason) for change in changed] == [(field, "votes_changed")]


def test_a_person_can_leave_a_value_open_or_empty_which_no_finer_vote_fills(corpus: Engine) -> None:
    decided(corpus, "11", RELABEL, "plane", "other")
    assert row(corpus, "11")["plane"] == "other"
    decided(corpus, "11", RELABEL, "plane", "none")
    assert row(corpus, "11")["plane"] is None


def test_a_persons_label_ends_the_conflict_on_its_field(corpus: Engine) -> None:
    filler = Filler(corpus, "other")
    filler.case("c", image("odd1", "c", "Sagittal MRI of the brain shows a mass."))
    filler.bytes_of("odd1")
    build(corpus, READERS)
    assert {found["field"] for found in explain(corpus, "odd1")["conflicts"]} == {"modality", "plane"}
    with corpus.begin() as connection:
        verdicts.record(connection, "other:odd1", [Decision(RELABEL, "modality", "MR")], "A. Reader")
    build(corpus, READERS)
    assert {found["field"] for found in explain(corpus, "odd1")["conflicts"]} == {"plane"}


def test_a_modality_that_a_person_gives_brings_a_photograph_back(corpus: Engine) -> None:
    decided(corpus, "photo", RELABEL, "modality", "MR")
    assert (row(corpus, "photo")["status"], row(corpus, "photo")["modality"]) == ("kept", "MR")


def test_a_written_caption_replaces_the_cleaned_one_as_an_edit(corpus: Engine) -> None:
    decided(corpus, "11", EDIT, value="Axial CT, a nodule\nof the left brain.")
    found = explain(corpus, "11")
    assert found["caption"] == "Axial CT, a nodule of the left brain." and found["laterality"] == "left"
    last = found["edits"][-1]
    assert (last["rule"], last["before"]) == ("reviewed", "Axial CT shows nodule 1 of the brain.")
    (changed,) = diff(corpus, "v1", "v2").changed
    assert ("caption", "reviewed", "reviewed") in [(c.column, c.reason, c.detail) for c in changed.changes]


def test_a_written_caption_is_deidentified(corpus: Engine) -> None:
    notes = decide(corpus, "11", Decision(EDIT, None, "CT of 3/14/2009 shows a nodule of the brain."))
    assert len(notes) == 1 and "2009" not in notes[0].partition(":")[2].replace("in 2009", "")
    build(corpus, READERS)
    found = explain(corpus, "11")
    assert "3/14" not in found["caption"] and found["edits"][-1]["rule"] == "deid_date"
    assert outcomes(corpus, "11") == ["obeyed"]


def test_the_newest_of_a_kind_counts_and_other_kinds_stay(corpus: Engine) -> None:
    decide(corpus, "11", Decision(DROP), Decision(RELABEL, "plane", "coronal"))
    decide(corpus, "11", Decision(KEEP), by="B. Reader")
    build(corpus, READERS)
    assert (row(corpus, "11")["status"], row(corpus, "11")["plane"]) == ("kept", "coronal")
    assert outcomes(corpus, "11") == ["replaced or withdrawn", "obeyed", "obeyed"]


def test_withdrawn_verdicts_leave_the_build_as_it_was(corpus: Engine) -> None:
    decided(corpus, "11", DROP)
    assert decided(corpus, "11", WITHDRAW).name == "v1"
    assert row(corpus, "11")["status"] == "kept"
    assert outcomes(corpus, "11") == ["replaced or withdrawn", "takes back what was decided before"]


def test_verdicts_that_change_no_row_change_no_hash(corpus: Engine) -> None:
    decide(corpus, "11", Decision(KEEP), Decision(RELABEL, "plane", "axial"))
    decide(corpus, "11", Decision(EDIT, None, "Axial CT shows nodule 1 of the brain."))
    again = build(corpus, READERS)
    assert (again.name, again.reused, again.reviewed.total()) == ("v1", True, 3)


def test_the_same_verdicts_give_the_same_version_whoever_gave_them(new_db: Any) -> None:
    hashes = set()
    for by in ("A. Reader", "Somebody Else"):
        engine = db.create(new_db())
        fill(engine, cases=3)
        build(engine, READERS)
        decide(engine, "11", Decision(DROP), Decision(RELABEL, "plane", "coronal"), by=by)
        decide(engine, "12", Decision(EDIT, None, "A mass of the brain."), by=by, why=f"said {by}")
        hashes.add(build(engine, READERS).manifest_sha256)
    assert len(hashes) == 1


def test_explain_shows_who_decided_when_and_whether_it_was_obeyed(corpus: Engine) -> None:
    decide(corpus, "11", Decision(RELABEL, "plane", "coronal"), why="it is\x00 so")
    (told,) = explain(corpus, "11")["verdicts"]
    assert (told["by"], told["outcome"]) == ("A. Reader", "waits for the next build")
    build(corpus, READERS)
    lines = render_explain(json.loads(json.dumps(explain(corpus, "11"))))
    (line,) = [line for line in lines if line.startswith("  verdict")]
    assert line.endswith(f"relabel plane = coronal  A. Reader, {told['at']} (it is\\u0000 so): obeyed")


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        (Decision(RELABEL, "modality", "ZZ"), "ZZ: no modality; give one of CT"),
        (Decision(RELABEL, "modality", "none"), "none: no modality"),
        (Decision(RELABEL, "colour", "red"), "colour: no label to give; there are modality"),
        (Decision(EDIT, None, " . "), "give it a word"),
        (Decision(EDIT, None, "x" * 20_000), "20000 characters"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(
    corpus: Engine, decision: Decision, says: str
) -> None:
    with pytest.raises(UserError, match=says) as told:
        decide(corpus, "11", Decision(DROP), decision)
    assert "\n" not in str(told.value) and explain(corpus, "11")["verdicts"] == []


def test_a_verdict_needs_a_name_and_a_pair_that_is_there(corpus: Engine) -> None:
    with pytest.raises(UserError, match="say who decides"):
        decide(corpus, "11", Decision(DROP), by=" ")
    with pytest.raises(UserError, match="did not find it"):
        decide(corpus, "999", Decision(DROP))
    purge(corpus, "medpix:11", readers=READERS)
    with pytest.raises(UserError, match="taken down for good"):
        decide(corpus, "11", Decision(DROP))


def test_a_dropped_pairs_duplicate_is_named(corpus: Engine) -> None:
    with corpus.begin() as connection:
        copy = "UPDATE pair SET drop_reason = 'duplicate', drop_detail = 'medpix:11' WHERE upstream_id = 'dash'"
        connection.execute(text(copy))
    (note,) = decide(corpus, "11", Decision(DROP))
    assert note.startswith("medpix:dash was left out as its duplicate")


def test_a_purge_takes_the_verdicts_texts_as_well(corpus: Engine) -> None:
    decide(corpus, "11", Decision(EDIT, None, "A zygote of the brain."), why="a quagga")
    build(corpus, READERS)
    purge(corpus, "medpix:11", readers=READERS)
    with corpus.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM verdict")).scalar() == 0
    if db.is_sqlite(corpus):
        held = b"".join(path.read_bytes() for path in Path(str(corpus.url.database)).parent.glob("*.db*"))
        assert b"zygote" not in held and b"quagga" not in held


def test_a_reviewed_version_passes_its_audit_and_its_copy_names_no_reviewer(
    fresh_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    engine = db.create(fresh_db)
    fill_pictures(engine)
    building.build(engine, PICTURE_READERS)
    decide(engine, "11", Decision(EDIT, None, "A mass seen on 3/14/2009."), Decision(RELABEL, "plane", "coronal"))
    decide(engine, "12", Decision(DROP), by="Zygote Quagga", why="wombat")
    building.build(engine, PICTURE_READERS)
    assert not audit.audit(engine, readers=PICTURE_READERS).failed
    export(engine, None, "sqlite", tmp_path / "out")
    held = (tmp_path / "out" / "corpus.db").read_bytes()
    assert not [word for word in (b"3/14", b"A. Reader", b"Zygote", b"wombat", b"review of") if word in held]


def test_an_older_database_gets_the_table(
    fresh_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, older_schema: Any
) -> None:
    engine = older_schema("0005")
    with engine.begin() as connection:
        connection.execute(insert(table("source")).values(id=1, name="medpix", shape="test"))
    with db.create(fresh_db).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM verdict")).scalar() == 0
        assert connection.execute(text("SELECT name FROM source")).scalar() == "medpix"


@pytest.fixture
def older_schema(fresh_db: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    import shutil

    def make(newest: str) -> Engine:
        old = tmp_path / "migrations"
        shutil.copytree(db.MIGRATIONS, old)
        for later in (old / "versions").glob("0*.py"):
            if later.name[:4] > newest:
                later.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(db, "MIGRATIONS", old)
            return db.create(fresh_db)

    return make
