"""A corpus version as a `torch.utils.data.Dataset`, and batches of it that any step can be begun with.

The n-th batch is a function of the seed and n alone: resuming at a step needs nothing but its number.
"""

import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from corpus_db.read import Pair, UserError, Version
from vlt.augment import DRAWS
from vlt.captions import captions, fingerprint
from vlt.order import bucketed, grouped
from vlt.pack import CAPTIONS, COLOUR, GREY, Pack
from vlt.text import Tokenizer

BLANK = -1  # where no image is
UNSCORED = -100  # a label that `cross_entropy` leaves out
IDS = ("image_id", "caption_id", "case_id", "cluster_id", "kind")


@dataclass(frozen=True)
class Batch:
    """Pairs, ready for a step; B rows of at most L tokens."""

    images: Tensor  # uint8 (B, C, S, S)
    tokens: Tensor  # int64 (B, L): [CLS] .. [SEP], then padding
    present: Tensor  # bool (B, L), False for padding
    words: Tensor  # int64 (B, L): number of the token's word, -1 for specials and padding
    classes: Tensor  # uint8 (B, L): words.WordClass
    image_id: Tensor  # int64 (B,), as the next three: equal numbers, same thing, in whatever corpus
    caption_id: Tensor
    case_id: Tensor
    cluster_id: Tensor
    kind: Tensor  # int64 (B,): of modality, plane and region; -1 where the modality is not known
    rows: Tensor  # int64 (B,): in the data set
    mlm_tokens: Tensor | None = None  # int64 (B, L), as the next: set by `objectives.draw`
    mlm_labels: Tensor | None = None
    thinned: Tensor | None = None  # int64 (B, L): what ITM and ITC see of the tokens, if not all
    uniforms: Tensor | None = None  # float32 (B, 4)
    augment: Tensor | None = None  # float32 (B, augment.DRAWS)
    answer: Tensor | None = None  # int64 (B,): which of the answers a question has, UNSCORED for none of them
    said: Tensor | None = None  # int64 (B, M): [CLS] question [SEP] answer [SEP], then padding
    said_labels: Tensor | None = None  # int64 (B, M): its answer and the last [SEP], else UNSCORED
    peers: dict[str, Tensor] | None = None  # of the batch of all ranks: IDS, and how many labels each objective asks

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with each of its tensors changed."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                value = {key: change(part) for key, part in value.items()}
            values[field.name] = change(value) if isinstance(value, Tensor) else value
        return Batch(**values)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from pinned memory without waiting for it."""
        return self.mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, number: int, count: int) -> "Batch":
        """The number-th of `count` equal parts."""
        if len(self.rows) % count:
            raise UserError(f"batch_size {len(self.rows)} is no multiple of {count} (ranks or accumulated parts)")
        size = len(self.rows) // count
        return self.mapped(lambda tensor: tensor[number * size : (number + 1) * size])

    def share(self, rank: int, world: int) -> "Batch":
        """A rank's part, which knows the pairs of all ranks as its peers."""
        if world == 1:
            return self
        peers = {name: getattr(self, name) for name in IDS}
        peers["lm"] = (to_say(self)[1][:, 1:] != UNSCORED).sum()
        for name in ("mlm_labels", "answer"):
            if (labels := getattr(self, name)) is not None:
                peers[name] = (labels != UNSCORED).sum()
        return replace(self.part(rank, world), peers=peers)


def spaced(count: int, most: int | None) -> np.ndarray:
    """Of `count` rows the numbers of `most` evenly spaced ones, int64; of all where they are no more."""
    some = count if most is None else min(count, most)
    return np.unique(np.linspace(0, count - 1, some).round().astype(np.int64))


def to_say(batch: Batch) -> tuple[Tensor, Tensor]:
    """What LM learns to say and its labels, int64 (B, M) each: a caption, or a question's answer after the question."""
    if batch.said is None or batch.said_labels is None:
        return batch.tokens, batch.tokens.masked_fill(~batch.present, UNSCORED)
    return batch.said, batch.said_labels


def joined(batches: Sequence[Batch], pad: int) -> Batch:
    """Batches behind each other, padded to the longest."""
    if len(batches) == 1:
        return batches[0]
    length = max(batch.tokens.shape[1] for batch in batches)
    fill: dict[str, Any] = {"tokens": pad, "present": False, "words": -1, "classes": 0}  # captions' alone
    values: dict[str, Any] = {}
    for field in fields(Batch):
        parts = [getattr(batch, field.name) for batch in batches]
        if parts[0] is None:
            continue
        if field.name in fill:
            missing = [length - part.shape[1] for part in parts]
            parts = [
                torch.nn.functional.pad(part, (0, more), value=fill[field.name])
                for part, more in zip(parts, missing, strict=True)
            ]
        values[field.name] = torch.cat(parts)
    return Batch(**values)


