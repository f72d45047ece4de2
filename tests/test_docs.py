import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from corpus_db import db
from corpus_db.questions import PAGE, questions
from tests.conftest import _administer as administer
from tests.query_answers import answer, copy, documented_columns, existing_columns, grow

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = list(questions(PAGE.read_text()))
Corpora = dict[bool, Engine]  # False: the corpus that was built once; True: the one with two versions


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return grow(tmp_path_factory.mktemp("grown"))


@pytest.fixture(scope="module")
def on_sqlite(grown: Engine) -> Corpora:
    beside = db.image_root(grown.url)
    return {whole: copy(grown, f"{beside}/{whole}.db", whole) for whole in (False, True)}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def corpora(request: pytest.FixtureRequest, grown: Engine, on_sqlite: Corpora) -> Iterator[Corpora]:
    if request.param == "sqlite":
        yield on_sqlite
        return
    server, made = request.getfixturevalue("postgres_server"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RGC_DATA", str(db.image_root(grown.url)))
        for whole in (False, True):
            name = f"docs{os.getpid()}_{whole}".lower()
            administer(server, f"CREATE DATABASE {name}")
            made[whole] = copy(grown, server.format(name=name), whole)
        yield made
    for engine in made.values():
        engine.dispose()


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.title for question in QUESTIONS])
def test_a_question_of_the_docs_has_the_printed_answer(corpora, question):
    assert answer(corpora[question.about_versions], question) == question.answer


def test_there_are_twenty_questions_and_each_has_an_answer():
    assert len(QUESTIONS) >= 20
    assert [question.title for question in QUESTIONS if not question.answer] == []


def test_the_same_raw_records_give_the_same_version_on_both_engines(corpora, on_sqlite):
    for whole in (False, True):
        assert manifests(corpora[whole]) == manifests(on_sqlite[whole])


def manifests(engine):
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT name, manifest_sha256 FROM version ORDER BY name").all()


def test_every_column_is_documented_and_every_documented_column_exists(fresh_db):
    engine = db.create(fresh_db)
    documented, existing = documented_columns(PAGE.read_text()), existing_columns(engine)
    if engine.dialect.name == "sqlite":
        documented["caption_fts"].remove("tsv")
    assert documented == existing


def test_every_link_between_the_pages_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_reason_of_the_ledger_stands_in_the_page_on_crawling():
    from corpus_db.reasons import REASONS

    page = (ROOT / "docs/crawl.md").read_text()
    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []
