import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Engine, insert, text

from corpus_db import db
from corpus_db.browse.corpus import Writing
from corpus_db.gather import table
from corpus_db.review import queue
from tests.corpus_db.browsing import Pages, fill_hostile, hostile
from tests.corpus_db.corpus import build
from tests.corpus_db.pictures import READERS

REVIEW = "/-/review"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    return hostile(tmp_path)


@pytest.fixture
def pages(engine: Engine) -> Pages:
    return Pages(str(engine.url.database), Writing(engine))


def decide(pages: Pages, pair: str = "clash", *, headers: Any = None, **fields: str) -> Any:
    assert pages.corpus.writing is not None
    told = {"token": pages.corpus.writing.token, "pair": f"medpix:{pair}", "by": "A. Reader", **fields}
    return pages.ask(REVIEW, "POST", data=told, headers=headers or {})


def verdicts_of(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        statement = 'SELECT pair_id, decision, field, value, "by", why FROM verdict ORDER BY id'
        return [tuple(row) for row in connection.execute(text(statement))]


def test_the_page_shows_the_first_of_the_queue_with_what_is_doubtful(pages: Pages, engine: Engine) -> None:
    page = pages.ask(REVIEW).text
    assert [item.pair_id for item in queue(engine)] == ["medpix:clash", "medpix:strange#1", "medpix:short"]
    assert "modality: upstream CT (CT - noncontrast) against text MR (MRI)" in page
    assert "MRI of the liver shows a mass." in page and "3 in the queue, 0 decided" in page
    for decision in ("keep", "drop", "relabel", "edit"):
        assert f'value="{decision}"' in page


def test_a_decision_is_recorded_and_leads_to_the_next_pair(pages: Pages, engine: Engine) -> None:
    found = decide(pages, decision="drop", why="not ours")
    assert found.status_code == 303
    assert parse_qs(urlsplit(found.headers["location"]).query) == {"pair": ["medpix:strange#1"]}
    assert verdicts_of(engine) == [("medpix:clash", "drop", None, None, "A. Reader", "not ours")]
    after = pages.ask(found.headers["location"]).text
    assert "Recorded: medpix:clash: drop." in after and "2 in the queue, 1 decided" in after
    assert 'value="A. Reader"' in after  # who is asked once
    build(engine, READERS)
    assert "obeyed" in pages.ask("/pair/medpix:clash").text


def test_changes_go_with_the_button_that_was_pressed(pages: Pages, engine: Engine) -> None:
    before = {"caption_before": "MRI of the liver shows a mass."}
    decide(pages, decision="keep", modality="MR", plane="", caption="MRI of a \r\n liver.", **before)
    assert [row[1:4] for row in verdicts_of(engine)] == [
        ("relabel", "modality", "MR"),
        ("edit", None, "MRI of a liver."),
        ("keep", None, None),
    ]


def test_a_caption_that_was_left_alone_is_no_edit(pages: Pages, engine: Engine) -> None:
    same = "MRI of the liver shows a mass."
    decide(pages, decision="relabel", modality="MR", caption=same, caption_before=same)
    assert [row[1:4] for row in verdicts_of(engine)] == [("relabel", "modality", "MR")]


def test_the_last_of_the_queue_leads_to_its_end(pages: Pages) -> None:
    for pair in ("clash", "strange#1", "short"):
        last = decide(pages, pair, decision="drop")
    assert last.headers["location"] == REVIEW
    assert "Nothing waits" in pages.ask(REVIEW).text


def test_a_decision_can_be_withdrawn(pages: Pages) -> None:
    decide(pages, decision="drop")
    assert "Withdraw" in pages.ask(f"{REVIEW}?pair=medpix:clash").text
    decide(pages, decision="withdraw")
    assert "3 in the queue" in pages.ask(REVIEW).text


@pytest.mark.parametrize("token", ["", "x", "é"])
def test_a_form_without_the_servers_token_writes_nothing(pages: Pages, engine: Engine, token: str) -> None:
    found = decide(pages, decision="drop", token=token)
    assert found.status_code == 403 and "earlier start of the server" in found.text
    assert verdicts_of(engine) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://localhost"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
def test_a_form_of_another_site_writes_nothing_even_with_the_token(
    pages: Pages, engine: Engine, headers: dict[str, str]
) -> None:
    assert decide(pages, decision="drop", headers=headers).status_code == 403
    assert verdicts_of(engine) == []


def test_a_form_of_this_site_is_taken(pages: Pages, engine: Engine) -> None:
    ours = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert decide(pages, decision="drop", headers=ours).status_code == 303


def test_a_body_beyond_all_captions_is_refused(pages: Pages, engine: Engine) -> None:
    assert decide(pages, decision="edit", caption="x" * 200_000).status_code == 413


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"decision": "relabel", "modality": "QQ"}, "QQ: no modality"),
        ({"decision": "relabel"}, "nothing was changed"),
        ({"decision": "drop", "by": " "}, "say who decides"),
        ({"decision": "drop", "pair": "nosuch"}, "no pair or image of that id"),
        ({"decision": "edit", "caption": " "}, "nothing was changed"),
        ({"decision": "edit", "caption": ".", "caption_before": "x"}, "give it a word"),
        ({"decision": "keep", "pair": "medpix:gone"}, "no pair or image"),
    ],
)
def test_what_cannot_be_recorded_is_told_on_the_page(
    pages: Pages, engine: Engine, fields: dict[str, str], says: str
) -> None:
    found = decide(pages, **fields)
    assert found.status_code == 409 and says in found.text
    assert verdicts_of(engine) == []


