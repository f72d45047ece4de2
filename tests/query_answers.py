"""The questions of docs/query.md, and the corpora that they are asked of.

python -m tests.query_answers        # ask them all anew and write the answers into the page
"""

import io
import re
import sys
import tempfile
from pathlib import Path

from sqlalchemy import Engine, inspect, select, text

from corpus_db import build as building
from corpus_db import db, sql, sql_output
from corpus_db.gather import table
from corpus_db.questions import PAGE, Question, questions
from corpus_db.version import insert_rows, make_current
from rgc.parse import read
from tests.phantom import partly_drawn
from tests.rgc.crawling import crawl

FIRST_CASES, CASES = 300, 420
CRAWLED = ("source", "crawl", "fetch", "raw_record", "image", "image_ref", "alike", "drift")
BUILT = (
    *("study_case", "pair", "version", "current_version", "version_pair", "version_drop", "edit", "label"),
    *("conflict", "duplicate", "case_edit"),
)


def answer(engine: Engine, question: Question) -> str:
    """What `cli.py sql` prints into a file."""
    out = io.StringIO()
    sql_output.write(sql.query(engine, question.statements[engine.dialect.name]), "table", out, cell_width=sys.maxsize)
    return out.getvalue().rstrip()


def grow(folder: Path) -> Engine:
    """The sample site crawled in two goes, with a version after each: v1 of the first cases, v2 of more."""
    path, site = folder / "grown.db", partly_drawn.write(folder / "site", CASES)
    for limit in (FIRST_CASES, CASES):
        done = crawl(f"sample:{site}", path, "--limit", limit, timeout=900)
        assert done.returncode == 0, done.stderr
        engine = db.create(path)
        building.build(engine, {"medpix": read}, audited=False)
    return engine


def copy(grown: Engine, address: str, whole: bool) -> Engine:
    """A database on any engine with what was crawled into another; if `whole`, also with what was built, else rebuilt.

    Copying keeps the measured pixels, so that building again is a matter of seconds.
    """
    made = db.create(address)
    with grown.connect() as old, made.begin() as new:
        for name in (*CRAWLED, *(BUILT if whole else ())):
            columns = table(name)
            # of raw answers the text as it came, which is what goes in
            body = [text("body") if column.name == "body" else column for column in columns.c]
            rows = old.execute(select(*body).select_from(columns).order_by(*columns.primary_key))
            insert_rows(new, name, (dict(row) for row in rows.mappings()))
        if whole:
            make_current(new, max(new.execute(select(table("version").c.id)).scalars()))
    if not whole:
        building.build(made, {"medpix": read}, audited=False)
    return made


def documented_columns(page: str) -> dict[str, set[str]]:
    """The columns of each table as the page lists them."""
    rows = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\| ([^|]*) \|$", page, re.M)
    return {name: set(re.findall(r"`(\w+)`", columns)) for name, columns in rows}


def existing_columns(engine: Engine) -> dict[str, set[str]]:
    """The columns of each table and view that a user may ask."""
    found = inspect(engine)
    names = [*found.get_table_names(), *found.get_view_names()]
    inner = re.compile(r"alembic_version|caption_fts_\w+")
    return {name: {column["name"] for column in found.get_columns(name)} for name in names if not inner.fullmatch(name)}


def update() -> None:
    """Write the answers of SQLite into the page."""
    with tempfile.TemporaryDirectory() as name:
        grown = grow(Path(name))
        corpora = {True: grown, False: copy(grown, f"{name}/sample.db", whole=False)}
        page = PAGE.read_text()
        for question in reversed(list(questions(page))):
            told = f"```text\n{answer(corpora[question.about_versions], question)}\n```\n"
            space = "" if question.length else "\n"
            page = page[: question.at] + told + space + page[question.at + question.length :]
    PAGE.write_text(page)


if __name__ == "__main__":
    update()
