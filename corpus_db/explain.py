"""Explain one pair, or an image that is none: where it came from, what was done to it, and where it went."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, Text, cast, or_, select, text

from corpus_db.errors import UserError
from corpus_db.gather import site_paths, table
from corpus_db.records import CaseRecord, ImageRecord, Readers
from corpus_db.sql_output import shown
from corpus_db.text import storable_json

_MAX_OFFERED = 5


def explain(engine: Engine, key: str, readers: Readers | None = None) -> dict[str, Any]:
    """All that is known of a pair id, an upstream image id, an upstream name or a unique beginning of one.

    `readers` (by source.shape) find an image that became no pair by its upstream id, too; without them, by its name.
    """
    key = key.strip()
    if not key or re.search("[\x00\ud800-\udfff]", key):
        raise UserError("give a pair id, an image id or an image name such as synpic54610")
    with engine.connect() as connection:
        pair_id = _pair_of(connection, key)
        if pair_id is not None:
            return _explain_pair(connection, pair_id)
        found = _explain_unpaired(connection, key, readers or {})
    if found is None:
        raise UserError(
            f"{shown(key)}: no pair or image of that id or name; python cli.py sql 'SELECT pair_id FROM rgc'"
        )
    return found


def _pair_of(connection: Connection, key: str) -> str | None:
    pair = table("pair")
    names = (pair.c.id, pair.c.upstream_id, pair.c.upstream_name)
    exact = or_(*(name == key for name in names))
    begins = or_(*(name.startswith(key, autoescape=True) for name in names))
    for condition in (pair.c.id == key, exact, begins):
        found = connection.execute(select(pair.c.id).where(condition).order_by(pair.c.id).limit(_MAX_OFFERED + 1))
        ids = list(found.scalars())
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise _ambiguous(key, ids)
    return None


def _ambiguous(key: str, found: list[str]) -> UserError:
    more = ", ..." if len(found) > _MAX_OFFERED else ""
    return UserError(f"{shown(key)}: which one? {', '.join(map(shown, found[:_MAX_OFFERED]))}{more}")


def _explain_pair(connection: Connection, pair_id: str) -> dict[str, Any]:
    pair = _row(connection, "SELECT * FROM pair WHERE id = :id", id=pair_id)
    assert pair is not None
    case = _row(connection, "SELECT * FROM study_case WHERE id = :id", id=pair["study_case_id"])
    assert case is not None
    version_id = _build_of(connection, pair_id)
    ref = _row(
        connection,
        "SELECT path FROM image_ref WHERE source_id = :source_id AND upstream_name = :name AND image_sha256 = :sha256 "
        "ORDER BY id DESC LIMIT 1",
        source_id=pair["source_id"],
        name=pair["upstream_name"],
        sha256=pair["image_sha256"],
    )
    shared = ("id", "upstream_id", "upstream_name", "status", "drop_reason", "caption_raw", "caption")
    labels = ("modality_raw", "modality", "plane_raw", "plane", "age", "sex", "acr_code", "figure_part", "credit")
    return {
        **{name: pair[name] for name in (*shared, *labels)},
        "source": _row(connection, "SELECT name, site, licence FROM source WHERE id = :id", id=pair["source_id"]),
        "case": {name: case[name] for name in ("id", "title", "diagnosis", "topic", "location")},
        "fetch": _fetch(connection, pair["source_id"], ref["path"]) if ref else None,
        "case_fetch": _case_fetch(connection, pair["source_id"], case["upstream_id"]),
        "raw_records": _raw_records(connection, pair["source_id"], case["upstream_id"]),
        "image": _row(connection, "SELECT * FROM image WHERE sha256 = :sha256", sha256=pair["image_sha256"]),
        "names": _names(connection, pair["image_sha256"]),
        "edits": _votes(connection, "SELECT step, rule, before, after FROM edit", "step", pair_id, version_id),
        "labels": _votes(connection, "SELECT field, value, evidence, confidence FROM label", "id", pair_id, version_id),
        "versions": _rows(
            connection,
            "SELECT version.name, version_pair.split, version_pair.caption, current_version.id IS NOT NULL AS current "
            "FROM version_pair JOIN version ON version.id = version_pair.version_id "
            "LEFT JOIN current_version ON current_version.version_id = version.id "
            "WHERE pair_id = :id ORDER BY version.id",
            id=pair_id,
        ),
    }


def _explain_unpaired(connection: Connection, key: str, readers: Readers) -> dict[str, Any] | None:
    fetched = _fetches_named(connection, key)
    listing = _listing(connection, key, readers) if len(fetched) != 1 else None
    if listing is not None:
        source_id, case, image = listing
        fetch = next((row for path in site_paths(image.url) if (row := _fetch(connection, source_id, path))), None)
        return _unpaired(connection, source_id, fetch, case, image)
    if len(fetched) > 1:
        raise _ambiguous(key, [row["path"] for row in fetched])
    if not fetched:
        return None
    name = re.split(r"[/=]", fetched[0]["path"])[-1].partition(".")[0]
    listing = _listing(connection, name, readers)
    known = listing[1:] if listing else (None, None)
    return _unpaired(connection, fetched[0]["source_id"], fetched[0], *known)


def _unpaired(
    connection: Connection,
    source_id: int,
    fetch: dict[str, Any] | None,
    case: CaseRecord | None,
    image: ImageRecord | None,
) -> dict[str, Any]:
    parent = _row(connection, 'SELECT * FROM "fetch" WHERE id = :id', id=fetch["parent_id"]) if fetch else None
    key = case.key if case else re.split(r"[/=]", parent["path"])[-1] if parent else None
    status = fetch["status"] if fetch else image.withheld if image and image.withheld else "never fetched"
    return {
        "id": None,
        "upstream_id": image.key if image else None,
        "upstream_name": image.name if image else None,
        "status": f"no pair: its image is {status}" if status != "ok" else "no pair yet: run python cli.py build",
        "drop_reason": (fetch or {}).get("reason") or (image.withheld if image else None),
        "caption_raw": image.caption if image else None,
        "modality_raw": image.modality if image else None,
        "plane_raw": image.plane if image else None,
        "source": _row(connection, "SELECT name, site, licence FROM source WHERE id = :id", id=source_id),
        "fetch": fetch,
        "case_fetch": parent,
        "raw_records": _raw_records(connection, source_id, key) if key else [],
    }


def _fetches_named(connection: Connection, key: str) -> list[dict[str, Any]]:
    """Image rows of the ledger whose address is the key, or whose file name is or begins so."""
    fetch = table("fetch")
    last = fetch.c.path.contains("/" + key, autoescape=True)
    statement = select(fetch).where(fetch.c.kind == "image", or_(fetch.c.path == key, last)).order_by(fetch.c.path)
    rows = [_timeless(row) for row in connection.execute(statement.limit(200)).mappings()]
    named = [row for row in rows if re.split(r"[/=]", row["path"])[-1].partition(".")[0] == key]
    begins = [row for row in rows if row["path"] == key or row["path"].rpartition("/")[2].startswith(key)]
    return named or begins[: _MAX_OFFERED + 1]


def _listing(connection: Connection, key: str, readers: Readers) -> tuple[int, CaseRecord, ImageRecord] | None:
    """The newest raw record that lists an image of exactly this id or name."""
    raw, source = table("raw_record"), table("source")
    document = cast(raw.c.body, Text)
    statement = (
        select(raw.c.source_id, raw.c.kind, raw.c.body, source.c.shape)
        .join(source, source.c.id == raw.c.source_id)
        .where(document.contains(key, autoescape=True))
        .order_by(raw.c.id.desc())
    )
    for row in connection.execute(statement.execution_options(yield_per=50)):
        record = readers[row.shape](row.kind, storable_json(row.body)) if row.shape in readers else None
        if isinstance(record, CaseRecord):
            for image in record.images:
                if key in (image.key, image.name):
                    return row.source_id, record, image
    return None


def _build_of(connection: Connection, pair_id: str) -> int | None:
    """The version whose build is told: the current one where it voted on the pair, else the last that did."""
    row = _row(
        connection,
        "SELECT votes.version_id FROM (SELECT version_id FROM edit WHERE pair_id = :id "
        "UNION SELECT version_id FROM label WHERE pair_id = :id) AS votes "
        "LEFT JOIN current_version ON current_version.version_id = votes.version_id "
        "ORDER BY CASE WHEN current_version.id IS NULL THEN 1 ELSE 0 END, votes.version_id DESC LIMIT 1",
        id=pair_id,
    )
    return row["version_id"] if row else None


def _votes(connection: Connection, head: str, order: str, pair_id: str, version_id: int | None) -> list[dict[str, Any]]:
    statement = f"{head} WHERE pair_id = :id AND version_id = :version_id ORDER BY {order}"
    return _rows(connection, statement, id=pair_id, version_id=version_id)


def _fetch(connection: Connection, source_id: int, path: str) -> dict[str, Any] | None:
    return _row(connection, 'SELECT * FROM "fetch" WHERE source_id = :id AND path = :path', id=source_id, path=path)


def _case_fetch(connection: Connection, source_id: int, key: str) -> dict[str, Any] | None:
    fetch = table("fetch")
    ends = or_(fetch.c.path.endswith("=" + key, autoescape=True), fetch.c.path.endswith("/" + key, autoescape=True))
    kinds = select(table("raw_record").c.kind).where(table("raw_record").c.key == key)
    statement = select(fetch).where(fetch.c.source_id == source_id, fetch.c.kind.in_(kinds), ends).order_by(fetch.c.id)
    row = connection.execute(statement.limit(1)).mappings().first()
    return _timeless(row) if row else None


def _raw_records(connection: Connection, source_id: int, key: str) -> list[dict[str, Any]]:
    statement = "SELECT id, kind, key, sha256, seen_at FROM raw_record WHERE source_id = :source_id AND key = :key"
    return _rows(connection, f"{statement} ORDER BY id", source_id=source_id, key=key)


def _names(connection: Connection, sha256: str) -> list[dict[str, Any]]:
    """Every name under which these bytes were seen, in all sources."""
    return _rows(
        connection,
        "SELECT source.name AS source, image_ref.upstream_name, image_ref.path, min(image_ref.seen_at) AS seen_at "
        "FROM image_ref JOIN source ON source.id = image_ref.source_id WHERE image_sha256 = :sha256 "
        "GROUP BY source.name, image_ref.upstream_name, image_ref.path ORDER BY source.name, image_ref.upstream_name",
        sha256=sha256,
    )


def _rows(connection: Connection, statement: str, **values: Any) -> list[dict[str, Any]]:
    return [_timeless(row) for row in connection.execute(text(statement), values).mappings()]


def _row(connection: Connection, statement: str, **values: Any) -> dict[str, Any] | None:
    row = connection.execute(text(statement), values).mappings().first()
    return _timeless(row) if row else None


def _timeless(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row whose times are text to the second, as SQLite gives them, so that JSON holds it."""
    times = ("seen_at", "first_seen", "last_seen")
    return {name: str(value)[:19] if name in times and value else value for name, value in row.items()}
