"""Fine-tuning for retrieval and for captions or reports: pre-training's data, validated by what the task asks for."""

import numpy as np
import torch

from vlt.data import CorpusDataset, spaced
from vlt.metrics import ranks
from vlt.model import VLT, evaluating
from vlt.objectives import Objectives
from vlt.tasks import retrieval
from vlt.tasks.base import OnCorpora
from vlt.text import Tokenizer

LIMIT = 1000  # pairs of a larger validation split, evenly spaced
AT_ONCE = 64


def _some(data: CorpusDataset) -> np.ndarray:
    """Its rows, or LIMIT evenly spaced ones."""
    return spaced(len(data), LIMIT)


class Retrieving(OnCorpora):
    """Image to text and back, validated by the mean of R@1, R@5 and R@10 both ways."""

    chosen_by = "recall"

    def evaluate(
        self, model: VLT, validation: CorpusDataset, tokenizer: Tokenizer, device: torch.device
    ) -> dict[str, float]:
        """Mean recall by the contrastive embeddings, own pairs alone."""
        with evaluating(model):
            found = retrieval.features(model, validation, device, rows=_some(validation))
        similar = retrieval.search(found)
        scores: dict[str, float] = {}
        for way, short, scored in (("image_to_text", "i2t", similar), ("text_to_image", "t2i", similar.T)):
            places = retrieval.placed(found, way, retrieval.Scored(scored))["strict"]
            scores |= {f"{short}_{k}": ranks.recall(places, k) for k in ranks.KS}
        return {"recall": float(np.mean(list(scores.values()))), **scores}


class Reporting(OnCorpora):
    """Captions or reports, validated by how likely the true ones are."""

    chosen_by = "likelihood"

    @torch.no_grad()
    def evaluate(
        self, model: VLT, validation: CorpusDataset, tokenizer: Tokenizer, device: torch.device
    ) -> dict[str, float]:
        """The mean log-probability of a token."""
        objective = Objectives(model, model.config)
        rows = _some(validation)
        summed, count, right = 0.0, 0, 0
        with evaluating(model):
            for first in range(0, len(rows), AT_ONCE):
                batch = validation.batch(rows[first : first + AT_ONCE]).to(device)
                outcome = objective.captioning(batch, model.encode_image(batch.images))
                asked = int(outcome.asked)
                summed, count, right = summed + float(outcome.loss) * asked, count + asked, right + int(outcome.correct)
        return {"likelihood": -summed / count, "words_right": right / count}
