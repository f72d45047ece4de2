"""Pack a version's images once: decoded, letterboxed to one size, in two memory-mapped uint8 arrays, grey and colour.

Most radiographs are grey, and a grey image takes a third of the memory. A pack is known by its version's manifest hash,
the size and the form of packing; packing goes on where it was interrupted, and a pack counts once its index is there.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from corpus_db.read import UserError, Version, data_folder
from corpus_db.read import image as read_image

FORM = 1  # raise it when the same version would be packed into other pixels
CHUNK = 128  # images that a worker packs at once, and the most that an interruption loses of each worker
GREY, COLOUR = 0, 1
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pack:
    """A packed version: the pixels, and where each image lies in them."""

    folder: Path
    grey: np.ndarray  # memory-mapped uint8 (G, S, S)
    colour: np.ndarray  # memory-mapped uint8 (K, S, S, 3)
    where: dict[str, tuple[int, int]]  # sha256: (GREY or COLOUR, row)
    skipped: dict[str, str]  # sha256 of an image that could not be read: why


def letterbox(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> (size, size) or (size, size, 3): shape kept, centred on black.

    Pillow's bilinear filter widens with the reduction, so that it averages over all pixels (no aliasing) and, unlike
    bicubic and Lanczos, does not ring at the edges of bones and of burnt-in letters.
    """
    return np.asarray(ImageOps.pad(Image.fromarray(pixels), (size, size), Image.Resampling.BILINEAR, color=0))


def pack(version: Version, size: int, workers: int | None = None, say: Say = lambda line: None) -> Pack:
    """The pack of a version at a size: opened where it is there, else made by `workers` processes (one a core).

    An image that cannot be read is skipped, with the reason; UserError where that leaves none.
    """
    folder = data_folder() / "cache" / "packs" / f"{version.manifest_sha256[:16]}-{size}-{FORM}"
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / "lock"):
        found = _opened(folder, size)
        if found is None:
            paths = {pair.sha256: pair.image_path for pair in version.pairs}
            _make(folder, sorted(paths.items()), size, workers, say)
            found = _opened(folder, size)
    if found is None or not found.where:
        reasons = "; ".join(list(found.skipped.values())[:1]) if found else "the pack cannot be read back"
        raise UserError(f"version {version.name}: none of its images can be read ({reasons})")
    if found.skipped:
        one = next(iter(found.skipped.values()))
        say(f"{len(found.skipped)} images could not be read and are left out, the first: {one}")
    return found


def _opened(folder: Path, size: int) -> Pack | None:
    """The pack, unless it is not there, not whole, or its files have other shapes than its index says."""
    try:
        index = json.loads((folder / "index.json").read_text())
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("grey", "colour")]
        where = {key: (int(kind), int(row)) for key, (kind, row) in index["where"].items()}
        shapes = [list(array.shape) for array in arrays]
        if shapes != index["shapes"] or any(array.dtype != np.uint8 for array in arrays):
            return None
        if any(not 0 <= row < len(arrays[kind]) for kind, row in where.values()) or arrays[0].shape[1:] != (size, size):
            return None
        return Pack(folder, arrays[GREY], arrays[COLOUR], where, index["skipped"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _make(folder: Path, images: Sequence[tuple[str, str]], size: int, workers: int | None, say: Say) -> None:
    chunks = [images[first : first + CHUNK] for first in range(0, len(images), CHUNK)]
    parts = [folder / f"part-{size}-{number}.npz" for number in range(len(chunks))]
    due = [(chunk, part) for chunk, part in zip(chunks, parts, strict=True) if not part.exists()]
    if due:
        say(f"packing {sum(len(chunk) for chunk, _ in due)} images to {size} x {size}")
    # spawned, not forked: a fork of a process with threads (torch has some) may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers or os.cpu_count() or 1, max(len(due), 1)), context) as pool:
        running: list[Future[None]] = [pool.submit(_pack_chunk, chunk, size, part) for chunk, part in due]
        try:
            for done in running:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _join(folder, parts, size)


def _pack_chunk(images: Sequence[tuple[str, str]], size: int, part: Path) -> None:
    """Decode a chunk into one file; runs in a worker."""
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
    with written(part) as file:
        np.savez(file, grey=grey, colour=colour, told=told)


def _join(folder: Path, parts: Sequence[Path], size: int) -> None:
    """Put the parts behind each other, one in memory at a time, and the index last."""
    where: dict[str, tuple[int, int]] = {}
    skipped: dict[str, str] = {}
    counts = [0, 0]
    for part in parts:
        with np.load(part) as file:
            here, left_out = json.loads(file["told"].tobytes())
            where |= {key: (kind, counts[kind] + row) for key, (kind, row) in here.items()}
            counts = [counts[GREY] + len(file["grey"]), counts[COLOUR] + len(file["colour"])]
        skipped |= left_out
    shapes = [[counts[GREY], size, size], [counts[COLOUR], size, size, 3]]
    for name, shape in zip(("grey", "colour"), shapes, strict=True):
        with written(folder / f"{name}.npy") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, header | {"shape": tuple(shape)})
            for part in parts:
                with np.load(part) as packed:
                    file.write(packed[name].tobytes())
    with written(folder / "index.json") as file:
        file.write(json.dumps({"where": where, "skipped": skipped, "shapes": shapes}).encode())
    for part in parts:
        part.unlink()


@contextmanager
def written(path: Path) -> Iterator:
    """A file that appears under its name only when it is whole and on the disk; on an error nothing stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One process packs; others wait for it. The system lets go of the lock if it dies."""
    import fcntl

    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
