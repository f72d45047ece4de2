"""Export as WebDataset shards: tar files in which KEY.json, KEY.txt and KEY.jpg make one sample."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from corpus_db.errors import UserError
from corpus_db.export.folder import Part
from corpus_db.export.snapshot import Row, Snapshot

SHARD_BYTES = 256 * 2**20
_KEY_CHARACTERS = 90  # with its suffix it fits the 100 of the plainest tar header


@dataclass
class _Shard:
    split: str
    number: int
    first: str  # pair ids
    last: str
    blocks: int = 0  # of its members

    @property
    def path(self) -> str:
        return f"{self.split}-{self.number:06}.tar"

    def fits(self, blocks: int, shard_bytes: int) -> bool:
        """Whether so many blocks more, the two that end a tar file, and its padding leave it within `shard_bytes`."""
        content = (self.blocks + blocks + 2) * tarfile.BLOCKSIZE
        return -(-content // tarfile.RECORDSIZE) * tarfile.RECORDSIZE <= shard_bytes


def parts(snapshot: Snapshot, with_images: bool, shard_bytes: int = SHARD_BYTES) -> Iterator[Part]:
    """SPLIT-NUMBER.tar of at most `shard_bytes`, unless one sample alone is larger."""
    if shard_bytes < 1:
        raise UserError(f"a shard of {shard_bytes} bytes: give 1 or more")
    shards = _shards(snapshot, with_images, shard_bytes)
    return (Part(shard.path, partial(_write, snapshot, shard, with_images)) for shard in shards)


def sample_key(pair_id: str) -> str:
    """A pair's id as a tar member's name: percent-encoded, since a sample's name ends at its first dot.

    `urllib.parse.unquote` gives the id back, but for an id too long for a tar header, whose end becomes a hash.
    """
    key = quote(pair_id, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(key) <= _KEY_CHARACTERS:
        return key
    digest = hashlib.sha256(pair_id.encode()).hexdigest()[:32]
    return f"{key[: _KEY_CHARACTERS - 33]}-{digest}"


def _shards(snapshot: Snapshot, with_images: bool, shard_bytes: int) -> Iterator[_Shard]:
    """Deal the rows out by the size that they will have, so that each shard can be written by itself."""
    for split in snapshot.splits:
        shard: _Shard | None = None
        for row in snapshot.rows(split):
            sizes = [len(body) for _, body in _texts(row)]
            if with_images:
                sizes.append(snapshot.image_file(row).stat().st_size)
            blocks = sum(1 - (-size // tarfile.BLOCKSIZE) for size in sizes)  # a header each
            if shard is None or not shard.fits(blocks, shard_bytes):
                if shard:
                    yield shard
                shard = _Shard(split, shard.number + 1 if shard else 0, row["pair_id"], row["pair_id"])
            shard.last, shard.blocks = row["pair_id"], shard.blocks + blocks
        if shard:
            yield shard


def _texts(row: Row) -> list[tuple[str, bytes]]:
    record = json.dumps(row, ensure_ascii=False, sort_keys=True).encode()
    return [("json", record), ("txt", row["caption"].encode())]


def _write(snapshot: Snapshot, shard: _Shard, with_images: bool, path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in snapshot.rows(shard.split, (shard.first, shard.last)):
            members = _texts(row)
            if with_images:
                suffix = PurePosixPath(row["image_path"]).suffix.removeprefix(".")
                members.insert(0, (suffix, snapshot.image_bytes(row)))
            for suffix, body in members:
                member = tarfile.TarInfo(f"{sample_key(row['pair_id'])}.{suffix}")  # no time, no owner
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
