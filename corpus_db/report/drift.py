"""How the sources have moved: what the last pass over each found new, changed or gone, and what never arrived."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from corpus_db.reasons import REASONS
from corpus_db.report.ask import Ask, cut

CHANGES = ("new", "changed", "gone", "unchanged")
_EXAMPLES = 24
_TEXT = 240  # characters of a value


@dataclass(frozen=True)
class Pass:
    """The last pass over one source."""

    source: str
    started: str
    finished: str  # empty while it can be resumed
    changes: dict[str, int]


@dataclass(frozen=True)
class Drift:
    """What the ledger tells of all sources."""

    passes: list[Pass]
    fields: list[tuple[str, str, int]]  # source, field, changes noted by its last pass
    examples: list[tuple[str, str, str, str]]  # key, field, before, after
    missing: list[tuple[str, str, str, str, int]]  # kind, status, reason, what that means, resources
    newer: int  # records that came after the version was built


_LAST = "SELECT source_id, max(id) AS id FROM crawl GROUP BY source_id"


def drift(ask: Ask, raw: bool) -> Drift:
    """Counted from the ledger; `raw`: with the texts that changed, which must not be published."""
    passes = _passes(ask)
    fields = ask.rows(
        "SELECT source.name, drift.field, count(*) FROM drift JOIN source ON source.id = drift.source_id "
        f"JOIN ({_LAST}) AS last ON last.id = drift.crawl_id GROUP BY source.name, drift.field "
        "ORDER BY count(*) DESC, source.name, drift.field"
    )
    examples = ask.rows(
        "SELECT coalesce(drift.key, drift.path), drift.field, drift.before, drift.after FROM drift "
        f"JOIN ({_LAST}) AS last ON last.id = drift.crawl_id ORDER BY drift.id LIMIT :most",
        most=_EXAMPLES,
    )
    missing = ask.rows(
        'SELECT kind, status, reason, count(*) FROM "fetch" '  # a reserved word on PostgreSQL
        "WHERE status <> 'ok' GROUP BY kind, status, reason ORDER BY count(*) DESC, kind, status, reason"
    )
    (newer,) = ask.one(
        "SELECT count(*) FROM raw_record WHERE seen_at > (SELECT created FROM version WHERE version.id = :v)"
    )
    return Drift(
        passes,
        [tuple(row) for row in fields],
        [(key, field, cut(before, _TEXT), cut(after, _TEXT)) for key, field, before, after in examples] if raw else [],
        [(kind, status, reason or "", _says(status, reason), count) for kind, status, reason, count in missing],
        newer,
    )


def _says(status: str, reason: str | None) -> str:
    if status == "pending":
        return "not asked for yet"
    return REASONS[reason].says if reason in REASONS else ""


def _passes(ask: Ask) -> list[Pass]:
    counts: dict[int, Counter[str]] = {}
    rows: Any = ask.rows(
        'SELECT crawl_id, change, count(*) FROM "fetch" '
        f"JOIN ({_LAST}) AS last ON last.id = crawl_id GROUP BY crawl_id, change"
    )
    for crawl_id, change, count in rows:
        counts.setdefault(crawl_id, Counter())[change or ""] += count
    last = ask.rows(
        "SELECT crawl.id, source.name, crawl.started, crawl.finished FROM crawl "
        f"JOIN ({_LAST}) AS last ON last.id = crawl.id JOIN source ON source.id = crawl.source_id ORDER BY source.name"
    )
    return [
        Pass(
            name,
            str(started)[:16],
            str(finished)[:16] if finished else "",
            {change: counts.get(crawl_id, Counter())[change] for change in CHANGES},
        )
        for crawl_id, name, started, finished in last
    ]
