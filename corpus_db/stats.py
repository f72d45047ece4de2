"""Count what a corpus holds, from the ledger to the current version, and list its versions."""

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sqlalchemy import Connection, Engine, text

from corpus_db.sql_output import shown

SPLITS = ("train", "val", "test")


def stats(engine: Engine) -> dict[str, Any]:
    """What there is of everything; plain values that JSON can hold."""
    with engine.connect() as connection:
        return {
            "sources": _rows(connection, "SELECT name, site, licence FROM source ORDER BY name"),
            "fetch": _rows(
                connection,
                'SELECT kind, status, reason, count(*) AS count FROM "fetch" '  # a reserved word on PostgreSQL
                "GROUP BY kind, status, reason ORDER BY kind, status, count(*) DESC, reason",
            ),
            "raw_records": _one(connection, "SELECT count(*) FROM raw_record"),
            "images": _one(connection, "SELECT count(*) FROM image"),
            "image_bytes": int(_one(connection, "SELECT coalesce(sum(bytes), 0) FROM image")),
            "cases": _one(connection, "SELECT count(*) FROM study_case"),
            "pairs": _rows(
                connection,
                "SELECT status, drop_reason, count(*) AS count FROM pair "
                "GROUP BY status, drop_reason ORDER BY status DESC, count(*) DESC, drop_reason",
            ),
            "current": _current(connection),
        }


def versions(engine: Engine) -> list[dict[str, Any]]:
    """Every version, oldest first, with its sizes, its tags and its parent's name."""
    statement = """
        SELECT version.name, parent.name AS parent, version.manifest_sha256, version.created, version.config,
               current_version.version_id IS NOT NULL AS current,
               count(version_pair.pair_id) AS pairs, count(DISTINCT version_pair.case_id) AS cases,
               coalesce(sum(CASE WHEN split = 'train' THEN 1 END), 0) AS train,
               coalesce(sum(CASE WHEN split = 'val' THEN 1 END), 0) AS val,
               coalesce(sum(CASE WHEN split = 'test' THEN 1 END), 0) AS test
        FROM version
        LEFT JOIN version AS parent ON parent.id = version.parent_id
        LEFT JOIN current_version ON current_version.version_id = version.id
        LEFT JOIN version_pair ON version_pair.version_id = version.id
        GROUP BY version.id, version.name, parent.name, version.manifest_sha256, version.created, version.config,
                 current_version.version_id
        ORDER BY version.id
    """
    with engine.connect() as connection:
        rows = _rows(connection, statement)
        tags: dict[str, list[str]] = {row["name"]: [] for row in rows}
        for tag in _rows(connection, "SELECT tag, name FROM version_tag JOIN version ON id = version_id ORDER BY tag"):
            tags[tag["name"]].append(tag["tag"])
    return [
        {
            **row,
            "tags": tags[row["name"]],
            "created": str(row["created"])[:19],
            "current": bool(row["current"]),
            "config": json.loads(row["config"]),
        }
        for row in rows
    ]


def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(statement)).mappings()]


def _one(connection: Connection, statement: str) -> Any:
    return connection.execute(text(statement)).scalar()


def _current(connection: Connection) -> dict[str, Any] | None:
    name = _one(connection, "SELECT name FROM version JOIN current_version ON version_id = version.id")
    if name is None:
        return None
    counts: dict[str, dict[str, int]] = {}
    grouped = "SELECT modality, split, count(*) AS count FROM rgc GROUP BY modality, split ORDER BY modality"
    for row in _rows(connection, grouped):
        counts.setdefault(row["modality"] or "", dict.fromkeys(SPLITS, 0))[row["split"]] = row["count"]
    words = [len(caption.split()) for (caption,) in connection.execute(text("SELECT caption FROM rgc"))]
    return {
        "version": name,
        "pairs": len(words),
        "cases": _one(connection, "SELECT count(DISTINCT case_id) FROM rgc"),
        "modality_split": counts,
        "distinct_captions": _one(connection, "SELECT count(DISTINCT caption_group) FROM rgc"),
        "caption_words": {"min": min(words), "median": median(words), "max": max(words)} if words else None,
    }


def render_stats(found: Mapping[str, Any]) -> list[str]:
    """Stats as lines for a terminal."""
    lines = [f"source    {source['name']}  {source['site'] or ''}".rstrip() for source in found["sources"]]
    for row in found["fetch"]:
        reason = f" ({row['reason']})" if row["reason"] else ""
        lines.append(f"fetch     {row['kind']:<10} {row['status']:<8} {row['count']:>8}{reason}")
    lines.append(f"raw       {found['raw_records']} records")
    lines.append(f"images    {found['images']} distinct, {found['image_bytes'] / 1e6:.1f} MB")
    lines.append(f"cases     {found['cases']}")
    for row in found["pairs"]:
        lines.append(f"pairs     {row['status']:<8} {row['count']:>8}  {row['drop_reason'] or ''}".rstrip())
    lines += _render_current(found["current"])
    return [shown(line) for line in lines]


def _render_current(current: Mapping[str, Any] | None) -> list[str]:
    if current is None:
        return ["version   none yet; make one with: python cli.py build"]
    lines = [
        f"version   {current['version']}: {current['pairs']} pairs of {current['cases']} cases, "
        f"{current['distinct_captions']} distinct captions"
    ]
    if words := current["caption_words"]:
        lines.append(f"words     {words['min']} / {words['median']:g} / {words['max']} a caption (min, median, max)")
    lines.append("          modality " + " ".join(f"{split:>8}" for split in SPLITS))
    for modality, counts in current["modality_split"].items():
        lines.append(f"          {modality:<8} " + " ".join(f"{counts[split]:>8}" for split in SPLITS))
    return lines


def render_versions(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Versions as an aligned table; a star marks the current one."""
    if not found:
        return ["no version yet; make one with: python cli.py build"]
    width = max(len(row["name"]) for row in found)
    head = f"  {'name':<{width}}  {'pairs':>7} {'cases':>6} {'train':>7} {'val':>6} {'test':>6}"
    lines = [
        f"{head}  {'created':<19}  {'manifest':<16}{'  tags' if any(row['tags'] for row in found) else ''}".rstrip()
    ]
    for row in found:
        lines.append(
            f"{'*' if row['current'] else ' '} {row['name']:<{width}}  {row['pairs']:>7} {row['cases']:>6} "
            f"{row['train']:>7} {row['val']:>6} {row['test']:>6}  {row['created']}  {row['manifest_sha256'][:16]}"
            f"{'  ' + ', '.join(row['tags']) if row['tags'] else ''}"
        )
    return [shown(line) for line in lines]
