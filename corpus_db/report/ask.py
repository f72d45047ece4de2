"""Ask the database about one version, and the few forms in which sections show what they learn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from corpus_db.version import VersionRow

SPLITS = ("train", "val", "test")
NONE = "not labelled"
LONGEST = 600  # characters of a text that a page shows
Counted = list[tuple[str, int, float]]  # label, number, share of all


@dataclass(frozen=True)
class Ask:
    """Runs statements about one version, which they name :v."""

    connection: Connection
    version: VersionRow

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        """All rows of an answer."""
        return self.connection.execute(text(statement), {"v": self.version.id, **values}).all()

    def one(self, statement: str, **values: Any) -> Any:
        """The row of an answer that has one."""
        return self.connection.execute(text(statement), {"v": self.version.id, **values}).one()

    def counts(self, column: str) -> Counted:
        """The pairs by a column of the frozen rows, most first."""
        return counted(
            self.rows(
                f"SELECT {column}, count(*) FROM version_pair WHERE version_id = :v "
                f"GROUP BY {column} ORDER BY count(*) DESC, {column}"
            )
        )


@dataclass(frozen=True)
class Picture:
    """An image to show, with what stands below it; `path` is relative to the folder that holds images/."""

    path: str | None
    says: str
    pair_id: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heat:
    """A table of counts of two columns: `rows` are (label, counts in the order of `heads`, their sum)."""

    corner: str
    heads: list[str]
    rows: list[tuple[str, list[int], int]]
    most: int


def counted(rows: Iterable[Sequence[Any]]) -> Counted:
    """(value, number) as (label, number, share)."""
    found = [(value, count) for value, count in rows]
    total = sum(count for _, count in found) or 1
    return [(NONE if value is None else str(value), count, count / total) for value, count in found]


def heat(corner: str, rows: Iterable[Sequence[Any]]) -> Heat:
    """(row's value, column's value, number) as a table, both sides most first."""
    cells: dict[tuple[str, str], int] = {}
    downs: dict[str, int] = {}
    acrosses: dict[str, int] = {}
    for down, across, count in rows:
        key = down or NONE, across or NONE
        cells[key] = cells.get(key, 0) + count
        downs[key[0]] = downs.get(key[0], 0) + count
        acrosses[key[1]] = acrosses.get(key[1], 0) + count
    heads = sorted(acrosses, key=lambda name: (name == NONE, -acrosses[name], name))
    order = sorted(downs, key=lambda name: (name == NONE, -downs[name], name))
    table = [(name, [cells.get((name, head), 0) for head in heads], downs[name]) for name in order]
    return Heat(corner, heads, table, max(cells.values(), default=1))


def brief(text: str | None, longest: int = 110) -> str:
    """The beginning of a caption, for below a small picture; it ends with a word."""
    line = " ".join((text or "").split())
    if len(line) <= longest:
        return line
    return f"{line[:longest].rpartition(' ')[0] or line[:longest]} …"


def cut(text: str | None, longest: int = LONGEST) -> str:
    """A text, or its beginning with how much was left out."""
    if text is None:
        return ""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest:,} more characters)"
