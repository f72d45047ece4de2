import os
import re
from pathlib import Path

import pytest

from tests.rgc.crawling import build, cli, crawl, medpix_site

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"### ([^\n]+)\n\n```sql\n(.+?)\n```\n\n```text\n(.*?)\n```", re.S)
QUESTIONS = BLOCK.findall((ROOT / "docs/query.md").read_text())


@pytest.fixture(scope="module")
def real_corpus(tmp_path_factory):
    if "RGC_REAL_DATA" not in os.environ:
        pytest.skip("needs RGC_REAL_DATA, a folder with medpix2/ and ../medpix_site/ beside it")
    db = tmp_path_factory.mktemp("real") / "local.db"
    with medpix_site() as base:
        crawl(base, db)
    build(db)
    return db


@pytest.mark.parametrize(("title", "statement", "answer"), QUESTIONS, ids=[title for title, _, _ in QUESTIONS])
def test_a_question_of_the_docs_has_the_printed_answer(real_corpus, title, statement, answer):
    done = cli("sql", "--db", real_corpus, statement)
    assert done.stdout.rstrip() == answer


def test_there_are_questions_to_test():
    assert len(QUESTIONS) >= 10


def test_every_link_between_the_pages_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_reason_of_the_ledger_stands_in_the_page_on_crawling():
    from corpus_db.reasons import REASONS

    page = (ROOT / "docs/crawl.md").read_text()
    assert [reason for reason in REASONS if f"`{reason}`" not in page] == []
