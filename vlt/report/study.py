"""The page about a study: what was asked, what came out by arm and by seed, what was matched, how to repeat it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus_db.read import UserError
from vlt import runs
from vlt.report import curves
from vlt.report.lineage import environment_of, packages
from vlt.report.results import DAMAGED, Difference, Table
from vlt.studies import PRESETS, Arm, Study, table
from vlt.tasks.questions import SAMPLE

FILE = "study.json"
QUICK = "quick"
SCORES = {"gap": "gap", "hard_gap": "gap, findings", "itm": "matching", "itm_hard": "matching, its kind"}


@dataclass(frozen=True)
class Kept:
    """A study's folder: its declaration, its data, and what was measured so far."""

    folder: Path
    study: Study
    told: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]

    @property
    def quick(self) -> bool:
        """Whether it is a smoke test, which shows nothing."""
        return self.told["preset"] == PRESETS[QUICK] or self.folder.name.endswith(f"-{QUICK}")


def read(name: str) -> Kept:
    """A study by its name under runs/studies, or by its folder; UserError where it is none or damaged."""
    home = runs.RUNS / runs.STUDIES
    folder = next((place for place in (home / name, Path(name)) if (place / FILE).is_file()), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in home.glob(f"*/{FILE}"))) or "none"
        raise UserError(f"{name}: no such study; there are: {known} (python cli.py study makes them)")
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        declared = dict(told["study"])
        arms = {key: Arm(**arm) for key, arm in declared.pop("arms").items()}
        study = Study(arms=arms, seeds=tuple(declared.pop("seeds")), **declared)
        found = Kept(folder, study, told, table.cells(folder))
        if odd := [cell["arm"] for cell in found.cells if cell["arm"] not in arms]:
            raise ValueError(f"a cell of arm {odd[0]!r}, which it does not declare")
        (told["preset"], told["questions"]["manifest_sha256"], told["corpora"].items())
    except DAMAGED as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder / FILE}: a damaged study ({why}); run the study again") from error
    return found


def gathered(name: str) -> dict[str, Any]:
    """All that the template shows of a study; see `vlt.report.write`."""
    kept = read(name)
    try:
        result = table.aggregate(kept.study, kept.cells) if kept.cells else {}
        return _shown(kept, result)
    except DAMAGED as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{kept.folder / 'cells'}: a damaged cell ({why}); remove it, run the study again") from error


def _shown(kept: Kept, result: Mapping[str, Any]) -> dict[str, Any]:
    environment = environment_of(kept.folder)
    return {
        "study": kept.study,
        "name": kept.folder.name,
        "quick": kept.quick,
        "questions": kept.told["questions"].get("version", "questions"),
        "missing": list(_missing(kept)),
        "table": _table(kept.study, result),
        "figures": list(_figures(kept.study, result)),
        "verdicts": list(_verdicts(kept.study, result)),
        "levels": _levels(result),
        "cells": _cells(kept),
        "matched": _matched(kept.study, result),
        "budget": [[part, _settings(kept.told["preset"].get(part, {}))] for part in ("pretrain", "tune")],
        "command": environment.get("command"),
        "assumed": _command(kept),
        "commit": environment.get("commit"),
        "packages": packages(environment),
        "hashes": _hashes(kept),
        "looks": curves,
    }


def _missing(kept: Kept) -> Iterator[str]:
    done = {(cell["arm"], cell["seed"]) for cell in kept.cells}
    for arm in kept.study.arms:
        if seeds := [str(seed) for seed in kept.study.seeds if (arm, seed) not in done]:
            yield f"{arm}, seed {' and '.join(seeds)}"


def _table(study: Study, result: Mapping[str, Any]) -> Table:
    heads = [
        "arm",
        "exact match, % [95 %]",
        "sd over seeds",
        "closed",
        "open",
        f"less {study.baseline} [95 %]",
        "seeds",
    ]
    scores = [name for name in SCORES if any(name in arm for arm in result.values())]
    rows = [[name, *_row(arm), *(_optional(arm, score, 1, 3) for score in scores)] for name, arm in result.items()]
    heads += [SCORES[name] for name in scores]
    return Table("Exact match on the test questions", heads, rows, tuple(range(1, len(heads))))


def _row(arm: Mapping[str, Any]) -> Iterator[Any]:
    yield _percent(arm["accuracy"], arm["accuracy_95"])
    yield _optional(arm, "sd", 100, 1)
    yield _optional(arm, "closed", 100, 1)
    yield _optional(arm, "open", 100, 1)
    yield _percent(arm["difference"], arm["difference_95"], "+") if "difference" in arm else None
    yield len(arm["seeds"])


def _optional(arm: Mapping[str, Any], name: str, times: int, digits: int) -> str | None:
    value = arm.get(name)
    return None if value is None else f"{round(times * value, digits) + 0.0:,.{digits}f}"  # never -0.0


