"""A run's folder: what it is made of, what it measured; and runs listed and compared.

runs/NAME/ holds config.json, vocab.txt, corpus.json (versions with their manifest hashes), environment.json,
metrics.jsonl, curves.png, checkpoints/ and, at the end, model.safetensors.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_db.read import UserError, Version
from vlt.config import Config
from vlt.pack import written
from vlt.text import Tokenizer

RUNS = Path("runs")


@dataclass(frozen=True)
class Corpus:
    """A version that a run learns from, and its share of each batch before the shares are scaled to 1."""

    version: Version
    weight: float = 1.0

    def told(self) -> dict[str, Any]:
        """What corpus.json holds of it."""
        told = {"version": self.version.name, "manifest_sha256": self.version.manifest_sha256}
        return told | {"database": self.version.database, "weight": self.weight}


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
    def tokenizer(self) -> Tokenizer:
        """The vocabulary that belongs to the run."""
        return Tokenizer.read(self.folder / "vocab.txt")

    def records(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds; a line that a crash cut short ends it."""
        found = []
        try:
            for line in (self.folder / "metrics.jsonl").read_text().splitlines():
                found.append(json.loads(line))
        except (OSError, ValueError):
            pass
        return [record for record in found if isinstance(record, dict)]

    def scores(self) -> dict[str, float]:
        """The last evaluation."""
        return next((record for record in reversed(self.records()) if record.get("kind") == "eval"), {})


def create(folder: Path, config: Config, corpora: Sequence[Corpus], tokenizer: Tokenizer) -> Run:
    """A new run's folder; UserError where there is one of that name."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{folder}: there is such a run; give another --name, or go on with --resume {folder.name}"
        ) from None
    (folder / "checkpoints").mkdir()
    told = [corpus.told() for corpus in corpora]
    for name, text in (
        ("vocab.txt", tokenizer.text()),
        ("corpus.json", json.dumps(told, indent=1)),
        ("environment.json", json.dumps(environment(), indent=1)),
        ("config.json", config.to_json()),  # the last: a folder without it is no run
    ):
        with written(folder / name) as file:
            file.write(text.encode())
    return Run(folder, config, told)


def open_run(name: str | Path) -> Run:
    """A run by its name under runs/, or by its folder; UserError where it is none or damaged."""
    folder = next((place for place in (Path(name), RUNS / name) if (place / "config.json").is_file()), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in RUNS.glob("*/config.json"))) or "none"
        raise UserError(f"{name}: no such run; there are: {known}")
    try:
        corpora = json.loads((folder / "corpus.json").read_text())
        return Run(folder, Config.from_json((folder / "config.json").read_text()), corpora)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: a damaged run ({error})") from error


def refuse_changes(run: Run, corpora: Sequence[Corpus]) -> None:
    """UserError, naming the difference, where a version is no more what the run began with."""
    for before, corpus in zip(run.corpora, corpora, strict=True):
        now = corpus.version.manifest_sha256
        if before["manifest_sha256"] != now:
            raise UserError(
                f"{run.folder}: version {corpus.version.name} has changed since the run began: its manifest is "
                f"{now[:12]} and was {before['manifest_sha256'][:12]}; a run cannot go on with other data"
            )


def free_name(base: str) -> str:
    """The first of base-1, base-2, ... under which there is no run."""
    number = 1
    while (RUNS / f"{base}-{number}").exists():
        number += 1
    return f"{base}-{number}"


def environment() -> dict[str, Any]:
    """What the run runs on."""
    import torch
    import torchvision

    told: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if torch.cuda.is_available():
        told["cuda"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return told


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
        last: dict[str, Any] = next((record for record in reversed(run.records()) if "step" in record), {})
        kept = {name: value for name, value in run.scores().items() if name not in ("kind", "step")}
        told = {"run": folder.name, "backbone": run.config.backbone, "step": last.get("step", 0)}
        told |= {"steps": run.config.steps, "corpus": "+".join(c["manifest_sha256"][:8] for c in run.corpora)}
        found.append(told | {"config": json.loads(run.config.to_json()), "scores": kept})
    return found


SHOWN = ("words_loss", "gap", "hard_gap", "itm", "itm_hard")


def render(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The runs as a table, and below it the settings in which they differ."""
    if not found:
        yield "no runs yet; make one with: python cli.py pretrain"
        return
    rows: list[tuple[str, ...]] = [("run", "backbone", "step", "corpus", *SHOWN)]
    for one in found:
        if "trouble" in one:
            rows.append((one["run"], one["trouble"]))
            continue
        scores = [f"{one['scores'][name]:.3f}" if name in one["scores"] else "-" for name in SHOWN]
        rows.append((one["run"], one["backbone"], f"{one['step']}/{one['steps']}", one["corpus"], *scores))
    widths = [max(len(row[column]) for row in rows if len(row) == len(rows[0])) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
    configs = [one["config"] for one in found if "config" in one]
    differing = [key for key in configs[0] if len({json.dumps(one.get(key)) for one in configs}) > 1] if configs else []
    if differing:
        yield ""
        yield "settings that differ:"
        for key in differing:
            yield f"  {key}: " + ", ".join(f"{one['run']} {one['config'][key]}" for one in found if "config" in one)


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
