"""Captions and reports: writing them, and the two baselines that read no image or write no word."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocoevalcap.rouge.rouge import Rouge
from torch import Tensor

from corpus_db.read import progress
from vlt import decode
from vlt.data import CorpusDataset, spaced
from vlt.metrics import text as metrics
from vlt.model import VLT
from vlt.tasks.base import Say
from vlt.text import Tokenizer

AT_ONCE = 32
SHORTLIST, LOOKED_AT = 50, 50  # constant texts that are scored on all of validation, after so many of its texts


@torch.no_grad()
def write(
    model: VLT,
    data: CorpusDataset,
    rows: np.ndarray,
    tokenizer: Tokenizer,
    device: torch.device,
    search: decode.Search,
    say: Say = lambda line: None,
) -> list[tuple[str, float]]:
    """A text for each of the rows (M,), under the seq2seq mask, and its score as `Search` has it."""
    found: list[tuple[str, float]] = []
    parts = [rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE)]
    for some in progress(parts, len(rows), "texts written", say):
        image = model.encode_image(data.images(some).to(device))
        found += decode.texts(model, tokenizer, image, [[tokenizer.cls]] * len(image), search)
    return found


def constant(training: Sequence[str], validation: Sequence[str]) -> tuple[str, float]:
    """The training text that scores best (BLEU-4) as the text of every validation pair, and its score there.

    All distinct texts are tried on LOOKED_AT evenly spaced validation texts, the SHORTLIST best of them on all.
    """
    some = [validation[row] for row in spaced(len(validation), LOOKED_AT)]
    candidates = sorted(set(training))
    scores = [_bleu(text, some) for text in candidates]
    short = sorted(range(len(candidates)), key=lambda place: -scores[place])[:SHORTLIST]
    whole = {place: _bleu(candidates[place], validation) for place in short}
    best = max(short, key=lambda place: (whole[place], -place))
    return candidates[best], whole[best]


def alike(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """How like each text is to its reference, 0 to 1: ROUGE-L as `metrics.text` has it."""
    sides = [{row: [metrics.tokenise(text)] for row, text in enumerate(side)} for side in (references, texts)]
    return [float(one) for one in Rouge().compute_score(*sides)[1]]


def _bleu(text: str, references: Sequence[str]) -> float:
    said = dict.fromkeys(map(str, range(len(references))), text)
    counts = metrics.bleu_counts({key: [one] for key, one in zip(said, references, strict=True)}, said)
    return float(metrics.bleu(counts.sum(0))[3])


@torch.no_grad()
def nearest(
    model: VLT, training: CorpusDataset, data: CorpusDataset, rows: np.ndarray, device: torch.device
) -> list[str]:
    """The baseline that writes nothing: the text of the training image nearest to each of the rows, to the model."""
    known = _embedded(model, training, np.arange(len(training)), device)
    best = (_embedded(model, data, rows, device) @ known.T).argmax(1)
    return [training.pairs[place].caption for place in best.tolist()]


def _embedded(model: VLT, data: CorpusDataset, rows: np.ndarray, device: torch.device) -> Tensor:
    parts = np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
    return torch.cat([model.embed_image(model.encode_image(data.images(part).to(device))).float() for part in parts])
