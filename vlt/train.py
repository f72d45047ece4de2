"""The training loop: from a run's folder and its corpora to a trained model, resumable at any step."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from corpus_db.read import UserError
from vlt import checkpoint, device, optim, ranks, runs, shard
from vlt.augment import augment
from vlt.best import Best
from vlt.config import Config
from vlt.data import Batch, Batches
from vlt.device import Place
from vlt.log import Log, step_flops
from vlt.model import VLT
from vlt.norm import BatchNorm
from vlt.objectives import Objectives, asked_tokens
from vlt.tasks.base import Task
from vlt.text import Tokenizer

MOST_BAD = 3  # batches in a row whose loss is no number, before the run stops
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_COUNTED = {"threads": "threads", "world": "processes"}
Say = Callable[[str], None]


class Interrupted(Exception):
    """A signal asked the run to stop; its state is saved. `number`: which."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Told(NamedTuple):
    """What a step tells, the same on all ranks."""

    sums: dict[str, list[float]]  # objective: [loss, correct, count]
    norm: float  # of the gradients, before clipping
    learnt: bool  # False where a loss or a gradient was no finite number: the weights are as they were
    asked: int  # the signal that some rank got, or 0


class Training:
    """All that changes in a run: weights, their average, optimiser, scaler.

    Chance (dropout, stochastic depth) is seeded anew in each step by the seed, the step and the rank, as the batches
    are: a run that goes on at a step needs no generator's state.
    """

    def __init__(
        self,
        config: Config,
        tokenizer: Tokenizer,
        place: Place,
        initialise: Callable[[VLT], None] | None = None,
        state: dict[str, Any] | None = None,
        answers: int = 0,
    ):
        torch.manual_seed(config.seed)
        self.config, self.place, self.bad = config, place, 0
        self.model = VLT(config, len(tokenizer), tokenizer.pad, answers)
        if initialise is not None:
            initialise(self.model)
        self.model.to(place.device)
        self.sharded = config.shard and place.world > 1
        if config.backbone.startswith("resnet") and not self.sharded:  # only contiguous weights can be shared out
            self.model.backbone.to(memory_format=torch.channels_last)
        self.average = optim.Average(self.model, config.ema) if config.ema else None
        self.precision = device.fitting(config, place)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=self.precision == "fp16")
        self.objectives = Objectives(self.model, config)
        self._load_weights(state)
        self.wrapped = self._wrapped()
        self.optimizer = optim.optimiser(self.model, config)  # of what each rank has of the weights
        self._load_optimizer(state)
        norms = [module for module in self.model.modules() if isinstance(module, (nn.BatchNorm2d, BatchNorm))]
        self.statistics = [value for norm in norms for value in norm.buffers()]  # a forward pass changes them

    def _wrapped(self) -> nn.Module:
        if self.sharded:
            shard.share_out(self.objectives)
            return self.objectives
        if self.config.compile:
            self.objectives.compile(dynamic=False)  # in place: the model itself stays as it is, for evaluation
        if self.place.world == 1:
            return self.objectives
        idle = set(self.config.objectives) == {"itc"}  # contrast alone uses no fusion
        return DistributedDataParallel(self.objectives, find_unused_parameters=idle)

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def evaluated(self) -> VLT:
        """The weights that count: the average where there is one. All ranks call it; the first one's is whole."""
        if self.sharded:
            return shard.whole(self.model)
        return cast(VLT, self.average.model) if self.average is not None else self.model

    def step(self, parts: Sequence[Batch], number: int, asked: Sequence[int] = ()) -> Told:
        """The number-th step, from 0: learn from a batch in its parts. `asked`: signals that this rank got."""
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, number, self.place.rank]).generate_state(1)[0]))
        self.wrapped.train()
        optim.set_rate(self.optimizer, optim.rate(number, self.config))
        self.optimizer.zero_grad()
        statistics = [value.clone() for value in self.statistics]
        told = self._told(self._backward(parts), asked)
        if told.learnt or self.scaler.is_enabled():  # the scaler leaves out an overflow itself, and lowers its scale
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if not told.learnt:
            for now, before in zip(self.statistics, statistics, strict=True):
                now.copy_(before)
        elif self.average is not None:
            self.average.update(self.model, number)
        return told

    def _backward(self, parts: Sequence[Batch]) -> torch.Tensor:
        """Gradients of the batch, clipped -> this rank's [loss, correct, count] of each objective, and the norm."""
        shares = part_shares(parts)
        sums = torch.zeros(len(self.config.objectives), 3, device=self.place.device)
        for number, part in enumerate(parts):
            part = self._varied(part)
            last = number == len(parts) - 1
            with self._synced(last):
                with device.autocast(self.precision, self.place.device):
                    outcomes = self.wrapped(part)
                losses = {name: outcome.loss * shares[name][number] for name, outcome in outcomes.items()}
                total = torch.stack([self.config.objectives[name] * loss for name, loss in losses.items()]).sum()
                self.scaler.scale(total).backward()
            rows = [(losses[name].detach(), one.correct, one.asked) for name, one in outcomes.items()]
            sums += torch.stack([torch.stack([value.float() for value in row]) for row in rows])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or math.inf)
        if self.sharded:
            norm = cast(DTensor, norm).full_tensor()
        return torch.cat([sums.flatten(), norm[None].float()])

    def _synced(self, last: bool) -> AbstractContextManager[None]:
        """Ranks share their gradients in the last part of a batch alone."""
        if isinstance(self.wrapped, FSDPModule):
            self.wrapped.set_requires_gradient_sync(last)
        elif isinstance(self.wrapped, DistributedDataParallel) and not last:
            return self.wrapped.no_sync()
        return nullcontext()

    def _varied(self, part: Batch) -> Batch:
        """The part with its images varied, on the device."""
        images = part.images
        if self.config.augment:
            assert part.augment is not None
            images = augment(images, part.augment)
        if self.config.backbone.startswith("resnet"):
            images = images.to(memory_format=torch.channels_last)
        return replace(part, images=images)

    def _told(self, values: torch.Tensor, asked: Sequence[int]) -> Told:
        """What all ranks agree on, by one sum over them: the only place where a step waits for the device."""
        world = self.place.world
        signals = torch.tensor([float(number in asked) for number in SIGNALS], device=values.device)
        values = torch.cat([values, signals])
        if world > 1:
            dist.all_reduce(values)
        *sums, norm, term, interrupt = values.tolist()
        rows = {
            name: [sums[3 * k] / world, *sums[3 * k + 1 : 3 * k + 3]] for k, name in enumerate(self.config.objectives)
        }
        finite = all(math.isfinite(loss) for loss, _, _ in rows.values())
        learnt = finite and math.isfinite(norm)
        # gradients that overflow in fp16 are the scaler's to mend, until it has no scale left to lower
        overflow = finite and not learnt and self.scaler.is_enabled() and self.scaler.get_scale() > 1
        self.bad = 0 if learnt or overflow else self.bad + 1
        return Told(rows, norm / world, learnt, SIGNALS[0] if term else SIGNALS[1] if interrupt else 0)

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint. All ranks call it; the first one's is whole."""
        model, optimizer = (
            shard.gathered(self.model, self.optimizer)
            if self.sharded
            else (self.model.state_dict(), self.optimizer.state_dict())
        )
        return {
            "model": model,
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "average": self.average.model.state_dict() if self.average is not None else None,
            "bad": self.bad,
        }

    def _load_weights(self, state: dict[str, Any] | None) -> None:
        """From a checkpoint, before they are shared out."""
        if state is None:
            return
        with checkpoint.of_this_model():
            self.model.load_state_dict(state["model"])
            self.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.model.load_state_dict(state["average"])
            self.bad = state["bad"]

    def _load_optimizer(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        with checkpoint.of_this_model():
            if self.sharded:
                shard.load_optimizer(self.model, self.optimizer, state["optimizer"])
            else:
                self.optimizer.load_state_dict(state["optimizer"])


def part_shares(parts: Sequence[Batch]) -> dict[str, list[torch.Tensor | float]]:
    """What each part's mean counts in the mean over the whole batch: by its asked tokens, or by its pairs."""
    names = ("mlm", "itm", "itc", "lm", "answer")
    shares: dict[str, list[torch.Tensor | float]] = {name: [1 / len(parts)] * len(parts) for name in names}
    for name, key in (("mlm", "mlm_labels"), ("lm", "tokens"), ("answer", "answer")):
        if len(parts) > 1 and getattr(parts[0], key) is not None:
            asked = torch.stack([asked_tokens(part, "lm" if name == "lm" else key) for part in parts])
            shares[name] = list(asked / asked.sum().clamp(min=1))
    return shares


def train(run: runs.Run, task: Task, say: Say, initialise: Callable[[VLT], None] | None = None) -> None:
    """Train a run to its end, from its newest checkpoint where it has one.

    Raises Interrupted when SIGTERM or SIGINT asked for an end, after a checkpoint; UserError for what is at fault
    outside.
    """
    place = device.start()
    say = say if place.rank == 0 else lambda line: None
    with runs.held(run) if place.rank == 0 else nullcontext(), _told_memory(run.config):
        _Loop(run, task, say, initialise, place).go()


class _Loop:
    """One call of `train`, on one rank: what it learns with and what it keeps."""

    def __init__(
        self, run: runs.Run, task: Task, say: Say, initialise: Callable[[VLT], None] | None, place: Place
    ) -> None:
        config, tokenizer = run.config, run.tokenizer
        self.run, self.task, self.say, self.place = run, task, say, place
        self.made_of = runs.made_of(config, tokenizer, task.told(), task.answers)
        self.first, state = _newest(run, self.made_of, say)
        initialise = initialise if state is None else None
        self.training = Training(config, tokenizer, place, initialise, state, len(task.answers))
        self.best = Best(run, task, **(state["best"] if state is not None else {}))
        self.log = Log(run, self.first, self.training.precision, place)
        self.log.window = state["window"] if state is not None else {}
        self.log.cut(self.first)
        if self.first == 0:
            self.log.start(self.training.parameters)
        self.batches, self.validation = task.data(config, tokenizer, say, place)

    def go(self) -> None:
        """To the end, or Interrupted."""
        steps = self.run.config.steps
        stream = self.batches.stream(self.first, pinned=self.place.cuda)
        with _signals() as asked, self.log.bar:
            self.say(_described(self.training, self.run, self.first))
            if self.first == 0:
                self._evaluate(0)  # what an untrained model scores, to compare with
            ended = self.best.ended()
            for step in range(self.first, steps):
                if ended:
                    break
                done, told = step + 1, self._step(stream, step, asked)
                if done == steps or done % self.run.config.evaluate_every == 0:
                    self._evaluate(done)
                ended = self.best.ended()
                if ended:
                    self.log.flush(done)
                last = ended or done == steps
                if last or told.asked or done % self.run.config.checkpoint_every == 0:
                    self._save(done)
                if told.asked and not last:
                    raise Interrupted(told.asked)
        model = self.training.evaluated()
        if self.place.rank == 0:
            self.best.settle(model, self.say)
            runs.draw_curves(self.run)

    def _step(self, stream: Iterator[list[Batch]], step: int, asked: Sequence[int]) -> Told:
        """Learn from the next batch and note it; UserError after MOST_BAD in a row that teach nothing."""
        begun = time.perf_counter()
        parts = [part.to(self.place.device) for part in next(stream)]
        fetched = time.perf_counter()
        told = self.training.step(parts, step, asked)
        if told.learnt:
            self.log.learnt(told.sums, told.norm)
        self.log.flops = self.log.flops or step_flops(self.training.objectives, parts)
        self.log.step(step + 1, time.perf_counter() - begun, fetched - begun)
        if self.training.bad:
            _bad_batch(self.training.bad, self.batches, parts, step + 1, self.run, self.say)
        return told

    def _evaluate(self, step: int) -> None:
        """On the validation part, where there is one."""
        if self.validation is None:
            return
        model, on = self.training.evaluated(), self.place.device
        if self.place.rank == 0:
            with device.autocast(self.training.precision, on):
                scores = self.task.evaluate(model, self.validation, self.run.tokenizer, on)
            self.log.evaluation(step, scores, self.say)
            self.best.take(step, scores, model)

    def _save(self, step: int) -> None:
        """A checkpoint, by the first rank."""
        state = self.training.state()
        if self.place.rank == 0:
            state |= {"window": self.log.window, "threads": torch.get_num_threads(), "world": self.place.world}
            checkpoint.save(self.run.checkpoints, step, state | {"made_of": self.made_of, "best": self.best.state()})


def _newest(run: runs.Run, made_of: dict[str, Any], say: Say) -> tuple[int, dict[str, Any] | None]:
    """The step to begin with and the state to begin in: the newest whole checkpoint's, or 0 and None."""
    found = checkpoint.newest(run.checkpoints, say)
    if found is None:
        runs.refuse_changes(run, runs.made_of(run.config, run.tokenizer, run.corpora, run.answers), made_of)
        return 0, None
    first, state = found
    runs.refuse_changes(run, state.get("made_of", {}), made_of)
    now = {"threads": torch.get_num_threads(), "world": ranks.world()}
    if changed := [name for name in now if state[name] != now[name]]:
        told = ", ".join(f"{now[name]} {_COUNTED[name]}, {state[name]} before" for name in changed)
        say(f"note: {told}: the last digits may differ")
    say(f"going on after step {first}")
    return first, state


def _described(training: Training, run: runs.Run, first: int) -> str:
    config, place = run.config, training.place
    objectives = ", ".join(f"{name} {weight:g}" for name, weight in config.objectives.items())
    where = f"{place.device.type} x {place.world}" if place.world > 1 else place.device.type
    return (
        f"{run.folder}: {config.backbone} at {config.image_size} px, {training.parameters / 1e6:.1f} M parameters, "
        f"{objectives}; {config.steps - first} steps of {config.batch_size} on {where} in {training.precision}"
    )


def _bad_batch(bad: int, batches: Batches, parts: Sequence[Batch], done: int, run: runs.Run, say: Say) -> None:
    """Name a batch whose loss is no number; UserError after MOST_BAD in a row."""
    named = batches.describe(replace(parts[0], rows=torch.cat([part.rows for part in parts])))
    say(f"step {done}: loss or gradient is no finite number; batch skipped: {named}")
    if bad >= MOST_BAD:
        raise UserError(
            f"{run.folder}: {bad} batches in a row without a finite loss; stopped, the last good checkpoint is kept. "
            "Begin a new run with a lower rate (--set rate=...) or --precision fp32"
        )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that ask for an end are noted; the step is finished and saved first."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda got, _: asked.append(got)) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _told_memory(config: Config) -> Iterator[None]:
    """An allocator's failure becomes one line that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not device.out_of_memory(error):
            raise
        raise UserError(
            f"out of memory: lower --set batch_size ({config.batch_size}) or image_size ({config.image_size}), raise "
            f"accumulate ({config.accumulate}), or give --set checkpointing=true; the last checkpoint is kept"
        ) from error
