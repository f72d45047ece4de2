"""The ledger of what was asked for and how it ended: it hands out what is due and keeps outcomes, a batch a transaction."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from corpus_db.db import is_sqlite
from corpus_db.models import Crawl, Drift, Fetch, Image, ImageRef, RawRecord, Source, now
from corpus_db.store import StoredImage


class Reason(NamedTuple):
    """Why a resource ended as it did."""

    status: str
    transient: bool
    says: str


REASONS = {
    key: Reason(*row)
    for key, row in {
        "timeout": ("failed", True, "no answer in time"),
        "connection_lost": ("failed", True, "the connection was refused, reset or closed before an answer"),
        "name_not_found": ("failed", True, "the host's name did not resolve"),
        "short_body": ("failed", True, "fewer bytes than the site promised"),
        "bad_json": ("failed", True, "not JSON, or JSON that ends too early"),
        "http_408": ("failed", True, "the site ended a slow request"),
        "http_425": ("failed", True, "the site asked to come again"),
        "http_429": ("failed", True, "too many requests"),
        "http_5xx": ("failed", True, "an error of the site's (5xx)"),
        "http_error": ("failed", False, "an answer that is neither a body nor a known refusal"),
        "upstream_error": ("failed", False, "the answer's own error field is set"),
        "wrong_shape": ("failed", False, "JSON of another shape than this endpoint's"),
        "redirect_loop": ("failed", False, "redirected too often, or in a circle"),
        "empty_body": ("failed", False, "an image of zero bytes"),
        "not_an_image": ("failed", False, "bytes that are no image"),
        "truncated_image": ("failed", False, "an image that ends too early"),
        "broken_image": ("failed", False, "an image that does not decode"),
        "no_address": ("failed", False, "the site lists the image without an address"),
        "http_404": ("gone", False, "not found"),
        "http_410": ("gone", False, "gone for good"),
        "case_gone": ("gone", False, "its case is gone"),
        "no_longer_listed": ("gone", False, "the site lists it no more"),
        "too_many_pixels": ("refused", False, "more pixels than an image may have: a decompression bomb?"),
        "too_large": ("refused", False, "more bytes than an answer may have"),
        "other_host": ("refused", False, "an address on another host or port"),
        "other_scheme": ("refused", False, "an address that is not http"),
        "path_traversal": ("refused", False, "a path that climbs"),
        "bad_address": ("refused", False, "not an address"),
        "redirect_away": ("refused", False, "redirected off the site"),
        "robots": ("refused", False, "robots.txt forbids it"),
        "deleted": ("skipped", False, "deleted upstream"),
        "hidden": ("skipped", False, "not shown upstream"),
        # notes: the resource is there, with something to know
        "shared_image": ("ok", False, "lists an image of another case"),
        "type_differs": ("ok", False, "an image of another type than declared"),
    }.items()
}
RANKS = {"list": 0, "image": 1, "topic": 1, "encounter": 2, "file": 2}
LAST_RANK = 3  # an image that another case owns waits until its owner had its say
STALE = ("ok", "failed", "refused", "skipped", "pending")


def is_transient(reason: str | None) -> bool:
    """Whether the same request may succeed later."""
    return reason is not None and REASONS[reason].transient


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
    inserts: Any = field(init=False)

    def __post_init__(self) -> None:
        self.inserts = sqlite.insert if is_sqlite(self.engine) else postgresql.insert

    # -- handing out

    def limit_cases(self, limit: int | None) -> int:
        """Work on the first `limit` cases of this pass by path; returns how many cases the pass knows."""
        cases = select(Fetch.path).where(
            Fetch.source_id == self.source_id, Fetch.kind == "encounter", Fetch.crawl_id == self.crawl_id
        )
        with self.engine.connect() as connection:
            total = connection.scalar(select(func.count()).select_from(cases.subquery())) or 0
            if limit is not None and total > limit:
                ordered = cases.order_by(Fetch.path).offset(limit - 1).limit(1)
                self.last_case = connection.scalar(ordered)
        return total

    def due(self, size: int, kind: str | None = None, excluding: Iterable[int] = ()) -> list[Task]:
        """At most `size` due resources, in the frontier's order, but for those already under way."""
        away = set(excluding)
        columns = [getattr(Fetch, name) for name in Task._fields]
        query = select(*columns).where(*self._is_due()).order_by(Fetch.rank, Fetch.path).limit(size + len(away))
        if kind:
            query = query.where(Fetch.kind == kind)
        with self.engine.connect() as connection:
            tasks = [Task(*row) for row in connection.execute(query)]
        return [task for task in tasks if task.id not in away][:size]

    def count_due(self) -> int:
        """How many known resources are still to be asked for."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(Fetch).where(*self._is_due())) or 0

    def _is_due(self) -> list[Any]:
        conditions: list[Any] = [Fetch.due, Fetch.source_id == self.source_id, Fetch.crawl_id == self.crawl_id]
        if self.last_case is not None:
            conditions.append((Fetch.kind != "encounter") | (Fetch.path <= self.last_case))
        return conditions

    # -- keeping

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Keep a batch of outcomes, all they bring and all they name, in one transaction."""
        seen = now()
        with self.engine.begin() as connection:
            self._keep_images(connection, outcomes, seen)
            for outcome in outcomes:
                if outcome.body is not None and outcome.change != "unchanged":
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
        connection.execute(self.inserts(Image).on_conflict_do_nothing(), list(images.values()))
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
        connection.execute(insert(ImageRef), refs)
        changed = [
            self._drift(outcome, outcome.upstream_name, "bytes", outcome.task.sha256, outcome.sha256)
            for outcome in arrived
            if outcome.change == "changed"
        ]
        if changed:
            connection.execute(insert(Drift), changed)

    def _keep_raw(self, connection: Connection, outcome: Outcome, seen: Any) -> None:
        # An answer that is an error is kept beside the last good one, not in its place.
        kind = outcome.task.kind if outcome.status == "ok" else f"{outcome.task.kind}_error"
        newest = (
            select(RawRecord.sha256, RawRecord.body)
            .where(RawRecord.source_id == self.source_id, RawRecord.kind == kind, RawRecord.key == outcome.key)
            .order_by(RawRecord.id.desc())  # type: ignore[union-attr]
            .limit(1)
        )
        before = connection.execute(newest).first()
        if before and before.sha256 == outcome.sha256:
            return
        row = {"source_id": self.source_id, "kind": kind, "key": outcome.key, "sha256": outcome.sha256}
        connection.execute(insert(RawRecord), [row | {"body": outcome.body, "seen_at": seen}])
        if before and outcome.status == "ok" and outcome.body is not None:
            self._note_drift(connection, outcome, before)

    def _note_drift(self, connection: Connection, outcome: Outcome, before: Row[Any]) -> None:
        changes = self.compare(outcome.task.kind, before.body, json.loads(outcome.body or "null"))
        drift = [self._drift(outcome, *change) for change in changes]
        if drift:
            connection.execute(insert(Drift), drift)

    def _drift(
        self, outcome: Outcome, key: str | None, name: str, before: str | None, after: str | None
    ) -> dict[str, Any]:
        row = {"source_id": self.source_id, "crawl_id": self.crawl_id, "path": outcome.task.path, "key": key}
        return row | {"field": name, "before": before, "after": after}

    def _spread_gone(self, connection: Connection, outcome: Outcome, seen: Any) -> None:
        """A resource that was there is gone; so are the images of a case."""
        connection.execute(insert(Drift), [self._drift(outcome, outcome.key, "gone", outcome.task.sha256, None)])
        if outcome.task.kind == "encounter":
            images = (Fetch.parent_id == outcome.task.id) & (Fetch.kind == "image") & (Fetch.status != "gone")
            values = {"status": "gone", "reason": "case_gone", "change": "gone", "due": False, "last_seen": seen}
            connection.execute(update(Fetch).where(images).values(**values, crawl_id=self.crawl_id))

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
                row = self._child_row(child, parent, seen)
                (settled if child.reason else rows).setdefault(child.path, row)
        if rows:
            add = self.inserts(Fetch)
            fresh = {name: add.excluded[name] for name in ("crawl_id", "due", "parent_id", "rank", "last_seen")}
            earlier = Fetch.crawl_id.is_(None) | (Fetch.crawl_id < self.crawl_id)  # type: ignore[union-attr,operator]
            add = add.on_conflict_do_update(["source_id", "path"], set_=fresh, where=earlier)
            connection.execute(add, list(rows.values()))
        if settled:
            add = self.inserts(Fetch)
            names = ("crawl_id", "due", "parent_id", "status", "reason", "change", "last_seen")
            add = add.on_conflict_do_update(["source_id", "path"], set_={name: add.excluded[name] for name in names})
            connection.execute(add, list(settled.values()))

    def _child_row(self, child: Child, parent: int | None, seen: Any) -> dict[str, Any]:
        return {
            "source_id": self.source_id,
            "path": child.path,
            "kind": child.kind,
            "rank": LAST_RANK if child.last else RANKS[child.kind],
            "status": REASONS[child.reason].status if child.reason else "pending",
            "reason": child.reason,
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
            connection.execute(update(Fetch).where(Fetch.id.in_(ids)).values(due=True))  # type: ignore[union-attr]

    # -- ending

    def finish(self) -> dict[str, Any]:
        """End the pass where nothing of it is due: find what the site lists no more, keep and return the summary."""
        with self.engine.begin() as connection:
            mine = Fetch.source_id == self.source_id
            left = connection.scalar(
                select(func.count())
                .select_from(Fetch)
                .where(mine, Fetch.due, Fetch.crawl_id == self.crawl_id)  # beyond a limit, too
            )
            if not left:
                self._mark_unlisted(connection)
            summary = self._summary(connection)
            if not left:
                self._end(connection, json.dumps(summary))
        return summary

    def give_up(self) -> None:
        """End a pass with some of it still due: what lies beyond its limit will be found by the next."""
        with self.engine.begin() as connection:
            self._end(connection, None)

    def _end(self, connection: Connection, summary: str | None) -> None:
        ended = update(Crawl).where(Crawl.id == self.crawl_id)  # type: ignore[arg-type]
        connection.execute(ended.values(finished=now(), summary=summary))

    def _mark_unlisted(self, connection: Connection) -> None:
        whole = not connection.scalar(
            select(func.count())
            .select_from(Fetch)
            .where(
                Fetch.source_id == self.source_id,
                Fetch.kind == "list",
                (Fetch.status != "ok") | (Fetch.crawl_id != self.crawl_id),
            )
        )
        parents = select(Fetch.id).where(Fetch.crawl_id == self.crawl_id, Fetch.status == "ok")
        orphans: Any = Fetch.parent_id.in_(parents)  # type: ignore[union-attr]
        if whole:
            orphans = orphans | (Fetch.kind == "encounter")
        stale: Any = (
            (Fetch.source_id == self.source_id)
            & (Fetch.crawl_id < self.crawl_id)  # type: ignore[operator]
            & Fetch.status.in_(STALE)  # type: ignore[attr-defined]
            & orphans
        )
        lost = select(literal(self.source_id), literal(self.crawl_id), Fetch.path, literal("gone"), Fetch.sha256).where(
            stale
        )
        connection.execute(insert(Drift).from_select(["source_id", "crawl_id", "path", "field", "before"], lost))
        gone = {"status": "gone", "reason": "no_longer_listed", "change": "gone", "due": False}
        connection.execute(update(Fetch).where(stale).values(**gone, crawl_id=self.crawl_id, last_seen=now()))

    def _summary(self, connection: Connection) -> dict[str, Any]:
        """Counts of this pass: changes by kind, statuses, reasons of what is not there, drift by field."""
        rows = connection.execute(
            select(Fetch.kind, Fetch.status, Fetch.reason, Fetch.change, func.count())
            .where(Fetch.source_id == self.source_id, Fetch.crawl_id == self.crawl_id)
            .group_by(Fetch.kind, Fetch.status, Fetch.reason, Fetch.change)
        ).all()
        changes: dict[str, Counter[str]] = {}
        statuses: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for kind, status, reason, change, count in rows:
            statuses[status] += count
            if change:
                changes.setdefault(kind, Counter())[change] += count
            if reason and status != "ok":
                reasons[f"{status}: {reason}"] += count
        drift = connection.execute(
            select(Drift.field, func.count()).where(Drift.crawl_id == self.crawl_id).group_by(Drift.field)
        )
        return {
            "changes": {kind: dict(count) for kind, count in sorted(changes.items())},
            "statuses": dict(sorted(statuses.items())),
            "reasons": dict(sorted(reasons.items())),
            "drift": {name: count for name, count in sorted(drift.tuples())},
        }


_SETTLE = (
    update(Fetch)
    .where(Fetch.id == bindparam("id_"))  # type: ignore[arg-type]
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


def open_source(engine: Engine, name: str, shape: str, site: str) -> int:
    """The id of a source, made where it is new; its site is where it was reached last."""
    with engine.begin() as connection:
        found = connection.scalar(select(Source.id).where(Source.name == name))
        if found is not None:
            connection.execute(update(Source).where(Source.id == found).values(site=site))  # type: ignore[arg-type]
            return found
        return connection.execute(insert(Source).values(name=name, shape=shape, site=site)).inserted_primary_key[0]


def open_pass(engine: Engine, source_id: int, roots: Sequence[Child], retry_failed: bool) -> tuple[int, str]:
    """The pass to work on, as (its id, what it is: first, resumed, again, retry).

    An unfinished pass goes on. Else a new one asks for the roots, or with `retry_failed` only for what failed for a
    transient reason.
    """
    seen = now()
    with engine.begin() as connection:
        newest = connection.execute(
            select(Crawl.id, Crawl.finished).where(Crawl.source_id == source_id).order_by(Crawl.id.desc()).limit(1)  # type: ignore[union-attr]
        ).first()
        resumed = newest is not None and newest.finished is None
        if newest is not None and resumed:
            crawl_id = newest.id
        else:
            made = connection.execute(insert(Crawl).values(source_id=source_id, started=seen))
            crawl_id = made.inserted_primary_key[0]
        if retry_failed:
            transient = [key for key, reason in REASONS.items() if reason.transient]
            failed = (Fetch.source_id == source_id) & (Fetch.status == "failed") & Fetch.reason.in_(transient)  # type: ignore[union-attr]
            connection.execute(update(Fetch).where(failed).values(due=True, crawl_id=crawl_id))
        elif not resumed:
            ledger = Ledger(engine, source_id, crawl_id, lambda *_: ())
            rows = [ledger._child_row(child, None, seen) for child in roots]
            add = ledger.inserts(Fetch)
            fresh = {name: add.excluded[name] for name in ("crawl_id", "due", "last_seen")}
            connection.execute(add.on_conflict_do_update(["source_id", "path"], set_=fresh), rows)
    return crawl_id, "retry" if retry_failed else "resumed" if resumed else "again" if newest else "first"
