"""How long the page of a corpus takes to make, and how large it is.

    python bench/report.py [PAIRS]       # 20,000 pairs in a throw-away SQLite file by default
    python bench/report.py DATABASE      # a corpus that is there

The rows are those of bench/query.py; the image files are 400 of smooth noise, JPEG of 750 x 750 and PNG of 512 x 512
pixels in turn, that the pairs share, so that as many files are read and made small as for a real corpus. Prints
medians of three runs.
"""

import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from sqlalchemy import Engine, text  # noqa: E402

from bench import query  # noqa: E402
from corpus_db import db  # noqa: E402
from corpus_db.report.make import report  # noqa: E402
from corpus_db.version import insert_rows  # noqa: E402

RUNS, FILES = 3, 400


def write_images(root: Path) -> list[str]:
    """Paths below root of image files, none like another."""
    draws, paths = np.random.default_rng(1), []
    (root / "images").mkdir()
    for number in range(FILES):
        form, side = (("jpg", 750), ("png", 512))[number % 2]
        cells = draws.integers(0, 256, (24, 24), dtype=np.uint8)
        path = f"images/{number}.{form}"
        Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC).save(root / path)
        paths.append(path)
    return paths


def show_files(engine: Engine, paths: list[str]) -> None:
    """Give every pair, kept or dropped, one of the image files, and its row of the last build."""
    with engine.begin() as connection:
        kept = connection.execute(text("SELECT * FROM version_pair WHERE version_id = 2")).mappings().all()
        files = {row["sha256"]: paths[int(row["sha256"], 16) % FILES] for row in kept}
        named = [{"path": path, "sha256": sha256} for sha256, path in files.items()]
        connection.execute(text("UPDATE image SET path = :path WHERE sha256 = :sha256"), named)
        connection.execute(text("UPDATE version_pair SET image_path = :path WHERE sha256 = :sha256"), named)
        pairs = [_pair(row["pair_id"], row, "kept") for row in kept]
        pairs += [_pair(f"{row['pair_id']}x", row, "dropped") for row in kept[::20]]
        insert_rows(connection, "pair", pairs)


def _pair(pair_id: str, row: query.Row, status: str) -> query.Row:
    same = {name: row[name] for name in ("upstream_name", "caption", "modality", "plane", "region", "laterality")}
    told = {"caption_raw": f" {row['caption']}", "age": str(int(row["source_id"]) % 95), "sex": "female"}
    keys = {"study_case_id": row["case_id"], "image_sha256": row["sha256"], "upstream_id": pair_id}
    return {"id": pair_id, "source_id": 1, "panel": "", "status": status, **same, **told, **keys}


def measure(engine: Engine, *versions: str) -> None:
    """Print a line on one page."""
    with tempfile.TemporaryDirectory() as folder:
        made = [report(engine, Path(folder) / "page.html", *versions) for _ in range(RUNS)]
    seconds = statistics.median(one.seconds for one in made)
    what = " -> ".join(versions) or "the current version"
    size = f"{made[0].bytes / 1e6:.1f} MB"
    print(f"| {what} | {made[0].pairs:,} | {made[0].pictures} | {size} | {seconds:.1f} s |", flush=True)


def main(asked: str) -> None:
    """Measure a corpus that is there, or one that is made for it."""
    print("| page of | pairs | pictures | size | time |\n| --- | ---: | ---: | ---: | ---: |")
    if not asked.isdigit():
        measure(db.open_readonly(asked))
        return
    with tempfile.TemporaryDirectory() as folder:
        engine = db.create(f"{folder}/bench.db")
        query.fill(engine, int(asked))
        show_files(engine, write_images(Path(folder)))
        measure(engine)
        measure(engine, "v1", "v2")
        engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "20000")
