"""Take a source's records in: each resource through the ledger, images by worker processes, a batch a transaction.

A pass that was cut off goes on where it was. What the ledger knows already (a record of the same hash, an image file of
the same size and time) is not read again, so that the same folder a second time brings nothing new.
"""

import hashlib
import json
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, and_, delete, func, select, update

from corpus_db import db, passes
from corpus_db.errors import UserError
from corpus_db.gather import table
from corpus_db.importers.base import ENCOUNTER, About, Files, Given, Media, QuestionRecord, Record, Trouble
from corpus_db.importers.files import image_bytes, stamp
from corpus_db.ledger import Child, Ledger, Outcome, Task
from corpus_db.models import QUESTIONS
from corpus_db.reasons import REASONS
from corpus_db.store import BadImage, ImageStore, StoredImage, leads_out
from corpus_db.text import storable
from corpus_db.tombstones import redact, refused_bytes
from corpus_db.version import insert_rows
from corpus_db.workers import Pool

BATCH = 256  # records a transaction
THREADS = 4  # of a worker
# of a file whose content is not known: what it held before is not gone because of that
WHOLE_FILES = frozenset(("broken_archive", "encrypted", "unreadable_file", "bad_json", "wrong_shape", "path_traversal"))
AHEAD = 2  # batches whose images workers are reading while one is written
SAY_EVERY = 5.0  # seconds
TOLD_DETAILS = 3  # of a reason
_DIGITS = re.compile(r"([0-9]+)")
Say = Callable[[str], None]
Render = Callable[[bytes, str | None], bytes]  # a file's bytes and what part of it -> the bytes of an image


@dataclass
class Imported:
    """What an import did; of all that the source names, however often it was imported before."""

    source: str
    records: Counter[str] = field(default_factory=Counter)  # by change: new, changed, unchanged, gone
    questions: Counter[str] = field(default_factory=Counter)  # by split
    images: Counter[str] = field(default_factory=Counter)  # by what happened: ok, or a reason
    new_images: int = 0
    troubles: Counter[str] = field(default_factory=Counter)  # rows that could not be taken, by reason
    examples: dict[str, str] = field(default_factory=dict)  # reason -> the first place
    details: dict[str, Counter[str]] = field(default_factory=dict)  # reason -> fields at fault

    @property
    def whole(self) -> bool:
        """Whether everything that the source names came in."""
        return not self.troubles and set(self.images) <= {"ok"}


def take_in(
    engine: Engine,
    about: About,
    files: Files,
    given: Iterable[Given],
    *,
    strict: bool = False,
    workers: int | None = None,
    name: str | None = None,
    render: Render | None = None,
    say: Say = lambda line: None,
) -> Imported:
    """Import a source; with `strict`, the first part of it that is missing or broken ends it.

    `name`: the source's in the database, in place of its own. `render` makes an image of a file that is none (DICOM).
    The caller holds `db.exclusive`. Raises UserError.
    """
    root = db.image_root(engine.url)
    shape, about = about.name if about.pairs else QUESTIONS, replace(about, name=name or about.name)
    before, ledger, store = _open(engine, about, shape, files, root)
    work = partial(_take_some, files.root, store, render)
    taker = _Taker(ledger, store, files, strict)
    told = _Progress(about.name, say)
    with Pool(work, workers) as pool:
        waiting: deque[tuple[list[_Image], Any]] = deque()
        for part in _batches(given):
            images = taker.begin(part)
            due = [image for image in images if not image.known]
            waiting.append((images, pool.submit([image.media for image in due])))
            if len(waiting) > AHEAD:
                taker.finish(*waiting.popleft())
            told.count(taker)
        while waiting:
            taker.finish(*waiting.popleft())
            told.count(taker)
    taker.tell_files()
    ledger.partial |= not taker.records  # an emptied table is more likely an accident than a source that ended
    summary = passes.finish(ledger)
    with engine.begin() as connection:
        if taker.records:
            _replace_questions(connection, ledger.source_id, taker.questions)
        imported = _imported(connection, about, ledger, taker, summary)
    for line in _lost(imported, before, files.given):
        say(line)
    return imported


