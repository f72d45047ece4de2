"""A training step of the real loop beside bare forward + backward + optimiser on a batch that lies ready.

    python bench/loop.py [--rounds N] [--threads N] [--size PIXELS] [--batch PAIRS]

The loop loads, augments, seeds, checks, logs; the bare step does none of that and keeps one batch. Both train the nano
Swin on drawn images. Rounds of a few steps alternate, so that other work on the machine meets both alike.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tests.vlt import corpus, tiny
from vlt import optim, runs
from vlt.config import Config
from vlt.data import Batch, Batches
from vlt.device import Place
from vlt.log import Log
from vlt.tasks.pretraining import Pretraining
from vlt.train import Training

STEPS = 4  # of each in a round
PLACE = Place(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def bare(config: Config, batch: Batch) -> Callable[[], None]:
    """A step without a loop round it."""
    training = Training(config, tiny.TOKENIZER, PLACE)
    module, optimizer = training.objectives, optim.optimiser(training.model, config)
    module.train()

    def step() -> None:
        optimizer.zero_grad()
        torch.stack([outcome.loss for outcome in module(batch).values()]).sum().backward()
        optimizer.step()

    return step


def whole(run: runs.Run, batches: Batches) -> Callable[[], None]:
    """A step as `train.train` takes it: batch, step, log."""
    training = Training(run.config, run.tokenizer, PLACE)
    log = Log(run, 0, training.precision, PLACE)
    log.bar.disable = True
    stream, done = batches.stream(0, pinned=PLACE.cuda), 0

    def step() -> None:
        nonlocal done
        begun = time.perf_counter()
        parts = [part.to(PLACE.device) for part in next(stream)]
        fetched = time.perf_counter()
        told = training.step(parts, done)
        log.learnt(told.sums, told.norm)
        done += 1
        log.step(done, time.perf_counter() - begun, fetched - begun)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RGC_DATA"] = folder
        config = Config(image_size=asked.size, batch_size=asked.batch, steps=10_000)
        corpora = [runs.Corpus(corpus.version(Path(folder) / "images", train=256))]
        run = runs.create(Path(folder) / "runs" / "bench", config, corpora, tiny.TOKENIZER)
        batches, _ = Pretraining(corpora).data(config, run.tokenizer, print, PLACE)
        ready = batches.batch(0)[0].to(PLACE.device)
        report(asked.rounds, bare(config, ready), whole(run, batches))


def report(rounds: int, *steps: Callable[[], None]) -> None:
    """Time the steps in turn and print the table."""
    seconds: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 1):
        for step, times in zip(steps, seconds, strict=True):
            begun = time.perf_counter()
            for _ in range(STEPS):
                step()
            if PLACE.cuda:
                torch.cuda.synchronize()
            times.append((time.perf_counter() - begun) / STEPS if number else 0.0)
    plain, looped = (times[1:] for times in seconds)  # the first round warms up
    ratios = sorted(b / a for a, b in zip(plain, looped, strict=True))
    print(f"{PLACE.device.type}, {torch.get_num_threads()} threads, {rounds} rounds of {STEPS} steps each\n")
    print("| bare step, ms | step of the loop, ms | ratio | middle half of the rounds |")
    print("| --- | --- | --- | --- |")
    quarter = len(ratios) // 4
    middle = f"{ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}"
    medians = " | ".join(f"{statistics.median(part) * 1e3:.0f}" for part in (plain, looped))
    print(f"| {medians} | {statistics.median(ratios):.3f} | {middle} |")


if __name__ == "__main__":
    main()
