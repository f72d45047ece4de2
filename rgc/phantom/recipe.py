"""What a sample is made from: its settings, checked, and the random draws that follow from them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

GENERATOR = 2  # raise it when the same recipe gives other pixels or texts: cached samples are then made anew
MODALITIES = ("ct", "mr", "dx", "us", "nm")
NOISES = ("none", "medpix", "heavy")
WORDINGS = ("development", "measure")


@dataclass(frozen=True)
class Recipe:
    """The settings of a sample; equal recipes give equal bytes."""

    seed: int = 1
    cases: int = 1200
    noise: str = "medpix"
    noise_seed: int | None = None  # None: the seed
    wordings: str = "development"
    modalities: tuple[str, ...] = MODALITIES

    def __post_init__(self) -> None:
        for name in ("seed", "cases", "noise_seed"):
            value = getattr(self, name)
            if value is None and name == "noise_seed":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name}={value!r}: choose a whole number of 0 or more")
        if not 1 <= self.cases <= 100_000:
            raise ValueError(f"cases={self.cases!r}: choose 1 to 100000")
        for name, choices in (("noise", NOISES), ("wordings", WORDINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}")
        given: object = self.modalities
        if isinstance(given, str):  # "ct" would pass as the letters c and t
            raise ValueError(f"modalities={self.modalities!r}: give a tuple of {', '.join(MODALITIES)}")
        unknown = [m for m in self.modalities if m not in MODALITIES]
        if unknown or not self.modalities:
            raise ValueError(f"modalities={tuple(self.modalities)!r}: choose one or more of {', '.join(MODALITIES)}")
        # One order and no repeats, so that two ways to ask for the same sample are one recipe.
        object.__setattr__(self, "modalities", tuple(m for m in MODALITIES if m in self.modalities))

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values, with the generator's version."""
        return {**asdict(self), "modalities": list(self.modalities), "generator": GENERATOR}

    @property
    def digest(self) -> str:
        """Twelve hex digits that differ where the recipe or the generator does: a name for what is made from it."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Recipe:
        """The recipe of a `recipe.json`; raises ValueError, TypeError or KeyError where it is none."""
        known = {f.name: body[f.name] for f in fields(cls)}
        return cls(**{**known, "modalities": tuple(known["modalities"])})


def draws(*purpose: object) -> random.Random:
    """Python's generator for one purpose, such as (seed, "plan", case): no other purpose changes its draws."""
    return random.Random("/".join(map(str, purpose)))  # a str seed goes through SHA-512: no hash randomisation


def array_draws(*purpose: object) -> np.random.Generator:
    """NumPy's generator for one purpose."""
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
