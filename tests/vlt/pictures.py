"""A version of a few image files, without a database."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from corpus_db.read import Pair, Version

SENTENCES = (
    "Axial CT of the head shows a mass.",
    "Normal study of the chest in 2 planes.",
    "A cyst, 1.8 cm, on the left.",
)


def pixels(seed: int, colour: bool = False, shape: tuple[int, int] = (40, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3) if colour else shape, dtype=np.uint8)


def version(folder: Path, count: int = 12, name: str = "v1", **changes: Any) -> Version:
    """Pairs p00, p01, ...: every fourth image is of colour, every fifth pair of val; three modalities, cases of two."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(pixels(number, colour=number % 4 == 3)).save(path)
        labels = {"modality": f"m{number % 3}", "plane": None, "region": None, "laterality": None}
        pair = {
            "pair_id": f"{name}:p{number:02}",
            "image_path": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "caption": f"{SENTENCES[number % 3]} Number {number}.",
            "split": "val" if number % 5 == 4 else "train",
            "case_id": f"{name}:c{number // 2}",
            "caption_group": f"g{number}",
            "duplicate_cluster": f"d{number}",
            "source": "medpix",
            "source_id": str(number),
            "upstream_name": f"synpic{number}",
        }
        pairs.append(Pair(**{**labels, **pair, **changes}))
    manifest = hashlib.sha256(repr((name, count)).encode()).hexdigest()
    return Version(name, manifest, "corpus.db", tuple(pairs))
