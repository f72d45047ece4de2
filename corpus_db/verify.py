"""Prove a version: hash its frozen rows against its manifest and its image files against their names, all anew."""

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from corpus_db import version
from corpus_db.gather import CHUNK, table
from corpus_db.sql_output import shown
from corpus_db.store import leads_out

_BATCH = 64  # images that a thread takes at a time
_BLOCK = 2**20  # bytes
_SHOWN = 20  # of each kind of trouble; plain() has all
_FIRST_SCHEMA = "0001"  # its manifest was a hash of the rows, not of their hashes


@dataclass
class Verification:
    """What was found; `ok` where nothing is missing or altered."""

    version: str
    manifest_sha256: str
    found_sha256: str | None = None  # null where the manifest cannot be proved: see `note`
    note: str | None = None
    rows: int = 0
    purged: int = 0  # rows of which only the hash is left
    suspects: list[dict[str, str]] = field(default_factory=list)  # pair_id, why: where the manifest does not fit
    images: int = 0
    bytes: int = 0  # that were hashed
    seconds: float = 0.0
    missing: list[str] = field(default_factory=list)  # paths of image files
    altered: list[dict[str, str]] = field(default_factory=list)  # path, expected, found (a sha256, or what is wrong)

    @property
    def ok(self) -> bool:
        """Whether all that can be proved holds."""
        return not self.missing and not self.altered and self.found_sha256 in (None, self.manifest_sha256)


def verify(engine: Engine, key: str | None, root: Path) -> Verification:
    """Prove a version (a name, a tag, a hash; None: the current one), its images below `root`; writes nothing.

    A missing or altered file is no error but a finding. Raises UserError where there is no such version.
    """
    began = time.perf_counter()
    with engine.connect() as connection:
        asked = version.resolve(connection, key)
        found = Verification(asked.name, asked.manifest_sha256)
        images = _rows(connection, asked, found)
    with ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1)), "verify") as threads:
        batches = [images[at : at + _BATCH] for at in range(0, len(images), _BATCH)]
        hashed = chain.from_iterable(threads.map(lambda batch: _hashed(root, batch), batches))
        for (path, expected), (actual, size) in zip(images, hashed, strict=True):
            found.bytes += size
            if actual is None:
                found.missing.append(path)
            elif actual != expected:
                found.altered.append({"path": path, "expected": expected, "found": actual})
    found.images = len(images)
    found.seconds = round(time.perf_counter() - began, 3)
    return found


def _rows(connection: Connection, asked: version.VersionRow, found: Verification) -> list[tuple[str, str]]:
    """Prove the rows; gives each image file as (path, sha256), sorted by path, as they lie on the disk."""
    frozen, gone = table("version_pair"), table("version_tombstone")
    hashes, images = [], set()
    statement = select(frozen).where(frozen.c.version_id == asked.id).execution_options(yield_per=CHUNK)
    for row in connection.execute(statement).mappings():
        hashes.append(version.row_sha256(row))
        images.add((row["image_path"], row["sha256"]))
    found.rows = len(hashes)
    left = list(connection.execute(select(gone.c.row_sha256).where(gone.c.version_id == asked.id)).scalars())
    found.purged = len(left)
    if asked.config.get("schema") == _FIRST_SCHEMA:
        found.note = (
            f"frozen by schema {_FIRST_SCHEMA}, whose manifest had another form: its rows cannot be proved here; "
            "freeze them anew with: python cli.py build"
        )
    else:
        found.found_sha256 = version.manifest_sha256(hashes + left)
        if found.found_sha256 != asked.manifest_sha256:
            found.suspects = _suspects(connection, asked.id)
    return sorted(images)


