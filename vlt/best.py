"""The best weights of a run so far, and whether its patience with what comes after them has ended."""

import math
import os
from collections.abc import Callable, Mapping

from vlt import predict, ranks, runs
from vlt.model import VLT
from vlt.tasks.base import Task

Say = Callable[[str], None]


class Best:
    """The best weights of a run by its task's score, kept beside the checkpoints; the last ones where none is named."""

    def __init__(self, run: runs.Run, task: Task, score: float = -math.inf, step: int = 0, stale: int = 0):
        self.run, self.task, self.score, self.step, self.stale = run, task, score, step, stale
        self.path = run.folder / "best.safetensors"

    def state(self) -> dict[str, float | int]:
        """For a checkpoint."""
        return {"score": self.score, "step": self.step, "stale": self.stale}

    def take(self, step: int, scores: Mapping[str, float], model: VLT) -> None:
        """Take in an evaluation; its weights are written where they are the best so far."""
        if self.task.chosen_by not in scores:
            return
        score = scores[self.task.chosen_by]
        self.stale += 1
        if score > self.score:
            self.score, self.step, self.stale = score, step, 0
            predict.save(model, self.run.tokenizer, self.path, self.task.answers)

    def ended(self) -> bool:
        """Whether the run's patience has ended, as its first process sees it; all of them ask."""
        patience = self.run.config.patience
        return patience > 0 and ranks.on_first(lambda: patience <= self.stale)

    def settle(self, last: VLT, say: Say) -> None:
        """Give the run its model: the best weights, else the last."""
        whole = self.run.folder / predict.FILE
        if self.path.is_file():
            os.replace(self.path, whole)
            say(f"kept the weights of step {self.step}: {self.task.chosen_by} {self.score:.3f} on validation")
        elif self.score == -math.inf or not whole.is_file():  # else they were settled before
            predict.save(last, self.run.tokenizer, whole, self.task.answers)
