"""Tell how one version differs from another: the rows added, removed and changed, each with its reason."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, func, or_, select

from corpus_db import version
from corpus_db.changes import SPLIT_MOVED, reasons_of
from corpus_db.gather import table
from corpus_db.sql_output import shown
from corpus_db.tombstones import PURGED
from corpus_db.version import VersionRow

NEW, KEPT_AGAIN, LEFT = "newly_crawled", "no_longer_dropped", "not_in_sources"
_SAYS = {
    NEW: "not there when the first was built",
    KEPT_AGAIN: "left out of the first",
    LEFT: "not in the sources of the second any more",
    PURGED: "taken down for good",
}
_SHOWN = 20  # rows of each kind
_WIDTH = 100  # characters of a value


@dataclass(frozen=True)
class Row:
    """A pair that only one of the versions holds; `split` is where it stands there."""

    pair_id: str
    split: str | None
    reason: str
    detail: str | None = None


@dataclass(frozen=True)
class Change:
    """One column of a pair that both versions hold."""

    column: str
    before: str | None
    after: str | None
    reason: str
    detail: str | None = None


@dataclass(frozen=True)
class Changed:
    """A pair whose frozen row differs."""

    pair_id: str
    changes: list[Change]


@dataclass
class Diff:
    """All differences, by pair id; `unchanged` counts the rows that are equal."""

    a: str
    b: str
    added: list[Row] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    unchanged: int = 0
    purged_in_both: int = 0  # rows of which both versions hold only a hash, or hold none any more

    @property
    def moved(self) -> list[str]:
        """Pairs whose split differs, which must never be."""
        return [row.pair_id for row in self.changed if any(change.reason == SPLIT_MOVED for change in row.changes)]


def diff(engine: Engine, a: str, b: str) -> Diff:
    """How version `b` differs from version `a`: names, tags or hashes, as `version.resolve` takes them."""
    with engine.connect() as connection:
        one, other = version.resolve(connection, a), version.resolve(connection, b)
        found = Diff(one.name, other.name)
        found.removed = sorted(_removed(connection, one, other), key=lambda row: row.pair_id)
        found.added = sorted(_added(connection, one, other), key=lambda row: row.pair_id)
        found.changed = list(_changed(connection, one, other))
        found.unchanged = _common(connection, one, other) - len(found.changed)
        gone = table("version_tombstone")
        both = (
            select(gone.c.pair_id)
            .where(gone.c.version_id == one.id)
            .intersect(select(gone.c.pair_id).where(gone.c.version_id == other.id))
        )
        found.purged_in_both = len(connection.execute(both).all())
    return found


def _only_in(one: VersionRow, other: VersionRow, *names: str) -> Select[Any]:
    """Pairs of the first that the second does not hold, with what the second's build says of them."""
    mine, its, drop = table("version_pair"), table("version_pair").alias("its"), table("version_drop")
    gone = table("version_tombstone")
    return (
        select(mine.c.pair_id, mine.c.split, drop.c.reason, drop.c.detail, gone.c.pair_id.label("purged"))
        .join(its, and_(its.c.pair_id == mine.c.pair_id, its.c.version_id == other.id), isouter=True)
        .join(drop, and_(drop.c.pair_id == mine.c.pair_id, drop.c.version_id == other.id), isouter=True)
        .join(gone, and_(gone.c.pair_id == mine.c.pair_id, gone.c.version_id == other.id), isouter=True)
        .where(mine.c.version_id == one.id, its.c.pair_id.is_(None))
    )


def _removed(connection: Connection, one: VersionRow, other: VersionRow) -> Iterator[Row]:
    for row in connection.execute(_only_in(one, other)):
        reason = row.reason or (PURGED if row.purged else LEFT)
        yield Row(row.pair_id, row.split, reason, row.detail)
    # a row that was taken down before the second was built left a hash in the first alone
    gone = table("version_tombstone")
    mine, its = (select(gone.c.pair_id).where(gone.c.version_id == side.id) for side in (one, other))
    yield from (Row(pair_id, None, PURGED) for pair_id in connection.execute(mine.except_(its)).scalars())


def _added(connection: Connection, one: VersionRow, other: VersionRow) -> Iterator[Row]:
    for row in connection.execute(_only_in(other, one)):
        if row.reason:
            told = f"{row.reason}: {row.detail}" if row.detail else row.reason
            yield Row(row.pair_id, row.split, KEPT_AGAIN, told)
        else:
            yield Row(row.pair_id, row.split, PURGED if row.purged else NEW)


