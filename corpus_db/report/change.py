"""How one version differs from another, as a page shows it: counts side by side, and what came, went and changed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, text

from corpus_db import diff as comparing
from corpus_db.gather import CHUNK, table
from corpus_db.report.ask import NONE, Ask, Picture, brief, cut
from corpus_db.report.words import Part, changes
from corpus_db.version import VersionRow, resolve

_COUNTED = ("modality", "plane", "region", "laterality", "split", "source")
_PICTURES = 24  # of a reason
_CAPTIONS = 40  # changed captions that are shown
_VALUES = 60  # kinds of changed values that are listed
_CAPTION = 160  # characters
_NO_VALUES = ("caption", "image_path", "sha256", "caption_group", "duplicate_cluster", "split_group", "title")


@dataclass(frozen=True)
class Moved:
    """The pairs that came or went for one reason, and some of them."""

    reason: str
    says: str
    pairs: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Change:
    """All that differs; `sides` are (label, before, after, difference) by what is counted."""

    found: comparing.Diff
    a: VersionRow
    b: VersionRow
    pairs: tuple[int, int]
    sides: dict[str, list[tuple[str, int, int, str]]]
    added: list[Moved]
    removed: list[Moved]
    columns: list[tuple[str, str, int]]  # column, reason, pairs
    captions: list[tuple[str, str, list[Part]]]  # pair, reason, parts
    values: list[tuple[str, str, str, int]]  # column, before, after, pairs


def change(engine: Engine, a: str, b: str) -> Change:
    """How version `b` differs from version `a`; raises UserError where there is none of that name."""
    found = comparing.diff(engine, a, b)
    with engine.connect() as connection:
        one, other = resolve(connection, found.a), resolve(connection, found.b)
        sides = {name: _side_by_side(connection, one, other, name) for name in _COUNTED}
        return Change(
            found=found,
            a=one,
            b=other,
            pairs=(_pairs(connection, one), _pairs(connection, other)),
            sides=sides,
            added=_moved(connection, other, found.added),
            removed=_moved(connection, one, found.removed),
            columns=_columns(found),
            captions=_captions(found),
            values=_values(found),
        )


def _pairs(connection: Connection, version: VersionRow) -> int:
    return int(Ask(connection, version).one("SELECT count(*) FROM version_pair WHERE version_id = :v")[0])


def _side_by_side(
    connection: Connection, one: VersionRow, other: VersionRow, column: str
) -> list[tuple[str, int, int, str]]:
    statement = text(f"SELECT {column}, count(*) FROM version_pair WHERE version_id = :v GROUP BY {column}")
    before, after = (
        {value or NONE: count for value, count in connection.execute(statement, {"v": side.id})}
        for side in (one, other)
    )
    names = sorted(before | after, key=lambda name: (name == NONE, -max(before.get(name, 0), after.get(name, 0)), name))
    rows = [(name, before.get(name, 0), after.get(name, 0)) for name in names]
    return [(name, was, now, f"{now - was:+,}" if now != was else "0") for name, was, now in rows]


def _moved(connection: Connection, version: VersionRow, rows: Sequence[comparing.Row]) -> list[Moved]:
    by_reason: dict[str, list[comparing.Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.pair_id.encode()).digest()):
        by_reason[row.reason].append(row)
    reasons = sorted(by_reason, key=lambda reason: (-len(by_reason[reason]), reason))
    some = {reason: by_reason[reason][:_PICTURES] for reason in reasons}
    frozen = _frozen(connection, version, [row.pair_id for found in some.values() for row in found])
    return [
        Moved(reason, comparing.says(reason), len(by_reason[reason]), [_picture(row, frozen) for row in some[reason]])
        for reason in reasons
    ]


def _picture(row: comparing.Row, frozen: dict[str, tuple[str, str]]) -> Picture:
    path, caption = frozen.get(row.pair_id, (None, ""))
    tags = tuple(cut(tag, _CAPTION) for tag in (row.split, row.detail) if tag)
    return Picture(path, brief(caption), row.pair_id, tags)


def _frozen(connection: Connection, version: VersionRow, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Pair id -> (image path, caption)."""
    frozen = table("version_pair")
    found: dict[str, tuple[str, str]] = {}
    for at in range(0, len(ids), CHUNK):
        asked = select(frozen.c.pair_id, frozen.c.image_path, frozen.c.caption).where(
            frozen.c.version_id == version.id, frozen.c.pair_id.in_(ids[at : at + CHUNK])
        )
        found |= {pair_id: (path, caption) for pair_id, path, caption in connection.execute(asked)}
    return found


def _changes(found: comparing.Diff) -> Iterable[tuple[str, comparing.Change]]:
    return ((row.pair_id, each) for row in found.changed for each in row.changes)


def _columns(found: comparing.Diff) -> list[tuple[str, str, int]]:
    kinds = Counter((each.column, each.reason) for _, each in _changes(found))
    return [(column, reason, count) for (column, reason), count in kinds.most_common()]


def _captions(found: comparing.Diff) -> list[tuple[str, str, list[Part]]]:
    rows = [(pair_id, each) for pair_id, each in _changes(found) if each.column == "caption"]
    rows.sort(key=lambda row: hashlib.sha256(row[0].encode()).digest())
    return [
        (
            pair_id,
            f"{each.reason}: {each.detail}" if each.detail else each.reason,
            changes(each.before or "", each.after or ""),
        )
        for pair_id, each in rows[:_CAPTIONS]
    ]


def _values(found: comparing.Diff) -> list[tuple[str, str, str, int]]:
    """Labels, splits and the like; not texts, nor hashes, which nobody reads."""
    kinds = Counter(
        (each.column, cut(each.before, _CAPTION) or "none", cut(each.after, _CAPTION) or "none")
        for _, each in _changes(found)
        if each.column not in _NO_VALUES
    )
    return [(*kind, count) for kind, count in kinds.most_common(_VALUES)]
