"""Take a pair down in every version, for good, and leave a tombstone, so that no crawl and no build brings it back."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection, Engine, Text, cast, delete, func, or_, select, text, update

from corpus_db import collect, db, version
from corpus_db.collect import Collected, gc, render_collected
from corpus_db.errors import UserError
from corpus_db.explain import Found, find
from corpus_db.gather import key_of_path, table
from corpus_db.models import now
from corpus_db.recent import packs
from corpus_db.records import Readers
from corpus_db.sql_output import shown
from corpus_db.text import storable
from corpus_db.tombstones import PURGED, redact, refused_bytes

__all__ = ["Collected", "Purged", "gc", "purge", "render_collected", "render_purged"]
_TOLD_OF_PAIRS = ("version_drop", "edit", "label", "conflict", "duplicate", "verdict")  # by builds and by persons


@dataclass
class Purged:
    """What was taken down; plain values that JSON can hold."""

    pair_ids: list[str]
    versions: list[str] = field(default_factory=list)  # that held it
    raw_records: int = 0  # from which it was cut out
    files: list[str] = field(default_factory=list)  # images removed from the disk
    kept_files: dict[str, list[str]] = field(default_factory=dict)  # images that stay -> what else refers to them
    same_picture: list[str] = field(default_factory=list)  # other pairs that show it under other bytes
    left_to_do: list[str] = field(default_factory=list)  # what could not be wiped or removed, and how to


def purge(engine: Engine, key: str, why: str | None = None, readers: Readers | None = None) -> Purged:
    """Take down what a key names, as `explain` takes it: a pair id, an upstream id or name.

    All panels of its image go with it. Frozen rows leave their hash, raw records lose the image's entry, its bytes go
    where nothing else refers to them, and what training packed goes whole. One transaction, then the files; `gc`, or
    the same command again, finishes what a kill cut short. The caller holds `db.exclusive`. Raises UserError where the
    key names nothing, or several things.
    """
    with engine.begin() as connection:
        target = find(connection, key, readers or {})
        purged = Purged(_pair_ids(connection, target))
        doomed = _take_down(connection, target, purged, why) if target.upstream_id else set()
    if trouble := collect.wipe(engine):
        purged.left_to_do.append(trouble)
    try:  # whole, as which of them hold the pixels is not known here
        shutil.rmtree(packs())
    except FileNotFoundError:
        pass
    except OSError as error:
        purged.left_to_do.append(f"packed images of training: {error}; then remove {packs()}")
    root = db.image_root(engine.url)
    try:
        purged.files, kept = collect.remove_files(engine, root, sorted(doomed | _left_behind(engine, root)))
    except (UserError, OSError) as error:
        purged.left_to_do.append(f"image files: {error}; then run: python cli.py gc")
    else:
        purged.kept_files |= kept
    return purged


def _take_down(connection: Connection, target: Found, purged: Purged, why: str | None) -> set[str]:
    """All that is done in the database; gives the paths of image files that nothing refers to any more."""
    images = _images(connection, target, purged.pair_ids)
    panels = _panels(connection, target, purged.pair_ids)
    _leave_tombstones(connection, purged.pair_ids, images, why)
    purged.versions = list(_take_out_of_versions(connection, purged.pair_ids))
    purged.same_picture = _same_picture(connection, images, purged.pair_ids)
    cut: set[int] = set()
    for panel in panels:
        cut |= _cut_out_of_raw(connection, panel)
        if not _is_shared(connection, panel, purged.pair_ids):
            _close_ledger(connection, panel)
    purged.raw_records = len(cut)
    if db.is_sqlite(connection):  # a deleted row's words stay in the index's segments until they are made anew
        connection.execute(text("INSERT INTO caption_fts (caption_fts) VALUES ('rebuild')"))
    return _forget_images(connection, images, purged)


def _panels(connection: Connection, target: Found, pair_ids: Sequence[str]) -> list[Found]:
    """The target, and each other panel of its figure."""
    found = {target.upstream_id: target}
    for own, id_, upstream_id in (("pair", "id", "upstream_id"), ("version_pair", "pair_id", "source_id")):
        rows = table(own).c
        of_figure = select(rows[upstream_id], rows.upstream_name).where(rows[id_].in_(pair_ids)).distinct()
        for key, name in connection.execute(of_figure):
            found.setdefault(key, replace(target, upstream_id=key, upstream_name=name))
    return [found[key] for key in sorted(found)]


def _pair_ids(connection: Connection, target: Found) -> list[str]:
    """The pair of the key and its image's other panels, in any version; the bare id stands for the image."""
    if not target.upstream_id:
        return [target.pair_id or target.upstream_name]
    bare = f"{target.source}:{target.upstream_id.partition('#')[0]}"
    ids = {bare, target.pair_id or bare}
    for name, column in (("pair", "id"), ("version_pair", "pair_id"), ("version_drop", "pair_id")):
        pair_id = table(name).c[column]
        panels = select(pair_id).where(func.substr(pair_id, 1, len(bare) + 1) == f"{bare}#").distinct()
        ids |= set(connection.execute(panels).scalars())
    return sorted(ids)