def _changed(connection: Connection, one: VersionRow, other: VersionRow) -> Iterator[Changed]:
    """Rows that differ in any column, with the reason of each column."""
    frozen = table("version_pair")
    old, new = frozen.alias("old"), frozen.alias("new")
    columns = [column.name for column in frozen.c if column.name not in ("version_id", "pair_id")]
    statement = (
        select(old.c.pair_id, *(old.c[name] for name in columns), *(new.c[name] for name in columns))
        .join(new, and_(new.c.pair_id == old.c.pair_id, new.c.version_id == other.id))
        .where(old.c.version_id == one.id, or_(*(old.c[name].is_distinct_from(new.c[name]) for name in columns)))
        .order_by(old.c.pair_id)
    )
    rows = connection.execute(statement).all()
    count = len(columns)
    before = {row[0]: dict(zip(columns, row[1 : 1 + count], strict=True)) for row in rows}
    after = {row[0]: dict(zip(columns, row[1 + count :], strict=True)) for row in rows}
    reasons = reasons_of(connection, one, other, before, after)
    for pair_id in before:
        changes = [
            Change(name, before[pair_id][name], after[pair_id][name], *reasons(pair_id, name))
            for name in columns
            if before[pair_id][name] != after[pair_id][name]
        ]
        yield Changed(pair_id, changes)


def _common(connection: Connection, one: VersionRow, other: VersionRow) -> int:
    old, new = table("version_pair").alias("old"), table("version_pair").alias("new")
    both = and_(new.c.pair_id == old.c.pair_id, new.c.version_id == other.id)
    return connection.execute(
        select(func.count()).select_from(old.join(new, both)).where(old.c.version_id == one.id)
    ).scalar_one()


def plain(found: Diff) -> dict[str, Any]:
    """All of it as JSON can hold it."""
    return {**asdict(found), "moved": found.moved}


def says(reason: str) -> str:
    """What the reason of an added or a removed row means."""
    return _SAYS.get(reason, "left out by the build of the second")


def render_diff(found: Diff) -> list[str]:
    """The counts by reason, then the rows, at most some of each kind."""
    lines = [
        f"{found.a} -> {found.b}: {len(found.added)} added, {len(found.removed)} removed, "
        f"{len(found.changed)} changed, {found.unchanged} unchanged"
    ]
    if found.purged_in_both:
        lines.append(f"not compared: {found.purged_in_both} rows that were taken down in both")
    if moved := found.moved:
        lines.append(f"SPLIT MOVED of {len(moved)} pairs, which must never be: scores across these versions leak")
    for sign, rows in (("+", found.added), ("-", found.removed)):
        for reason, count in Counter(row.reason for row in rows).most_common():
            lines.append(f"{sign} {count:>6}  {reason}: {says(reason)}")
    kinds = Counter((change.column, change.reason) for row in found.changed for change in row.changes)
    lines += [f"~ {count:>6}  {column}: {reason}" for (column, reason), count in kinds.most_common()]
    for sign, rows in (("+", found.added), ("-", found.removed)):
        told = [f"{sign} {row.pair_id}  {row.split or ''}  {row.reason}  {row.detail or ''}" for row in rows]
        lines += _some(told)
    leaking = set(moved)
    moved_first = sorted(found.changed, key=lambda row: row.pair_id not in leaking)
    blocks = [[f"~ {row.pair_id}", *map(_change, row.changes)] for row in moved_first[:_SHOWN]]
    lines += [line for block in blocks for line in block] + _more(len(found.changed))
    return [shown(line).rstrip() for line in lines]


def _some(lines: list[str]) -> list[str]:
    return lines[:_SHOWN] + _more(len(lines))


def _more(count: int) -> list[str]:
    return [f"  ... and {count - _SHOWN} more (--json has all)"] if count > _SHOWN else []


def _change(change: Change) -> str:
    detail = f" ({_cut(change.detail)})" if change.detail else ""
    return f"    {change.column}: {_cut(change.before)} -> {_cut(change.after)}  {change.reason}{detail}"


def _cut(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= _WIDTH else f"{value[: _WIDTH - 1]}…"
