import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, insert, text

from cli import main
from corpus_db import db
from corpus_db.gather import table
from corpus_db.review import Item, Suspicion, decide, queue, render_queue
from corpus_db.verdicts import DROP, WITHDRAW, Decision
from tests.corpus_db.corpus import READERS, Filler, build, image


@pytest.fixture
def corpus(engine: Engine) -> Engine:
    filler = Filler(engine)
    listed = [
        image("plain", "c", "Axial CT shows a mass of the liver."),
        image("side", "c", "Coronal CT of the liver."),
        image("other", "c", "MRI of the liver shows a mass."),
        image("strange", "c", "A mass of the liver.", modality="XX - Unheard of"),
        image("gross", "c", "CT of the specimen.", modality="GR - Gross photograph"),
        image("photo", "c", "A specimen.", modality="GR - Gross photograph"),
        image("short", "c", "Liver mass."),
        image("one", "c", "A CT of one liver."),
        image("two", "c", "An MRI of another liver.", modality="MR"),
    ]
    filler.case("c", *listed)
    for entry in listed:
        filler.bytes_of(entry["key"])
    build(engine, READERS)
    with engine.begin() as connection:
        like = {"version_id": 1, "cluster": "x", "kind": "near", "distance": 0.1}
        connection.execute(insert(table("duplicate")).values(**like, pair_id="medpix:one", like_pair_id="medpix:two"))
    return engine


def waiting(engine: Engine) -> dict[str, list[tuple[str, str | None]]]:
    return {item.pair_id: [(each.kind, each.field) for each in item.suspicions] for item in queue(engine)}


def test_the_queue_holds_what_a_person_should_look_at_with_its_reasons(corpus: Engine) -> None:
    assert waiting(corpus) == {
        "medpix:other": [("conflict", "modality")],
        "medpix:side": [("conflict", "plane")],
        "medpix:one": [("near_duplicate", "modality")],
        "medpix:two": [("near_duplicate", "modality")],
        "medpix:gross": [("dropped", "modality")],
        "medpix:strange": [("dropped", "modality")],
        "medpix:short": [("short_caption", None)],
    }


def test_modality_comes_before_plane(corpus: Engine) -> None:
    assert [item.pair_id for item in queue(corpus)][:2] == ["medpix:other", "medpix:side"]


def test_what_is_decided_leaves_the_queue_and_comes_back_when_it_is_withdrawn(corpus: Engine) -> None:
    decide(corpus, "synpicother", [Decision(DROP)], "A. Reader", None)
    assert "medpix:other" not in waiting(corpus)
    decide(corpus, "other", [Decision(WITHDRAW)], "A. Reader", None)
    assert "medpix:other" in waiting(corpus)


def test_the_queue_as_lines_counts_by_reason(corpus: Engine) -> None:
    lines = list(render_queue(queue(corpus)))
    assert lines[0] == (
        "7 pairs to look at, by reason (a pair may have several): "
        "conflict 2, near_duplicate 2, dropped 2, short_caption 1"
    )
    assert lines[1].startswith("medpix:other  conflict: modality: upstream CT (CT - noncontrast) against text MR")
    assert lines[-1] == "medpix:short  short_caption: 2 words: Liver mass."


def test_the_queue_counts_pairs_and_not_how_often_one_is_doubtful(corpus: Engine) -> None:
    twice = Item(
        "medpix:x", "A mass.", "kept", [Suspicion("conflict", "plane", "a"), Suspicion("conflict", "region", "b")]
    )
    assert next(render_queue([twice])) == "1 pair to look at, by reason (a pair may have several): conflict 1"


def run(engine: Engine, *words: str) -> Result:
    return CliRunner().invoke(main, ["review", *words, "--db", engine.url.render_as_string(hide_password=False)])


def verdicts_of(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        statement = 'SELECT pair_id, decision, field, value, "by", why FROM verdict ORDER BY id'
        return [tuple(row) for row in connection.execute(text(statement))]


def test_the_queue_is_printed_as_json(corpus: Engine) -> None:
    done = run(corpus, "--list", "--json")
    first = json.loads(done.stdout)[0]
    assert (first["pair_id"], first["suspicions"][0]["kind"]) == ("medpix:other", "conflict")


def test_one_decision_and_a_withdrawal_are_told_as_such(corpus: Engine) -> None:
    told = [run(corpus, "synpicother", option, "--by", "A. Reader").stdout for option in ("--drop", "--withdraw")]
    assert told[0].startswith("medpix:other: 1 decision recorded; ")
    assert told[1].startswith("medpix:other: what was decided is withdrawn; ")


def test_a_decision_is_recorded_without_a_browser(corpus: Engine) -> None:
    words = ("--relabel", "modality=mr", "--relabel", "plane=none", "--edit", "MRI of a  liver.")
    done = run(corpus, "synpicother", *words, "--keep", "--by", "A. Reader", "--why", "seen")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        0,
        "medpix:other: 4 decisions recorded; the next build obeys: python cli.py build",
    )
    by = ("A. Reader", "seen")
    assert verdicts_of(corpus) == [
        ("medpix:other", "relabel", "modality", "MR", *by),
        ("medpix:other", "relabel", "plane", "none", *by),
        ("medpix:other", "edit", None, "MRI of a liver.", *by),
        ("medpix:other", "keep", None, None, *by),
    ]
    build(corpus, READERS)
    shown = CliRunner().invoke(main, ["explain", "medpix:other", "--db", str(corpus.url.render_as_string(False))])
    assert shown.stdout.count(": obeyed") == 4


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nosuch", "--drop", "--by", "A"), 1, "nosuch: no pair or image"),
        (("other", "--relabel", "modality=XYZ", "--by", "A"), 1, "XYZ: no modality; give one of CT, DX"),
        (("other", "--relabel", "modality", "--by", "A"), 2, "write FIELD=VALUE"),
        (("other", "--drop"), 2, "say who decides"),
        (("other", "--by", "A"), 2, "say what becomes of it"),
        (("other", "--drop", "--keep", "--by", "A"), 2, "exclude each other"),
        (("--drop", "--by", "A"), 2, "name the PAIR"),
    ],
)
def test_what_cannot_be_recorded_is_told_in_one_line(
    corpus: Engine, words: tuple[str, ...], code: int, says: str
) -> None:
    done = run(corpus, *words)
    assert done.exit_code == code and says in done.stderr and "Traceback" not in done.stderr
    assert verdicts_of(corpus) == []


def test_a_decision_waits_for_no_running_build(corpus: Engine) -> None:
    with db.exclusive(corpus):
        done = run(corpus, "other", "--drop", "--by", "A")
    assert done.exit_code == 1 and "another crawl or build is writing to it" in done.stderr
