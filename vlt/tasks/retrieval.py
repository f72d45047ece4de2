"""Retrieval, image to text and text to image: contrast (ITC) ranks the pool, matching (ITM) re-ranks the top of it.

Each image and each caption is encoded once and kept. One matrix product of their embeddings ranks everything; the
cross-modal Transformer then sees the best k of each query alone, and all N x N only where `exact` asks for it.

A pool is the pairs of a split: an image asks among the captions of all pairs, a caption among the images of all pairs.
Pairs of one caption give it as many places in the pool. What is right:

- strict: the pair's own caption or image. A copy of it elsewhere in the pool ties with it, and counts as wrong.
- grouped: that of any pair that has the caption, the image or the duplicate cluster of the one that asks.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from corpus_db.read import UserError, progress
from vlt.data import Batch, CorpusDataset, spaced
from vlt.metrics import ranks
from vlt.metrics.retrieval import COUNTINGS, DIRECTIONS
from vlt.model import VLT, evaluating
from vlt.tasks.base import Say

ROWS = 2048  # images whose similarities are computed in one matrix product
BLOCK = 256  # queries that are placed in the pool at once: 8 bytes for each of their candidates
GROUPS = ("caption_id", "image_id", "cluster_id")  # pairs that share one of these answer for each other


@dataclass
class Cost:
    """What a search took: forward passes, and seconds by stage."""

    images: int = 0  # encoded
    texts: int = 0
    crosses: dict[str, int] = field(default_factory=dict)  # an image and a caption fused, by stage
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str, device: torch.device) -> Iterator[None]:
        """Adds the time of what is done inside it, work that a GPU still has to do included."""
        begun = time.perf_counter()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True)
class Features:
    """N pairs as the model sees them: of I distinct images and T distinct captions, on the device."""

    tokens: Tensor  # float (I, M, W): image tokens before fusion
    text: Tensor  # float (T, L, W): words before fusion, captions in the order of their lengths
    present: Tensor  # bool (T, L)
    image_unit: Tensor  # float32 (I, D): unit embeddings
    text_unit: Tensor  # float32 (T, D)
    image_of: np.ndarray  # int64 (N,): the image of each pair
    text_of: np.ndarray  # int64 (N,)
    ids: dict[str, np.ndarray]  # int64 (N,) each: GROUPS and case_id

    @property
    def bytes(self) -> int:
        """The memory that it takes on the device."""
        kept = (self.tokens, self.text, self.present, self.image_unit, self.text_unit)
        return sum(part.numel() * part.element_size() for part in kept)


class Scored(NamedTuple):
    """A score for every candidate of every query, Q and C of them, distinct; the best k of each may have another."""

    scores: np.ndarray  # float32 (Q, C)
    short: np.ndarray | None = None  # int64 (Q, k): candidates that stand before all others,
    margins: np.ndarray | None = None  # float32 (Q, k): by these

    def rows(self, queries: np.ndarray) -> np.ndarray:
        """Of queries (B,): float (B, C), higher is better."""
        if self.short is None or self.margins is None:
            return self.scores[queries]
        found = self.scores[queries].astype(np.float64)  # so that what is added takes no margin's last digits
        margins = self.margins[queries].astype(np.float64)
        ahead = 1 + found.max(1, keepdims=True) + margins - margins.min(1, keepdims=True)
        np.put_along_axis(found, self.short[queries], ahead, axis=1)
        return found


@torch.no_grad()
def features(
    model: VLT,
    data: CorpusDataset,
    device: torch.device,
    batch_size: int = 64,
    *,
    rows: np.ndarray | None = None,
    cost: Cost | None = None,
) -> Features:
    """Encode each distinct image and caption of a split, or of its `rows` (N,), once.

    A caption takes 4 L W bytes, L the longest's tokens; an image 4 M W (Swin-S at 224 pixels and a width of 768: 240
    and 147 KiB). Captions that the model reads as the same tokens are one.
    """
    rows, cost = np.arange(len(data)) if rows is None else rows, cost or Cost()
    batch = data.batch(rows, images=False)
    ids = {name: getattr(batch, name).numpy() for name in (*GROUPS, "case_id")}
    _, first, image_of = np.unique(ids["image_id"], return_index=True, return_inverse=True)
    with cost.timed("images", device):
        parts = [data.images(rows[some]).to(device) for some in _parts(first, batch_size)]
        tokens = torch.cat([model.encode_image(part) for part in parts])
        image_unit = torch.cat([model.embed_image(part).float() for part in tokens.split(batch_size)])
    cost.images += len(first)
    distinct, text_of = _distinct(batch)
    with cost.timed("texts", device):
        text, present = _encoded(model, batch, distinct, device, batch_size)
        text_unit = torch.cat([model.embed_text(part).float() for part in text.split(batch_size)])
    cost.texts += len(distinct)
    if not (image_unit.isfinite().all() and text_unit.isfinite().all()):
        raise UserError("the model's embeddings are no numbers (NaN): it cannot rank anything; train it again")
    return Features(tokens, text, present, image_unit, text_unit, image_of, text_of, ids)


def _parts(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (values[first : first + size] for first in range(0, len(values), size))


def _distinct(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """A row (T,) of each distinct caption, the shortest first, and which of them each pair has (N,)."""
    _, first, text_of = np.unique(batch.tokens.numpy(), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(batch.present.sum(1).numpy()[first], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[text_of.ravel()]


def _encoded(model: VLT, batch: Batch, rows: np.ndarray, device: torch.device, size: int) -> tuple[Tensor, Tensor]:
    """The captions of rows (T,), none padded further than to the longest beside it: (T, L, W), present (T, L)."""
    present = batch.present[rows].to(device)
    text = torch.zeros(*present.shape, model.config.width, device=device)
    for some in np.split(np.arange(len(rows)), range(size, len(rows), size)):
        here, length = slice(some[0], some[-1] + 1), int(present[some[-1]].sum())
        tokens = batch.tokens[rows[here], :length].to(device)
        text[here, :length] = model.encode_text(tokens, present[here, :length]).float()
    return text, present


def search(found: Features) -> np.ndarray:
    """Similarities of all distinct images to all distinct captions, float32 (I, T), by one matrix product.

    Of more than ROWS images in blocks; it takes 4 I T bytes, 1.4 GB at 18,434 each.
    """
    return np.concatenate([(part @ found.text_unit.T).cpu().numpy() for part in found.image_unit.split(ROWS)])


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """The best k candidates of each query, scores (Q, C) -> int64 (Q, min(k, C))."""
    k = min(k, scores.shape[1])
    blocks = (torch.from_numpy(np.ascontiguousarray(part)) for part in _parts(scores, ROWS))
    return np.concatenate([block.topk(k, dim=1).indices.numpy() for block in blocks])


@torch.no_grad()
def cross(model: VLT, found: Features, images: np.ndarray, texts: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """How much rather an image and a caption are a pair than none, log-odds by the ITM head: (P,), (P,) -> (P,).

    Reads what `features` kept. Fastest where `texts` are sorted, since captions of like length are then together.
    """
    device, margins = found.text.device, []
    for some in np.split(np.arange(len(texts)), range(batch_size, len(texts), batch_size)):
        image, text = (torch.from_numpy(which[some]).to(device) for which in (images, texts))
        present = found.present[text]
        length = int(present.sum(1).max())
        logits = model.match_logits(found.text[text, :length], found.tokens[image], present[:, :length]).float()
        margins.append((logits[:, 1] - logits[:, 0]).cpu())
    margin = torch.cat(margins)
    if not margin.isfinite().all():
        raise UserError("the model's matching scores are no numbers (NaN): it cannot rank anything; train it again")
    return margin.numpy()


def shortlists(similar: np.ndarray, k: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The best k of each query by direction, and each image and caption that meet there, once: int64 (P,) codes.

    A code is caption * I + image: in their order captions of like length are together.
    """
    images = len(similar)
    short = {"image_to_text": top(similar, k), "text_to_image": top(similar.T, k)}
    return short, np.unique(np.concatenate([_codes(way, chosen, images).ravel() for way, chosen in short.items()]))


