"""Import speed beside the bare decoding of the same images, over workers; and peak memory over the corpus's size.

    python bench/import.py [--rounds 3]

Draws grey JPEG files into a temporary folder with MedPix 2.0's layout. "Bare" opens and decodes each file with Pillow
and keeps nothing; "import" is `cli.py import` into an empty database: read, verified, hashed, stored with fsync, in the
ledger. Each as a process of its own, in turn, both bound to as many cores as there are workers. The first table gives
images a second and their ratio with its range over the rounds, the second the memory of one process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

SIZES = {512: 2000, 1024: 800, 2048: 300}  # pixels of a side: how many images
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        measure(asked.part[0], Path(asked.part[1]), int(asked.part[2]))
        return
    print("| pixels | workers | bare, images/s | import, images/s | ratio |\n| ---: | ---: | ---: | ---: | --- |")
    for size, images in SIZES.items():
        with tempfile.TemporaryDirectory() as place:
            speed(draw(Path(place) / "all", images, size), size, asked.rounds)
    with tempfile.TemporaryDirectory() as place:
        memory(Path(place))


def draw(folder: Path, images: int, size: int) -> Path:
    """A folder of MedPix 2.0's layout with so many distinct images."""
    import numpy as np
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    cases, rows = [], []
    y, x = np.mgrid[:size, :size] / size
    for number in range(images):
        chance = np.random.default_rng(number)
        fx, fy, shift = chance.uniform(2, 9, 3)
        picture = 120 + 90 * np.sin(fx * x + fy * y * y + shift) + chance.normal(0, 9, (size, size))
        name = f"MPX{number // 3}_synpic{number}.jpg"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "images" / name, quality=90)
        rows.append({"image": name, "case": f"MPX{number // 3}", "caption": f"Axial CT number {number}."})
    cases = [{"U_id": case, "Case": {}, "Topic": {}} for case in sorted({row["case"] for row in rows})]
    (folder / "cases.json").write_text(json.dumps(cases))
    (folder / "images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def speed(folder: Path, size: int, rounds: int) -> None:
    for workers in (1, 2):
        pairs = [(run("bare", folder, workers)[0], run("import", folder, workers)[0]) for _ in range(rounds)]
        bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(mine / other for other, mine in pairs)
        told = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        print(f"| {size} x {size} | {workers} | {bare:.0f} | {ours:.0f} | {told} |", flush=True)


def memory(place: Path) -> None:
    print("\n| images | peak memory of the importing process, MiB |\n| ---: | ---: |")
    for images in (500, 2000, 8000):
        folder = draw(place / str(images), images, 64)
        print(f"| {images} | {run('import', folder, 1)[1]:.0f} |", flush=True)


def run(what: str, folder: Path, workers: int) -> tuple[float, float]:
    """(images a second, peak MiB) of a process of its own."""
    command = [sys.executable, __file__, "--part", what, str(folder), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate, peak = done.stdout.split()[-2:]
    return float(rate), float(peak)


def measure(what: str, folder: Path, workers: int) -> None:
    os.sched_setaffinity(0, set(range(workers)))
    count, took = bare(folder, workers) if what == "bare" else imported(folder, workers)
    print(count / took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def bare(folder: Path, workers: int) -> tuple[int, float]:
    files = sorted((folder / "images").iterdir())
    begun = time.perf_counter()
    if workers == 1:
        return decode(files), time.perf_counter() - begun
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        count = sum(pool.map(decode, (files[at : at + 64] for at in range(0, len(files), 64))))
    return count, time.perf_counter() - begun


def decode(files: list[Path]) -> int:
    from PIL import Image

    for file in files:
        with Image.open(file) as image:
            image.load()
    return len(files)


def imported(folder: Path, workers: int) -> tuple[int, float]:
    from corpus_db import db, importers

    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        engine = db.create(Path(place) / "a.db")
        begun = time.perf_counter()
        count = importers.run(engine, "medpix2", folder, workers=workers).images["ok"]
        return count, time.perf_counter() - begun


if __name__ == "__main__":
    main()
