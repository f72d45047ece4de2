"""Export as Parquet, one file a split, its image column as Hugging Face's datasets reads it."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from corpus_db.errors import UserError
from corpus_db.export.folder import Part
from corpus_db.export.snapshot import COLUMNS, Row, Snapshot

GROUP_ROWS = 10_000
GROUP_BYTES = 16 * 2**20  # of image bytes: what is held in memory at once, a few times over


def parts(snapshot: Snapshot, with_images: bool) -> Iterator[Part]:
    """SPLIT.parquet for each split that has pairs; UserError where pyarrow is not installed."""
    arrow()
    return (Part(f"{split}.parquet", partial(_write, snapshot, split, with_images)) for split in snapshot.splits)


def arrow() -> Any:
    """The pyarrow package with its Parquet module."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("Parquet needs pyarrow: in a clone: pip install -e '.[parquet]'") from error
    return pyarrow


def schema(with_images: bool) -> Any:
    """Every column as a string; image as struct<bytes, path>, with the mark by which `datasets` knows it."""
    pyarrow = arrow()
    fields = [pyarrow.field(name, pyarrow.string()) for name in COLUMNS]
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in COLUMNS}
    if with_images:
        fields.append(pyarrow.field("image", pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})))
        features["image"] = {"_type": "Image"}
    mark = json.dumps({"info": {"features": features}}, sort_keys=True)
    return pyarrow.schema(fields, metadata={"huggingface": mark})


def _write(snapshot: Snapshot, split: str, with_images: bool, path: Path) -> None:
    pyarrow, columns = arrow(), schema(with_images)
    packed = dict.fromkeys([*COLUMNS, "image.path"], "zstd") | {"image.bytes": "none"}  # JPEG does not shrink
    options = {"compression": packed, "use_dictionary": list(COLUMNS), "write_statistics": list(COLUMNS)}
    with open(path, "wb") as file, pyarrow.parquet.ParquetWriter(file, columns, **options) as writer:
        for group in _groups(snapshot, split, with_images):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=columns))


def _groups(snapshot: Snapshot, split: str, with_images: bool) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in snapshot.rows(split):
        if with_images:
            body = snapshot.image_bytes(row)
            size += len(body)
            # a new row: `rows` holds a page of its own, which is not to hold a page of images
            row = {**row, "image": {"bytes": body, "path": row["image_path"]}}
        group.append(row)
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
