"""Copy a version's images as files, under the paths that `image_path` names."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from corpus_db.export.folder import Part
from corpus_db.export.snapshot import Row, Snapshot


def image_parts(snapshot: Snapshot) -> Iterator[Part]:
    """One file for each distinct image; its name holds its hash, by which an earlier run's copy is known."""
    seen: set[str] = set()
    for row in snapshot.rows():
        if row["sha256"] not in seen:
            seen.add(row["sha256"])
            snapshot.image_file(row)  # refuses a path that is none, before a file is made by it
            yield Part(row["image_path"], partial(_copy, snapshot, row), row["sha256"], sync=False)


def _copy(snapshot: Snapshot, row: Row, path: Path) -> None:
    path.write_bytes(snapshot.image_bytes(row))