def _batches(given: Iterable[Given]) -> Iterator[list[Given]]:
    rest = iter(given)
    while part := list(islice(rest, BATCH)):
        yield part


def _open(engine: Engine, about: About, shape: str, files: Files, root: Path) -> tuple[str | None, Ledger, ImageStore]:
    """The name of the folder that it was imported from before, as the database has it; the ledger; the store."""
    site = about.name if about.private else files.given.name
    source_id, before = passes.open_source(engine, about.name, shape, site)
    with engine.begin() as connection:
        source = table("source")
        told = {"licence": about.licence, "citation": about.citation}
        connection.execute(update(source).where(source.c.id == source_id).values(**told))
        passes.ask_anew_for_missing(connection, root)
        store = ImageStore(root, refused_bytes(connection))
    crawl_id, _ = passes.open_pass(engine, source_id, [], retry_failed=False)
    return before if before != site else None, Ledger(engine, source_id, crawl_id, compare), store


@dataclass
class _Image:
    """An image that is due, and whether its file is one that the ledger knows."""

    media: Media
    task: Task
    etag: str | None
    known: bool


class _Taker:
    """Takes batches of records in; what it has seen so far."""

    def __init__(self, ledger: Ledger, store: ImageStore, files: Files, strict: bool):
        self.ledger, self.store, self.files, self.strict = ledger, store, files, strict
        self.questions: dict[str, QuestionRecord] = {}
        self.records = self.images = 0

    def begin(self, given: Sequence[Given]) -> list[_Image]:
        """Keep the records of a batch, name its images in the ledger; gives the images that are due."""
        records = [one for one in given if isinstance(one, Record)]
        troubles = [one for one in given if isinstance(one, Trouble)]
        for record in records:
            self.records += 1
            for question in record.questions:
                if self.questions.setdefault(question.key, question) is not question:
                    troubles.append(Trouble(f"question {question.key}", "repeated_id"))
        self._note(troubles)
        parents = self._keep(records)
        named = [(media, parents.get(record.key)) for record in records for media in record.media]
        media = {one.path: one for one, _ in named if one.key not in self.ledger.withdrawn}
        tasks = self.ledger.adopt(
            (Child(path, "image", _refused(media[path])), parent)
            for path, parent in {one.path: parent for one, parent in named}.items()
            if path in media
        )
        return [self._image(media[task.path], task) for task in tasks]

    def _keep(self, records: Sequence[Record]) -> dict[str, int]:
        """Write the raw records of a batch; gives the ledger's id of each by its key."""
        bodies = {record.key: record.body for record in records if record.body is not None}
        paths = {f"{ENCOUNTER}/{quote(storable(key), safe='')}": key for key in bodies}
        tasks = self.ledger.adopt((Child(path, ENCOUNTER), None) for path in paths)
        outcomes = []
        for task in tasks:
            body = bodies[paths[task.path]]
            redact(body, self.ledger.withdrawn)
            said = json.dumps(body, ensure_ascii=True, sort_keys=True)
            digest = hashlib.sha256(said.encode()).hexdigest()
            outcomes.append(Outcome(task, "ok", attempts=1, sha256=digest, key=storable(paths[task.path]), body=said))
        if outcomes:
            self.ledger.record(outcomes)
        return {paths[path]: id_ for path, id_ in self.ledger.ids(paths).items()}

    def _image(self, media: Media, task: Task) -> _Image:
        etag = stamp(self.files.root, media.file)
        known = task.status == "ok" and task.etag == etag
        if known and etag is None:  # not of this folder, but fetched since: there as long as its bytes are
            known = task.sha256 is not None and self.store.holds(task.sha256)
        return _Image(media, task, etag, known)

    def finish(self, images: Sequence[_Image], found: Any) -> None:
        """Keep what became of a batch's images; `found` gives what workers made of those that were not known."""
        made = iter(found.result())
        outcomes = [
            Outcome(image.task, "ok", attempts=1) if image.known else _settled(image, next(made)) for image in images
        ]
        self.images += len(images)
        if outcomes:
            self.ledger.record(outcomes)
        self._judge((outcome.task.path, outcome.reason, None) for outcome in outcomes if outcome.status != "ok")

    def _note(self, troubles: Sequence[Trouble]) -> None:
        children = [
            Child(storable(trouble.path), "file", trouble.reason, detail=trouble.detail and storable(trouble.detail))
            for trouble in troubles
        ]
        self.ledger.partial |= any(trouble.reason in WHOLE_FILES for trouble in troubles)
        self.ledger.adopt((child, None) for child in children)
        self._judge((child.path, child.reason, child.detail) for child in children)

    def _judge(self, bad: Iterable[tuple[str, str | None, str | None]]) -> None:
        path, reason, detail = next(iter(bad), (None, None, None))
        if self.strict and reason:
            says = REASONS[reason].says + (f" ({detail})" if detail else "")
            raise UserError(f"{path}: {says}; without --strict it would be left out and told")

    def tell_files(self) -> None:
        """Note the data files that were read, with their hashes."""
        tasks = self.ledger.adopt((Child(name, "file"), None) for name in self.files.used)
        outcomes = [Outcome(task, "ok", attempts=1, sha256=self.files.sha256(task.path)) for task in tasks]
        if outcomes:
            self.ledger.record(outcomes)


