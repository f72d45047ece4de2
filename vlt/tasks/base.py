"""What the training loop asks of a task: its data, how well a model does on it, and which of its states to keep."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch

from vlt import runs
from vlt.config import Config
from vlt.data import Batches, CorpusDataset
from vlt.device import Place
from vlt.model import VLT
from vlt.objectives import draw
from vlt.pack import pack
from vlt.text import Tokenizer

Say = Callable[[str], None]


class Task(ABC):
    """A task as the loop and the start of a run see it."""

    chosen_by = ""  # the score, higher is better, by which the best weights are kept; "": the last ones are
    answers: Sequence[str] = ()  # that a model may choose from, for a task that has some

    @property
    @abstractmethod
    def sources(self) -> Sequence[runs.Source]:
        """What a run learns from."""

    def told(self) -> list[dict[str, Any]]:
        """What a run learns from, as corpus.json holds it: each source with its hash."""
        return [source.told() for source in self.sources]

    @abstractmethod
    def pack(self, config: Config, say: Say) -> None:
        """Pack its images, so that `data` finds them."""

    @abstractmethod
    def data(self, config: Config, tokenizer: Tokenizer, say: Say, place: Place) -> tuple[Batches, Any]:
        """The training batches, and what `evaluate` takes to validate; None where there is nothing."""

    @abstractmethod
    def evaluate(self, model: VLT, validation: Any, tokenizer: Tokenizer, device: torch.device) -> dict[str, float]:
        """Scores by name, of a model on what `data` gave."""


class OnCorpora(Task):
    """A task on the image-caption pairs of corpus versions, validated on the first one's validation split."""

    def __init__(self, corpora: Sequence[runs.Corpus]):
        self.corpora = corpora

    @property
    def sources(self) -> Sequence[runs.Corpus]:
        """The corpora."""
        return self.corpora

    def pack(self, config: Config, say: Say) -> None:
        """Pack the images of all versions."""
        for corpus in self.corpora:
            pack(corpus.version, config.image_size, say=say)

    def data(
        self, config: Config, tokenizer: Tokenizer, say: Say, place: Place
    ) -> tuple[Batches, CorpusDataset | None]:
        """The training batches of all corpora, and the first corpus's validation split if it has one."""
        sizes: dict[str, Any] = {"channels": config.channels, "max_tokens": config.max_tokens}
        length = config.max_tokens if config.compile else None  # a compiled step wants one shape
        packs = [pack(corpus.version, config.image_size, say=say) for corpus in self.corpora]
        sets = [
            (CorpusDataset(corpus.version, packed, tokenizer, "train", length=length, **sizes), corpus.weight)
            for corpus, packed in zip(self.corpora, packs, strict=True)
        ]
        first = self.corpora[0].version
        validation = None
        if any(pair.split == "val" for pair in first.pairs):
            validation = CorpusDataset(first, packs[0], tokenizer, "val", **sizes)
        else:
            say(f"version {first.name} has no val split: nothing is evaluated")
        return batches(sets, config, tokenizer, place), validation


def batches(sets: Sequence[tuple[Any, float]], config: Config, tokenizer: Tokenizer, place: Place) -> Batches:
    """The stream of a run's batches over weighted data sets."""
    return Batches(
        sets,
        config.batch_size,
        config.seed,
        lambda batch, generator, step: draw(batch, config, tokenizer, generator, step / config.steps),
        hard=config.hard_batches,
        accumulate=config.accumulate,
        rank=place.rank,
        world=place.world,
    )
