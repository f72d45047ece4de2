"""Every setting of a run in one dataclass: checked when made, with named presets, the same in JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus_db.read import UserError

OBJECTIVES = ("mlm", "itm", "itc", "lm", "answer")
TASKS = ("pretrain", "vqa", "retrieval", "report")
FUSIONS = ("cross", "merged")
MASKS = ("bidirectional", "seq2seq")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Config:
    """What a run is made of. Raises UserError, naming the setting, for a value that cannot work."""

    # the model
    backbone: str = "swin_nano"
    image_size: int = 64  # pixels of a side; images are letterboxed to it
    channels: int = 1  # 1: grey, colour images by their luminance; 3: colour, grey images repeated
    width: int = 64  # of the text and fusion streams
    heads: int = 4
    text_layers: int = 1
    fusion: str = "cross"
    fusion_layers: int = 2
    max_tokens: int = 80  # of a caption, [CLS] and [SEP] included; the paper's length
    vocab_size: int = 4000
    dropout: float = 0.0
    token_drop: float = 0.0  # share of an image's tokens that each step leaves out
    word_drop: float = 0.0  # share of a caption's words that ITM and ITC do not see in training
    drop_path: float = 0.0  # stochastic depth of the backbone, at its last block
    blind: bool = False  # a twin that sees blank images: what text alone would reach

    # what it learns
    task: str = "pretrain"  # or what it is fine-tuned for: vqa, retrieval, report
    objectives: Mapping[str, float] = field(  # name: weight
        default_factory=lambda: {"mlm": 1.0, "itm": 0.5, "itc": 0.5, "lm": 1.0}
    )
    mask: str = "bidirectional"  # MLM's; ITM and ITC are bidirectional, LM is seq2seq
    mask_rate: float = 0.75  # share of the words that MLM hides
    mask_rate_end: float | None = None  # where the rate ends, linearly over the run
    mask_findings: float = 0.3  # share of captions whose finding, side and size words are all hidden
    hard_batches: float = 0.25  # share of a batch made of groups of one modality, region and plane
    itm_hard: float = 0.1  # share of ITM's negatives that are of the same modality, region and plane
    hard_negatives: bool = False  # ITM's negatives drawn by ITC's similarity

    # how it learns
    steps: int = 1000
    batch_size: int = 64  # pairs a step, over all ranks and accumulated parts
    accumulate: int = 1  # parts that a batch is computed in
    rate: float = 3e-3  # AdamW's, at its peak
    backbone_rate: float = 1.0  # the backbone's share of it
    head_rate: float = 1.0  # the heads' multiple of it: those of a new task begin with nothing learnt
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the steps
    clip: float = 1.0  # gradient norm
    ema: float = 0.0  # decay of the averaged weights that are evaluated; 0: none
    seed: int = 1
    augment: bool = True
    precision: str = "auto"
    compile: bool = False
    shard: bool = False  # weights and optimiser state over the ranks (FSDP2) instead of on each (DDP)
    checkpointing: bool = False  # recompute activations in the backward pass
    evaluate_every: int = 500  # steps
    patience: int = 0  # evaluations without a better score, after which fine-tuning stops; 0: it goes on to its end
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        _check_types(self)
        for name, allowed in (("task", TASKS), ("fusion", FUSIONS), ("mask", MASKS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} {getattr(self, name)!r}: give one of {', '.join(allowed)}")
        weights = self.objectives.values()
        sound = all(0 <= weight < math.inf for weight in weights) and any(weights)
        if set(self.objectives) - set(OBJECTIVES) or not sound:
            raise UserError(
                f"objectives {dict(self.objectives)}: give weights of {', '.join(OBJECTIVES)}, none below 0, one above"
            )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} {value}: give a value from {low} to {high}")
        if self.width % self.heads:
            raise UserError(f"width {self.width} is no multiple of heads {self.heads}")
        if self.channels not in (1, 3):
            raise UserError(f"channels {self.channels}: give 1 or 3")
        if self.batch_size % self.accumulate:
            raise UserError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        if self.shard and (self.ema or self.compile):
            raise UserError("shard goes with neither ema nor compile")
        if self.hard_negatives and "itc" not in self.objectives:
            raise UserError("hard_negatives needs itc among the objectives: its similarity chooses them")

    @property
    def nano(self) -> bool:
        """Whether the backbone is one of the small ones for CPUs and tests."""
        return self.backbone.endswith(("nano", "pico"))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The Config that `to_json` wrote; UserError for anything else."""
        try:
            given = dict(json.loads(text).items())
            known = {field.name: given[field.name] for field in dataclasses.fields(cls) if field.name in given}
            if surplus := sorted(set(given) - set(known)):
                raise UserError(f"config: unknown settings {', '.join(map(repr, surplus))[:200]}")
            return cls(**known)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"config: not a run's settings ({error})") from error

    def changed(self, **settings: Any) -> Config:
        """A copy with some settings replaced."""
        return dataclasses.replace(self, **settings)


