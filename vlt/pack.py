"""Pack a version's images once: decoded, letterboxed to one size, in two memory-mapped uint8 arrays, grey and colour.

Most radiographs are grey, and a grey image takes a third of the memory. A pack is known by its version's manifest hash,
the size and the form of packing; packing goes on where it was interrupted, and a pack counts once its index is there.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from corpus_db.read import UserError, Version, mapped, packs, written
from corpus_db.read import image as read_image

FORM = 2  # raise it when the same version would be packed into other pixels, or kept in other files
PART_BYTES = 64 * 2**20  # of pixels that a worker holds at once
SAY_EVERY = 10.0  # seconds
GREY, COLOUR = 0, 1
CAPTIONS = "captions"  # the folder of what `vlt.captions` keeps beside a pack
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pack:
    """A packed version: the pixels, and where each image lies in them."""

    folder: Path
    grey: np.ndarray  # memory-mapped uint8 (G, S, S)
    colour: np.ndarray  # memory-mapped uint8 (K, S, S, 3)
    where: dict[str, tuple[int, int]]  # sha256: (GREY or COLOUR, row)
    skipped: dict[str, str]  # sha256 of an image that could not be read: why

    @classmethod
    def empty(cls, key: str, size: int) -> "Pack":
        """A pack without images, for a model that sees none."""
        grey, colour = np.zeros((0, size, size), np.uint8), np.zeros((0, size, size, 3), np.uint8)
        return cls(packs() / f"{key[:16]}-{size}-{FORM}", grey, colour, {}, {})


def letterbox(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> (size, size) or (size, size, 3): shape kept, centred on black.

    Pillow's bilinear filter widens with the reduction, so that it averages over all pixels (no aliasing) and, unlike
    bicubic and Lanczos, does not ring at the edges of bones and of burnt-in letters.
    """
    height, width = (max(round(side * size / max(pixels.shape[:2])), 1) for side in pixels.shape[:2])
    boxed = np.zeros((size, size, *pixels.shape[2:]), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    boxed[top : top + height, left : left + width] = np.asarray(resized)
    return boxed


def pack(version: Version, size: int, say: Say = lambda line: None) -> Pack:
    """The pack of a version's images at a size; see `pack_images`."""
    paths = {pair.sha256: pair.image_path for pair in version.pairs}
    return pack_images(f"version {version.name}", version.manifest_sha256, paths, size, say)


def pack_images(what: str, key: str, paths: Mapping[str, str], size: int, say: Say = lambda line: None) -> Pack:
    """Images by sha256, packed at a size: opened where it is there and whole, else made, by a process a core.

    `key`: a hash that stands for them. An image that cannot be read is skipped, with the reason; a pack is made anew
    when its file has come or changed since, and when an image has left. Raises UserError where none can be read.
    """
    folder = packs() / f"{key[:16]}-{size}-{FORM}"
    found = _opened(folder, paths, size)  # without the lock, which a folder that is only read cannot give
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder / "lock"):
            found = _opened(folder, paths, size)  # made by another process while this one waited
            if found is None:
                _make(folder, paths, size, say)
                found = _opened(folder, paths, size)
    if found is None or not found.where:
        reason = next(iter(found.skipped.values())) if found and found.skipped else "the pack cannot be read back"
        raise UserError(f"{what}: none of its {len(paths)} images can be read ({reason})")
    if found.skipped:
        one = next(iter(found.skipped.values()))
        say(f"{len(found.skipped)} of {len(paths)} images cannot be read and are left out, the first: {one}")
    return found


def _opened(folder: Path, paths: Mapping[str, str], size: int) -> Pack | None:
    """The pack of these images; None where it is not there, not whole, altered or out of date."""
    try:
        digest, _, body = (folder / "index.json").read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        index = json.loads(body)
        grey, colour = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("grey", "colour"))
        made = (folder / "index.json").stat().st_mtime
    except (OSError, ValueError, EOFError):
        return None
    count, coloured = index["counts"]
    if grey.shape != (count, size, size) or colour.shape != (coloured, size, size, 3):
        return None
    where = {sha256: (kind, row) for sha256, (kind, row) in index["where"].items()}
    skipped = index["skipped"]
    if where.keys() | skipped.keys() != paths.keys() or any(_changed(paths[key], made) for key in skipped):
        return None
    return Pack(folder, grey, colour, where, skipped)


