"""Published corpora and evaluation sets into the database, from files on disk: one module a corpus."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.importers import vqa_rad
from corpus_db.importers.questions import Imported, QuestionSet, Say, import_questions, render_imported

__all__ = ["NAMES", "Imported", "render_imported", "run"]

_QUESTION_SETS: dict[str, Callable[[Path], QuestionSet]] = {"vqa-rad": vqa_rad.read}
NAMES = tuple(sorted(_QUESTION_SETS))


def run(engine: Engine, source: str, folder: Path, strict: bool = False, say: Say = lambda line: None) -> Imported:
    """Import one corpus from its folder; again, it takes in what is new or changed. The caller holds `db.exclusive`."""
    if source not in _QUESTION_SETS:
        raise UserError(f"{source}: no importer of that name; there are {', '.join(NAMES)}")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one that {source} was unpacked into")
    return import_questions(engine, db.image_root(engine.url), _QUESTION_SETS[source](folder), strict, say)
