"""One pair's page: all that is known of it, from what its source said to the versions that hold it."""

import json
from typing import Any

from sqlalchemy import Engine, select

from corpus_db.browse.corpus import Corpus, pair_address, row_address
from corpus_db.explain import explain
from corpus_db.gather import table
from corpus_db.page import render
from corpus_db.report.words import changes

LABELS = ("modality", "plane", "region", "laterality")
_LONGEST_RECORD = 60_000  # characters of a raw record that are shown
_MOST = 60  # other pairs of the case


async def page(corpus: Corpus, key: str) -> str:
    """As HTML; UserError where the key, as `explain` takes it, names nothing or several things."""
    found = await corpus.ask(lineage, key)
    addresses = {"pair_address": pair_address, "row_address": row_address if corpus.path else None}
    return render("pair.html", "corpus_db.browse", **found, **addresses, **corpus.nav)


def missing(corpus: Corpus, message: str) -> str:
    """The page that says why there is none, as HTML."""
    return render("missing.html", "corpus_db.browse", message=message, **corpus.nav)


def lineage(engine: Engine, key: str) -> dict[str, Any]:
    """What the page shows: `explain`'s answer, the newest raw record whole, and the other pairs of the case."""
    found = explain(engine, key)
    found = {**dict.fromkeys(("drop_detail", "caption", "image", "case", "credit")), **found}
    edits = [{**edit, "parts": changes(edit["before"], edit["after"])} for edit in found.get("edits", ())]
    labels = [(name, found.get(name), found.get(f"{name}_raw")) for name in LABELS]
    return {
        "found": found,
        "name": found["id"] or found["upstream_id"] or found["upstream_name"] or found["fetch"]["path"],
        "edits": edits,
        "labels": labels,
        "record": _record(engine, found["raw_records"]),
        "others": _others(engine, found),
    }


def _record(engine: Engine, known: list[dict[str, Any]]) -> str | None:
    """The newest raw record, indented."""
    if not known:
        return None
    raw = table("raw_record")
    with engine.connect() as connection:
        body = connection.execute(select(raw.c.body).where(raw.c.id == known[-1]["id"])).scalar_one()
    shown = json.dumps(body, indent=1, ensure_ascii=False)
    return shown if len(shown) <= _LONGEST_RECORD else f"{shown[:_LONGEST_RECORD]} …"


def _others(engine: Engine, found: dict[str, Any]) -> list[dict[str, Any]]:
    if not found.get("case"):
        return []
    pair = table("pair").c
    statement = select(pair.id, pair.image_sha256, pair.caption, pair.status).where(
        pair.study_case_id == found["case"]["id"], pair.id != found["id"]
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(statement.order_by(pair.id).limit(_MOST)).mappings()]