def _codes(way: str, short: np.ndarray, images: int) -> np.ndarray:
    queries = np.arange(len(short))[:, None]
    return short * images + queries if way == "image_to_text" else queries * images + short


def rerank(
    model: VLT, found: Features, similar: np.ndarray, k: int, batch_size: int = 64, cost: Cost | None = None
) -> dict[str, Scored]:
    """Both directions' best k by ITM, by direction; the rest stays behind them in the order of `similar` (I, T).

    What both directions ask for is fused once, and equal captions and images count as one of the k.
    """
    cost = cost or Cost()
    with cost.timed("rerank", found.text.device):
        short, codes = shortlists(similar, k)
        margins = cross(model, found, codes % len(similar), codes // len(similar), batch_size)
        scored = {}
        for way, chosen in short.items():
            where = np.searchsorted(codes, _codes(way, chosen, len(similar)))
            scored[way] = Scored(similar if way == "image_to_text" else similar.T, chosen, margins[where])
    cost.crosses["rerank"] = len(codes)
    return scored


def exact(
    model: VLT, found: Features, batch_size: int = 64, cost: Cost | None = None, say: Say | None = None
) -> dict[str, Scored]:
    """Both directions by ITM alone: every distinct image fused with every distinct caption, I x T forward passes."""
    cost = cost or Cost()
    images, texts = len(found.tokens), len(found.text)
    every = np.empty((images, texts), np.float32)
    with cost.timed("exact", found.text.device):
        each = [range(text, text + 1) for text in range(texts)]
        for (text,) in progress(each, texts, "captions compared with every image", say) if say else each:
            every[:, text] = cross(model, found, np.arange(images), np.full(images, text), batch_size)
    cost.crosses["exact"] = images * texts
    return _both(every)


def _both(scores: np.ndarray) -> dict[str, Scored]:
    return {"image_to_text": Scored(scores), "text_to_image": Scored(scores.T)}


def answers(ids: dict[str, np.ndarray], queries: np.ndarray, counting: str) -> np.ndarray:
    """Which pairs are right for the pairs `queries` (B,): bool (B, N), the same in both directions."""
    right = queries[:, None] == np.arange(len(ids["case_id"]))
    if counting == "grouped":
        for name in GROUPS:
            right |= ids[name][queries, None] == ids[name]
    return right


def placed(found: Features, way: str, scored: Scored) -> dict[str, ranks.Places]:
    """Where each pair finds what it asks for, by counting."""
    own, other = found.image_of, found.text_of
    if way == "text_to_image":
        own, other = other, own
    parts: dict[str, list[ranks.Places]] = {counting: [] for counting in COUNTINGS}
    for queries in _parts(np.arange(len(own)), BLOCK):
        scores = np.take(scored.rows(own[queries]), other, axis=1)  # NumPy takes [:, other] at half the speed
        for counting in COUNTINGS:
            parts[counting].append(ranks.places(scores, answers(found.ids, queries, counting)))
    return {counting: ranks.joined(some) for counting, some in parts.items()}


def check(model: VLT, k: int, exact: bool) -> list[str]:
    """What the model cannot be asked, in words; UserError where nothing is left to rank by."""
    learned = model.config.objectives
    if k < 1:
        raise UserError(f"k {k}: give 1 or more candidates to re-rank")
    if not {"itc", "itm"} & set(learned):
        raise UserError(
            f"this model learned {', '.join(learned)}; retrieval needs itc or itm among its objectives: "
            "python cli.py finetune retrieval --from RUN"
        )
    if "itc" not in learned and not exact:
        raise UserError("this model learned no itc: only ITM ranks, over every image with every caption; give --exact")
    left_out = [] if "itc" in learned else ["no ITC ranking and nothing to re-rank: this model learned no itc"]
    if "itm" not in learned:
        left_out.append("neither re-ranked nor ranked by ITM alone: this model learned no itm")
    return left_out


@torch.no_grad()
def evaluate(
    model: VLT,
    dataset: CorpusDataset,
    device: torch.device,
    *,
    k: int = 16,
    exact: bool = False,
    limit: int | None = None,
    tuned: bool = False,
    batch_size: int = 64,
    draws: int = ranks.DRAWS,
    say: Say | None = None,
) -> dict[str, Any]:
    """Scores of both directions by method and counting, chance, intervals by case, cost; ready for JSON.

    `limit`: of a larger split this many evenly spaced pairs. `tuned`: whether the model was fine-tuned for it, which
    is only told. Raises UserError for what the model cannot be asked.
    """
    left_out = check(model, k, exact)
    cost, rows = Cost(), spaced(len(dataset), limit)
    with evaluating(model):
        found = features(model, dataset, device, batch_size, rows=rows, cost=cost)
        scored = _scored(model, found, k, exact, batch_size, cost, say)
    told = _told(found, scored, draws)
    names = {"split": dataset.pairs[0].split, "tuned": tuned, "k": k, "left_out": left_out}
    return names | told | {"cost": asdict(cost), "bytes": found.bytes, "best": _best(found, scored, rows)}


def _best(found: Features, scored: dict[str, dict[str, Scored]], rows: np.ndarray) -> dict[str, Any]:
    """Of each pair and direction, by the last method: the row of the pair that stands first, and its score."""
    method, by_way = list(scored.items())[-1]
    told: dict[str, Any] = {"method": method, "rows": rows.tolist()}
    for way, one in by_way.items():
        own, other = (found.image_of, found.text_of) if way == "image_to_text" else (found.text_of, found.image_of)
        holders = rows[np.unique(other, return_index=True)[1]]  # of each candidate the first pair that has it
        queries = np.arange(one.scores.shape[0])
        first = np.concatenate([one.rows(some).argmax(1) for some in _parts(queries, BLOCK)])
        scores = one.scores[queries, first] if one.margins is None else one.margins.max(1)  # what put it first
        told[way] = {"rows": holders[first][own].tolist(), "scores": scores[own].astype(float).tolist()}
    return told


def _scored(
    model: VLT, found: Features, k: int, exactly: bool, batch_size: int, cost: Cost, say: Say | None
) -> dict[str, dict[str, Scored]]:
    """By method and direction."""
    scored, learned = {}, model.config.objectives
    if "itc" in learned:
        with cost.timed("search", found.text.device):
            similar = search(found)
        scored["itc"] = _both(similar)
        if "itm" in learned:
            scored["rerank"] = rerank(model, found, similar, k, batch_size, cost)
    if exactly and "itm" in learned:
        scored["exact"] = exact(model, found, batch_size, cost, say)
    return scored


def _told(found: Features, scored: dict[str, dict[str, Scored]], draws: int) -> dict[str, Any]:
    cases = ranks.resample(found.ids["case_id"], draws)
    scores: dict[str, Any] = {way: {} for way in DIRECTIONS}
    for method, by_way in scored.items():
        for way, one in by_way.items():
            places = placed(found, way, one)
            scores[way][method] = {counting: ranks.summary(places[counting], cases) for counting in COUNTINGS}
    pool = len(found.image_of)
    sizes = {"strict": np.ones(pool, np.int64)}
    blocks = _parts(np.arange(pool), BLOCK)
    sizes["grouped"] = np.concatenate([answers(found.ids, some, "grouped").sum(1) for some in blocks])
    chance = {counting: ranks.summary(ranks.chance(sizes[counting], pool)) for counting in COUNTINGS}
    counts = {"pool": pool, "images": len(found.tokens), "captions": len(found.text), "cases": cases.times.shape[1]}
    return counts | {"scores": scores, "chance": chance}
