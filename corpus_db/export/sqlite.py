"""Export as an SQLite corpus to share: one version with all that may be told of it, in a file that never held raw text.

The rows are copied one by one into a fresh database, from SQLite and PostgreSQL alike, and VACUUM INTO makes the file:
a copy of the whole from which raw text was deleted would have to be proved free of it, and hold other versions' rows.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from corpus_db import db, version
from corpus_db.export.folder import Part
from corpus_db.export.images import image_parts
from corpus_db.export.snapshot import Row, Snapshot
from corpus_db.gather import CHUNK, table
from corpus_db.store import TEMPORARY

CORPUS = "corpus.db"
_VERSION_ID = 1  # of the one version in the copy
# Columns that hold, or may hold, text as it was before cleaning: what stands in the copy instead. Each step of an edit
# shows the text that later rules clean, so neither side of it is told, only which rule it was.
WITHHELD: dict[str, dict[str, Any]] = {
    "pair": {"caption_raw": None},
    "edit": {"before": "", "after": ""},
    "case_edit": {"before": "", "after": ""},
}
# Tables that stay empty: raw answers, the ledger, what changed upstream, other corpora's questions, a cache, who asked
# for what to be taken down, and who reviewed what.
LEFT_OUT = frozenset(("crawl", "fetch", "raw_record", "drift", "question", "alike", "tombstone", "verdict"))
# The words that a vote was read from are told where they are the source's own label or the pixels', not caption text.
_TOLD_VOTERS = frozenset(("upstream", "pixels"))
_EVIDENCE = {"evidence": "voter", "other_evidence": "other_voter"}


def parts(snapshot: Snapshot, with_images: bool) -> Iterator[Part]:
    """corpus.db, and with images the files that it names, so that it can be used where it lies."""
    yield Part(CORPUS, lambda path: _write(snapshot, path))
    if with_images:
        yield from image_parts(snapshot)


def _write(snapshot: Snapshot, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=TEMPORARY) as folder:
        copy = Path(folder) / CORPUS
        engine = db.create(copy)
        with snapshot.engine.connect() as connection, engine.begin() as target:
            for name, statement in _statements(snapshot.version.id):
                found = connection.execute(statement.execution_options(yield_per=CHUNK)).mappings()
                version.insert_rows(target, name, (_told(name, dict(row)) for row in found))
            version.make_current(target, _VERSION_ID)
        engine.dispose()
        with closing(sqlite3.connect(copy, isolation_level=None)) as plain:
            plain.execute("VACUUM INTO ?", (str(path),))


def _statements(version_id: int) -> Iterator[tuple[str, Select[Any]]]:
    """The rows to copy, table by table, in an order that foreign keys allow and that is the same every time."""
    rows, pair, source = table("version_pair"), table("pair"), table("source")
    held = rows.c.version_id == version_id
    pairs = pair.c.id.in_(select(rows.c.pair_id).where(held))
    images = select(rows.c.sha256).where(held).union(select(pair.c.image_sha256).where(pairs))
    sources = select(source.c.id).where(source.c.name.in_(select(rows.c.source).where(held)))
    wanted = {
        "source": source.c.id.in_(sources),
        "version": table("version").c.id == version_id,
        "image": table("image").c.sha256.in_(images),
        "image_ref": table("image_ref").c.image_sha256.in_(images) & table("image_ref").c.source_id.in_(sources),
        "study_case": table("study_case").c.id.in_(select(pair.c.study_case_id).where(pairs)),
        "pair": pairs,
    }
    of_version = ("version_pair", "version_drop", "version_tag", "version_tombstone")
    for name in (*of_version, "edit", "label", "conflict", "duplicate", "case_edit"):
        wanted[name] = table(name).c.version_id == version_id
    for name, condition in wanted.items():
        copied = table(name)
        yield name, select(copied).where(condition).order_by(*copied.primary_key.columns)


def _told(name: str, row: Row) -> Row:
    row |= WITHHELD.get(name, {})
    for evidence, voter in _EVIDENCE.items():
        if evidence in row and row[voter] not in _TOLD_VOTERS:
            row[evidence] = ""
    if "version_id" in row:
        row["version_id"] = _VERSION_ID
    if name == "version":
        row |= {"id": _VERSION_ID, "parent_id": None}
    return row
