"""Export as one CSV file (RFC 4180, UTF-8), with the images beside it as files."""

import csv
from collections.abc import Iterator
from pathlib import Path

from corpus_db.export.folder import Part
from corpus_db.export.images import image_parts
from corpus_db.export.snapshot import COLUMNS, Snapshot

PAIRS = "pairs.csv"


def parts(snapshot: Snapshot, with_images: bool) -> Iterator[Part]:
    """pairs.csv, and with images the files that its image_path column names."""
    yield Part(PAIRS, lambda path: _write(snapshot, path))
    if with_images:
        yield from image_parts(snapshot)


def _write(snapshot: Snapshot, path: Path) -> None:
    """Cells hold what the corpus holds, null as nothing: a text that begins with = is written as it is."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)  # its defaults are RFC 4180's: commas, doubled quotes, CR LF
        rows.writeheader()
        rows.writerows(snapshot.rows())
