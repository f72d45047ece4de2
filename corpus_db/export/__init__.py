"""Write a version as files that other tools read: each whole or absent, checksummed, resumable, without raw text."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from corpus_db import db
from corpus_db.errors import UserError
from corpus_db.export import croissant, parquet, sqlite, tables, webdataset
from corpus_db.export.folder import EXPORT, SUMS, File, Folder, Part, opened
from corpus_db.export.snapshot import COLUMNS, Snapshot, read_snapshot
from corpus_db.sql_output import shown

FORMS = ("webdataset", "parquet", "csv", "croissant", "sqlite")
LAYOUT = 1  # of the files: raised where a later program would write other ones for the same version
_SAY_EVERY_S = 5.0


@dataclass(frozen=True)
class Exported:
    """What was written, or found written."""

    form: str
    version: str
    manifest_sha256: str
    folder: Path
    files: Sequence[File]
    pairs: int
    images: int  # pairs whose image bytes are in it
    licences: dict[str, int]  # pairs by licence
    resumed: bool  # whether an earlier run had finished files of it
    mended: int  # of these, how many were no longer as they were, and made anew


def export(
    engine: Engine,
    version: str | None,
    form: str,
    target: Path,
    *,
    with_images: bool = False,
    shard_bytes: int = webdataset.SHARD_BYTES,
    root: Path | None = None,
    say: Callable[[str], None] = print,
) -> Exported:
    """Write one version (None: the current one) into the folder `target`; the same call goes on after an interruption.

    The same version gives the same bytes each time. `shard_bytes` is for WebDataset; `root` is the folder that holds
    images/ (by default the one of the engine's URL). UserError where rows or image bytes are not as they were frozen,
    `target` holds anything else, or the disk refuses.
    """
    if form not in FORMS:
        raise UserError(f"{form}: no such format; one of {', '.join(FORMS)}")
    snapshot = read_snapshot(_reading(engine), root or db.image_root(engine.url), version)
    name, manifest = snapshot.version.name, snapshot.version.manifest_sha256
    identity = {
        **{"layout": LAYOUT, "form": form, "version": name, "manifest_sha256": manifest},
        **{"content_sha256": snapshot.content_sha256, "with_images": with_images},
        **({"shard_bytes": shard_bytes} if form == "webdataset" else {}),
    }
    images = snapshot.pairs if with_images else 0
    summary = {"pairs": snapshot.pairs, "images": images, "licences": snapshot.licences, "columns": COLUMNS}
    parts = _parts(snapshot, form, with_images, shard_bytes)
    with opened(target, identity) as folder:
        _put_all(folder, parts, say)
        if form == "croissant":
            folder.put(croissant.part(snapshot, list(folder.files.values()), with_images))
        if read_snapshot(snapshot.engine, snapshot.root, name).content_sha256 != snapshot.content_sha256:
            raise UserError(f"{shown(name)}: changed while it was exported; run the same command again")
        files = folder.finish({**identity, **summary})
    return Exported(
        *(form, name, manifest, target, files, snapshot.pairs, images, snapshot.licences),
        resumed=folder.kept > 0,
        mended=folder.mended,
    )


def plain(exported: Exported) -> dict[str, Any]:
    """All of it as JSON can hold it."""
    return {**asdict(exported), "folder": str(exported.folder)}


def render_export(exported: Exported) -> list[str]:
    """What was written, as lines for a terminal; the last one tells about image bytes and licences."""
    size = sum(file.bytes for file in exported.files)
    images = f"{exported.images} with image bytes" if exported.images else "no image bytes"
    lines = [
        f"version   {exported.version}  {exported.manifest_sha256[:16]}",
        f"pairs     {exported.pairs}, {images}",
        f"files     {len(exported.files)}, {size / 1e6:.1f} MB{_resumed(exported)}; beside them {EXPORT} and {SUMS}",
        f"folder    {exported.folder}  (check it there with: sha256sum -c SHA256SUMS)",
        _licence_line(exported),
    ]
    return [shown(line) for line in lines]


def _resumed(exported: Exported) -> str:
    mended = f", {exported.mended} of its files made anew: missing or altered" if exported.mended else ""
    return f", gone on from an earlier run{mended}" if exported.resumed or mended else ""


def _licence_line(exported: Exported) -> str:
    stated = "; ".join(f"{_pairs(count)}: {licence}" for licence, count in exported.licences.items()) or "none"
    if exported.images:
        return f"licences  {stated}; image bytes are in it: before you pass it on, see that each licence allows that"
    return f"licences  {stated}; image bytes are left out, add them with --with-images where you may use them"


def _pairs(count: int) -> str:
    return f"{count} pair{'s' * (count != 1)}"


def _reading(engine: Engine) -> Engine:
    """The same database, without the write lock that the transactions of `db.create`'s engine take on SQLite."""
    if not engine.url.database:
        return engine  # db.open_readonly's own
    return db.open_readonly(engine.url.render_as_string(hide_password=False))


def _parts(snapshot: Snapshot, form: str, with_images: bool, shard_bytes: int) -> Iterator[Part]:
    if form == "webdataset":
        return webdataset.parts(snapshot, with_images, shard_bytes)
    if form == "csv":
        return tables.parts(snapshot, with_images)
    if form == "sqlite":
        return sqlite.parts(snapshot, with_images)
    return parquet.parts(snapshot, with_images)


def _put_all(folder: Folder, parts: Iterator[Part], say: Callable[[str], None]) -> None:
    started = told = time.monotonic()
    size = 0
    for part in parts:
        size += folder.put(part).bytes
        if (at := time.monotonic()) - told > _SAY_EVERY_S:
            told = at
            files = f"{len(folder.files)} file{'s' * (len(folder.files) != 1)}"
            say(f"{files}, {size / 1e6:.0f} MB, {size / 1e6 / (at - started):.0f} MB/s")
