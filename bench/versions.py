"""How long a version of many pairs takes to freeze, to compare and to verify.

    python bench/versions.py [PAIRS] [postgresql+psycopg://...]    # 20,000 pairs in a throw-away SQLite file by default

The comparison is of two versions in each of three states: equal but for one row, 10 % of the captions changed by a
rule, all of them changed upstream. Verifying stands beside the same files hashed by `sha256sum` and by a plain loop
over hashlib, each in the page cache, in turn, the median of three.
"""

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from sqlalchemy import Engine

from corpus_db import db, version
from corpus_db.diff import diff
from corpus_db.verify import verify

RUNS = 3
IMAGE_BYTES = 52_450  # the mean of the 315 MedPix originals in VQA-RAD
CAPTION = "axial ct shows a small round nodule in the left upper lobe with sharp margins and no calcification"


def rows(count: int, files: dict[str, str]) -> list[dict[str, Any]]:
    """Frozen rows of a corpus with four images a case."""
    names = list(files.items())
    found = []
    for number in range(count):
        sha256, path = names[number % len(names)]
        caption = f"{CAPTION}, number {number}."
        row: dict[str, Any] = {
            "pair_id": f"medpix:{number:06}",
            "image_path": path,
            "sha256": sha256,
            "caption": caption,
        }
        row |= {"modality": "CT", "plane": "axial", "region": "chest", "laterality": "left", "split": "train"}
        row |= {"case_id": f"medpix:c{number // 4}", "caption_group": hashlib.sha256(caption.encode()).hexdigest()[:16]}
        row |= {"source": "medpix", "source_id": f"{number:06}", "upstream_name": f"synpic{number}", "title": "A case"}
        row |= {"diagnosis": "Nodule", "credit": "A. Author", "licence": None, "duplicate_cluster": sha256[:16]}
        found.append(row | {"patient_key": None, "split_group": f"medpix:c{number // 4}"})
    return found


def edits(kept: list[dict[str, Any]], rule: str) -> list[dict[str, Any]]:
    """Two edits a caption, as the average real one has."""
    raw = [(row["pair_id"], "  " + row["caption"].replace(" a ", "  a "), row["caption"]) for row in kept]
    told = [
        {"pair_id": key, "step": 1, "rule": "whitespace", "before": before, "after": after + "."}
        for key, before, after in raw
    ]
    return told + [
        {"pair_id": key, "step": 2, "rule": rule, "before": after + ".", "after": after} for key, _, after in raw
    ]


def freeze(engine: Engine, name: str, kept: list[dict[str, Any]], told: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds of the snapshot alone, clock and processor; the edits are written beside it."""
    with engine.begin() as connection:
        began = time.perf_counter(), time.process_time()
        frozen = version.freeze(connection, kept, name, {"schema": "0002"})
        seconds = time.perf_counter() - began[0], time.process_time() - began[1]
        version.replace_rows(connection, frozen.id, {"edit": told})
    return seconds


def write_images(root: Path, count: int) -> dict[str, str]:
    """sha256 -> path of files of noise, as large as real ones; what is in them is the same to a hash."""
    random = np.random.default_rng(1)
    found = {}
    for _ in range(count):
        body = random.bytes(int(random.integers(IMAGE_BYTES // 2, IMAGE_BYTES * 3 // 2)))
        sha256 = hashlib.sha256(body).hexdigest()
        path = f"images/{sha256[:2]}/{sha256[2:4]}/{sha256}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
        found[sha256] = path
    return found


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """The median seconds of some runs: on the clock, and of this process's processor time."""
    clock, busy = [], []
    for _ in range(RUNS):
        began = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - began[0])
        busy.append(time.process_time() - began[1])
    return statistics.median(clock), statistics.median(busy)


def line(what: str, seconds: tuple[float, float], megabytes: float = 0) -> None:
    """One line of the table."""
    speed = f"{megabytes / seconds[0]:>8.0f} MB/s" if megabytes else ""
    print(f"{what:<44}{seconds[0]:>8.2f} s{seconds[1]:>8.2f} s{speed}", flush=True)


def peers(root: Path, files: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Who reads the same files and hashes them, and does nothing else."""
    paths = [str(root / path) for path in sorted(files.values())]
    names = "\0".join(paths).encode()

    def loop() -> None:
        for path in paths:
            with open(path, "rb") as file:
                hashlib.file_digest(file, "sha256").hexdigest()

    def sums() -> None:
        subprocess.run(["xargs", "-0", "sha256sum"], input=names, stdout=subprocess.DEVNULL, check=True)

    return {"hashlib, one thread": loop, "xargs sha256sum": sums}


def main(pairs: int, address: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        engine = db.create(address or root / "bench.db")
        files = write_images(root, pairs)
        kept = rows(pairs, files)
        told = edits(kept, "final_stop")
        print(f"{pairs} pairs, {engine.dialect.name:<31}{'clock':>10}{'processor':>10}")
        line("freeze", freeze(engine, "one", kept, told))
        some = [{**row, "caption": row["caption"] + " Sharp."} if at % 10 == 0 else row for at, row in enumerate(kept)]
        more = [{**row, "caption": row["caption"].replace("nodule", "mass")} for row in kept]
        cases = (
            ("one row removed", kept[1:], told),
            ("10 % changed by a rule", some, edits(some, "sharp")),
            ("all changed upstream", more, edits(more, "final_stop")),
        )
        for number, (what, changed, its) in enumerate(cases):
            freeze(engine, f"other{number}", changed, its)
            line(f"diff, {what}", timed(partial(diff, engine, "one", f"other{number}")))
        megabytes = sum((root / path).stat().st_size for path in files.values()) / 1e6
        line(f"verify: rows and {megabytes:.0f} MB of images", timed(lambda: verify(engine, "one", root)), megabytes)
        for name, work in peers(root, files).items():
            line(name, timed(work), megabytes)
        engine.dispose()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(int(arguments[0]) if arguments else 20_000, arguments[1] if len(arguments) > 1 else None)
