"""The training loop: from a run's folder and its corpora to a trained model, resumable at any step."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from corpus_db.read import UserError
from vlt import checkpoint, device, grounding, optim, predict, runs
from vlt.augment import augment
from vlt.config import Config
from vlt.data import Batch, Batches, CorpusDataset
from vlt.model import VLT
from vlt.objectives import Objectives, Outcome, asked_tokens, draw
from vlt.pack import pack, written
from vlt.text import Tokenizer

LOG_EVERY = 25  # steps
MOST_BAD = 3  # batches in a row whose loss is no number, before the run stops
Say = Callable[[str], None]


class Interrupted(Exception):
    """A signal asked the run to stop; its state is saved. `number`: which."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Training:
    """All that changes in a run: weights, optimiser, scaler, average, chance, the sums since the last log."""

    def __init__(self, config: Config, tokenizer: Tokenizer, where: torch.device, rank: int = 0, world: int = 1):
        torch.manual_seed(config.seed)
        self.config, self.where, self.world = config, where, world
        self.model = VLT(config, len(tokenizer), tokenizer.pad).to(where)
        if config.backbone.startswith("resnet"):
            self.model.backbone.to(memory_format=torch.channels_last)
        self.optimizer = optim.optimiser(self.model, config)
        self.precision = device.precision(config.precision, where)
        self.scaler = torch.amp.GradScaler(where.type, enabled=self.precision == "fp16")
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
            if config.ema
            else None
        )
        self.window: dict[str, list[float]] = {}  # objective: loss, correct, count since the last log
        self.bad = 0
        objectives: nn.Module = Objectives(self.model, config)
        if config.compile:
            objectives.compile(dynamic=False)
        if world > 1:
            objectives = nn.parallel.DistributedDataParallel(objectives, find_unused_parameters=False)
        self.objectives = objectives
        torch.manual_seed(config.seed + 1 + rank)  # dropout differs between ranks

    @property
    def evaluated(self) -> VLT:
        """The weights that count: the average where there is one."""
        return cast(VLT, self.average.module) if self.average is not None else self.model

    def step(self, parts: Sequence[Batch], rate: float) -> bool:
        """Learn from a batch in its parts; False, and nothing learnt, where a loss is no finite number."""
        self.objectives.train()
        optim.set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        shares = _shares(parts)
        sums: dict[str, torch.Tensor] = {}
        for number, part in enumerate(parts):
            with device.autocast(self.precision, self.where):
                outcomes = self.objectives(self._prepared(part))
                weights = {name: self.config.objectives[name] * shares[name][number] for name in outcomes}
                loss = torch.stack([outcome.loss * weights[name] for name, outcome in outcomes.items()]).sum()
            self.scaler.scale(loss).backward()
            for name, outcome in outcomes.items():
                sums[name] = sums.get(name, 0) + _summed(outcome, shares[name][number])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or float("inf"))
        finite = self._all_finite(sums, norm)
        if finite or self.scaler.is_enabled():  # the scaler skips an overflow by itself, and lowers its scale
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if finite:
            if self.average is not None:
                self.average.update_parameters(self.model)
            for name, values in sums.items():
                here = self.window.setdefault(name, [0.0, 0.0, 0.0, 0.0])
                self.window[name] = [a + b for a, b in zip(here, [*values.tolist(), 1.0], strict=True)]
        return finite

    def _prepared(self, part: Batch) -> Batch:
        """The part with its images varied, on the device."""
        if not self.config.augment:
            return part
        assert part.augment is not None
        images = augment(part.images, part.augment)
        if self.config.backbone.startswith("resnet"):
            images = images.to(memory_format=torch.channels_last)
        return replace(part, images=images)

    def _all_finite(self, sums: dict[str, torch.Tensor], norm: torch.Tensor) -> bool:
        """Whether losses and gradients are finite, on all ranks."""
        flag = torch.stack([torch.isfinite(values[0]) for values in sums.values()] + [torch.isfinite(norm)]).all()
        if self.world > 1:
            flag = flag.to(torch.int32)
            dist.all_reduce(flag, dist.ReduceOp.MIN)
        return bool(flag)

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "window": self.window,
            "bad": self.bad,
            # the one source of chance that is not a function of the step: dropout and stochastic depth
            "chance": torch.get_rng_state(),
            "threads": torch.get_num_threads(),
        }
        if self.where.type == "cuda":
            state["cuda_chance"] = torch.cuda.get_rng_state_all()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go back to a state; UserError where it is of another model."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.window, self.bad = state["window"], state["bad"]
            torch.set_rng_state(state["chance"])
            if self.where.type == "cuda" and "cuda_chance" in state:
                torch.cuda.set_rng_state_all(state["cuda_chance"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            line = str(error).strip().partition("\n")[0]
            raise UserError(f"the checkpoint is not of this run's model ({line[:150]})") from error


def pretrain(
    run: runs.Run, corpora: Sequence[runs.Corpus], say: Say, initialise: Callable[[VLT], None] | None = None
) -> None:
    """Train a run to its end, from its newest checkpoint where it has one.

    Raises Interrupted when SIGTERM or SIGINT asked for an end, after a checkpoint; UserError for what is at fault
    outside.
    """
    where, rank, world = device.start()
    say = say if rank == 0 else lambda line: None
    try:
        with _told(run.config):
            _pretrain(run, corpora, say, initialise, where, rank, world)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _pretrain(
    run: runs.Run,
    corpora: Sequence[runs.Corpus],
    say: Say,
    initialise: Callable[[VLT], None] | None,
    where: torch.device,
    rank: int,
    world: int,
) -> None:
    config, tokenizer = run.config, run.tokenizer
    training = Training(config, tokenizer, where, rank, world)
    first = _resumed(run, training, say)
    if first == 0 and initialise is not None:
        initialise(training.model)
        if rank == 0:  # given weights are kept: a resume does not ask for their file again
            checkpoint.save(run.checkpoints, 0, training.state())
    batches, validation = _data(run, corpora, tokenizer, say, rank, world)
    say(_described(training, run, first))
    log = Log(run, training, batches) if rank == 0 else None
    stream = batches.stream(first, pinned=where.type == "cuda")
    with _signals() as asked, _bar(first, config.steps, rank) as bar:
        parts = [part.to(where) for part in next(stream)]
        for step in range(first, config.steps):
            begun = time.perf_counter()
            finite = training.step(parts, optim.rate(step, config))
            if not finite:
                _bad_batch(training, batches, parts, step, run, say)
            else:
                training.bad = 0
            done = step + 1
            waiting = time.perf_counter()
            if done < config.steps:
                parts = [part.to(where) for part in next(stream)]
            if log is not None:
                log.step(done, begun, waiting, bar)
            if log is not None and (done % config.evaluate_every == 0 or done == config.steps):
                log.evaluation(done, grounding.evaluate(training.evaluated, validation, tokenizer, where), say)
            stop = _agreed(asked, where, world)
            if rank == 0 and (stop or done % config.checkpoint_every == 0 or done == config.steps):
                checkpoint.save(run.checkpoints, done, training.state())
            if stop and done < config.steps:
                raise Interrupted(stop)
    stream.close()
    if rank == 0:
        predict.save(training.evaluated, tokenizer, run.folder / "model.safetensors")
        runs.draw_curves(run)


def _data(
    run: runs.Run, corpora: Sequence[runs.Corpus], tokenizer: Tokenizer, say: Say, rank: int, world: int
) -> tuple[Batches, CorpusDataset]:
    """The training batches of all corpora, and the first corpus's validation split."""
    config = run.config
    sizes: dict[str, Any] = {"channels": config.channels, "max_tokens": config.max_tokens}
    packs = [pack(corpus.version, config.image_size, say=say) for corpus in corpora]
    sets = [
        (CorpusDataset(corpus.version, packed, tokenizer, "train", length=_fixed(config), **sizes), corpus.weight)
        for corpus, packed in zip(corpora, packs, strict=True)
    ]
    batches = Batches(
        sets,
        config.batch_size,
        config.seed,
        lambda batch, generator, step: draw(batch, config, tokenizer, generator, step / config.steps),
        hard=config.hard_batches,
        accumulate=config.accumulate,
        rank=rank,
        world=world,
    )
    return batches, CorpusDataset(corpora[0].version, packs[0], tokenizer, "val", **sizes)


def _fixed(config: Config) -> int | None:
    """The length of all batches: a compiled step wants one shape."""
    return config.max_tokens if config.compile else None


def _resumed(run: runs.Run, training: Training, say: Say) -> int:
    """The step to begin with: after the newest whole checkpoint, whose later metrics are cut off, or 0."""
    found = checkpoint.newest(run.checkpoints, say)
    first = 0
    if found is not None:
        first, state = found
        training.load(state)
        if state["threads"] != torch.get_num_threads():
            say(
                f"note: {torch.get_num_threads()} threads, {state['threads']} before: results may differ in last digits"
            )
        say(f"going on after step {first}")
    elif any(run.checkpoints.glob("step-*")):
        say("no whole checkpoint is left: beginning anew")
    if not dist.is_initialized() or dist.get_rank() == 0:
        kept = [json.dumps(record) + "\n" for record in run.records() if record.get("step", 0) <= first]
        with written(run.folder / "metrics.jsonl") as file:
            file.write("".join(kept).encode())
    return first


def _described(training: Training, run: runs.Run, first: int) -> str:
    config = run.config
    count = sum(parameter.numel() for parameter in training.model.parameters())
    objectives = ", ".join(f"{name} {weight:g}" for name, weight in config.objectives.items())
    return (
        f"{run.folder}: {config.backbone} at {config.image_size} px, {count / 1e6:.1f} M parameters, {objectives}; "
        f"{config.steps - first} steps of {config.batch_size} on {training.where.type} in {training.precision}"
    )


def _bad_batch(
    training: Training, batches: Batches, parts: Sequence[Batch], step: int, run: runs.Run, say: Say
) -> None:
    """Name the batch whose loss is no number; after MOST_BAD in a row end the run."""
    if training.scaler.is_enabled() and training.scaler.get_scale() > 1:
        return  # an overflow of fp16, which the scaler has answered with a lower scale
    training.bad += 1
    say(f"step {step + 1}: the loss is not a finite number, batch skipped: {batches.describe(parts[0])}")
    if training.bad >= MOST_BAD:
        raise UserError(
            f"{run.folder}: {MOST_BAD} batches in a row without a finite loss; stopped, the last checkpoint is kept. "
            "Lower --set rate=..., or give --precision fp32"
        )


class Log:
    """Writes metrics.jsonl, and one line or a bar for people."""

    def __init__(self, run: runs.Run, training: Training, batches: Batches):
        self.run, self.training, self.batches = run, training, batches
        self.peak = device.gemm_rate(training.precision, training.where)
        self.flops = 0.0
        self.begun = time.perf_counter()
        self.seconds = self.waited = 0.0
        self.steps = 0

    def step(self, done: int, begun: float, waiting: float, bar: Any) -> None:
        """Take note of a step that began at `begun` and waited for data from `waiting` to now."""
        now = time.perf_counter()
        self.seconds, self.waited, self.steps = self.seconds + now - begun, self.waited + now - waiting, self.steps + 1
        bar.update(1)
        if done % LOG_EVERY and done != self.run.config.steps:
            return
        record = self._record(done)
        self._write(record)
        losses = " ".join(f"{name} {record[f'{name}_loss']:.3f}" for name in self.training.window)
        bar.set_postfix_str(f"{losses} rate {record['rate']:.1e}")
        if bar.disable and done % (LOG_EVERY * 4) == 0:
            left = (self.run.config.steps - done) * self.seconds / self.steps
            tqdm.write(f"step {done}: {losses} rate {record['rate']:.1e}, {left / 60:.1f} min left", file=sys.stderr)
        self.training.window.clear()
        self.seconds = self.waited = 0.0
        self.steps = 0

    def _record(self, done: int) -> dict[str, Any]:
        config = self.run.config
        if not self.flops:
            self.flops = step_flops(self.training, self.batches)
        record: dict[str, Any] = {"kind": "train", "step": done, "rate": optim.rate(done - 1, config)}
        for name, (loss, correct, count, steps) in self.training.window.items():
            record |= {f"{name}_loss": loss / steps, f"{name}_accuracy": correct / max(count, 1)}
        rate = self.steps / max(self.seconds, 1e-9)
        record |= {"images_per_s": rate * config.batch_size, "data_wait": self.waited / max(self.seconds, 1e-9)}
        record |= {"mfu": rate * self.flops / self.peak, "memory_bytes": device.memory(self.training.where)}
        return record

    def evaluation(self, done: int, scores: dict[str, float], say: Say) -> None:
        """Write an evaluation, and say it."""
        self._write({"kind": "eval", "step": done, **scores})
        say(f"step {done}: " + ", ".join(f"{name} {scores[name]:.3f}" for name in runs.SHOWN if name in scores))

    def _write(self, record: dict[str, Any]) -> None:
        with open(self.run.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def step_flops(training: Training, batches: Batches) -> float:
    """Operations of a step of this rank: three times its forward pass's, as the backward pass takes twice those."""
    from torch.utils.flop_counter import FlopCounterMode

    parts = [part.to(training.where) for part in batches.batch(0)]
    with torch.random.fork_rng(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        for part in parts:
            Objectives(training.model, training.config)(part)
    return 3.0 * counter.get_total_flops()


def _shares(parts: Sequence[Batch]) -> dict[str, list[float]]:
    """What each part's mean counts in the mean over the whole batch: by its asked tokens, or by its pairs."""
    if len(parts) == 1:
        return {name: [1.0] for name in ("mlm", "itm", "itc", "lm")}
    asked = {
        "lm": [float(asked_tokens(part, "lm")) for part in parts],
        "mlm": [float(asked_tokens(part, "mlm_labels")) for part in parts],
    }
    shares = {name: [count / max(sum(counts), 1) for count in counts] for name, counts in asked.items()}
    return shares | {name: [1 / len(parts)] * len(parts) for name in ("itm", "itc")}


def _summed(outcome: Outcome, share: float) -> torch.Tensor:
    """[loss, correct, count], detached."""
    return torch.stack([outcome.loss.detach().float() * share, outcome.correct.float(), outcome.asked.float()])


def _bar(first: int, steps: int, rank: int) -> Any:
    """A bar on a terminal; elsewhere it is silent, and the log prints plain lines."""
    return tqdm(initial=first, total=steps, unit="step", disable=True if rank else None, dynamic_ncols=True)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Signals that ask for an end are noted; the step is finished and saved first."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: asked.append(got)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _agreed(asked: Sequence[int], where: torch.device, world: int) -> int:
    """The signal that some rank got, or 0; the same on all ranks."""
    number = asked[0] if asked else 0
    if world == 1:
        return number
    flag = torch.tensor(number, device=where)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return int(flag)


@contextmanager
def _told(config: Config) -> Iterator[None]:
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
