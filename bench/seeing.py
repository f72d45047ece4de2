"""How well does a nano model see findings, when it has many phantoms and half an hour?

    python bench/seeing.py [--cases 6000] [--backbone resnet] [--steps 9000] [--name seeing] [--set NAME=VALUE ...]

Draws the images of some cases straight from the sample's generator, at the size of training and with clean captions: no
site, no crawl, no build, which compares images that look alike with each other. 6,000 cases are 21,706 pairs and take 6
to 10 minutes on two cores, once; 300 other cases are the validation split. Trains as `cli.py pretrain` does,
into runs/NAME, and resumes what was interrupted. Prints a row of scores for each evaluation.
"""

import argparse
import hashlib
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from corpus_db.read import Pair, Version
from rgc.phantom.draw import draw_case
from rgc.phantom.recipe import Recipe
from vlt import ranks, runs, start
from vlt.commands import SIZES
from vlt.config import Config
from vlt.pack import letterbox
from vlt.tasks.pretraining import pretrain
from vlt.text import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SPLITS = {"train": 7, "val": 8}  # the seed of each split's cases
HELD_OUT = 300  # cases
PART = 50  # cases that a process draws at once
SHOWN = ("words_loss", "gap", "itm", "hard_gap", "finding_gap", "side_gap", "size_gap", "itm_hard", "itm_told")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6000)
    parser.add_argument("--backbone", choices=list(SIZES), default="resnet")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--name", default="seeing")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    folder = ROOT / "data" / "cache" / "seeing"
    settings = {"backbone": SIZES[asked.backbone]["nano"], "steps": asked.steps, "evaluate_every": asked.steps // 4}
    config = Config(**settings | {name: json.loads(value) for name, value in (one.split("=", 1) for one in asked.set)})
    corpora = [runs.Corpus(drawn(folder, asked.cases, config.image_size))]
    if not (runs.RUNS / asked.name).exists():
        captions = (pair.caption for pair in corpora[0].version.pairs if pair.split == "train")
        runs.create(runs.RUNS / asked.name, config, corpora, Tokenizer.train(captions, config.vocab_size))
    run = runs.open_run(asked.name)
    begun = time.perf_counter()
    with ranks.joined(start.processes_for(run.config), peer, run.folder, folder, asked.cases):
        pretrain(run, corpora, lambda line: print(line, file=sys.stderr, flush=True))
    print(
        f"{len(corpora[0].version.pairs)} pairs, {(time.perf_counter() - begun) / 60:.1f} minutes (of this command)\n"
    )
    print("| step | images seen | " + " | ".join(SHOWN) + " |\n" + "| ---: " * (len(SHOWN) + 2) + "|")
    for one in run.records():
        if one["kind"] == "eval":
            cells = [
                str(one["step"]),
                f"{one['step'] * run.config.batch_size:,}",
                *(f"{one[name]:.3f}" for name in SHOWN),
            ]
            print(f"| {' | '.join(cells)} |")


def peer(run: Path, folder: Path, cases: int) -> None:
    """What the other processes of the run do."""
    opened = runs.open_run(run)
    pretrain(opened, [runs.Corpus(drawn(folder, cases, opened.config.image_size))], lambda line: None)


def drawn(folder: Path, cases: int, size: int) -> Version:
    """The pairs of some training cases and of the held-out ones, drawn where they are not there yet."""
    counts = {"train": cases, "val": HELD_OUT}
    parts = [(split, first) for split, count in counts.items() for first in range(0, count, PART)]
    jobs = [part for part in parts if not rows_of(folder, size, *part).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if jobs:
        print(f"drawing {len(jobs) * PART} cases ...", file=sys.stderr)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(partial(draw_part, folder, size), jobs))
    pairs = []
    for part in parts:
        rows = json.loads(rows_of(folder, size, *part).read_text())
        pairs += [Pair(**row, image_path=str(folder / row["sha256"])) for row in rows]
    manifest = hashlib.sha256("".join(pair.sha256 + pair.caption for pair in pairs).encode()).hexdigest()
    return Version(f"phantoms-{cases}", manifest, "drawn", tuple(pairs))


def draw_part(folder: Path, size: int, job: tuple[str, int]) -> None:
    """Draw PART cases: their images, letterboxed, and their rows, last."""
    split, first = job
    rows: list[dict[str, Any]] = []
    for number in range(first, first + PART):
        _, files, truth = draw_case(Recipe(seed=SPLITS[split], cases=100_000, noise="none"), number)
        for (name, _, pixels), told in zip(files, truth, strict=True):
            if told["radiology"] and told["duplicate_of"] is None and told["clean_caption"]:
                key = f"{size}-{split}-{number}-{name}"
                Image.fromarray(letterbox(pixels, size)).save(folder / key, "PNG")
                rows.append(pair_row(key, split, told))
    rows_of(folder, size, split, first).write_text(json.dumps(rows))


def rows_of(folder: Path, size: int, split: str, first: int) -> Path:
    """The file of a part's rows; it is there once the part's images are."""
    return folder / f"{size}-{split}-{first}.json"


def pair_row(key: str, split: str, told: dict[str, Any]) -> dict[str, Any]:
    """A `Pair`'s fields but its path, from the truth's; `key` stands for the image's hash."""
    caption = told["clean_caption"]
    labels = {"modality": told["modality"], "plane": told["plane"].split("+")[0], "region": told["region"]}
    ids = {
        "pair_id": key,
        "sha256": key,
        "duplicate_cluster": key,
        "case_id": told["case_id"],
        "caption_group": caption,
    }
    source = {"source": "phantoms", "source_id": key, "upstream_name": key}
    return {"caption": caption, "laterality": None, "split": split} | labels | ids | source


if __name__ == "__main__":
    main()