def _refused(media: Media) -> str | None:
    names = [media.file, media.member or ""]
    return "path_traversal" if any(leads_out(name) or "\\" in name for name in names) else None


def _settled(image: _Image, made: StoredImage | str) -> Outcome:
    outcome = Outcome(image.task, "ok", attempts=1, upstream_name=image.media.name, etag=image.etag)
    if isinstance(made, str):
        outcome.status, outcome.reason = REASONS[made].status, made
    else:
        outcome.image, outcome.sha256 = made, made.sha256
    return outcome


def _take_some(
    root: Path, store: ImageStore, render: Render | None, images: Sequence[Media]
) -> list[StoredImage | str]:
    """Read, verify and keep images; runs in a worker. Each as it was stored, or the reason why not.

    Some threads, as one that waits for the disk (each file is synced) leaves the core to another that decodes.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(partial(_take, root, store, render), images))


def _take(root: Path, store: ImageStore, render: Render | None, media: Media) -> StoredImage | str:
    try:
        body = image_bytes(root, media.file, media.member)
        return store.put(body if render is None else render(body, media.part))
    except BadImage as bad:
        return bad.reason


def compare(kind: str, before: Any, after: Any) -> Iterator[tuple[str | None, str, str | None, str | None]]:
    """What differs between two answers of one record, field by field, as (image key, field, before, after)."""
    if kind == ENCOUNTER and isinstance(before, dict) and isinstance(after, dict):
        old, new = _by_key(before), _by_key(after)
        for key in dict.fromkeys([*old, *new]):
            if key is not None and (key in old) != (key in new):
                yield key, "listed", str(key in old), str(key in new)
                continue
            for name in dict.fromkeys([*old.get(key, {}), *new.get(key, {})]):
                then, now = old.get(key, {}).get(name), new.get(key, {}).get(name)
                if then != now:
                    yield key, name, _shown(then), _shown(now)


def _by_key(body: dict[str, Any]) -> dict[str | None, dict[str, Any]]:
    """The fields of a body's images by their key, and of its own under None."""
    images = [image for image in body.get("images") or [] if isinstance(image, dict)]
    own = {name: value for name, value in body.items() if name != "images"}
    return {None: own} | {str(image.get("key")): image for image in images}


def _shown(value: Any) -> str | None:
    return None if value is None else storable(value if isinstance(value, str) else json.dumps(value))


def _replace_questions(connection: Connection, source_id: int, questions: dict[str, QuestionRecord]) -> None:
    question, ref = table("question"), table("image_ref")
    newest = select(ref.c.path, ref.c.image_sha256).where(ref.c.source_id == source_id).order_by(ref.c.id)
    stored: dict[str, str] = {path: sha256 for path, sha256 in connection.execute(newest)}
    connection.execute(delete(question).where(question.c.source_id == source_id))
    same = [name for name in question.c.keys() if name in QuestionRecord.__dataclass_fields__]  # noqa: SIM118
    insert_rows(
        connection,
        "question",
        (
            {
                "source_id": source_id,
                "upstream_id": each.key,
                "image_sha256": stored.get(each.image_path),
                **{name: getattr(each, name) for name in same},
            }
            for each in questions.values()
        ),
    )


