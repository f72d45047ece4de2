"""Pre-training on corpus versions, validated by what a model sees of its images."""

from collections.abc import Callable, Sequence

import torch

from vlt import grounding, runs
from vlt.data import CorpusDataset
from vlt.model import VLT
from vlt.tasks.base import OnCorpora, Say
from vlt.text import Tokenizer
from vlt.train import train


class Pretraining(OnCorpora):
    """The objectives of the config; its last weights are kept, as no one score says which are the best."""

    def evaluate(
        self, model: VLT, validation: CorpusDataset, tokenizer: Tokenizer, device: torch.device
    ) -> dict[str, float]:
        """The scores of `vlt.grounding`."""
        return grounding.evaluate(model, validation, tokenizer, device)


def pretrain(
    run: runs.Run, corpora: Sequence[runs.Corpus], say: Say, initialise: Callable[[VLT], None] | None = None
) -> None:
    """Pre-train a run to its end; see `vlt.train.train`."""
    train(run, Pretraining(corpora), say, initialise)
