"""Studies: comparisons of arms, each declared in one small TOML file here, at equal compute, over several seeds."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from corpus_db.read import UserError

MAIN = "sample"  # the corpus that arms learn from and are tested on, where they name no other
PRESETS: dict[str, dict[str, Any]] = {
    "full": {"cases": 1.0, "pretrain": {"steps": 1000}, "tune": {"steps": 800, "evaluate_every": 100}},
    # runs through everything, and is no evidence: too few cases and steps
    "quick": {
        "cases": 0.1,
        "pretrain": {"steps": 30, "batch_size": 32, "evaluate_every": 30},
        "tune": {"steps": 30, "batch_size": 32, "evaluate_every": 30},
    },
}
MATCHES = ("steps", "flops", "time")


@dataclass(frozen=True)
class Arm:
    """One of what is compared."""

    name: str
    match: str  # what of its pre-training equals the reference arm's: steps, flops or time
    corpus: str = MAIN  # what it is pre-trained on
    pretrain: Mapping[str, Any] | None = None  # settings; None: it is not pre-trained
    model: Mapping[str, Any] = field(default_factory=dict)  # settings of both
    tune: Mapping[str, Any] = field(default_factory=dict)  # settings of fine-tuning
    spend: str | None = None  # an arm whose pre-training's operations are spent on longer fine-tuning


@dataclass(frozen=True)
class Study:
    """A comparison, as its file declares it."""

    name: str
    title: str
    paper: str  # what the paper found
    task: str
    seeds: tuple[int, ...]
    baseline: str  # the arm that the others are compared with
    reference: str  # the arm whose pre-training the others' is matched to
    arms: dict[str, Arm]
    corpora: dict[str, dict[str, Any]]  # samples to render, by name: their recipe


def names() -> list[str]:
    """The studies that there are."""
    return sorted(path.name.removesuffix(".toml") for path in resources.files(__name__).iterdir() if _is_study(path))


def _is_study(path: Any) -> bool:
    return path.name.endswith(".toml")


def load(name: str) -> Study:
    """A study by its name; UserError where there is none, ValueError where its file contradicts itself."""
    if name not in names():
        raise UserError(f"{name}: no such study; there are {', '.join(names())}")
    told = tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text())
    match = told.pop("match")
    arms = {key: Arm(key, **({"match": match} | arm)) for key, arm in told.pop("arms").items()}
    study = Study(name, arms=arms, corpora=told.pop("corpora", {}), seeds=tuple(told.pop("seeds")), **told)
    pretrained = {key for key, arm in arms.items() if arm.pretrain is not None}
    for arm in arms.values():
        needed = {arm.corpus} - {MAIN, *study.corpora}
        if needed or arm.match not in MATCHES or (arm.spend and arm.spend not in pretrained):
            raise ValueError(f"{name}.toml: arm {arm.name}: {arm}")
    if study.reference not in pretrained or study.baseline not in arms:
        raise ValueError(f"{name}.toml: its reference must be pre-trained, its baseline one of the arms")
    return study