def _images(connection: Connection, target: Found, pair_ids: list[str]) -> list[str]:
    """The sha256 of all bytes that the image ever had here, the newest last."""
    ref, pair, frozen = table("image_ref"), table("pair"), table("version_pair")
    named = (ref.c.source_id == target.source_id) & (ref.c.upstream_name == target.upstream_name)
    statements = (
        select(frozen.c.sha256).where(frozen.c.pair_id.in_(pair_ids)).order_by(frozen.c.version_id),
        select(pair.c.image_sha256).where(pair.c.id.in_(pair_ids)),
        select(ref.c.image_sha256).where(named).order_by(ref.c.id),
    )
    found = [sha256 for statement in statements for sha256 in connection.execute(statement).scalars()]
    return list(reversed(dict.fromkeys(reversed(found))))


def _leave_tombstones(connection: Connection, pair_ids: list[str], images: list[str], why: str | None) -> None:
    tombstone = table("tombstone")
    known = set(connection.execute(select(tombstone.c.pair_id).where(tombstone.c.pair_id.in_(pair_ids))).scalars())
    told = {"image_sha256": images[-1] if images else None, "why": storable(why) if why else None, "at": now()}
    rows = [{"pair_id": pair_id, **told} for pair_id in pair_ids if pair_id not in known]
    version.insert_rows(connection, "tombstone", rows)


def _take_out_of_versions(connection: Connection, pair_ids: list[str]) -> Iterator[str]:
    """Replace frozen rows by their hashes, delete what was written of them; gives the names of the versions."""
    frozen, versions = table("version_pair"), table("version")
    rows = connection.execute(select(frozen).where(frozen.c.pair_id.in_(pair_ids))).mappings().all()
    left = [
        {"version_id": row["version_id"], "pair_id": row["pair_id"], "row_sha256": version.row_sha256(row)}
        for row in rows
    ]
    version.insert_rows(connection, "version_tombstone", left)
    for name in ("version_pair", *_TOLD_OF_PAIRS):
        connection.execute(delete(table(name)).where(table(name).c.pair_id.in_(pair_ids)))
    connection.execute(delete(table("pair")).where(table("pair").c.id.in_(pair_ids)))
    connection.execute(text("DELETE FROM caption_fts WHERE pair_id = :pair_id"), [{"pair_id": id_} for id_ in pair_ids])
    held = select(versions.c.name).where(versions.c.id.in_({row["version_id"] for row in rows})).order_by(versions.c.id)
    yield from connection.execute(held).scalars()


def _same_picture(connection: Connection, images: list[str], pair_ids: list[str]) -> list[str]:
    """Other pairs whose images the build found to be these: the one who asks may want them down as well."""
    alike, frozen = table("alike"), table("version_pair")
    likes = alike.c.kind.is_not(None) & or_(alike.c.a_sha256.in_(images), alike.c.b_sha256.in_(images))
    found = connection.execute(select(alike.c.a_sha256, alike.c.b_sha256).where(likes)).all()
    others = {sha256 for row in found for sha256 in row} - set(images)
    held = select(frozen.c.pair_id).where(frozen.c.sha256.in_(others), frozen.c.pair_id.not_in(pair_ids))
    return list(connection.execute(held.distinct().order_by(frozen.c.pair_id)).scalars())


