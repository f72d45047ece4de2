"""Begin a run or go on with one: settings from the device, a preset and the user, versions, vocabulary, weights."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from corpus_db.read import UserError, leaks, version
from vlt import backbones, device, ranks, runs, text
from vlt.commands import SIZES
from vlt.config import PRESETS, Config
from vlt.model import VLT
from vlt.pack import pack
from vlt.text import Tokenizer
from vlt.train import Interrupted, pretrain

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
    _check(name, config, found, processes)
    _refuse_leaks(found, db)
    if init_text is not None:
        tokenizer = Tokenizer.read(init_text / "vocab.txt")
    else:
        captions = [pair.caption for corpus in found for pair in corpus.version.pairs if pair.split == "train"]
        tokenizer = Tokenizer.train(captions, config.vocab_size)
    weights = {"backbone": _shown(init_backbone), "text": _shown(init_text)}
    if init_backbone is not None or init_text is not None:  # files that do not fit must not cost the run its name
        initialiser(weights)(VLT(config, len(tokenizer), tokenizer.pad))

    def create() -> Path:
        folder = runs.RUNS / (name or runs.free_name(f"{config.backbone}-{time.strftime('%Y%m%d')}"))
        return runs.create(folder, config, found, tokenizer, weights).folder

    return _train(runs.open_run(ranks.on_first(create)), found, db, processes, say)


def resume(name: str, given: dict[str, Any], db: str | None, processes: int | None, say: Say) -> int:
    """Go on with a run; refuses settings or data other than those it began with. Returns the exit code."""
    run = runs.open_run(name)
    for key, value in given.items():
        if getattr(run.config, key, None) != value:
            raise UserError(
                f"{run.folder}: it began with {key} {getattr(run.config, key, None)!r}, not {value!r}; "
                "a run goes on with its own settings, so leave this out or begin another run"
            )
    return _train(run, _corpora(run, db), db, processes, say)


def settings(
    backbone: str | None, size: str, preset: str | None, given: dict[str, Any], say: Say = lambda line: None
) -> Config:
    """The config: the preset (paper on CUDA, the nano defaults on a CPU), then what was given."""
    cuda = torch.cuda.is_available()
    if preset is None and size != "nano" and (cuda or size != "auto"):
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
    return Config(**(base | given))


def initialiser(weights: dict[str, str | None]) -> Callable[[VLT], None]:
    """What loads given weights into a new model: {"backbone": a torchvision file, "text": a BERT folder}."""

    def initialise(model: VLT) -> None:
        if path := weights.get("backbone"):
            backbones.load_file(model.backbone, Path(path))
        if path := weights.get("text"):
            text.load_bert(model.text, Path(path))

    return initialise


def _shown(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _corpora(run: runs.Run, db: str | None) -> list[runs.Corpus]:
    """What a run learns from, read again."""
    return [runs.Corpus(version(told["version"], db or told["database"]), told["weight"]) for told in run.corpora]


def _check(name: str | None, config: Config, corpora: Sequence[runs.Corpus], processes: int | None) -> None:
    """UserError for what would only fail once the run has its folder."""
    if name is not None and Path(name).name != name:
        raise UserError(f"--name {name}: give a name without folders; runs are kept in {runs.RUNS}/")
    if config.batch_size % (config.accumulate * (processes or 1)):
        raise UserError(f"--processes {processes}: batch_size {config.batch_size} is no multiple of it and accumulate")
    versions = [corpus.version.name for corpus in corpora]
    if twice := [name for name in versions if versions.count(name) > 1]:
        raise UserError(f"--corpus: version {twice[0]} stands in it twice; give it once, with its weight")
    pairs = sum(pair.split == "train" for corpus in corpora for pair in corpus.version.pairs)
    if config.batch_size > max(pairs, Config().batch_size):
        raise UserError(f"batch_size {config.batch_size}: the corpus has {pairs} training pairs; give at most those")


def _refuse_leaks(corpora: Sequence[runs.Corpus], db: str | None) -> None:
    """UserError where a corpus holds images of an evaluation set that will test the model."""
    for corpus in corpora:
        if found := leaks(corpus.version, db):
            held = "; ".join(f"{len(pairs)} images of {spec}, the first: {pairs[0]}" for spec, pairs in found.items())
            without = ",".join(sorted({*corpus.version.excluded, *found}))
            where = f" --db {db}" if db else ""
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


def _peer(folder: Path, db: str | None) -> None:
    """What the other processes of a run do."""
    run = runs.open_run(folder)
    pretrain(run, _corpora(run, db), lambda line: None, initialiser(run.weights()))


def _train(run: runs.Run, corpora: Sequence[runs.Corpus], db: str | None, processes: int | None, say: Say) -> int:
    on = f"python cli.py pretrain --resume {run.folder.name}"
    before = signal.signal(signal.SIGTERM, _end)
    try:
        first = os.environ.get("RANK", "0") == "0"
        with runs.held(run) if first else nullcontext():  # a run that is training is refused before peers are started
            for corpus in corpora:
                pack(corpus.version, run.config.image_size, say=say)  # by this process: a peer starts no workers
        with ranks.joined(processes or processes_for(run.config), _peer, run.folder, db):
            pretrain(run, corpora, say, initialiser(run.weights()))
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