def test_a_running_build_is_told_and_what_was_typed_stays(pages: Pages, engine: Engine) -> None:
    with db.exclusive(engine):
        found = decide(pages, decision="edit", caption="MRI, my own words.", why="of mine")
    assert found.status_code == 409 and "another crawl or build is writing to it" in found.text
    assert "MRI, my own words." in found.text and 'value="of mine"' in found.text
    assert decide(pages, decision="edit", caption="MRI, my own words.").status_code == 303


def test_the_lock_is_free_between_decisions(pages: Pages, engine: Engine) -> None:
    decide(pages, decision="drop")
    with db.exclusive(engine):
        assert pages.ask(REVIEW).status_code == 200


@pytest.mark.parametrize(("kind", "shown"), [("near", True), ("caption", False)])
def test_pairs_of_the_same_picture_are_shown_and_those_of_the_same_caption_are_not(
    pages: Pages, engine: Engine, kind: str, shown: bool
) -> None:
    told = {"version_id": 1, "cluster": "x"}
    with engine.begin() as connection:
        duplicate = table("duplicate")
        connection.execute(insert(duplicate).values(**told, pair_id="medpix:plain", kind="first"))
        connection.execute(insert(duplicate).values(**told, pair_id="medpix:short", kind=kind))
    assert ("The same picture elsewhere" in pages.ask(f"{REVIEW}?pair=medpix:short").text) == shown


def test_markup_of_a_person_is_shown_as_text(pages: Pages, engine: Engine) -> None:
    evil = "<script>alert(1)</script>"
    decide(pages, decision="edit", caption=f"MRI {evil}", why=evil, by=evil)
    for address in (REVIEW, f"{REVIEW}?pair=medpix:clash", "/pair/medpix:clash", "/corpus/verdict"):
        page = pages.ask(address).text
        assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


def test_browse_alone_reviews_nothing(engine: Engine) -> None:
    pages = Pages(str(engine.url.database))
    assert pages.ask(REVIEW).status_code == 404
    assert pages.ask(REVIEW, "POST", data={"decision": "drop"}).status_code == 405
    assert "Review" not in pages.ask("/pair/medpix:clash").text


def test_each_start_has_a_token_of_its_own(engine: Engine) -> None:
    tokens = set()
    for _ in range(2):
        page = Pages(str(engine.url.database), Writing(engine)).ask(REVIEW).text
        found = re.search(r'name="token" value="([\w-]{40,})"', page)
        assert found is not None
        tokens.add(found[1])
    assert len(tokens) == 2


def test_review_works_on_postgresql_without_the_tables(new_postgres, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RGC_DATA", str(tmp_path))
    address = new_postgres()
    engine = db.create(address)
    fill_hostile(engine)
    pages = Pages(address, Writing(engine))
    assert pages.ask("/").headers["location"] == REVIEW
    assert "against text MR (MRI)" in pages.ask(REVIEW).text
    assert decide(pages, decision="drop").status_code == 303
    assert "drop" in pages.ask("/pair/medpix:clash").text
    assert verdicts_of(engine)[0][:2] == ("medpix:clash", "drop")
