"""Begin a run or go on with one: settings from the device, a preset and the user, versions, vocabulary, weights."""

import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from corpus_db.read import UserError, image, leaks, version
from vlt import backbones, checkpoint, device, predict, ranks, runs, tasks, text
from vlt.commands import SIZES
from vlt.config import PRESETS, Config
from vlt.model import VLT
from vlt.tasks.base import Task
from vlt.tasks.pretraining import Pretraining
from vlt.text import Tokenizer
from vlt.train import Interrupted, train

Say = Callable[[str], None]
LEAST_PAIRS = 16  # of a batch, for which a process of its own is worth while


def begin(
    name: str | None,
    backbone: str | None,
    size: str,
    preset: str | None,
    given: dict[str, Any],
    corpora: Sequence[tuple[str | None, float]],
    db: str | None,
    init_backbone: Path | None,
    init_text: Path | None,
    processes: int | None,
    say: Say,
) -> int:
    """Make a new run and train it to its end; returns the exit code."""
    place = device.start()
    say = say if place.rank == 0 else lambda line: None
    found = [runs.Corpus(version(key, db), weight) for key, weight in corpora]
    config = settings(backbone, size, preset, given, say)
    check(name, config, found, processes)
    refuse_leaks(found, db)
    tokenizer = Tokenizer.read(init_text / "vocab.txt") if init_text is not None else vocabulary(found, config)
    weights = {"backbone": _shown(init_backbone), "text": _shown(init_text)}
    task = Pretraining(found)
    run = make(name, config, tokenizer, weights, task, say)
    with out_of_the_way([run], say):
        return carry_out(run, task, db, processes, say)


def vocabulary(corpora: Sequence[runs.Corpus], config: Config) -> Tokenizer:
    """The words of the training captions."""
    captions = [pair.caption for corpus in corpora for pair in corpus.version.pairs if pair.split == "train"]
    return Tokenizer.train(captions, config.vocab_size)


def make(
    name: str | None,
    config: Config,
    tokenizer: Tokenizer,
    weights: dict[str, str | None],
    task: Task,
    say: Say,
    unchecked: Sequence[str] = (),
) -> runs.Run:
    """A new run with its folder, not trained yet; `unchecked` as `runs.create` has it."""
    given = any(weights.values())
    with nullcontext() if given else torch.device("meta"):  # settings and files that do not fit must not cost the name
        model = VLT(config, len(tokenizer), tokenizer.pad, len(task.answers))
    if given:
        initialiser(weights, say)(model)

    def create() -> Path:
        folder = runs.RUNS / (name or runs.free_name(f"{config.backbone}-{time.strftime('%Y%m%d')}"))
        return runs.create(folder, config, task.sources, tokenizer, weights, task.answers, unchecked).folder

    return runs.open_run(ranks.on_first(create))


@contextmanager
def out_of_the_way(made: Sequence[runs.Run], say: Say) -> Iterator[None]:
    """New runs whose training an error ends before the first one has learnt anything leave their names free.

    Their settings are theirs for good, so that going on with them would end in the same error. A run that is asked to
    stop can be gone on with, and so can one whose first checkpoint could not be written.
    """
    try:
        yield
    except checkpoint.Unwritten:
        raise
    except UserError:
        if _first() and runs.forget(made[0]):
            for twin in made[1:]:
                runs.forget(twin)
            say(f"{made[0].folder}: removed, as nothing is learnt; its name is free")
        raise


def resume(name: str, given: dict[str, Any], db: str | None, processes: int | None, say: Say) -> int:
    """Go on with a run; refuses settings or data other than those it began with. Returns the exit code."""
    run = runs.open_run(name)
    if given.get("task", run.config.task) != run.config.task:
        kind = "pre-training" if run.config.task == "pretrain" else f"fine-tuning for {run.config.task}"
        raise UserError(f"{run.folder}: a run of {kind}; go on with it by: {run.resume_command}")
    for key, value in given.items():
        if getattr(run.config, key, None) != value:
            raise UserError(
                f"{run.folder}: it began with {key} {getattr(run.config, key, None)!r}, not {value!r}; "
                "a run goes on with its own settings, so leave this out or begin another run"
            )
    return carry_out(run, tasks.of(run, db), db, processes, say)


def settings(
    backbone: str | None, size: str, preset: str | None, given: dict[str, Any], say: Say = lambda line: None
) -> Config:
    """The config: the preset (paper on CUDA, the nano defaults on a CPU), then what was given."""
    cuda = torch.cuda.is_available()
    if preset is None and size not in ("nano", "pico") and (cuda or size != "auto"):
        preset = "paper"  # the defaults are the nano models'
    base = dict(PRESETS[preset]) if preset else {}
    if backbone or size != "auto" or "backbone" not in base:
        family = backbone or "swin"
        wanted = ("small" if cuda or preset else "nano") if size == "auto" else size
        if wanted not in SIZES[family]:
            raise UserError(f"{family} has no size {wanted}; there are: {', '.join(SIZES[family])}")
        base["backbone"] = SIZES[family][wanted]
        if size == "auto" and not cuda and preset is None:
            say(f"size {wanted}: this machine has no CUDA card; --size and --preset paper give others")
    known = set(Config.__dataclass_fields__)
    if unknown := sorted(set(given) - known):
        raise UserError(f"--set {unknown[0]}: no such setting; there are: {', '.join(sorted(known))}")
    config = Config(**(base | given))
    if "answer" in config.objectives:
        raise UserError("objectives: answer is learnt from questions; python cli.py finetune vqa does")
    return config