def _check_types(config: Config) -> None:
    """A whole number may stand for a float; nothing else for another type. Objectives' weights become floats."""
    for one in dataclasses.fields(config):
        value, kinds = getattr(config, one.name), _TYPES[str(one.type)]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise UserError(f"{one.name} {value!r}: give a value of type {one.type}")
        if float in kinds and isinstance(value, int):
            object.__setattr__(config, one.name, float(value))
    try:
        weights = {str(key): float(value) for key, value in config.objectives.items()}
    except (TypeError, ValueError):
        raise UserError(f"objectives {config.objectives!r}: give numbers for weights") from None
    object.__setattr__(config, "objectives", weights)


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "Mapping[str, float]": (Mapping,),
}
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("image_size", 16, 4096),
    ("width", 8, 8192),
    ("heads", 1, 256),
    ("text_layers", 0, 96),
    ("fusion_layers", 1, 96),
    ("max_tokens", 4, 4096),
    ("vocab_size", 32, 1_000_000),
    ("dropout", 0, 0.9),
    ("drop_path", 0, 0.9),
    ("token_drop", 0, 0.9),
    ("word_drop", 0, 0.9),
    ("mask_rate", 0.01, 1),
    ("mask_rate_end", 0.01, 1),
    ("mask_findings", 0, 1),
    ("hard_batches", 0, 1),
    ("itm_hard", 0, 1),
    ("steps", 1, 1e9),
    ("batch_size", 1, 1e6),
    ("accumulate", 1, 1e6),
    ("rate", 0, 10),
    ("backbone_rate", 0, 10),
    ("head_rate", 0, 1000),
    ("weight_decay", 0, 10),
    ("warmup", 0, 1),
    ("clip", 0, 1e6),
    ("seed", 0, 2**63 - 1),
    ("ema", 0, 0.99999),
    ("evaluate_every", 1, 1e9),
    ("patience", 0, 1e9),
    ("checkpoint_every", 1, 1e9),
)

PRESETS: dict[str, dict[str, Any]] = {
    # From the paper (arXiv 2306.06494) and the loader of its code: Swin-S, 224 x 224, captions of at most 80 tokens,
    # MLM of 15 % of the words, MLM and ITM alike. The rest is ours: BERT-base's width and heads, layers, rates.
    "paper": {
        "backbone": "swin_s",
        "image_size": 224,
        "channels": 3,
        "width": 768,
        "heads": 12,
        "text_layers": 6,
        "fusion_layers": 6,
        "max_tokens": 80,
        "vocab_size": 30_522,
        "dropout": 0.1,
        "drop_path": 0.3,
        "objectives": {"mlm": 1.0, "itm": 1.0},
        "mask_rate": 0.15,
        "mask_findings": 0.0,
        "hard_batches": 0.0,
        "itm_hard": 0.0,
        "steps": 30_000,
        "batch_size": 64,
        "rate": 1e-4,
        "backbone_rate": 0.3,
        "evaluate_every": 1000,
        "checkpoint_every": 1000,
    },
}
