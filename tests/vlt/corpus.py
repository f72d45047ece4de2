"""A corpus version of a few drawn images, and runs on it that take a second."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from corpus_db.read import Pair, Version
from tests.vlt import tiny
from vlt import runs
from vlt.tasks.pretraining import pretrain
from vlt.train import Interrupted

SIDES, FINDINGS = ("left", "right"), ("mass", "cyst", "fracture", "normal")


def version(folder: Path, train: int = 24, val: int = 6, name: str = "v1") -> Version:
    """Distinct grey images of 32 px, each with its caption; drawn once into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = tuple(_pair(folder, number, "train" if number < train else "val") for number in range(train + val))
    manifest = hashlib.sha256(repr([pair.sha256 + pair.caption for pair in pairs]).encode()).hexdigest()
    return Version(name, manifest, "nowhere.db", pairs)


def _pair(folder: Path, number: int, split: str) -> Pair:
    path = folder / f"{number}.png"
    if not path.exists():
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    told = hashlib.sha256(path.read_bytes()).hexdigest()
    caption = f"Axial CT shows a {FINDINGS[number % 4]} in the {SIDES[number % 2]} lobe, number {number}."
    labels: dict[str, Any] = {
        "modality": "ct",
        "plane": "axial",
        "region": ("head", "chest")[number % 2],
        "laterality": None,
    }
    keys = {"case_id": f"c{number}", "caption_group": f"g{number}", "duplicate_cluster": f"d{number}"}
    source = {"source": "test", "source_id": "1", "upstream_name": f"image{number}"}
    return Pair(f"test/{number}", str(path), told, caption, split=split, **labels, **keys, **source)


def config(**settings: Any) -> Any:
    """A run of a second: eight steps of eight pairs, with chance in dropout, drop path and augmentation."""
    quick = {"steps": 8, "evaluate_every": 4, "checkpoint_every": 3, "dropout": 0.1, "drop_path": 0.1}
    return tiny.config(**{**quick, "fusion_layers": 1, "objectives": {"mlm": 1.0, "itm": 1.0}, **settings})


def begun(folder: Path, name: str = "run", **settings: Any) -> tuple[runs.Run, list[runs.Corpus]]:
    """A new run folder and its corpora."""
    corpora = [runs.Corpus(version(folder / "images"))]
    return runs.create(folder / "runs" / name, config(**settings), corpora, tiny.TOKENIZER), corpora


def main(*folders: str) -> int:
    """Go on with runs in a process of its own, one after the other."""
    torch.set_num_threads(1)
    for folder in map(Path, folders):
        corpora = [runs.Corpus(version(folder.parent.parent / "images"))]
        try:
            pretrain(runs.open_run(folder), corpora, lambda line: print(line, file=sys.stderr, flush=True))
        except Interrupted as stop:
            return 128 + stop.number
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