def initialiser(weights: dict[str, str | None], say: Say = lambda line: None) -> Callable[[VLT], None]:
    """What loads weights into a new model: {"backbone": a torchvision file, "text": a BERT folder, "run": a model}."""

    def initialise(model: VLT) -> None:
        if path := weights.get("run"):
            say(carried(model, predict.load(path, "cpu").vlt))
        if path := weights.get("backbone"):
            backbones.load_file(model.backbone, Path(path))
        if path := weights.get("text"):
            text.load_bert(model.text, Path(path))

    return initialise


def carried(model: VLT, source: VLT) -> str:
    """Load all weights of another model that this one has a place for, and tell which parts begin anew."""
    have, wanted = source.state_dict(), model.state_dict()
    fitting = {name: have[name] for name in wanted if name in have and have[name].shape == wanted[name].shape}
    model.load_state_dict(fitting, strict=False)
    anew = sorted({".".join(name.split(".")[:2]) for name in wanted.keys() - fitting.keys()})
    return f"{len(fitting)} of {len(wanted)} tensors are carried over; anew: {', '.join(anew) or 'none'}"


def _shown(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def check(name: str | None, config: Config, corpora: Sequence[runs.Corpus], processes: int | None) -> None:
    """UserError for what would only fail once the run has its folder."""
    if name is not None and (not name.isprintable() or name.startswith("-")):
        raise UserError(f"--name {name!r}: give a name of plain characters that does not begin with -")
    if name is not None and Path(name).name != name:
        raise UserError(f"--name {name}: give a name without folders; runs are kept in {runs.RUNS}/")
    device.fitting(config, device.start())
    ranks.refuse(processes or 1)
    if config.batch_size % (config.accumulate * (processes or 1)):
        raise UserError(f"--processes {processes}: batch_size {config.batch_size} is no multiple of it and accumulate")
    versions = [corpus.version.name for corpus in corpora]
    if twice := [name for name in versions if versions.count(name) > 1]:
        raise UserError(f"--corpus: version {twice[0]} stands in it twice; give it once, with its weight")
    for corpus in corpora:
        if not any(_readable(pair.image_path) for pair in corpus.version.pairs if pair.split == "train"):
            raise UserError(f"version {corpus.version.name}: its train split holds no pair with a readable image")
    pairs = sum(pair.split == "train" for corpus in corpora for pair in corpus.version.pairs)
    if corpora and config.batch_size > max(pairs, Config().batch_size):
        raise UserError(f"batch_size {config.batch_size}: the corpus has {pairs} training pairs; give at most those")


def _readable(path: str | os.PathLike[str]) -> bool:
    try:
        image(path)
    except UserError:
        return False
    return True


def refuse_leaks(corpora: Sequence[runs.Corpus], db: str | None) -> None:
    """UserError where a corpus holds images of an evaluation set that will test the model."""
    for corpus in corpora:
        if found := leaks(corpus.version, db):
            held = "; ".join(f"{len(pairs)} images of {spec}, the first: {pairs[0]}" for spec, pairs in found.items())
            without = ",".join(sorted({*corpus.version.excluded, *found}))
            where = f" --db {shlex.quote(db)}" if db else ""
            raise UserError(
                f"version {corpus.version.name} holds {held}. Make one without: "
                f"python cli.py build --exclude {without}{where}"
            )


def processes_for(config: Config) -> int:
    """How many processes train a run where nobody says: on a CPU one a core for a nano model, else one."""
    joined = "WORLD_SIZE" in os.environ  # by torchrun
    if torch.cuda.is_available() or joined or config.shard or not config.nano:
        return 1
    most = min(torch.get_num_threads(), config.batch_size // (LEAST_PAIRS * config.accumulate))
    return next((count for count in range(most, 1, -1) if config.batch_size % (count * config.accumulate) == 0), 1)


def _end(number: int, _: Any) -> None:
    """SIGTERM before the loop hears signals itself: end as Ctrl-C does."""
    raise KeyboardInterrupt(number)


def _first() -> bool:
    """Whether this process is the only one, or the first of torchrun's."""
    return os.environ.get("RANK", "0") == "0"


def _peer(folder: Path, db: str | None) -> None:
    """What the other processes of a run do."""
    run = runs.open_run(folder)
    train(run, tasks.of(run, db), lambda line: None, initialiser(run.weights()))


def carry_out(run: runs.Run, task: Task, db: str | None, processes: int | None, say: Say) -> int:
    """Train a run to its end; returns the exit code."""
    on = run.resume_command
    before = signal.signal(signal.SIGTERM, _end)
    try:
        # a run that is training is refused before peers are started
        with runs.held(run) if _first() else nullcontext():
            task.pack(run.config, say)  # by this process: a peer starts no workers
        with ranks.joined(processes or processes_for(run.config), _peer, run.folder, db):
            train(run, task, say, initialiser(run.weights()))
    except Interrupted as stop:
        say(f"{stop}; saved. Go on with: {on}")
        return 128 + stop.number
    except KeyboardInterrupt as stop:  # while packing, say; nothing is lost
        number = stop.args[0] if stop.args else signal.SIGINT
        say(f"stopped by {signal.Signals(number).name} before the next step. Go on with: {on}")
        return 128 + number
    finally:
        signal.signal(signal.SIGTERM, before)
    say(f"done: {run.folder}")
    return 0
