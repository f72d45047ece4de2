"""Import an evaluation set's questions and images through the ledger, so that each file's fate is told."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, select, update

from corpus_db import passes
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.ledger import Child, Ledger, Outcome, Task
from corpus_db.models import QUESTIONS
from corpus_db.reasons import REASONS
from corpus_db.store import MAX_BYTES, BadImage, ImageStore, leads_out
from corpus_db.tombstones import refused_bytes
from corpus_db.version import insert_rows

_BATCH = 50
Say = Callable[[str], None]


@dataclass(frozen=True)
class QuestionRecord:
    """One question as its file holds it."""

    key: str
    image_name: str  # as other sources name the image: synpic54610
    image_path: str  # below the set's folder
    question: str
    answer: str
    answer_type: str | None
    question_type: str | None
    split: str
    language: str = "en"


@dataclass(frozen=True)
class QuestionSet:
    """A whole set: its files and what they hold."""

    name: str
    folder: Path
    licence: str
    citation: str
    files: Sequence[str]  # below the folder
    questions: Sequence[QuestionRecord]


@dataclass
class Imported:
    """What an import did."""

    source: str
    questions: Counter[str] = field(default_factory=Counter)  # by split
    images: Counter[str] = field(default_factory=Counter)  # by what happened: ok, or the reason of a failure
    examples: dict[str, str] = field(default_factory=dict)  # reason -> the first path


def import_questions(engine: Engine, root: Path, found: QuestionSet, strict: bool, say: Say) -> Imported:
    """Take in a set; with `strict`, the first image that is missing or broken ends it."""
    source_id, _ = passes.open_source(engine, found.name, QUESTIONS, found.folder.name)
    with engine.begin() as connection:
        source = table("source")
        told = {"licence": found.licence, "citation": found.citation}
        connection.execute(update(source).where(source.c.id == source_id).values(**told))
        store = ImageStore(root, refused_bytes(connection))
    roots = [Child(name, "file") for name in found.files]
    crawl_id, _ = passes.open_pass(engine, source_id, roots, retry_failed=False)
    ledger = Ledger(engine, source_id, crawl_id, lambda *_: ())
    imported = Imported(found.name)
    for tasks in _due(ledger, "file"):
        ledger.record([_take_file(found, task) for task in tasks])
    names = {question.image_path: question.image_name for question in found.questions}
    done, total = 0, ledger.count_due()
    for tasks in _due(ledger, "image"):
        outcomes = [_take_image(found, store, task, names.get(task.path, task.path)) for task in tasks]
        ledger.record(outcomes)
        done += len(outcomes)
        say(f"{found.name}: {done} of {total} images")
        _judge(outcomes, strict)
    passes.finish(ledger)
    with engine.begin() as connection:
        _replace_questions(connection, source_id, found, imported)
        _tell_images(connection, source_id, imported)
    return imported


def _due(ledger: Ledger, kind: str) -> Iterator[list[Task]]:
    while tasks := ledger.due(_BATCH, kind):
        yield tasks


def _take_file(found: QuestionSet, task: Task) -> Outcome:
    body = (found.folder / task.path).read_bytes()
    paths = sorted({question.image_path for question in found.questions})
    children = tuple(
        Child(path, "image", "path_traversal" if leads_out(path) or "\\" in path else None) for path in paths
    )
    digest = hashlib.sha256(body).hexdigest()
    return Outcome(
        task, "ok", attempts=1, sha256=digest, key=task.path, body=body.decode("utf-8-sig"), children=children
    )


def _take_image(found: QuestionSet, store: ImageStore, task: Task, name: str) -> Outcome:
    path = found.folder / task.path
    outcome = Outcome(task, "ok", attempts=1, upstream_name=name)
    try:
        if not path.resolve().is_relative_to(found.folder.resolve()):
            raise BadImage("path_traversal")  # a link that leads out
        if os.stat(path).st_size > MAX_BYTES:
            raise BadImage("too_large")
        outcome.image = store.put(path.read_bytes())
        outcome.sha256 = outcome.image.sha256
    except FileNotFoundError:
        outcome.status, outcome.reason = REASONS["missing_file"].status, "missing_file"
    except BadImage as bad:
        outcome.status, outcome.reason = REASONS[bad.reason].status, bad.reason
    return outcome


def _judge(outcomes: Sequence[Outcome], strict: bool) -> None:
    bad = next((outcome for outcome in outcomes if outcome.status != "ok"), None)
    if strict and bad and bad.reason:
        raise UserError(f"{bad.task.path}: {REASONS[bad.reason].says}; without --strict it would be left out and told")


def _replace_questions(connection: Connection, source_id: int, found: QuestionSet, imported: Imported) -> None:
    question, ref = table("question"), table("image_ref")
    newest = select(ref.c.path, ref.c.image_sha256).where(ref.c.source_id == source_id).order_by(ref.c.id)
    stored: dict[str, str] = {path: sha256 for path, sha256 in connection.execute(newest)}
    connection.execute(delete(question).where(question.c.source_id == source_id))
    same = ("image_name", "question", "answer", "answer_type", "question_type", "split", "language")
    rows = [
        {
            "source_id": source_id,
            "upstream_id": each.key,
            "image_sha256": stored.get(each.image_path),
            **{name: getattr(each, name) for name in same},
        }
        for each in found.questions
    ]
    insert_rows(connection, "question", rows)
    imported.questions.update(each.split for each in found.questions)


def _tell_images(connection: Connection, source_id: int, imported: Imported) -> None:
    fetch = table("fetch")
    asked = select(fetch.c.path, fetch.c.status, fetch.c.reason).where(
        fetch.c.source_id == source_id, fetch.c.kind == "image"
    )
    for row in connection.execute(asked.order_by(fetch.c.path)):
        what = "ok" if row.status == "ok" else row.reason or row.status
        imported.images[what] += 1
        if what != "ok":
            imported.examples.setdefault(what, row.path)


def render_imported(imported: Imported) -> Iterator[str]:
    """What an import did, as lines."""
    splits = ", ".join(
        f"{name} {imported.questions[name]}"
        for name in ("train", "val", "test", *sorted(set(imported.questions) - {"train", "val", "test"}))
        if imported.questions[name]
    )
    yield f"{imported.source}: {imported.questions.total()} questions ({splits}); {imported.images['ok']} images."
    for what, count in imported.images.items():
        if what != "ok":
            says = REASONS[what].says if what in REASONS else what
            yield f"left out    {count} images: {says}: {imported.examples[what]}"
