import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from corpus_db.read import UserError
from tests.vlt.pictures import pixels, version
from vlt import pack as packing
from vlt.pack import COLOUR, GREY, letterbox, pack

SIZE = 16
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def corpus(tmp_path):
    return version(tmp_path / "images")


def image_of(packed, pair):
    kind, row = packed.where[pair.sha256]
    return (packed.grey, packed.colour)[kind][row]


def said_of(corpus):
    said = []
    pack(corpus, SIZE, said.append)
    return said


def test_every_image_is_found_in_the_array_of_its_kind(corpus):
    packed = pack(corpus, SIZE)
    assert packed.grey.shape == (9, SIZE, SIZE) and packed.colour.shape == (3, SIZE, SIZE, 3)
    for number, pair in enumerate(corpus.pairs):
        assert packed.where[pair.sha256][0] == (COLOUR if number % 4 == 3 else GREY)
        assert (image_of(packed, pair) == letterbox(pixels(number, number % 4 == 3), SIZE)).all()


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (7, 7), (1, 900), (900, 1), (16, 16)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_letterboxed_image_keeps_its_shape_in_the_middle_of_black(shape, colour):
    boxed = letterbox(np.full((*shape, 3) if colour else shape, 200, np.uint8), SIZE)
    assert boxed.shape == ((SIZE, SIZE, 3) if colour else (SIZE, SIZE)) and set(np.unique(boxed)) <= {0, 200}
    lit = (boxed if not colour else boxed[..., 0]) > 0
    rows, columns = lit.any(1).sum(), lit.any(0).sum()
    assert max(rows, columns) == SIZE
    assert abs(rows / columns - shape[0] / shape[1]) < 0.1 or min(rows, columns) == 1
    first, last = np.flatnonzero(lit.any(1))[[0, -1]]
    assert abs(first - (SIZE - 1 - last)) <= 1


def test_reduction_averages_over_all_pixels():
    stripes = np.tile(np.array([0, 0, 0, 250], np.uint8), (64, 16))
    assert abs(letterbox(stripes, SIZE)[4:-4, 4:-4].astype(float) - 62.5).max() < 3


def test_equal_images_are_stored_once(tmp_path):
    pairs = version(tmp_path / "images", 4).pairs
    one = dataclasses.replace(pairs[1], image_path=pairs[0].image_path, sha256=pairs[0].sha256)
    corpus = dataclasses.replace(version(tmp_path / "images", 4), pairs=(*pairs, one))
    assert len(pack(corpus, SIZE).grey) == 3


def test_a_made_pack_is_opened_and_not_made_again(corpus, monkeypatch):
    assert said_of(corpus) == ["packing 12 images to 16 x 16"]
    monkeypatch.setattr(packing, "_make", None)
    assert said_of(corpus) == []


def test_another_size_or_version_is_another_pack(corpus, tmp_path):
    folders = {pack(corpus, SIZE).folder, pack(corpus, 8).folder, pack(version(tmp_path / "more", 13), SIZE).folder}
    assert len(folders) == 3


def test_a_broken_image_is_left_out_named_and_packed_once_it_is_whole(corpus):
    broken, gone = (Path(corpus.pairs[number].image_path) for number in (2, 5))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    kept = gone.read_bytes()
    gone.unlink()
    said = said_of(corpus)
    assert "2 of 12 images cannot be read" in said[-1] and (str(broken) in said[-1] or str(gone) in said[-1])
    assert len(said_of(corpus)) == 1  # told again, not packed again
    time.sleep(0.02)  # a file system's clock ticks in milliseconds
    broken.write_bytes(whole)
    gone.write_bytes(kept)
    assert said_of(corpus) == ["packing 12 images to 16 x 16"]
    assert (image_of(pack(corpus, SIZE), corpus.pairs[2]) == letterbox(pixels(2), SIZE)).all()


def test_without_one_readable_image_there_is_no_pack(corpus):
    for pair in corpus.pairs:
        os.unlink(pair.image_path)
    with pytest.raises(UserError, match=r"none of its 12 images can be read .*png"):
        pack(corpus, SIZE)


def test_an_image_that_left_the_version_leaves_the_pack_and_its_captions(corpus):
    folder = pack(corpus, SIZE).folder
    (folder / packing.CAPTIONS).mkdir()
    (folder / packing.CAPTIONS / "some.npy").touch()
    packed = pack(dataclasses.replace(corpus, pairs=corpus.pairs[1:]), SIZE)
    assert packed.folder == folder and len(packed.grey) == 8 and corpus.pairs[0].sha256 not in packed.where
    assert not list(folder.rglob("some.npy"))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def moved(path):
    """Another row for an image, in an index that is still JSON."""
    digest, _, body = path.read_bytes().partition(b"\n")
    index = json.loads(body)
    index["where"][next(iter(index["where"]))] = [GREY, 1]
    path.write_bytes(digest + b"\n" + json.dumps(index).encode())


