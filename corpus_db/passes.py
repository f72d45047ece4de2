"""Passes over a source: begin or resume one, end it, and tell what it found."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, literal, select, update
from sqlmodel import SQLModel

from corpus_db.errors import UserError
from corpus_db.gather import CHUNK
from corpus_db.ledger import DRIFT, FETCH, NOT_PURGED, Child, Ledger
from corpus_db.models import now
from corpus_db.reasons import REASONS

SOURCE, CRAWL = SQLModel.metadata.tables["source"], SQLModel.metadata.tables["crawl"]
STALE = ("ok", "failed", "refused", "skipped", "pending")


def open_source(engine: Engine, name: str, shape: str, site: str) -> tuple[int, str | None]:
    """The id of a source, made where it is new, and where it was reached before; its site becomes where it is now."""
    with engine.begin() as connection:
        known = select(SOURCE.c.id, SOURCE.c.site, SOURCE.c.shape).where(SOURCE.c.name == name)
        found = connection.execute(known).first()
        if found is not None:
            if found.shape != shape:
                raise UserError(
                    f"source {name}: this database holds one of that name and of another kind ({found.shape}, not "
                    f"{shape}); give this one another name (import --name) or another database (--db)"
                )
            connection.execute(update(SOURCE).where(SOURCE.c.id == found.id).values(site=site))
            return found.id, found.site
        made = insert(SOURCE).values(name=name, shape=shape, site=site).returning(SOURCE.c.id)
        return connection.execute(made).scalar_one(), None


def open_pass(engine: Engine, source_id: int, roots: Sequence[Child], retry_failed: bool) -> tuple[int, str]:
    """The pass to work on, as (its id, what it is: first, resumed, again, retry).

    An unfinished pass goes on. Else a new one asks for the roots, or with `retry_failed` only for what failed for a
    transient reason.
    """
    seen = now()
    with engine.begin() as connection:
        newest = connection.execute(
            select(CRAWL.c.id, CRAWL.c.finished)
            .where(CRAWL.c.source_id == source_id)
            .order_by(CRAWL.c.id.desc())
            .limit(1)
        ).first()
        resumed = newest is not None and newest.finished is None
        if newest is not None and resumed:
            crawl_id = newest.id
        else:
            made = connection.execute(insert(CRAWL).values(source_id=source_id, started=seen).returning(CRAWL.c.id))
            crawl_id = made.scalar_one()
        if retry_failed:
            transient = [key for key, reason in REASONS.items() if reason.transient]
            failed = (FETCH.c.source_id == source_id) & (FETCH.c.status == "failed") & FETCH.c.reason.in_(transient)
            connection.execute(update(FETCH).where(failed).values(due=True, crawl_id=crawl_id))
        elif not resumed:
            ledger = Ledger(engine, source_id, crawl_id, lambda *_: ())
            rows = [ledger.child_row(child, None, seen) for child in roots]
            add = ledger.inserts(FETCH)
            fresh = {name: add.excluded[name] for name in ("crawl_id", "due", "last_seen")}
            add = add.on_conflict_do_update(index_elements=["source_id", "path"], set_=fresh)
            if rows:  # an import names its resources as it reads
                connection.execute(add, rows)
    return crawl_id, "retry" if retry_failed else "resumed" if resumed else "again" if newest else "first"


def finish(ledger: Ledger) -> dict[str, Any]:
    """End the pass where nothing of it is due: find what the site lists no more, keep and return the summary."""
    with ledger.engine.begin() as connection:
        mine = FETCH.c.source_id == ledger.source_id
        left = connection.scalar(
            select(func.count())
            .select_from(FETCH)
            .where(mine, FETCH.c.due, FETCH.c.crawl_id == ledger.crawl_id)  # beyond a limit, too
        )
        if not left:
            _mark_unlisted(ledger, connection)
        summary = _summary(ledger, connection)
        if not left:
            _end(ledger, connection, json.dumps(summary))
    return summary


def ask_anew_for_missing(connection: Connection, root: Path) -> int:
    """Forget the ETags of images whose file below `root` is gone, so that a pass asks for them whole; how many."""
    image, ref = SQLModel.metadata.tables["image"], SQLModel.metadata.tables["image_ref"]
    rows = connection.execute(select(image.c.sha256, image.c.path))
    missing = [row.sha256 for row in rows if not (root / row.path).is_file()]
    for start in range(0, len(missing), CHUNK):
        names = select(ref.c.source_id, ref.c.path).where(ref.c.image_sha256.in_(missing[start : start + CHUNK]))
        for source_id, path in connection.execute(names.distinct()).all():
            mine = (FETCH.c.source_id == source_id) & (FETCH.c.path == path)
            connection.execute(update(FETCH).where(mine).values(etag=None, last_modified=None))
    return len(missing)


def give_up(ledger: Ledger) -> None:
    """End a pass with some of it still due: what lies beyond its limit will be found by the next."""
    with ledger.engine.begin() as connection:
        _end(ledger, connection, None)


def _end(ledger: Ledger, connection: Connection, summary: str | None) -> None:
    ended = update(CRAWL).where(CRAWL.c.id == ledger.crawl_id)
    connection.execute(ended.values(finished=now(), summary=summary))


def _mark_unlisted(ledger: Ledger, connection: Connection) -> None:
    whole = not connection.scalar(
        select(func.count())
        .select_from(FETCH)
        .where(
            FETCH.c.source_id == ledger.source_id,
            FETCH.c.kind == "list",
            (FETCH.c.status != "ok") | (FETCH.c.crawl_id != ledger.crawl_id),
        )
    )
    parents = select(FETCH.c.id).where(FETCH.c.crawl_id == ledger.crawl_id, FETCH.c.status == "ok")
    orphans: Any = FETCH.c.parent_id.in_(parents)
    if whole and not ledger.partial:
        orphans = orphans | (FETCH.c.kind == "encounter") | ((FETCH.c.kind == "image") & FETCH.c.parent_id.is_(None))
    stale: Any = (
        (FETCH.c.source_id == ledger.source_id)
        & (FETCH.c.crawl_id < ledger.crawl_id)
        & FETCH.c.status.in_(STALE)
        & NOT_PURGED
        & orphans
    )
    lost = select(
        literal(ledger.source_id), literal(ledger.crawl_id), FETCH.c.path, literal("gone"), FETCH.c.sha256
    ).where(stale)
    connection.execute(insert(DRIFT).from_select(["source_id", "crawl_id", "path", "field", "before"], lost))
    gone = {"status": "gone", "reason": "no_longer_listed", "change": "gone", "due": False}
    connection.execute(update(FETCH).where(stale).values(**gone, crawl_id=ledger.crawl_id, last_seen=now()))
    cases = select(FETCH.c.id).where(
        FETCH.c.crawl_id == ledger.crawl_id, FETCH.c.kind == "encounter", FETCH.c.status == "gone"
    )
    images = (FETCH.c.kind == "image") & (FETCH.c.status != "gone") & FETCH.c.parent_id.in_(cases) & NOT_PURGED
    images &= FETCH.c.crawl_id < ledger.crawl_id  # which no other case lists
    gone["reason"] = "case_gone"
    connection.execute(update(FETCH).where(images).values(**gone, crawl_id=ledger.crawl_id, last_seen=now()))


def _summary(ledger: Ledger, connection: Connection) -> dict[str, Any]:
    """Counts of this pass: changes by kind, statuses, reasons of what is not there, drift by field."""
    rows = connection.execute(
        select(FETCH.c.kind, FETCH.c.status, FETCH.c.reason, FETCH.c.change, func.count())
        .where(FETCH.c.source_id == ledger.source_id, FETCH.c.crawl_id == ledger.crawl_id)
        .group_by(FETCH.c.kind, FETCH.c.status, FETCH.c.reason, FETCH.c.change)
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
        select(DRIFT.c.field, func.count()).where(DRIFT.c.crawl_id == ledger.crawl_id).group_by(DRIFT.c.field)
    )
    return {
        "changes": {kind: dict(count) for kind, count in sorted(changes.items())},
        "statuses": dict(sorted(statuses.items())),
        "reasons": dict(sorted(reasons.items())),
        "drift": {name: count for name, count in sorted(map(tuple, drift))},
    }