def _percent(value: float, low_high: Sequence[float], sign: str = "") -> str:
    told, low, high = (f"{100 * number:{sign}.1f}" for number in (value, *low_high))
    return f"{told} [{low}, {high}]"


def _figures(study: Study, result: Mapping[str, Any]) -> Iterator[curves.Intervals]:
    accuracies = {name: _bounds(arm, "accuracy") for name, arm in result.items()}
    differences = {name: _bounds(arm, "difference") for name, arm in result.items() if "difference" in arm}
    for made in (
        curves.intervals("Exact match in %", accuracies, study.baseline),
        curves.intervals(f"Exact match less that of {study.baseline}, points", differences, signed=True),
    ):
        if made is not None:
            yield made


def _bounds(arm: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    low, high = arm[f"{name}_95"]
    return 100 * arm[name], 100 * low, 100 * high


def _verdicts(study: Study, result: Mapping[str, Any]) -> Iterator[Difference]:
    for way, told in table.verdicts(study, result):
        yield Difference(told, ("", "good", "bad")[way])


def _levels(result: Mapping[str, Any]) -> str:
    """What the numbers lie between."""
    one = next((arm for arm in result.values() if "frequent" in arm), None)
    if one is None:
        return ""
    return f"Most frequent answer of each type: {100 * one['frequent']:.1f} %; ceiling: {100 * one['ceiling']:.1f} %."


def _cells(kept: Kept) -> Table:
    heads = [
        "arm",
        "seed",
        "exact match, %",
        "fine-tuning, steps",
        "pre-training, steps",
        "fine-tuned run",
        "pre-trained run",
    ]
    rows = []
    order = list(kept.study.arms)
    for cell in sorted(kept.cells, key=lambda cell: (order.index(cell["arm"]), cell["seed"])):
        first, then = cell["pretrain"] or {}, cell["tune"]
        steps = [first.get("steps"), first.get("run")]
        row = [
            cell["arm"],
            cell["seed"],
            f"{100 * cell['accuracy']:.1f}",
            then["steps"],
            steps[0],
            then["run"],
            steps[1],
        ]
        rows.append(row)
    return Table("Each arm and seed", heads, rows, (1, 2, 3, 4))


def _matched(study: Study, result: Mapping[str, Any]) -> Table:
    """What of each arm's pre-training equals the reference's, and what it took."""
    heads = [
        "arm",
        "pre-training",
        "corpus",
        "matched by",
        "steps",
        "PFLOP",
        "minutes",
        "fine-tuning, steps",
        "minutes",
    ]
    rows = []
    for name, arm in study.arms.items():
        took, learnt = result.get(name, {}), arm.pretrain is not None
        matched = (
            f"{arm.match}, to {study.reference}" if learnt else f"spends that of {arm.spend}" if arm.spend else None
        )
        what = _settings(arm.pretrain or {}) or "as usual" if learnt else "none"
        numbers = [
            _optional(took, "pretrain_steps", 1, 0),
            _optional(took, "pretrain_petaflops", 1, 3),
            _optional(took, "pretrain_minutes", 1, 1),
            _optional(took, "tune_steps", 1, 0),
            _optional(took, "tune_minutes", 1, 1),
        ]
        rows.append([name, what, arm.corpus if learnt else None, matched, *numbers])
    return Table("Means over seeds; matched are operations (flops), steps or time", heads, rows, (4, 5, 6, 7, 8))


def _settings(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_setting(value)}" for name, value in given.items())


def _setting(value: Any) -> str:
    """A value; weights as the command line takes them: mlm,itm:0.5."""
    if not isinstance(value, dict):
        return str(value)
    return ",".join(name if weight == 1 else f"{name}:{weight:g}" for name, weight in value.items())


def _command(kept: Kept) -> str:
    """The study command, as far as its folder tells it."""
    asked = kept.told["questions"].get("questions", {})
    words = ["python cli.py study", kept.study.name, *(["--preset", QUICK] if kept.quick else [])]
    if asked.get("source") != SAMPLE:
        words += ["--db", "DATABASE", "--questions", str(asked.get("source"))]
    if asked.get("protocol", "official") != "official":
        words += ["--protocol", str(asked["protocol"])]
    return " ".join(words)


def _hashes(kept: Kept) -> list[tuple[str, str]]:
    """(what, SHA-256) of what it runs on."""
    asked = kept.told["questions"]
    found = [(f"questions {asked.get('version')}", str(asked["manifest_sha256"]))]
    for name, told in kept.told["corpora"].items():
        found.append((f"corpus {name}, version {told.get('version')}", str(told.get("manifest_sha256"))))
    return [*found, (FILE, hashlib.sha256((kept.folder / FILE).read_bytes()).hexdigest())]