@pytest.mark.parametrize(
    "name,damage",
    [
        ("grey.npy", cut),
        ("colour.npy", cut),
        ("index.json", cut),
        ("index.json", moved),
        ("index.json", lambda path: path.write_bytes(b"")),
        ("grey.npy", lambda path: path.write_bytes(b"")),
        ("grey.npy", lambda path: np.save(path, np.zeros((9, SIZE, SIZE + 1), np.uint8))),
        ("colour.npy", Path.unlink),
    ],
)
def test_a_damaged_pack_is_made_anew(corpus, name, damage):
    packed = pack(corpus, SIZE)
    before = {pair.pair_id: image_of(packed, pair).tobytes() for pair in corpus.pairs}
    damage(packed.folder / name)
    assert said_of(corpus) == ["packing 12 images to 16 x 16"]
    packed = pack(corpus, SIZE)
    assert before == {pair.pair_id: image_of(packed, pair).tobytes() for pair in corpus.pairs}


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_no_pack_that_counts_and_no_rubbish(corpus, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            pack(corpus, SIZE)
    left = [path.name for path in (Path(os.environ["RGC_DATA"])).rglob("*") if path.is_file()]
    assert left == ["lock"]
    assert len(pack(corpus, SIZE).where) == 12


def test_an_interrupted_packing_goes_on_where_it_was(tmp_path, monkeypatch):
    corpus = version(tmp_path / "images", 100)  # two chunks
    real, calls = packing._pack_part, []

    def second_fails(parts, size, images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(parts, size, images)

    monkeypatch.setattr(packing, "_pack_part", second_fails)
    with pytest.raises(KeyboardInterrupt):
        pack(corpus, SIZE)
    assert said_of(corpus)[0] == "packing 36 images to 16 x 16, 64 are packed"
    assert len(pack(corpus, SIZE).where) == 100


def test_a_damaged_or_foreign_part_is_packed_again(corpus):
    folder = pack(corpus, SIZE).folder
    (folder / "index.json").unlink()
    for name, body in (("a.npz", b"no zip"), (".b.npz.123", b"left by a kill"), ("c.npz", b"")):
        (folder / "parts" / name).write_bytes(body)
    packing._pack_part(folder / "parts", SIZE, [("0" * 64, corpus.pairs[0].image_path)])
    assert said_of(corpus) == ["packing 12 images to 16 x 16"]
    assert not list((folder / "parts").iterdir())


def test_a_whole_part_that_a_kill_left_without_its_name_is_packed_again(corpus):
    folder = pack(corpus, SIZE).folder
    (folder / "index.json").unlink()
    images = sorted((pair.sha256, pair.image_path) for pair in corpus.pairs)
    packing._pack_part(folder / "parts", SIZE, images[:5])
    part = folder / "parts" / f"{images[0][0]}.npz"
    part.rename(part.with_name(f".{part.name}.123"))
    assert said_of(corpus) == ["packing 12 images to 16 x 16"]
    assert len(pack(corpus, SIZE).where) == 12 and not list((folder / "parts").iterdir())


PROGRAM = """
import sys
from pathlib import Path
from tests.vlt.pictures import version
from vlt import pack as packing
if __name__ == "__main__":
    packing.pack(version(Path(sys.argv[1]), 400), 64)
"""


def test_a_killed_packing_goes_on_and_leaves_no_worker(tmp_path):
    version(tmp_path / "images", 400)
    program, folder = tmp_path / "program.py", Path(os.environ["RGC_DATA"])
    program.write_text(PROGRAM)
    killed = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "images")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while killed.poll() is None and not list(folder.rglob("*.npz")):
        time.sleep(0.005)
    killed.kill()  # the parent alone, at some moment of its work
    killed.wait()
    end = time.monotonic() + 20
    while alive(killed.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(killed.pid)
    corpus = version(tmp_path / "images", 400)
    packed = pack(corpus, 64)
    assert all(
        (image_of(packed, pair) == letterbox(pixels(n, n % 4 == 3), 64)).all() for n, pair in enumerate(corpus.pairs)
    )


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_of_two_at_once_one_packs_and_the_other_waits(corpus):
    folder = pack(corpus, SIZE).folder
    (folder / "index.json").unlink()
    said = []
    both = [threading.Thread(target=pack, args=(corpus, SIZE, said.append)) for _ in range(2)]
    with packing._held(folder / "lock"):  # a third
        for one in both:
            one.start()
        time.sleep(0.3)
        assert not said and not (folder / "index.json").exists()
    for one in both:
        one.join()
    assert said == ["packing 12 images to 16 x 16"] and len(pack(corpus, SIZE).where) == 12


def test_a_pack_in_a_folder_that_is_only_read_is_opened(corpus, monkeypatch):
    pack(corpus, SIZE)
    monkeypatch.setattr(packing, "_held", full)
    monkeypatch.setattr(Path, "mkdir", full)
    assert len(pack(corpus, SIZE).where) == 12