def _changed(path: str, since: float) -> bool:
    """Whether a file came or changed after a time; its ctime tells, which a copy that keeps old times does not set."""
    try:
        return os.stat(path).st_ctime > since
    except OSError:
        return False


def _make(folder: Path, paths: Mapping[str, str], size: int, say: Say) -> None:
    """Pack what no part holds yet, then join the parts; the caller holds the lock."""
    shutil.rmtree(folder / CAPTIONS, ignore_errors=True)  # which may hold a caption that has left the version
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    done = _packed(parts, paths)
    due = sorted((sha256, path) for sha256, path in paths.items() if sha256 not in done)
    if due:
        say(f"packing {len(due)} images to {size} x {size}" + (f", {len(done)} are packed" if done else ""))
    begun = told = time.monotonic()
    count = 0
    for batch in mapped(partial(_pack_some, parts, size), due):
        count += len(batch)
        if (now := time.monotonic()) - told > SAY_EVERY:
            told, rate = now, count / (now - begun)
            say(f"{count} of {len(due)} images packed, {rate:.0f} a second, {(len(due) - count) / rate:.0f} s left")
    _join(folder, sorted(parts.glob("*.npz")), size)


def _packed(parts: Path, paths: Mapping[str, str]) -> set[str]:
    """The images of whole parts; what else an interrupted run or another state of the version left is removed."""
    done: set[str] = set()
    for part in parts.iterdir():
        held = _images_in(part)
        if held and held <= paths.keys() and not held & done:
            done |= held
        else:
            part.unlink()
    return done


def _images_in(part: Path) -> set[str]:
    """Those of a whole part; none of a damaged file, nor of one that a kill kept from its name: it is never joined."""
    if part.suffix != ".npz":
        return set()
    try:
        with np.load(part) as file:
            return {sha256 for told in _told(file) for sha256 in told}
    except (OSError, ValueError, EOFError, BadZipFile, KeyError):
        return set()


def _told(part: Any) -> list[dict[str, Any]]:
    """Of a part: {sha256: (kind, row)}, {sha256: why it was skipped}."""
    return json.loads(part["told"].tobytes())


def _pack_some(parts: Path, size: int, images: Sequence[tuple[str, str]]) -> list[str]:
    """Decode images into part files; runs in a worker."""
    many = max(PART_BYTES // (3 * size * size), 1)
    for first in range(0, len(images), many):
        _pack_part(parts, size, images[first : first + many])
    return [sha256 for sha256, _ in images]


def _pack_part(parts: Path, size: int, images: Sequence[tuple[str, str]]) -> None:
    pixels: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    where, skipped = {}, {}
    for sha256, path in images:
        try:
            boxed = letterbox(read_image(path), size)
        except UserError as error:
            skipped[sha256] = str(error)
            continue
        kind = GREY if boxed.ndim == 2 else COLOUR
        where[sha256] = (kind, len(pixels[kind]))
        pixels[kind].append(boxed)
    grey = np.array(pixels[GREY], np.uint8).reshape(-1, size, size)
    colour = np.array(pixels[COLOUR], np.uint8).reshape(-1, size, size, 3)
    told = np.frombuffer(json.dumps([where, skipped]).encode(), np.uint8)
    with written(parts / f"{images[0][0]}.npz") as file:  # no other part begins with this image
        np.savez(file, grey=grey, colour=colour, told=told)


def _join(folder: Path, parts: Sequence[Path], size: int) -> None:
    """Put the parts behind each other, one in memory at a time, and the index last."""
    where: dict[str, tuple[int, int]] = {}
    skipped: dict[str, str] = {}
    counts = [0, 0]
    for part in parts:
        with np.load(part) as file:
            here, left_out = _told(file)
            where |= {key: (kind, counts[kind] + row) for key, (kind, row) in here.items()}
            counts = [counts[GREY] + len(file["grey"]), counts[COLOUR] + len(file["colour"])]
        skipped |= left_out
    shapes = (counts[GREY], size, size), (counts[COLOUR], size, size, 3)
    for name, shape in zip(("grey", "colour"), shapes, strict=True):
        with written(folder / f"{name}.npy") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
            for part in parts:
                with np.load(part) as packed:
                    file.write(packed[name].tobytes())
    body = json.dumps({"where": where, "skipped": skipped, "counts": counts}).encode()
    with written(folder / "index.json") as file:
        file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    for part in parts:
        part.unlink()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One process packs; others wait for it. The system lets go of the lock if it dies."""
    import fcntl

    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
