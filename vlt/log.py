"""What a run measures of itself while it learns: metrics.jsonl, and a bar or plain lines for people."""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from corpus_db.read import written
from vlt import device, optim, runs
from vlt.data import Batch
from vlt.objectives import Objectives

EVERY = 25  # steps
PLAIN_SECONDS = 15.0  # between two plain lines
tqdm.set_lock(threading.RLock())  # tqdm's own is a semaphore of the system, which a killed process leaves behind


class Log:
    """Counts steps and the seconds they took; writes a record every EVERY steps, and at the end, also an early one.

    `window` holds, by objective, [loss, correct, count, steps] summed since the last record; it is part of a
    checkpoint, so that a resumed run writes the records of one that was never interrupted.
    """

    def __init__(self, run: runs.Run, first: int, precision: str, place: device.Place):
        self.run, self.precision, self.place = run, precision, place
        self.window: dict[str, list[float]] = {}
        self.norm = 0.0
        self.seconds = self.waited = 0.0
        self.steps = 0
        self.flops = 0.0  # of a step of this rank
        self.quiet = place.rank > 0
        self.peak = 0.0  # operations a second, once it is needed
        self.bar = tqdm(
            initial=first, total=run.config.steps, unit="step", disable=True if self.quiet else None, dynamic_ncols=True
        )
        self.told = time.perf_counter()

    def start(self, parameters: int) -> None:
        """Write what the whole run has in common."""
        if not self.quiet:
            device_ = {"device": self.place.device.type, "processes": self.place.world}
            self._write({"kind": "start", "step": 0, "parameters": parameters, **device_})

    def learnt(self, sums: dict[str, list[float]], norm: float) -> None:
        """Take in a step's [loss, correct, count] of each objective, over all ranks, and its gradient norm."""
        self.norm = norm
        for name, values in sums.items():
            before = self.window.get(name, [0.0, 0.0, 0.0, 0.0])
            self.window[name] = [a + b for a, b in zip(before, [*values, 1.0], strict=True)]

    def step(self, done: int, seconds: float, waited: float) -> None:
        """Take in a step's time, of which it waited so long for data."""
        self.seconds, self.waited, self.steps = self.seconds + seconds, self.waited + waited, self.steps + 1
        self.bar.update(1)
        if done % EVERY == 0 or done == self.run.config.steps:
            self.flush(done)

    def flush(self, done: int) -> None:
        """Write the record of the steps since the last one, where there are any."""
        if not self.steps:
            return
        if not self.quiet:
            record = self._record(done)
            self._write(record)
            self._tell(record)
        self.window, self.seconds, self.waited, self.steps = {}, 0.0, 0.0, 0

    def evaluation(self, done: int, scores: dict[str, float], say: Callable[[str], None]) -> None:
        """Write an evaluation, and say it."""
        self._write({"kind": "eval", "step": done, **scores})
        say(f"step {done}: " + ", ".join(f"{name} {scores[name]:.3f}" for name in runs.SHOWN if name in scores))

    def cut(self, step: int) -> None:
        """Forget what was measured after a step."""
        if not self.quiet:
            records = self.run.records() if step else []
            kept = [json.dumps(record) + "\n" for record in records if record.get("step", 0) <= step]
            with written(self.run.folder / "metrics.jsonl") as file:
                file.write("".join(kept).encode())

    def _record(self, done: int) -> dict[str, Any]:
        config, seconds = self.run.config, max(self.seconds, 1e-9)
        record: dict[str, Any] = {"kind": "train", "step": done, "rate": optim.rate(done - 1, config)}
        for name, (loss, correct, count, steps) in self.window.items():
            record |= {f"{name}_loss": loss / steps, f"{name}_accuracy": correct / max(count, 1)}
        self.peak = self.peak or device.peak(self.precision, self.place.device)
        record |= {"gradient_norm": self.norm, "images_per_s": self.steps / seconds * config.batch_size}
        record |= {"data_wait": self.waited / seconds, "mfu": self.steps / seconds * self.flops / self.peak}
        return record | {"memory_bytes": device.memory(self.place.device)}

    def _write(self, record: dict[str, Any]) -> None:
        with open(self.run.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _tell(self, record: dict[str, Any]) -> None:
        losses = " ".join(f"{name} {record[f'{name}_loss']:.3f}" for name in self.window)
        line = f"{losses} rate {record['rate']:.1e}"
        self.bar.set_postfix_str(line)
        now = time.perf_counter()
        if self.bar.disable and now - self.told > PLAIN_SECONDS:
            left = (self.run.config.steps - record["step"]) * self.seconds / self.steps
            speed = f"{record['images_per_s']:.0f} images/s, {left / 60:.1f} min left"
            print(f"step {record['step']}: {line}, {speed}", file=sys.stderr, flush=True)
            self.told = now


@torch.no_grad()
def step_flops(objectives: Objectives, parts: Sequence[Batch]) -> float:
    """Operations of a step on these parts: three times the forward pass, as the backward takes twice as many."""
    was_training = objectives.training
    objectives.eval()  # norms keep their statistics, and no chance is used up
    with FlopCounterMode(display=False) as counter:
        for part in parts:
            objectives(part)
    objectives.train(was_training)
    return 3.0 * counter.get_total_flops()
