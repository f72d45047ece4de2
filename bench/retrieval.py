"""What retrieval costs at 18,434 pairs: contrast with a re-ranked top beside matching all with all.

    OMP_NUM_THREADS=1 python bench/retrieval.py [--pairs N] [--k K] [--seconds S] [--models nano,paper]

The nano model of the defaults and the paper's (which learns itc, too, here), with random weights, on drawn images and
captions of drawn words in lengths as MedPix-2.0 has them (a median of 27 tokens, 4 to 80), no two alike. Encoding and
fusing each run for about S seconds at most, on pairs drawn at random; what that does not reach is extrapolated from the
time of a forward pass, and marked. Prints one Markdown table.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch.nn import functional as F

from vlt.config import PRESETS, Config
from vlt.data import IDS, Batch
from vlt.model import VLT
from vlt.tasks import retrieval

PAD = 0
CPU = torch.device("cpu")
PAPER = Config(**PRESETS["paper"]).changed(objectives={"mlm": 1.0, "itm": 1.0, "itc": 1.0})
MODELS = {"nano": (Config(), 64), "paper": (PAPER, 4)}  # and how many pairs it takes at once


class Drawn:
    """Pairs in the place of a packed split."""

    def __init__(self, count: int, config: Config):
        generator = np.random.default_rng(0)
        lengths = np.clip(generator.lognormal(np.log(27), 0.6, count).round(), 4, config.max_tokens)
        self.present = torch.from_numpy(np.arange(config.max_tokens) < lengths[:, None])
        words = generator.integers(PAD + 1, config.vocab_size, self.present.shape)
        self.tokens = torch.from_numpy(words).where(self.present, PAD)
        self.shape = config.channels, config.image_size, config.image_size

    def images(self, rows: np.ndarray) -> torch.Tensor:
        """Noise, drawn when it is asked for: all of it at 224 pixels would take 2.8 GB."""
        noise = np.random.default_rng(int(rows[0])).integers(0, 256, (len(rows), *self.shape), np.uint8)
        return torch.from_numpy(noise)

    def batch(self, rows: np.ndarray, images: bool) -> Batch:
        ids: dict[str, Any] = dict.fromkeys((*IDS, "rows"), torch.from_numpy(rows))
        none = torch.empty(len(rows), 0)
        return Batch(none, self.tokens[rows], self.present[rows], words=none, classes=none, **ids)


class Part(NamedTuple):
    """A stage: forward passes, and the seconds of all, those that were timed or more."""

    passes: int
    seconds: float
    timed: int

    @classmethod
    def of(cls, passes: int, timed: int, seconds: float) -> "Part":
        return cls(passes, seconds * passes / timed, timed)

    def row(self, title: str) -> str:
        how = "measured" if self.timed == self.passes else f"extrapolated from {self.timed:,}"
        return f"| {title} | {self.passes:,} | {long(self.seconds)} | {how} |"


def long(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def summed(title: str, parts: list[Part]) -> str:
    passes, timed = sum(part.passes for part in parts), sum(part.timed for part in parts)
    how = "measured" if timed == passes else "extrapolated, as its parts"
    return f"| **{title}** | **{passes:,}** | **{long(sum(part.seconds for part in parts))}** | {how} |"


def within(seconds: float, most: int, least: int, work: Callable[[int], object]) -> int:
    """How many of `most` things take so long, by a trial of `least`."""
    work(least)  # the first call also makes what the later ones find
    begun = time.perf_counter()
    work(least)
    return int(np.clip(seconds * least / (time.perf_counter() - begun), least, most))


def rows(name: str, pairs: int, k: int, seconds: float) -> Iterator[str]:
    """A model's part of the table."""
    config, at_once = MODELS[name]
    torch.manual_seed(0)
    model = VLT(config, config.vocab_size, PAD).eval()
    data: Any = Drawn(pairs, config)
    order = np.random.default_rng(1).permutation(pairs)

    def encode(count: int, cost: retrieval.Cost | None = None) -> retrieval.Features:
        return retrieval.features(model, data, CPU, at_once, rows=order[:count], cost=cost)

    count, cost = within(seconds, pairs, 2 * at_once, encode), retrieval.Cost()
    found = encode(count, cost)
    images, texts = (Part.of(pairs, count, cost.seconds[stage]) for stage in ("images", "texts"))
    yield images.row(f"{name}: images encoded")
    yield texts.row(f"{name}: captions encoded")

    unit = F.normalize(torch.randn(2, pairs, config.width), dim=2)  # in the place of all pairs' embeddings
    begun = time.perf_counter()
    similar = retrieval.search(replace(found, image_unit=unit[0], text_unit=unit[1]))
    product = Part(0, time.perf_counter() - begun, 0)
    yield product.row(f"{name}: one matrix product")
    begun = time.perf_counter()
    _, codes = retrieval.shortlists(similar, k)
    short = Part(0, time.perf_counter() - begun, 0)
    yield short.row(f"{name}: the best {k} of each found, both ways")

    mixed = np.random.default_rng(2).permutation(codes)

    def fuse(some: int) -> None:
        texts, images = np.divmod(np.sort(mixed[:some]), pairs)
        retrieval.cross(model, found, images % count, texts * count // pairs, at_once)  # both in order of length

    some = within(seconds, len(codes), 4 * at_once, fuse)
    begun = time.perf_counter()
    fuse(some)
    spent = time.perf_counter() - begun
    again, every = Part.of(len(codes), some, spent), Part.of(pairs**2, some, spent)
    yield again.row(f"{name}: fused to re-rank them")
    yield every.row(f"{name}: fused, all with all")
    yield summed(f"{name}: dual + re-rank", [images, texts, product, short, again])
    yield summed(f"{name}: exact", [images, texts, every])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=18_434)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--models", default="nano,paper")
    args = parser.parse_args()
    print(f"{args.pairs:,} pairs, {torch.get_num_threads()} threads\n")
    print("| | forward passes | time | |")
    print("| --- | ---: | ---: | --- |")
    for name in args.models.split(","):
        for row in rows(name, args.pairs, args.k, args.seconds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