class Pictures:
    """Images of a pack by the rows of a data set; a row whose image is not in the pack is blank."""

    def __init__(self, pack: Pack, images: Sequence[str | None], channels: int):
        """`images`: each row's sha256, None for a row without an image."""
        self.grey, self.colour, self.channels = pack.grey, pack.colour, channels
        self.where = np.array([pack.where.get(one or "", (BLANK, 0)) for one in images])

    def images(self, rows: np.ndarray) -> Tensor:
        """The pixels of rows (B,): uint8 (B, C, S, S)."""
        size = self.grey.shape[1]
        found = np.zeros((len(rows), self.channels, size, size), np.uint8)
        kinds, places = self.where[rows].T
        grey, colour = np.flatnonzero(kinds == GREY), np.flatnonzero(kinds == COLOUR)
        found[grey] = self.grey[places[grey]][:, None]
        if len(colour):
            pixels = self.colour[places[colour]]  # B, S, S, 3
            if self.channels == 1:  # ITU-R BT.601, as Pillow's mode L
                found[colour, 0] = (pixels @ np.array([0.299, 0.587, 0.114], np.float32)).round().astype(np.uint8)
            else:
                found[colour] = pixels.transpose(0, 3, 1, 2)
        return torch.from_numpy(found)


class CorpusDataset(Pictures, Dataset):
    """The pairs of one split of a version; `dataset[i]` is a dict of image uint8 (C, S, S), caption, tokens, pair_id.

    `channels` 1 turns colour images grey by their luminance, 3 repeats grey ones. `length`: None pads a batch to its
    longest caption, rounded up to a multiple of 8; a number pads every batch to it, for compiled models.
    """

    def __init__(
        self,
        version: Version,
        pack: Pack,
        tokenizer: Tokenizer,
        split: str,
        *,
        channels: int = 1,
        max_tokens: int = 80,
        length: int | None = None,
    ):
        self.pairs = [pair for pair in version.pairs if pair.split == split and pair.sha256 in pack.where]
        if not self.pairs:
            raise UserError(f"version {version.name}: its {split} split holds no pair with a readable image")
        super().__init__(pack, [pair.sha256 for pair in self.pairs], channels)
        self.pad, self.length, self.max_tokens = tokenizer.pad, length, max_tokens
        self.names = [pair.pair_id for pair in self.pairs]
        self.ids = {
            name: np.array([fingerprint(told) for told in map(tell, self.pairs)]) for name, tell in _TOLD.items()
        }
        self.kind = np.array([fingerprint(_kind(pair)) if pair.modality else -1 for pair in self.pairs])
        texts = [pair.caption for pair in self.pairs]
        self.tokens, self.offsets, self.signatures = captions(pack.folder / CAPTIONS, texts, tokenizer, max_tokens)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        pair, place = self.pairs[row], row % len(self)
        tokens = self.tokens[0, self.offsets[place] : self.offsets[place + 1]].astype(np.int64)
        image = self.images(np.array([place]))[0]
        return {"image": image, "caption": pair.caption, "tokens": torch.from_numpy(tokens), "pair_id": pair.pair_id}

    def batch(self, rows: np.ndarray, images: bool = True) -> Batch:
        """Rows (B,) int64 as a Batch on the CPU; without `images` they are left empty, (B, 0)."""
        first, last = self.offsets[rows], self.offsets[rows + 1]
        length = self.length or min(-(-int((last - first).max()) // 8) * 8, self.max_tokens)
        tokens = np.full((len(rows), length), self.pad, np.int64)
        words = np.full((len(rows), length), -1, np.int64)
        classes = np.zeros((len(rows), length), np.uint8)
        for row, (begin, end) in enumerate(zip(first, last, strict=True)):
            tokens[row, : end - begin], words[row, : end - begin], classes[row, : end - begin] = self.tokens[
                :, begin:end
            ]
        ids: dict[str, Any] = {name: torch.from_numpy(values[rows]) for name, values in self.ids.items()}
        return Batch(
            images=self.images(rows) if images else torch.empty(len(rows), 0, dtype=torch.uint8),
            tokens=torch.from_numpy(tokens),
            present=torch.from_numpy(np.arange(length) < (last - first)[:, None]),
            words=torch.from_numpy(words),
            classes=torch.from_numpy(classes),
            **ids,
            kind=torch.from_numpy(self.kind[rows]),
            rows=torch.from_numpy(rows),
        )


_TOLD: dict[str, Callable[[Pair], str]] = {
    "image_id": lambda pair: pair.sha256,
    "caption_id": lambda pair: pair.caption_group,
    "case_id": lambda pair: pair.case_id,
    "cluster_id": lambda pair: pair.duplicate_cluster,
}


def _kind(pair: Pair) -> str:
    return "\n".join(str(label) for label in (pair.modality, pair.plane, pair.region))


class Rows(Protocol):
    """A data set as `Batches` takes it."""

    names: Sequence[str]
    ids: Mapping[str, np.ndarray]
    kind: np.ndarray
    offsets: np.ndarray  # of the rows' tokens: what is about as long comes together
    pad: int

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray, images: bool = True) -> Batch:
        """Rows (B,) as a Batch."""

    def images(self, rows: np.ndarray) -> Tensor:
        """The pixels of rows (B,): uint8 (B, C, S, S)."""


Prepare = Callable[[Batch, torch.Generator, int], Batch]  # batch of all ranks, its generator, its number


class Batches:
    """An endless stream of batches over one or several data sets, from any step on.

    Each item is a list of `accumulate` parts, this rank's share of each. Of each batch, data set k gives its weight's
    share. `hard`: the share of pairs that come in groups of one kind, so that a batch holds hard negatives. Captions of
    like length come together, so that little of a batch is padding.
    """

    def __init__(
        self,
        datasets: Sequence[tuple[Rows, float]],
        batch_size: int,
        seed: int,
        prepare: Prepare,
        *,
        hard: float = 0.0,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
    ):
        self.datasets = [dataset for dataset, _ in datasets]
        self.offsets = np.cumsum([0, *map(len, self.datasets)])[:-1].tolist()  # where the rows of each begin
        weights = [weight for _, weight in datasets]
        self.portions = [weight / sum(weights) for weight in weights]
        self.shares = [weight / sum(weights[place:]) for place, weight in enumerate(weights)]  # of what is left by then
        self.batch_size, self.seed, self.prepare = batch_size, seed % 2**63, prepare  # NumPy wants no negative seed
        self.hard, self.accumulate, self.rank, self.world = hard, accumulate, rank, world
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def rows(self, number: int) -> list[np.ndarray]:
        """The rows of each data set in the number-th batch of all ranks."""
        ranges = zip(self._taken(number), self._taken(number + 1), strict=True)
        return [self._stream(which, begin, end) for which, (begin, end) in enumerate(ranges)]

    def _taken(self, number: int) -> list[int]:
        """How many rows of each data set the batches before the number-th took."""
        left, taken = number * self.batch_size, []
        for share in self.shares:
            taken.append(int(left * share))
            left -= taken[-1]
        return taken

    def _stream(self, which: int, begin: int, end: int) -> np.ndarray:
        """Rows begin .. end of a data set's endless stream of epochs."""
        count = len(self.datasets[which])
        parts = [np.empty(0, np.int64)]
        while begin < end:
            epoch, place = divmod(begin, count)
            parts.append(self._order(which, epoch)[place : place + end - begin])
            begin += len(parts[-1])
        return np.concatenate(parts)

    def _order(self, which: int, epoch: int) -> np.ndarray:
        """A data set's rows as an epoch takes them."""
        if (which, epoch) not in self._orders:
            chance = np.random.default_rng([self.seed, which, epoch])
            self._orders = {key: kept for key, kept in self._orders.items() if key[0] != which} | {
                (which, epoch): self._arranged(which, epoch, chance)
            }
        return self._orders[which, epoch]

    def _arranged(self, which: int, epoch: int, chance: np.random.Generator) -> np.ndarray:
        data = self.datasets[which]
        rows, unit = grouped(data.kind, data.ids["case_id"], self.hard, chance)
        share = max(round(self.batch_size * self.portions[which]), 1)  # of a batch; of several data sets, nearly
        return rows[bucketed(unit, np.diff(data.offsets)[rows], share, epoch * len(rows) % share, chance)]

    def batch(self, number: int) -> list[Batch]:
        """The number-th batch: this rank's share of each accumulated part."""
        rows = self.rows(number)
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0]))
        some = [
            replace(dataset.batch(mine, images=False), rows=torch.from_numpy(mine + offset))
            for dataset, mine, offset in zip(self.datasets, rows, self.offsets, strict=True)
            if len(mine)
        ]
        whole = self.prepare(joined(some, self.datasets[0].pad), generator, number)
        whole = replace(whole, augment=torch.rand(len(whole.rows), DRAWS, generator=generator))
        parts = [whole.part(part, self.accumulate) for part in range(self.accumulate)]
        return [self._with_images(part.share(self.rank, self.world)) for part in parts]

    def _with_images(self, batch: Batch) -> Batch:
        images = [
            dataset.images(batch.rows[of_it].numpy() - offset)
            for dataset, offset in zip(self.datasets, self.offsets, strict=True)
            if (of_it := (batch.rows >= offset) & (batch.rows < offset + len(dataset))).any()
        ]  # the rows are in the order of their data sets
        return replace(batch, images=torch.cat(images))

    def describe(self, batch: Batch) -> str:
        """The pairs of a batch by name, for messages."""
        known = [name for dataset in self.datasets for name in dataset.names]
        names = [known[row] for row in batch.rows.tolist()]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    def stream(self, first: int, pinned: bool = False, ahead: int = 2) -> Generator[list[Batch]]:
        """Batches from the first-th on, made by a thread `ahead` of their use."""
        made: queue.Queue[list[Batch] | Exception] = queue.Queue(ahead)
        stopped = threading.Event()

        def work() -> None:
            number = first
            while not stopped.is_set():
                try:
                    parts = self.batch(number)
                    if pinned:
                        parts = [part.mapped(lambda tensor: tensor.pin_memory()) for part in parts]
                    item: list[Batch] | Exception = parts
                except Exception as error:  # told to the consumer, which raises it
                    item = error
                while not stopped.is_set():
                    try:
                        made.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                number += 1

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while True:
                item = made.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stopped.set()
            worker.join()
