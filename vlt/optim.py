"""The optimiser: which parameters decay and at which rate they learn, the rate over a run, averaged weights."""

import copy
import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vlt.config import Config

LOWEST = 0.01  # share of the peak rate that the cosine ends at
_TABLES = ("places", "position", "pos_embedding", "bias_table", "class_token", "kinds")


def optimiser(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW with up to six groups: the backbone, the heads or the rest, with decay or without.

    Vectors (biases, norms) and tables of places do not decay: pulling them to zero says nothing about the data.
    """
    shares = {"backbone": config.backbone_rate, "heads": config.head_rate}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not any(part in name for part in _TABLES)
        part = name.partition(".")[0]
        groups.setdefault((part if part in shares else "rest", decays), []).append(parameter)
    described = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "share": shares.get(part, 1.0),
        }
        for (part, decays), parameters in groups.items()
    ]
    return torch.optim.AdamW(described, lr=config.rate, betas=(0.9, 0.98), fused=True)


def rate(step: int, config: Config) -> float:
    """The rate of a step: a linear warm-up, then a cosine down to LOWEST of the peak (arXiv 1608.03983)."""
    warm = config.warmup * config.steps
    if step < warm:
        return config.rate * (step + 1) / (warm + 1)
    done = (step - warm) / max(config.steps - warm, 1)
    return config.rate * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2)


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Let each group learn at its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["share"]


class Average:
    """An exponential average of a model's weights; what is no weight (norms' statistics) is the model's own."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, more of them early on: random first weights would outlast a short run."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.model.parameters()), list(model.parameters()), None)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
