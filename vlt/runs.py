"""A run's folder: what it is made of, what it measured; and runs listed and compared.

runs/NAME/ holds config.json, vocab.txt, corpus.json (versions with their manifest hashes), environment.json,
metrics.jsonl, curves.png, checkpoints/ and, at the end, model.safetensors.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from corpus_db.read import UserError, Version, written
from vlt import pace
from vlt.config import Config
from vlt.text import Tokenizer

RUNS = Path("runs")
STUDIES = "studies"  # in it, the runs of studies
ADVICE = "put it back from a copy, or begin another run"
PACKAGES = ("numpy", "pillow", "safetensors")  # whose versions a run notes, beside those of torch
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


@dataclass(frozen=True)
class Corpus:
    """A version that a run learns from, and its share of each batch before the shares are scaled to 1."""

    version: Version
    weight: float = 1.0

    def told(self) -> dict[str, Any]:
        """What corpus.json holds of it."""
        told = {"version": self.version.name, "manifest_sha256": self.version.manifest_sha256}
        count = len(self.version.pairs)  # fewer when some were purged since, which leaves the manifest as it was
        return told | {"pairs": count, "database": self.version.database, "weight": self.weight}


@dataclass(frozen=True)
class Run:
    """An existing run."""

    folder: Path
    config: Config
    corpora: list[dict[str, Any]]

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def answers(self) -> list[str]:
        """Those that a model of this run chooses from; none but for one that answers questions."""
        if "answer" not in self.config.objectives:
            return []
        path = self.folder / "answers.json"
        try:
            return [str(answer) for answer in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error}); {ADVICE}") from error

    @property
    def resume_command(self) -> str:
        """How an interrupted run is gone on with."""
        if self.folder.parent.parent.name == STUDIES:
            return "the same study command"
        task = self.config.task
        named = task if task == "pretrain" else f"finetune {task}"
        return f"python cli.py {named} --resume {shlex.quote(self.folder.name)}"

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary that belongs to the run."""
        try:
            return Tokenizer.read(self.folder / "vocab.txt")
        except UserError as error:
            raise UserError(f"{error}; {ADVICE}") from error

    def records(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds, without lines that are no records: one that a crash cut short, say."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [record for line in lines if (record := _record(line)) is not None]

    def weights(self) -> dict[str, str | None]:
        """The files that it began with: {"backbone": PATH, "text": PATH}, or {}."""
        try:
            return dict(json.loads((self.folder / "environment.json").read_text())["weights"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.folder / 'environment.json'}: damaged ({error}); {ADVICE}") from error

    @property
    def unchecked(self) -> list[str]:
        """What the runs that it comes from learnt from and could not be looked at when it began."""
        try:
            told = json.loads((self.folder / "environment.json").read_text())["unchecked"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []
        return [one for one in told if isinstance(one, str)] if isinstance(told, list) else []


def _record(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None where it is none: kind and device are words, all else are numbers, step a count."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "kind" not in record or not _is_count(record.get("step")):
        return None
    fits = (isinstance(value, str if name in ("kind", "device") else (int, float)) for name, value in record.items())
    return record if all(fits) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**53


class Source(Protocol):
    """What a run learns from."""

    def told(self) -> dict[str, Any]:
        """What corpus.json holds of it."""


def create(
    folder: Path,
    config: Config,
    corpora: Sequence[Source],
    tokenizer: Tokenizer,
    weights: dict[str, str | None] | None = None,
    answers: Sequence[str] = (),
    unchecked: Sequence[str] = (),
) -> Run:
    """A new run's folder; UserError where there is one of that name.

    `weights`: the files that it begins with. `unchecked`: what they learnt from and could not be looked at, so that it
    may hold what is tested.
    """
    if folder.name in ("", ".", ".."):
        raise UserError(f"{folder}: no name for a run")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{folder}: there is such a run; give another --name, or go on with --resume {shlex.quote(folder.name)}"
        ) from None
    (folder / "checkpoints").mkdir()
    told = [corpus.told() for corpus in corpora]
    lineage = {"weights": weights or {}} | ({"unchecked": list(unchecked)} if unchecked else {})
    for name, text in (
        ("vocab.txt", tokenizer.text()),
        ("corpus.json", json.dumps(told, indent=1)),
        ("environment.json", json.dumps(environment() | lineage, indent=1)),
        *([("answers.json", json.dumps(answers, indent=0))] if answers else []),
        ("config.json", config.to_json()),  # the last: a folder without it is no run
    ):
        with written(folder / name) as file:
            file.write(text.encode())
    return open_run(folder)  # as a resume reads it: the order of the objectives is that of the sum of their losses


def forget(run: Run) -> bool:
    """Remove a run that has neither a checkpoint nor a measured step, so that its name is free; whether it had none."""
    with held(run):
        if any(run.checkpoints.glob("step-*")) or any(record["kind"] == "train" for record in run.records()):
            return False
        shutil.rmtree(run.folder)
    return True


def open_run(name: str | Path) -> Run:
    """A run by its name under runs/, or by its folder; UserError where it is none or damaged."""
    folder = next((place for place in (Path(name), RUNS / name) if (place / "config.json").is_file()), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/config.json"))) or "none"
        trouble = f"{name}: no such run" if str(name) else "no run is named: give a run's name or folder"
        raise UserError(f"{trouble}; there are: {known}")
    try:
        corpora = json.loads((folder / "corpus.json").read_text())
        if not corpora:
            raise ValueError("corpus.json names no version")
        for corpus in corpora:  # a file from anywhere: it must hold what is asked of it later
            Corpus(
                Version(corpus["version"], corpus["manifest_sha256"][:], corpus["database"], ()), corpus["weight"] * 1.0
            )
        return Run(folder, Config.from_json((folder / "config.json").read_text()), corpora)
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{folder}: a damaged run ({str(error) or type(error).__name__}); {ADVICE}") from error


def made_of(
    config: Config, tokenizer: Tokenizer, corpora: Sequence[dict[str, Any]], answers: Sequence[str] = ()
) -> dict[str, Any]:
    """What must stay the same for a run to go on, by name: settings, vocabulary, data (as `Corpus.told` gives it)."""
    told: dict[str, Any] = {"vocabulary": tokenizer.sha256}
    for corpus in corpora:
        told[f"the manifest of version {corpus['version']}"] = corpus["manifest_sha256"]
        told[f"the weight of version {corpus['version']}"] = corpus["weight"]
        told[f"the number of pairs of version {corpus['version']}"] = corpus.get("pairs")
    if answers:
        told["the answers to choose from"] = hashlib.sha256(json.dumps(list(answers)).encode()).hexdigest()
    return json.loads(config.to_json()) | told


def refuse_changes(run: Run, before: dict[str, Any], now: dict[str, Any]) -> None:
    """UserError naming the first thing that is no more as it was when the run began."""
    for name in [*before, *(now.keys() - before.keys())]:
        if before.get(name) != now.get(name):
            then, here = (_short(values.get(name)) for values in (before, now))
            raise UserError(
                f"{run.folder}: {name} was {then} when the run began and is {here} now; a run goes on only with what "
                "it began with: give that back, or begin another run"
            )


def _short(value: Any) -> str:
    shown = f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else repr(value)  # a hash
    return shown if value is not None else "not there"


@contextmanager
def held(run: Run) -> Iterator[None]:
    """One process trains a run. UserError where another does; the system lets go of the lock if that one dies."""
    with open(run.folder / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run.folder}: another process is training this run; wait for it or stop it") from None
        yield


def free_name(base: str) -> str:
    """The first of base-1, base-2, ... under which there is no run."""
    number = 1
    while (RUNS / f"{base}-{number}").exists():
        number += 1
    return f"{base}-{number}"


def environment() -> dict[str, Any]:
    """What this process runs on, and the command that began it."""
    import torch
    import torchvision

    told: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        **{name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": _command(),
    }
    if commit := _commit():
        told["commit"] = commit
    if torch.cuda.is_available():
        told["cuda"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return told


def _command() -> str:
    """The command line of this process as a shell takes it, without an address's password."""
    script, *words = sys.argv
    begin = ["python", "cli.py"] if Path(script).name == "cli.py" else [script]
    if count := os.environ.get("LOCAL_WORLD_SIZE"):
        begin = ["torchrun", "--nproc-per-node", count, begin[-1]]
    return _PASSWORD.sub(r"\1:***@", shlex.join([*begin, *words]))


def _commit() -> str | None:
    """The Git commit of the code that runs, where it is a clone."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def listed(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One dict a run, newest last; a damaged one with its trouble."""
    folders = [Path(name) if Path(name).is_dir() else RUNS / name for name in names]
    found = []
    for folder in folders or sorted((path.parent for path in RUNS.glob("*/config.json")), key=os.path.getmtime):
        try:
            run = open_run(folder)
        except UserError as error:
            if names:
                raise
            found.append({"run": folder.name, "trouble": str(error)})
            continue
        found.append(_listed(run))
    return found


def _listed(run: Run) -> dict[str, Any]:
    records = run.records()
    of_kind = {record.get("kind"): record for record in records}  # the last of each
    training, start = of_kind.get("train", {}), of_kind.get("start", {})
    steps = [record for record in records if record["kind"] == "train"]
    return {
        "run": run.folder.name,
        "backbone": run.config.backbone,
        "parameters": start.get("parameters"),
        "step": max((record.get("step", 0) for record in records), default=0),
        "steps": run.config.steps,
        "corpus": "+".join(corpus["manifest_sha256"][:8] for corpus in run.corpora),
        "images_per_s": pace.images_per_s(steps, run.config.batch_size),
        "config": json.loads(run.config.to_json()),
        "training": {name: value for name, value in training.items() if name.endswith(("_loss", "_accuracy"))},
        "scores": {name: value for name, value in of_kind.get("eval", {}).items() if name not in ("kind", "step")},
    }


SHOWN = ("words_loss", "gap", "hard_gap", "itm", "itm_hard", "itm_told", "accuracy", "recall", "likelihood")


def render(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The runs as a table, and below it the settings in which they differ."""
    if not found:
        yield "no runs yet; make one with: python cli.py pretrain"
        return
    whole = [one for one in found if "trouble" not in one]
    rows: list[tuple[str, ...]] = [
        ("run", "backbone", "M params", "step", "corpus", "images/s", *SHOWN),
        *map(_row, whole),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if whole else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for one in found:
        if "trouble" in one:
            yield f"{one['run']}: {one['trouble']}"
    settings = whole[0]["config"] if whole else {}
    differing = [name for name in settings if len({json.dumps(one["config"][name]) for one in whole}) > 1]
    if differing:
        yield "\nsettings that differ:"
    for name in differing:
        yield f"  {name}: " + ", ".join(f"{one['run']} {json.dumps(one['config'][name])}" for one in whole)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    scores = [f"{one['scores'][name]:.3f}" if name in one["scores"] else "-" for name in SHOWN]
    millions = f"{one['parameters'] / 1e6:.1f}" if one["parameters"] else "-"
    speed = f"{one['images_per_s']:.0f}" if one["images_per_s"] else "-"
    return one["run"], one["backbone"], millions, f"{one['step']}/{one['steps']}", one["corpus"], speed, *scores


def draw_curves(run: Run) -> None:
    """curves.png: losses and accuracies of each objective, and the gaps, over the steps."""
    import matplotlib.figure

    records = run.records()
    figure = matplotlib.figure.Figure(figsize=(11, 3.4), layout="constrained")
    panels = {"loss": figure.add_subplot(131), "accuracy": figure.add_subplot(132), "gap": figure.add_subplot(133)}
    for title, axes in panels.items():
        kind = "eval" if title == "gap" else "train"
        chosen = [record for record in records if record.get("kind") == kind]
        for name in sorted({key for record in chosen for key in record if key.endswith(title)}):
            points = [(record["step"], record[name]) for record in chosen if name in record]
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if kind == "eval" else None)
        axes.set(title=title, xlabel="step")
        if axes.lines:
            axes.legend(fontsize=8)
    with written(run.folder / "curves.png") as file:
        figure.savefig(file, format="png", dpi=110)
