"""The ledger of what was asked for: it hands out what is due and keeps how it ended, a batch a transaction."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update
from sqlmodel import SQLModel

from corpus_db.db import upserts
from corpus_db.models import now
from corpus_db.reasons import REASONS
from corpus_db.store import StoredImage
from corpus_db.tombstones import PURGED, withdrawn

RANKS = {"list": 0, "image": 1, "topic": 1, "encounter": 2, "file": 2}
LAST_RANK = 3  # an image that another case owns waits until its owner had its say
FETCH, RAW_RECORD, IMAGE, IMAGE_REF, DRIFT = (
    SQLModel.metadata.tables[name] for name in ("fetch", "raw_record", "image", "image_ref", "drift")
)
NOT_PURGED = FETCH.c.reason.is_distinct_from(PURGED)


class Task(NamedTuple):
    """A due resource, as the frontier hands it out: enough to ask for it and to tell what changed."""

    id: int
    path: str
    kind: str
    status: str
    attempts: int
    sha256: str | None
    etag: str | None
    last_modified: str | None
    crawl_id: int


@dataclass(frozen=True)
class Child:
    """A resource that another one names. With a reason it is settled (skipped, refused) and never asked for."""

    path: str
    kind: str
    reason: str | None = None
    last: bool = False
    detail: str | None = None


class Said(NamedTuple):
    """What an answer says of one thing among several: a raw record."""

    kind: str
    key: str
    body: str  # JSON text


@dataclass
class Outcome:
    """How asking for one resource ended."""

    task: Task
    status: str
    reason: str | None = None
    http_status: int | None = None
    attempts: int = 0
    sha256: str | None = None  # of the body; None where none came (304, failures)
    etag: str | None = None
    last_modified: str | None = None
    key: str | None = None  # of the raw record
    body: str | None = None  # of the raw record: JSON text
    children: Sequence[Child] = ()
    image: StoredImage | None = None
    upstream_name: str | None = None
    records: Sequence["Said"] = ()  # what the answer says of several things, a raw record each

    @property
    def change(self) -> str | None:
        """What the pass found, against what the ledger knew."""
        before = self.task.sha256
        if self.status == "gone":
            return "gone" if before else None
        if self.status != "ok":
            return None
        if before is None:
            return "new"
        return "unchanged" if self.sha256 in (None, before) else "changed"


Compare = Callable[[str, Any, Any], Iterable[tuple[str | None, str, str | None, str | None]]]


@dataclass
class Ledger:
    """One source's ledger during one pass. Not thread-safe: one thread at a time."""

    engine: Engine
    source_id: int
    crawl_id: int
    compare: Compare
    last_case: str | None = None  # with a limit: cases whose path sorts after this one wait for another pass
    partial: bool = False  # whether a limit may have kept lists from naming all: then nothing is known to be gone
    inserts: Any = field(init=False)

    def __post_init__(self) -> None:
        self.inserts = upserts(self.engine)

    @cached_property
    def withdrawn(self) -> frozenset[str]:
        """The ids of images that were taken down: no answer may bring them back."""
        with self.engine.connect() as connection:
            return withdrawn(connection, self.source_id)

    # -- handing out

    def limit_cases(self, limit: int | None) -> int:
        """Work on the first `limit` cases of this pass by path; returns how many cases the pass knows."""
        cases = select(FETCH.c.path).where(
            FETCH.c.source_id == self.source_id, FETCH.c.kind == "encounter", FETCH.c.crawl_id == self.crawl_id
        )
        with self.engine.connect() as connection:
            total = connection.scalar(select(func.count()).select_from(cases.subquery())) or 0
            if limit is not None and total > limit:
                ordered = cases.order_by(FETCH.c.path).offset(limit - 1).limit(1)
                self.last_case = connection.scalar(ordered)
        return total

    def due(self, size: int, kind: str | None = None, excluding: Iterable[int] = ()) -> list[Task]:
        """At most `size` due resources, in the frontier's order, but for those already under way."""
        away = set(excluding)
        columns = [FETCH.c[name] for name in Task._fields]
        query = select(*columns).where(*self._is_due()).order_by(FETCH.c.rank, FETCH.c.path).limit(size + len(away))
        if kind:
            query = query.where(FETCH.c.kind == kind)
        with self.engine.connect() as connection:
            tasks = [Task(*row) for row in connection.execute(query)]
        return [task for task in tasks if task.id not in away][:size]

    def count_due(self) -> int:
        """How many known resources are still to be asked for."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(FETCH).where(*self._is_due())) or 0

    def _is_due(self) -> list[Any]:
        conditions: list[Any] = [FETCH.c.due, FETCH.c.source_id == self.source_id, FETCH.c.crawl_id == self.crawl_id]
        if self.last_case is not None:
            conditions.append((FETCH.c.kind != "encounter") | (FETCH.c.path <= self.last_case))
        return conditions

    # -- keeping

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Keep a batch of outcomes, all they bring and all they name, in one transaction."""
        seen = now()
        with self.engine.begin() as connection:
            self._keep_images(connection, outcomes, seen)
            for outcome in outcomes:
                if outcome.change != "unchanged":
                    self._keep_raw(connection, outcome, seen)
            for outcome in outcomes:
                if outcome.change == "gone":
                    self._spread_gone(connection, outcome, seen)
            connection.execute(_SETTLE, [self._settled(outcome, seen) for outcome in outcomes])
            self._adopt(connection, outcomes, seen)

    def _keep_images(self, connection: Connection, outcomes: Sequence[Outcome], seen: Any) -> None:
        arrived = [outcome for outcome in outcomes if outcome.image and outcome.change != "unchanged"]
        if not arrived:
            return
        images = {o.image.sha256: vars(o.image) for o in arrived if o.image}
        connection.execute(self.inserts(IMAGE).on_conflict_do_nothing(), list(images.values()))
        refs = [
            {
                "source_id": self.source_id,
                "upstream_name": outcome.upstream_name or "",
                "path": outcome.task.path,
                "image_sha256": outcome.image.sha256,
                "seen_at": seen,
            }
            for outcome in arrived
            if outcome.image
        ]
        connection.execute(insert(IMAGE_REF), refs)
        changed = [
            self._drift(outcome, outcome.upstream_name, "bytes", outcome.task.sha256, outcome.sha256)
            for outcome in arrived
            if outcome.change == "changed"
        ]
        if changed:
            connection.execute(insert(DRIFT), changed)

    def _keep_raw(self, connection: Connection, outcome: Outcome, seen: Any) -> None:
        if outcome.body is not None:
            # An answer that is an error is kept beside the last good one, not in its place.
            kind = outcome.task.kind if outcome.status == "ok" else f"{outcome.task.kind}_error"
            said = Said(kind, outcome.key or "", outcome.body)
            self._keep_said(connection, outcome, said, outcome.sha256 or "", seen)
        for said in outcome.records:
            self._keep_said(connection, outcome, said, hashlib.sha256(said.body.encode()).hexdigest(), seen)

    def _keep_said(self, connection: Connection, outcome: Outcome, said: Said, digest: str, seen: Any) -> None:
        newest = (
            select(RAW_RECORD.c.sha256, RAW_RECORD.c.body)
            .where(
                RAW_RECORD.c.source_id == self.source_id, RAW_RECORD.c.kind == said.kind, RAW_RECORD.c.key == said.key
            )
            .order_by(RAW_RECORD.c.id.desc())
            .limit(1)
        )
        before = connection.execute(newest).first()
        if before and before.sha256 == digest:
            return
        row = {"source_id": self.source_id, "kind": said.kind, "key": said.key, "sha256": digest}
        connection.execute(insert(RAW_RECORD), [row | {"body": said.body, "seen_at": seen}])
        if before and outcome.status == "ok":
            self._note_drift(connection, outcome, said, before)

    def _note_drift(self, connection: Connection, outcome: Outcome, said: Said, before: Any) -> None:
        changes = self.compare(said.kind, before.body, json.loads(said.body))
        drift = [self._drift(outcome, *change) for change in changes]
        if drift:
            connection.execute(insert(DRIFT), drift)

    def _drift(
        self, outcome: Outcome, key: str | None, name: str, before: str | None, after: str | None
    ) -> dict[str, Any]:
        row = {"source_id": self.source_id, "crawl_id": self.crawl_id, "path": outcome.task.path, "key": key}
        return row | {"field": name, "before": before, "after": after}

    def _spread_gone(self, connection: Connection, outcome: Outcome, seen: Any) -> None:
        """A resource that was there is gone; so are the images of a case."""
        connection.execute(insert(DRIFT), [self._drift(outcome, outcome.key, "gone", outcome.task.sha256, None)])
        if outcome.task.kind == "encounter":
            images = (FETCH.c.parent_id == outcome.task.id) & (FETCH.c.kind == "image") & (FETCH.c.status != "gone")
            images &= NOT_PURGED
            values = {"status": "gone", "reason": "case_gone", "change": "gone", "due": False, "last_seen": seen}
            connection.execute(update(FETCH).where(images).values(**values, crawl_id=self.crawl_id))

    def _settled(self, outcome: Outcome, seen: Any) -> dict[str, Any]:
        task, arrived = outcome.task, outcome.status == "ok"
        fresh = arrived and outcome.sha256 is not None
        return {
            "id_": task.id,
            "status": outcome.status,
            "reason": outcome.reason,
            "http_status": outcome.http_status,
            "attempts": outcome.attempts,
            # a failure keeps what is known of the last good answer: the next pass compares with it
            "sha256": outcome.sha256 if fresh else task.sha256,
            "etag": outcome.etag if fresh else task.etag,
            "last_modified": outcome.last_modified if fresh else task.last_modified,
            "change": outcome.change,
            "last_seen": seen,
        }

    def _adopt(self, connection: Connection, outcomes: Sequence[Outcome], seen: Any) -> None:
        """Add the resources that these answers name to this pass, each once."""
        rows: dict[str, dict[str, Any]] = {}
        settled: dict[str, dict[str, Any]] = {}
        for outcome in outcomes:
            parent = None if outcome.task.kind == "list" else outcome.task.id
            for child in outcome.children:
                row = self.child_row(child, parent, seen)
                (settled if child.reason else rows).setdefault(child.path, row)
        self._add(connection, list(rows.values()), list(settled.values()))

    def adopt(self, children: Iterable[tuple[Child, int | None]]) -> list[Task]:
        """Add resources, each with its parent's id, to this pass; gives those that are due, in the order given."""
        rows: dict[str, dict[str, Any]] = {}
        seen = now()
        for child, parent in children:
            rows.setdefault(child.path, self.child_row(child, parent, seen))
        with self.engine.begin() as connection:
            due, settled = ([row for row in rows.values() if row["due"] == wanted] for wanted in (True, False))
            self._add(connection, due, settled)
        is_due = (FETCH.c.crawl_id == self.crawl_id) & FETCH.c.due
        columns = [FETCH.c[name] for name in Task._fields]
        tasks = {row.path: Task(*row) for row in self._of_paths(list(rows), columns, is_due)}
        return [tasks[path] for path in rows if path in tasks]

    def _add(self, connection: Connection, due: Sequence[dict[str, Any]], settled: Sequence[dict[str, Any]]) -> None:
        """Write rows into this pass: due ones that it does not hold yet, and settled ones whatever they were."""
        earlier = (FETCH.c.crawl_id.is_(None) | (FETCH.c.crawl_id < self.crawl_id)) & NOT_PURGED
        fresh = ("crawl_id", "due", "parent_id", "rank", "detail", "last_seen")
        told = ("crawl_id", "due", "parent_id", "status", "reason", "detail", "change", "last_seen")
        for rows, names, where in ((due, fresh, earlier), (settled, told, NOT_PURGED)):
            if rows:
                add = self.inserts(FETCH)
                values = {name: add.excluded[name] for name in names}
                keys = ["source_id", "path"]
                connection.execute(add.on_conflict_do_update(index_elements=keys, set_=values, where=where), list(rows))

    def ids(self, paths: Iterable[str]) -> dict[str, int]:
        """The ledger's id of each path that it knows."""
        return {row.path: row.id for row in self._of_paths(list(paths), [FETCH.c.path, FETCH.c.id])}

    def _of_paths(self, paths: Sequence[str], columns: Sequence[Any], *conditions: Any) -> Iterator[Any]:
        with self.engine.connect() as connection:
            for some in _chunks(paths):
                mine = select(*columns).where(FETCH.c.source_id == self.source_id, FETCH.c.path.in_(some), *conditions)
                yield from connection.execute(mine)

    def child_row(self, child: Child, parent: int | None, seen: Any) -> dict[str, Any]:
        return {
            "source_id": self.source_id,
            "path": child.path,
            "kind": child.kind,
            "rank": LAST_RANK if child.last else RANKS[child.kind],
            "status": REASONS[child.reason].status if child.reason else "pending",
            "reason": child.reason,
            "detail": child.detail,
            "attempts": 0,
            "change": None,
            "parent_id": parent,
            "crawl_id": self.crawl_id,
            "due": child.reason is None,
            "first_seen": seen,
            "last_seen": seen,
        }

    def put_back(self, ids: Sequence[int]) -> None:
        """Make resources due again, as if they had not been asked for."""
        with self.engine.begin() as connection:
            connection.execute(update(FETCH).where(FETCH.c.id.in_(ids)).values(due=True))


def _chunks(items: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


_SETTLE = (
    update(FETCH)
    .where(FETCH.c.id == bindparam("id_"))
    .values(
        due=False,
        **{
            name: bindparam(name)
            for name in (
                "status",
                "reason",
                "http_status",
                "attempts",
                "sha256",
                "etag",
                "last_modified",
                "change",
                "last_seen",
            )
        },
    )
)