def _cut_out_of_raw(connection: Connection, target: Found) -> set[int]:
    """Cut the image's entry out of every record of its source that may hold it, and out of what drift noted of it.

    Gives the ids of those records.
    """
    raw, drift = table("raw_record"), table("drift")
    body = cast(raw.c.body, Text)
    mine = raw.c.source_id == target.source_id
    words = {target.upstream_id, json.dumps(target.upstream_id)[1:-1]}  # a body's text may hold escapes
    holds = or_(*(body.contains(word, autoescape=True) for word in sorted(words)))
    statement = select(raw.c.id).where(mine, holds)
    cut = set()
    for id_ in connection.execute(statement).scalars().all():
        document = connection.execute(select(raw.c.body).where(raw.c.id == id_)).scalar_one()
        if redact(document, {target.upstream_id}):
            connection.execute(update(raw).where(raw.c.id == id_).values(body=json.dumps(document)))
            cut.add(id_)
    of_image = drift.c.key.in_((target.upstream_id, target.upstream_name))
    connection.execute(delete(drift).where(drift.c.source_id == target.source_id, of_image))
    return cut


def _is_shared(connection: Connection, target: Found, pair_ids: list[str]) -> bool:
    """Whether the source gives the image's name to another pair as well, which keeps its bytes."""
    pair = table("pair")
    others = (pair.c.source_id == target.source_id) & (pair.c.upstream_name == target.upstream_name)
    return bool(connection.execute(select(pair.c.id).where(others, pair.c.id.not_in(pair_ids)).limit(1)).first())


def _close_ledger(connection: Connection, target: Found) -> None:
    """Mark the image's addresses, so that no pass asks for them; forget its names."""
    fetch, ref = table("fetch"), table("image_ref")
    named = (ref.c.source_id == target.source_id) & (ref.c.upstream_name == target.upstream_name)
    paths = set(connection.execute(select(ref.c.path).where(named)).scalars())
    listed = select(fetch.c.path).where(fetch.c.source_id == target.source_id, fetch.c.kind == "image")
    about = or_(*(fetch.c.path.contains(word, autoescape=True) for word in (target.upstream_name, target.upstream_id)))
    for path in connection.execute(listed.where(about)).scalars():
        last = key_of_path(path)  # .../synpic1.jpg, ...?imageID=1, or a refused address with #1 behind it
        if last.partition(".")[0] == target.upstream_name or last.rpartition("#")[2] == target.upstream_id:
            paths.add(path)
    closed = {"status": "skipped", "reason": PURGED, "due": False, "sha256": None, "etag": None, "last_modified": None}
    for path in sorted(paths):
        mine = (fetch.c.source_id == target.source_id) & (fetch.c.path == path)
        connection.execute(update(fetch).where(mine).values(**closed))
    connection.execute(delete(ref).where(named))


def _forget_images(connection: Connection, images: Iterable[str], purged: Purged) -> set[str]:
    """Delete the image rows that nothing refers to any more; gives their files' paths."""
    image, alike = table("image"), table("alike")
    doomed = set()
    for sha256 in images:
        path = connection.execute(select(image.c.path).where(image.c.sha256 == sha256)).scalar()
        if path is None:
            continue
        if users := collect.users_of(connection, sha256):
            purged.kept_files[path] = users
            continue
        connection.execute(delete(alike).where(or_(alike.c.a_sha256 == sha256, alike.c.b_sha256 == sha256)))
        connection.execute(delete(image).where(image.c.sha256 == sha256))
        doomed.add(path)
    return doomed


def _left_behind(engine: Engine, root: Path) -> set[str]:
    """Files of purged images that an earlier, killed run did not come to remove."""
    with engine.connect() as connection:
        refused = refused_bytes(connection)
    found = (path for sha256 in refused for path in (root / "images" / sha256[:2] / sha256[2:4]).glob(f"{sha256}.*"))
    return {str(path.relative_to(root)) for path in found}


def render_purged(purged: Purged) -> list[str]:
    """What was taken down, as lines, with what may be left to do."""
    lines = [f"taken down  {', '.join(purged.pair_ids)}"]
    held = ", ".join(purged.versions) or "none held it any more"
    lines.append(f"versions    {held}; their manifests can still be verified")
    lines.append(f"raw         cut out of {purged.raw_records} records; no crawl takes it in again")
    lines += [f"removed     {path}" for path in purged.files]
    for path, users in purged.kept_files.items():
        lines.append(f"kept        {path}: also the image of {', '.join(users[:5])}{', ...' if users[5:] else ''}")
    if purged.same_picture:
        lines.append(f"look at     the same picture, in other bytes: {', '.join(purged.same_picture[:20])}")
    lines += [f"LEFT        {trouble}" for trouble in purged.left_to_do]
    lines.append("Copies, backups and exports made before are not changed: delete or make them anew.")
    return [shown(line) for line in lines]