def _imported(connection: Connection, about: About, ledger: Ledger, taker: _Taker, summary: dict[str, Any]) -> Imported:
    imported = Imported(about.name)
    imported.records.update(summary["changes"].get(ENCOUNTER, {}))
    imported.new_images = summary["changes"].get("image", {}).get("new", 0)
    imported.questions.update(each.split for each in taker.questions.values())
    fetch = table("fetch")
    ends = fetch.c.kind, fetch.c.status, fetch.c.reason, fetch.c.detail
    mine = and_(
        fetch.c.source_id == ledger.source_id,
        fetch.c.crawl_id == ledger.crawl_id,
        fetch.c.kind.in_(("image", "file")),
    )
    counted = select(*ends, func.count()).where(mine).group_by(*ends).order_by(*ends)
    for kind, status, reason, detail, count in connection.execute(counted):
        what = "ok" if status == "ok" else reason or status
        if kind == "image":
            imported.images[what] += count
        elif what != "ok":
            imported.troubles[what] += count
        if detail:
            imported.details.setdefault(what, Counter())[detail] += count
    bad = select(func.coalesce(fetch.c.reason, fetch.c.status), fetch.c.path).where(mine, fetch.c.status != "ok")
    for what, path in connection.execute(bad):
        first = imported.examples.setdefault(what, path)
        imported.examples[what] = min(first, path, key=_in_order)
    return imported


def _lost(imported: Imported, before: str | None, given: Path) -> Iterator[str]:
    """What a source no longer holds, in a line; `before`: the other folder that it was imported from, if any."""
    kinds = ("gone", "changed") if before else ("gone",)
    lost = " and ".join(f"{imported.records[kind]} {kind}" for kind in kinds if imported.records[kind])
    if lost:
        yield (
            f"{imported.source}: of the records that it held{f' from {before}' if before else ''}, {lost}: it holds "
            f"what is in {given} alone, and so will the next version; give another --name to keep both, and import "
            "the first again"
        )


def _in_order(path: str) -> list[str | tuple[int, str]]:
    """Sorts places as a reader does, row 3 before row 10. Text and digits take turns, so like meets like."""
    parts = _DIGITS.split(path)
    return [(len(part.lstrip("0")), part.lstrip("0")) if place % 2 else part for place, part in enumerate(parts)]


class _Progress:
    """Says now and then how far an import has come."""

    def __init__(self, name: str, say: Say):
        self.name, self.say = name, say
        self.begun = self.told = time.monotonic()

    def count(self, taker: _Taker) -> None:
        if (now := time.monotonic()) - self.told >= SAY_EVERY:
            self.told = now
            rate = taker.images / (now - self.begun)
            self.say(f"{self.name}: {taker.records} records, {taker.images} images, {rate:.0f} a second")


def render_imported(imported: Imported) -> Iterator[str]:
    """What an import did, as lines."""
    order = ("train", "val", "test")
    splits = ", ".join(
        f"{name} {imported.questions[name]}"
        for name in (*order, *sorted(set(imported.questions) - set(order)))
        if imported.questions[name]
    )
    told = [f"{imported.questions.total()} questions ({splits})"] if splits else []
    if imported.records:
        changes = ", ".join(f"{count} {change}" for change, count in imported.records.items() if count)
        told.append(f"{imported.records.total() - imported.records['gone']} records ({changes})")
    told.append(f"{imported.images['ok']} images ({imported.new_images} new)")
    yield f"{imported.source}: {'; '.join(told)}."
    for counts, what in ((imported.images, "images"), (imported.troubles, "rows")):
        for reason, count in sorted(counts.items()):
            if reason != "ok":
                says = REASONS[reason].says if reason in REASONS else reason
                if details := imported.details.get(reason):
                    says += (
                        f" ({', '.join(f'{detail}: {times}' for detail, times in details.most_common(TOLD_DETAILS))})"
                    )
                example = imported.examples[reason]
                yield f"left out    {count} {what}: {says}: {example if len(example) < 200 else example[:200] + '...'}"
