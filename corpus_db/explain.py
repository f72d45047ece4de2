"""Explain one pair, or an image that is none: where it came from, what was done to it, and where it went."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Text, cast, or_, select, text

from corpus_db import verdicts
from corpus_db.errors import UserError
from corpus_db.gather import pairs_of_file, site_paths, table
from corpus_db.models import QUESTIONS
from corpus_db.records import CaseRecord, ImageRecord, Readers
from corpus_db.sql_output import shown
from corpus_db.text import UNSTORABLE, storable_json
from corpus_db.tombstones import PURGED
from corpus_db.version import VersionRow, resolve

_MAX_OFFERED = 5
_FIELDS = (
    *("id", "upstream_id", "upstream_name", "status", "drop_reason", "drop_detail", "caption_raw", "caption"),
    *("modality_raw", "modality", "plane_raw", "plane", "region", "laterality"),
    *("age", "sex", "acr_code", "figure_part", "credit"),
)
_VOTES = {  # table -> what of it is told, and in which order
    "edit": ("step, rule, before, after", "step"),
    "label": ("field, value, voter, evidence, confidence", "id"),
    "conflict": ("field, value, voter, evidence, other_value, other_voter, other_evidence", "id"),
    "duplicate": ("cluster, kind, distance, like_pair_id", "id"),
}


@dataclass(frozen=True)
class Found:
    """The image that a key names."""

    pair_id: str | None  # null where it became no pair
    source_id: int
    source: str
    upstream_id: str  # empty where it was taken down, and only its address is left
    upstream_name: str


def explain(engine: Engine, key: str, readers: Readers | None = None, version: str | None = None) -> dict[str, Any]:
    """All that is known of a pair id, an upstream image id, an upstream name or a unique beginning of one.

    `readers` (by source.shape) find an image that became no pair by its upstream id, too; without them, by its name.
    `version`: tell it as that version's build had it, not as the last one.
    """
    key = checked(key)
    with engine.connect() as connection:
        asked = resolve(connection, version) if version is not None else None
        pair_id = pair_of(connection, key)
        if pair_id is not None:
            return _explain_pair(connection, pair_id, asked)
        found = _explain_unpaired(connection, key, readers or {})
        if found is None:
            resolve(connection, None)  # before the first build no pair has an id
            raise unknown(key)
    if asked is not None:
        raise UserError(f"{shown(key)}: no pair, so no version holds it; leave out the version to hear why")
    return found


def find(connection: Connection, key: str, readers: Readers) -> Found:
    """The image that a key names, one that was taken down, too: by its whole id or name, for what cannot be undone.

    The id of a figure whose panels are pairs names the first of them.
    """
    key = checked(key)
    pair_id = _first_panel(connection, key) or pair_of(connection, key)
    told = _known(connection, pair_id) if pair_id else _explain_unpaired(connection, key, readers)
    if told is None:
        raise unknown(key)
    if told["upstream_id"] is None and (told["fetch"] or {}).get("reason") != PURGED:
        raise UserError(f"{shown(key)}: an image that no raw record lists; there is nothing of it but its address")
    source_id = _row(connection, "SELECT id FROM source WHERE name = :name", name=told["source"]["name"])
    assert source_id is not None
    name = told["upstream_name"] or key
    whole = {pair_id, told["upstream_id"], name, f"{told['source']['name']}:{told['upstream_id']}"}
    if key not in whole | {(one or "").partition("#")[0] for one in whole}:
        raise UserError(f"{shown(key)}: give the whole id or name; did you mean {shown(pair_id or name)}?")
    return Found(pair_id, source_id["id"], told["source"]["name"], told["upstream_id"] or "", name)


def checked(key: str) -> str:
    key = key.strip()
    if not key or UNSTORABLE.search(key):
        raise UserError("give a pair id, an image id or an image name such as synpic54610")
    return key


def unknown(key: str) -> UserError:
    return UserError(f"{shown(key)}: no pair or image of that id or name; python cli.py sql 'SELECT pair_id FROM rgc'")


def _first_panel(connection: Connection, key: str) -> str | None:
    pair, frozen = table("pair"), table("version_pair")
    for id_, own in ((pair.c.id, pair.c.upstream_id), (frozen.c.pair_id, frozen.c.source_id)):
        of_figure = or_(*(name.startswith(f"{key}#", autoescape=True) for name in (id_, own)))
        if found := connection.execute(select(id_).where(of_figure).order_by(id_).limit(1)).scalar():
            return str(found)
    return None


def pair_of(connection: Connection, key: str) -> str | None:
    """The pair that a key names: of the last build, of any version, or taken down; whole names before beginnings."""
    pair, frozen, gone = table("pair"), table("version_pair"), table("tombstone")
    places = (
        (pair.c.id, pair.c.upstream_id, pair.c.upstream_name),
        (frozen.c.pair_id, frozen.c.source_id, frozen.c.upstream_name),
        (gone.c.pair_id,),
    )
    conditions = [(names[0], names[0] == key) for names in places]
    conditions += [(names[0], or_(*(name == key for name in names))) for names in places]
    conditions += [(names[0], or_(*(name.startswith(key, autoescape=True) for name in names))) for names in places]
    for id_, condition in conditions:
        found = connection.execute(select(id_).distinct().where(condition).order_by(id_).limit(_MAX_OFFERED + 1))
        ids = list(found.scalars())
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise _ambiguous(key, ids)
    of_file = pairs_of_file(connection, key, _MAX_OFFERED + 1)
    if len(of_file) > 1:
        raise _ambiguous(key, of_file)
    return next(iter(of_file), None)


def _ambiguous(key: str, found: list[str]) -> UserError:
    more = ", ..." if len(found) > _MAX_OFFERED else ""
    return UserError(f"{shown(key)}: which one? {', '.join(map(shown, found[:_MAX_OFFERED]))}{more}")


def _explain_pair(connection: Connection, pair_id: str, asked: VersionRow | None) -> dict[str, Any]:
    told = _known(connection, pair_id)
    name, digest = told["upstream_name"], told.pop("image_sha256")
    build = asked.id if asked else _build_of(connection, pair_id)
    if asked:
        told |= _as_in(connection, pair_id, asked)
        digest = told.pop("sha256", digest)
    source_id = told.pop("source_id")
    ref = _row(
        connection,
        "SELECT path FROM image_ref WHERE source_id = :source_id AND upstream_name = :name AND image_sha256 = :sha256 "
        "ORDER BY id DESC LIMIT 1",
        source_id=source_id,
        name=name,
        sha256=digest,
    )
    case_key = (told["case"] or {"id": ""})["id"].partition(":")[2]
    votes = {name: _votes(connection, name, pair_id, build) for name in _VOTES}
    return {
        **told,
        "version": asked.name if asked else None,
        "fetch": _fetch(connection, source_id, ref["path"]) if ref else None,
        "case_fetch": _case_fetch(connection, source_id, case_key),
        "raw_records": _raw_records(connection, source_id, case_key),
        "image": _row(connection, "SELECT * FROM image WHERE sha256 = :sha256", sha256=digest),
        "names": _names(connection, digest) if digest else [],
        "edits": votes["edit"],
        "labels": votes["label"],
        "conflicts": votes["conflict"],
        "duplicates": votes["duplicate"],
        "verdicts": list(_verdicts(connection, told, votes["label"])),
        "versions": _versions(connection, pair_id),
    }


def _known(connection: Connection, pair_id: str) -> dict[str, Any]:
    """A pair as the last build left it; else as the newest version that holds it; else that it was taken down."""
    pair = _row(connection, "SELECT * FROM pair WHERE id = :id", id=pair_id)
    frozen = None
    if pair is None:
        newest = "SELECT * FROM version_pair WHERE pair_id = :id ORDER BY version_id DESC LIMIT 1"
        frozen = _row(connection, newest, id=pair_id)
    source_name = frozen["source"] if frozen else pair_id.partition(":")[0]
    source = _row(
        connection,
        "SELECT id, name, site, licence FROM source WHERE " + ("id = :key" if pair else "name = :key"),
        key=pair["source_id"] if pair else source_name,
    )
    assert source is not None
    told = dict.fromkeys(_FIELDS) | {"id": pair_id, "case": None, "image_sha256": None, "source_id": source.pop("id")}
    if pair:
        case = _row(connection, "SELECT * FROM study_case WHERE id = :id", id=pair["study_case_id"]) or {}
        told |= {name: pair[name] for name in _FIELDS} | {"image_sha256": pair["image_sha256"]}
        told["case"] = {name: case.get(name) for name in ("id", "title", "diagnosis", "topic", "location")}
    elif frozen:
        told |= _from_frozen(frozen) | {"status": "in the last build no more", "upstream_id": frozen["source_id"]}
        told["image_sha256"] = told.pop("sha256")
    else:
        gone = _row(connection, "SELECT at, why FROM tombstone WHERE pair_id = :id", id=pair_id) or {}
        told |= {"status": f"taken down on {str(gone.get('at'))[:10]}", "drop_reason": gone.get("why")}
        told["upstream_id"] = pair_id.partition(":")[2]
    return told | {"source": source}


def _from_frozen(frozen: Mapping[str, Any]) -> dict[str, Any]:
    same = ("upstream_name", "caption", "modality", "plane", "region", "laterality", "credit", "sha256")
    case = {"id": frozen["case_id"], "title": frozen["title"], "diagnosis": frozen["diagnosis"]}
    return {**{name: frozen[name] for name in same}, "case": case}


def _as_in(connection: Connection, pair_id: str, asked: VersionRow) -> dict[str, Any]:
    """What a version froze of the pair, or why it left it out."""
    where = "WHERE pair_id = :id AND version_id = :version_id"
    found = {
        name: _row(connection, f"SELECT * FROM {name} {where}", id=pair_id, version_id=asked.id)
        for name in ("version_pair", "version_drop", "version_tombstone")
    }
    first = _row(connection, f"SELECT before FROM edit {where} ORDER BY step LIMIT 1", id=pair_id, version_id=asked.id)
    if frozen := found["version_pair"]:
        told = {"status": "kept", "drop_reason": None, "drop_detail": None, **_from_frozen(frozen)}
        return {**told, "caption_raw": first["before"] if first else frozen["caption"]}
    if drop := found["version_drop"]:
        told = {"status": "dropped", "drop_reason": drop["reason"], "drop_detail": drop["detail"]}
        return told | ({"caption_raw": first["before"]} if first else {})
    if found["version_tombstone"]:
        return {"status": "taken down"}
    raise UserError(f"{shown(pair_id)}: version {shown(asked.name)} neither holds nor left out this pair")


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
    source = _row(connection, "SELECT name, site, licence, shape FROM source WHERE id = :id", id=source_id)
    told = f"no pair: its image is {status}" if status != "ok" else "no pair yet: run python cli.py build"
    if source and source.pop("shape") == QUESTIONS:
        told = f"no pair: an image of the evaluation set {source['name']}"
    return {
        "id": None,
        "upstream_id": image.key if image else None,
        "upstream_name": image.name if image else None,
        "status": told,
        "drop_reason": (fetch or {}).get("reason") or (image.withheld if image else None),
        "caption_raw": image.caption if image else None,
        "modality_raw": image.modality if image else None,
        "plane_raw": image.plane if image else None,
        "source": source,
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
        "UNION SELECT version_id FROM label WHERE pair_id = :id "
        "UNION SELECT version_id FROM duplicate WHERE pair_id = :id) AS votes "
        "LEFT JOIN current_version ON current_version.version_id = votes.version_id "
        "ORDER BY CASE WHEN current_version.id IS NULL THEN 1 ELSE 0 END, votes.version_id DESC LIMIT 1",
        id=pair_id,
    )
    return row["version_id"] if row else None


def _votes(connection: Connection, name: str, pair_id: str, version_id: int | None) -> list[dict[str, Any]]:
    columns, order = _VOTES[name]
    statement = f"SELECT {columns} FROM {name} WHERE pair_id = :id AND version_id = :version_id ORDER BY {order}"
    return _rows(connection, statement, id=pair_id, version_id=version_id)


def _verdicts(connection: Connection, told: Mapping[str, Any], votes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What persons decided, oldest first, each with what became of it in the build that is told."""
    statement = 'SELECT id, decision, field, value, "by", at, why FROM verdict WHERE pair_id = :id ORDER BY id'
    rows = _rows(connection, statement, id=told["id"])
    counting = {row["id"] for row in verdicts.counting(rows).values()}
    for row in rows:
        if row["decision"] == verdicts.WITHDRAW:
            outcome = "takes back what was decided before"
        elif row["id"] not in counting:
            outcome = "replaced or withdrawn"
        else:
            known = told["status"] in ("kept", "dropped")
            outcome = verdicts.outcome(row, told, votes) if known else told["status"]
        yield {name: value for name, value in row.items() if name != "id"} | {"outcome": outcome}


def _versions(connection: Connection, pair_id: str) -> list[dict[str, Any]]:
    """The versions that hold the pair, and those that left it out and why, oldest first."""
    return _rows(
        connection,
        "SELECT version.name, told.split, told.caption, told.reason, told.detail, "
        "current_version.id IS NOT NULL AS current FROM ("
        "SELECT version_id, split, caption, NULL AS reason, NULL AS detail FROM version_pair WHERE pair_id = :id "
        "UNION ALL SELECT version_id, NULL, NULL, reason, detail FROM version_drop WHERE pair_id = :id "
        f"UNION ALL SELECT version_id, NULL, NULL, '{PURGED}', NULL FROM version_tombstone WHERE pair_id = :id"
        ") AS told JOIN version ON version.id = told.version_id "
        "LEFT JOIN current_version ON current_version.version_id = version.id ORDER BY version.id",
        id=pair_id,
    )


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
    times = ("seen_at", "first_seen", "last_seen", "at")
    return {name: str(value)[:19] if name in times and value else value for name, value in row.items()}