def _suspects(connection: Connection, version_id: int) -> list[dict[str, str]]:
    """Rows that contradict themselves or what the build wrote beside them.

    A manifest proves all rows at once, so a row that was altered in every place alike cannot be named.
    """
    from corpus_db.curate import caption_group  # and with it all that curates: not for a version that fits

    frozen, edit = table("version_pair"), table("edit")
    last: dict[str, str] = {}
    edits = select(edit.c.pair_id, edit.c.after).where(edit.c.version_id == version_id).order_by(edit.c.step)
    for pair_id, after in connection.execute(edits):
        last[pair_id] = after
    suspects = []
    statement = select(frozen).where(frozen.c.version_id == version_id).order_by(frozen.c.pair_id)
    for row in connection.execute(statement).mappings():
        checks = {
            "caption is not what its last edit left": row["caption"] == last.get(row["pair_id"], row["caption"]),
            "caption_group is not its caption's": row["caption_group"] == caption_group(row["caption"]),
            "image_path names other bytes than sha256": row["sha256"] in row["image_path"],
            "pair_id is not its source and source_id": row["pair_id"].startswith(f"{row['source']}:{row['source_id']}"),
            "split is none of train, val, test": row["split"] in ("train", "val", "test"),
        }
        suspects += [{"pair_id": row["pair_id"], "why": why} for why, holds in checks.items() if not holds]
    return suspects


def _hashed(root: Path, images: Sequence[tuple[str, str]]) -> list[tuple[str | None, int]]:
    return [_file_sha256(f"{root}/{path}", path) for path, _ in images]


def _file_sha256(name: str, path: str) -> tuple[str | None, int]:
    """(sha256, bytes) of the file `name`; None where it is not there, words where it cannot be hashed.

    `path` is its place below the image folder. Written with the system's own calls: for files of 50 KB pathlib and
    buffered reading cost more than the hash.
    """
    if leads_out(path):
        return "a path that leads out of the image folder", 0
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        return f"cannot be read ({error.strerror})", 0
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return "not a file", 0
        digest, size = hashlib.sha256(), 0
        while block := os.read(handle, _BLOCK):
            digest.update(block)
            size += len(block)
        return digest.hexdigest(), size
    except OSError as error:
        return f"cannot be read ({error.strerror})", 0
    finally:
        os.close(handle)


def plain(found: Verification) -> dict[str, Any]:
    """All of it as JSON can hold it."""
    return {**asdict(found), "ok": found.ok}


def render_verification(found: Verification) -> list[str]:
    """What was found, as lines, with what to do."""
    purged = f" and {found.purged} taken down, of which the hash is left" if found.purged else ""
    speed = found.bytes / 1e6 / max(found.seconds, 1e-3)
    lines = [
        f"{found.version}: {found.rows} rows{purged}; {found.images} images, "
        f"{found.bytes / 1e6:.1f} MB at {speed:.0f} MB/s"
    ]
    if found.note:
        lines.append(f"rows        {found.note}")
    elif found.found_sha256 == found.manifest_sha256:
        lines.append(f"rows        as frozen: {found.manifest_sha256}")
    else:
        lines.append(f"rows        ALTERED: manifest {found.manifest_sha256}, found {found.found_sha256}")
        lines += _some(f"suspect     {row['pair_id']}: {row['why']}" for row in found.suspects)
        lines.append("do          go back to a copy of the database; a new build makes a new version, not this one")
    lines += _some(f"missing     {path}" for path in found.missing)
    lines += _some(
        f"altered     {row['path']}: expected {row['expected']}, found {row['found']}" for row in found.altered
    )
    if found.missing or found.altered:
        lines.append("do          delete what is altered, then fetch it again: python cli.py crawl (or import)")
    lines.append("All is as it was frozen." if found.ok else "This version is not as it was frozen.")
    return [shown(line) for line in lines]


def _some(lines: Iterable[str]) -> list[str]:
    listed = list(lines)
    more = [f"            ... and {len(listed) - _SHOWN} more (--json has all)"] if len(listed) > _SHOWN else []
    return listed[:_SHOWN] + more
