"""What a run measured of itself: metrics.jsonl as charts, and the last numbers of grounding."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from corpus_db.read import UserError
from vlt import pace, runs
from vlt.report.curves import Chart, chart, number
from vlt.tune import twin_of

Record = Mapping[str, Any]
TITLES = {
    "mlm": "Hidden words (MLM)",
    "itm": "Matching (ITM)",
    "itc": "Contrast (ITC)",
    "lm": "Writing (LM)",
    "answer": "Choosing an answer",
}
GAPS = {"content": "gap", "finding, side and size": "hard_gap", "finding": "finding_gap", "side": "side_gap"}
GAPS |= {"size": "size_gap"}
MATCHING = {"another image": "itm", "one of its kind": "itm_hard", "of its kind, another finding": "itm_told"}
_OF_GROUNDING = ("_right", "_wrong", "_gap", "_pairs")
CHANCE = 0.5


@dataclass(frozen=True)
class Measured:
    """The records of a run by their kind, and how many lines of the file are none."""

    run: runs.Run
    records: Sequence[Record]
    unread: int

    @cached_property
    def train(self) -> list[Record]:
        return [record for record in self.records if record["kind"] == "train"]

    @cached_property
    def evals(self) -> list[Record]:
        return [record for record in self.records if record["kind"] == "eval"]

    @cached_property
    def start(self) -> Record:
        return next((record for record in self.records if record["kind"] == "start"), {})

    @property
    def step(self) -> int:
        """The last one that was measured."""
        return max((int(record["step"]) for record in self.records), default=0)

    @property
    def seconds(self) -> float:
        """What the steps took, without evaluations."""
        return pace.seconds(self.train, self.run.config.batch_size)

    @property
    def images_per_s(self) -> float | None:
        """Images a second over all steps; None where none was measured."""
        return pace.images_per_s(self.train, self.run.config.batch_size)

    @property
    def broken(self) -> int | None:
        """The first step whose loss was no number."""
        for record in self.train:
            if any(name.endswith("_loss") and not math.isfinite(value) for name, value in record.items()):
                return int(record["step"])
        return None


def read(run: runs.Run) -> Measured:
    """Of a run's folder; damaged lines are counted and left out."""
    records = run.records()
    try:
        with open(run.folder / "metrics.jsonl", "rb") as file:
            lines = sum(bool(line.strip()) for line in file)
    except OSError:
        lines = 0
    return Measured(run, records, max(lines - len(records), 0))


def groups(measured: Measured) -> Iterator[tuple[str, list[Chart]]]:
    """Charts by the heading that they stand under; none without a chart."""
    for title, made in (
        ("Loss", _losses(measured)),
        ("Scores", _scores(measured)),
        ("Grounding: does it look at its images?", _grounding(measured.evals)),
        ("Pace", _pace(measured.train)),
    ):
        if some := [one for one in made if one is not None]:
            yield title, some


def _points(records: Sequence[Record], name: str) -> list[tuple[float, float]]:
    return [(record["step"], record[name]) for record in records if name in record]


def _named(records: Sequence[Record], ending: str) -> list[str]:
    """The beginnings of all names that end so, in the order in which they come."""
    return list(dict.fromkeys(name[: -len(ending)] for record in records for name in record if name.endswith(ending)))


def _losses(measured: Measured) -> Iterator[Chart | None]:
    words = next((name for name in ("mlm", "lm") if name in measured.run.config.objectives), None)
    validated = {"itm": "itm_loss"} | ({words: "words_loss"} if words else {})
    for name in _named(measured.train, "_loss"):
        series = {"training": _points(measured.train, f"{name}_loss")}
        if name in validated:
            series["validation"] = _points(measured.evals, validated[name])
        yield chart(TITLES.get(name, name), series)


def _scores(measured: Measured) -> Iterator[Chart | None]:
    train, evals = measured.train, measured.evals
    learnt = {name: _points(train, f"{name}_accuracy") for name in _named(train, "_accuracy")}
    yield chart("Right in training, a share", {TITLES.get(name, name): some for name, some in learnt.items()})
    scores = list(dict.fromkeys(name for record in evals for name in record if not _is_grounding(name)))
    apart = {name: _points(evals, name) for name in scores if name != "likelihood"}
    if "accuracy" in apart and (twin := _twin(measured.run)):
        apart["accuracy of the twin without images"] = _points(twin, "accuracy")
    yield chart("On the validation part", apart)
    yield chart("Likelihood on the validation part", {"likelihood": _points(evals, "likelihood")})


def _is_grounding(name: str) -> bool:
    known = name in ("kind", "step", "gap", *MATCHING.values())
    return known or name.endswith(("_loss", *_OF_GROUNDING))


def _twin(run: runs.Run) -> list[Record]:
    """The evaluations of the run's twin that sees no image; none where there is none."""
    try:
        twin = runs.open_run(twin_of(run))
    except UserError:
        return []
    return [record for record in twin.records() if record["kind"] == "eval"]


def _grounding(evals: Sequence[Record]) -> Iterator[Chart | None]:
    gaps = {name: _points(evals, GAPS[name]) for name in ("content", "finding, side and size")}
    yield chart("Gap: words named with the right image, less with another's", gaps, 0.0, "no difference")
    matching = {name: _points(evals, key) for name, key in MATCHING.items()}
    if any(matching.values()):
        yield chart("The right image told from", matching, CHANCE, "chance")


def _pace(train: Sequence[Record]) -> Iterator[Chart | None]:
    yield chart("Images a second", {"images a second": _points(train, "images_per_s")})
    yield chart("Learning rate", {"rate": _points(train, "rate")})
    yield chart("Gradient norm, before it is clipped", {"norm": _points(train, "gradient_norm")})
    waits = {"waiting for data, of the time": "data_wait", "of the peak operations (MFU)": "mfu"}
    yield chart("Use of the device, a share", {name: _points(train, key) for name, key in waits.items()})


def last_gaps(evals: Sequence[Record]) -> list[list[str | None]]:
    """Words, share right with the right image, with another's, gap: of the last evaluation that has them."""
    last = next((record for record in reversed(evals) if "gap" in record), {})
    rows = []
    for words, gap in GAPS.items():
        begin = "content" if gap == "gap" else gap.removesuffix("_gap")
        if gap in last:
            shares = [last.get(f"{begin}_{side}") for side in ("right", "wrong")]
            rows.append([words, *(None if one is None else f"{one:.4f}" for one in shares), f"{last[gap]:+.4f}"])
    return rows


def last_matching(evals: Sequence[Record]) -> list[list[str | None]]:
    """What the image is told from, share right, of how many pairs: of the last evaluation that has it."""
    last = next((record for record in reversed(evals) if "itm" in record), {})
    return [
        [name, f"{last[key]:.4f}", number(last[f"{key}_pairs"]) if f"{key}_pairs" in last else None]
        for name, key in MATCHING.items()
        if key in last
    ]
