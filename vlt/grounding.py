"""Does a model look at its images? Its accuracy with the right image against its accuracy with another one.

`evaluate` measures, on one split, with every draw fixed by a seed so that models compare:

- `content_right`, `content_wrong`, `gap`: content words among a hidden 15 % of the words (BERT's rate, whatever the
  model was trained with), with the caption's image and with another pair's; the gap is their difference.
- `hard_right`, `hard_wrong`, `hard_gap`: finding, side and size words, all of a caption hidden at once so that none
  tells another; beside it the gap of each class alone. What tells the modality does not help here.
- `itm`: matching accuracy, as many wrong images as right ones; `itm_hard`: wrong images of the same modality, region
  and plane; `itm_told`: of these, only those whose caption names other findings, sides or sizes. The rest of `itm_hard`
  cannot be told by anyone: both captions say the same in other words, or both say "normal".
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlt.data import UNSCORED, Batch, CorpusDataset, spaced
from vlt.model import VLT, evaluating
from vlt.objectives import NEGATIVE_KEYS, hide
from vlt.text import Tokenizer
from vlt.words import WordClass

RATE = 0.15
ROUNDS = 4  # draws of hidden words and of wrong images, over which everything is summed
LIMIT = 2000  # pairs; of a larger split the same evenly spaced ones are taken each time
CLASSES = {"finding": WordClass.FINDING, "side": WordClass.SIDE, "size": WordClass.SIZE}


class _Seen(NamedTuple):
    """A split as the model sees it."""

    batches: list[Batch]  # on the CPU
    images: Tensor  # all image tokens (M, N, width), on the device
    ids: dict[str, np.ndarray]  # (M,) each


@torch.no_grad()
def evaluate(
    model: VLT, data: CorpusDataset, tokenizer: Tokenizer, device: torch.device, batch_size: int = 64
) -> dict[str, float]:
    """Scores of a model on a split, by name; those of objectives that it did not learn are left out."""
    scores: dict[str, float] = {}
    with evaluating(model):
        seen = _see(model, data, device, batch_size)
        if {"mlm", "lm"} & set(model.config.objectives):
            scores |= _gaps(model, seen, tokenizer, device)
        if "itm" in model.config.objectives:
            scores |= _matching(model, seen, data.signatures, device)
    return scores


def _see(model: VLT, data: CorpusDataset, device: torch.device, batch_size: int) -> _Seen:
    rows = spaced(len(data), LIMIT)
    batches = [data.batch(rows[first : first + batch_size]) for first in range(0, len(rows), batch_size)]
    images = torch.cat([model.encode_image(batch.images.to(device)) for batch in batches])
    ids = {key: np.concatenate([getattr(batch, key).numpy() for batch in batches]) for key in (*NEGATIVE_KEYS, "kind")}
    return _Seen(batches, images, ids | {"rows": rows})


def wrong_images(ids: dict[str, np.ndarray], chance: np.random.Generator, hard: bool = False) -> np.ndarray:
    """For each pair another one that shares no id with it (of the same kind, if `hard`), or -1 where there is none."""
    count = len(ids["kind"])
    chosen = np.full(count, -1)
    for row in range(count):
        fits = np.ones(count, bool)
        for key in NEGATIVE_KEYS:
            fits &= ids[key] != ids[key][row]
        if hard:
            fits &= (ids["kind"] == ids["kind"][row]) & (ids["kind"] >= 0)
        if "signature" in ids:
            fits &= ids["signature"] != ids["signature"][row]
        if fits.any():
            chosen[row] = chance.choice(np.flatnonzero(fits))
    return chosen


def _gaps(model: VLT, seen: _Seen, tokenizer: Tokenizer, device: torch.device) -> dict[str, float]:
    chance, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    counts = {name: np.zeros(3) for name in ("content", "hard", *CLASSES)}  # right, wrong, asked
    loss = np.zeros(2)
    for _ in range(ROUNDS):
        wrong = wrong_images(seen.ids, chance)
        for batch, here in _slices(seen.batches):
            other = torch.from_numpy(np.where(wrong[here] < 0, np.arange(here.start, here.stop), wrong[here]))
            for form, rate, findings in (("content", RATE, 0.0), ("hard", 0.0, 1.0)):
                asked = _asked(model, batch, rate, findings, tokenizer, generator)
                hits, summed = _hits(model, asked, seen.images[here], device)
                misled, _ = _hits(model, asked, seen.images[other.to(device)], device)
                assert asked.mlm_labels is not None
                scored = asked.mlm_labels != UNSCORED
                classes = batch.classes.numpy()
                for name in counts:
                    if (name == "content") == (form == "content"):
                        picked = scored.numpy() & _of_class(classes, name)
                        counts[name] += hits[picked].sum(), misled[picked].sum(), picked.sum()
                if form == "content":
                    loss += summed, int(scored.sum())
    scores = {"words_loss": loss[0] / max(loss[1], 1)}
    for name, (right, misled_, asked_) in counts.items():
        label = "gap" if name == "content" else f"{name}_gap"
        scores |= {f"{name}_right": right / max(asked_, 1), f"{name}_wrong": misled_ / max(asked_, 1)}
        scores[label] = (right - misled_) / max(asked_, 1)
    return scores


def _of_class(classes: np.ndarray, name: str) -> np.ndarray:
    if name in CLASSES:
        return classes == CLASSES[name]
    return classes >= (WordClass.CONTENT if name == "content" else WordClass.FINDING)


def _asked(
    model: VLT, batch: Batch, rate: float, findings: float, tokenizer: Tokenizer, generator: torch.Generator
) -> Batch:
    """The batch with its asked words hidden; for a model that only captions, nothing is hidden and all is asked."""
    if "mlm" not in model.config.objectives:
        labels = batch.tokens.masked_fill(batch.words < 0, UNSCORED)
        return replace(batch, mlm_tokens=batch.tokens, mlm_labels=labels)
    asked = hide(batch, rate, findings, tokenizer, generator)
    assert asked.mlm_labels is not None
    scored = asked.mlm_labels != UNSCORED
    if findings:
        scored = scored & (batch.classes >= WordClass.FINDING)  # not the word that `hide` hides at the least
    # every asked word is hidden outright: 80/10/10 is for training
    return replace(
        asked,
        mlm_tokens=torch.where(scored, tokenizer.mask, batch.tokens),
        mlm_labels=torch.where(scored, batch.tokens, UNSCORED),
    )


def _hits(model: VLT, asked: Batch, images: Tensor, device: torch.device) -> tuple[np.ndarray, float]:
    """Which asked tokens the model names (B, L) bool, and the summed loss over them."""
    assert asked.mlm_tokens is not None and asked.mlm_labels is not None
    masks = "mlm" in model.config.objectives
    mask = model.config.mask if masks else "seq2seq"
    tokens, labels, present = (part.to(device) for part in (asked.mlm_tokens, asked.mlm_labels, asked.present))
    logits = model.word_logits(model.fuse(model.encode_text(tokens, present, mask), images, present, mask).text)
    if not masks:  # position i tells token i + 1
        logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=UNSCORED, reduction="sum")
    return (logits.argmax(-1) == labels).cpu().numpy(), float(loss)


def _matching(model: VLT, seen: _Seen, signatures: np.ndarray, device: torch.device) -> dict[str, float]:
    told = {**seen.ids, "signature": signatures[seen.ids["rows"]]}
    own = np.arange(len(seen.images))
    right, loss = _matches(model, seen, own, device)
    scores = {"itm_loss": float(loss[:, 1].mean())}
    for name, ids, hard in (("itm", seen.ids, False), ("itm_hard", seen.ids, True), ("itm_told", told, True)):
        chance, accuracy = np.random.default_rng(1), []
        for _ in range(ROUNDS):
            wrong = wrong_images(ids, chance, hard)
            some = wrong >= 0
            if not some.any():
                continue
            claimed, its_loss = _matches(model, seen, np.where(some, wrong, own), device)
            accuracy.append((right[some].mean() + (~claimed[some]).mean()) / 2)
            if name == "itm":
                scores["itm_loss"] = float((loss[some, 1].mean() + its_loss[some, 0].mean()) / 2)
        if accuracy:
            scores[name] = float(np.mean(accuracy))
            scores[f"{name}_pairs"] = int(some.sum())
    return scores


def _matches(model: VLT, seen: _Seen, images: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Whether each caption is taken to belong to the image of that row (M,), and the losses of no and yes (M, 2)."""
    found = []
    for batch, here in _slices(seen.batches):
        present = batch.present.to(device)
        text = model.encode_text(batch.tokens.to(device), present)
        chosen = torch.from_numpy(images[here]).to(device)
        found.append(model.match_logits(text, seen.images[chosen], present).float().cpu())
    logits = torch.cat(found)
    return (logits[:, 1] > logits[:, 0]).numpy(), -logits.log_softmax(1).numpy()


def _slices(batches: list[Batch]) -> Iterator[tuple[Batch, slice]]:
    first = 0
    for batch in batches:
        yield batch, slice(first, first + len(batch.tokens))
        first += len(batch.tokens)
