"""Writing text about images word by word: beam search and sampling, over keys and values that are computed once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from corpus_db.read import UserError
from vlt.attention import Cache
from vlt.masks import text_mask
from vlt.model import VLT
from vlt.text import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """How a next token is drawn. Raises UserError for a value that cannot work.

    From the softmax of the logits / `temperature`, of the `top_k` likeliest (arXiv 1805.04833; 0: of all), of the
    fewest that reach `top_p` together (arXiv 1904.09751), by `generator`, which is on the model's device.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.temperature <= 100:
            raise UserError(f"temperature {self.temperature}: give a value from 0.01 to 100")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k}: give 1 or more, or 0 for all")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p}: give a value above 0, at most 1")


@dataclass(frozen=True)
class Search:
    """How a text is searched for. Raises UserError for a value that cannot work.

    `beams` hypotheses grow at once, 1 being the greedy search; of the finished, that of the greatest sum of
    log-probabilities / tokens ** `length_penalty` is taken, [SEP] counted: at 1 the mean, at 0 the likeliest, above 1
    longer ones (the plain form of arXiv 1609.08144's penalty, which is ((5 + tokens) / 6) ** a). `no_repeat` n: no n
    tokens in a row stand twice in what is written (arXiv 1705.04304), 0: no such rule. With `sampling` one text is
    drawn, and `beams` is not looked at.
    """

    beams: int = 3
    length_penalty: float = 1.0
    no_repeat: int = 0
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise UserError(f"beams {self.beams}: give 1 or more")
        if not 0 <= self.length_penalty < math.inf:
            raise UserError(f"length_penalty {self.length_penalty}: give 0 or more")
        if self.no_repeat < 0:
            raise UserError(f"no_repeat {self.no_repeat}: give 1 or more tokens, or 0 for no such rule")


class Generated(NamedTuple):
    """What was written behind a prompt, the end token included where it came to it; by how `Search` scores it."""

    ids: list[int]
    score: float


def texts(
    model: VLT, tokenizer: Tokenizer, image: Tensor, prompts: Sequence[Sequence[int]], search: Search
) -> list[tuple[str, float]]:
    """What follows a prompt about each image of tokens (I, N, width): words and score, as `generate` gives them."""
    found = generate(Decoder(model, image), prompts, search, end=tokenizer.sep, banned=tokenizer.silent)
    return [(tokenizer.decode(one.ids), one.score) for one in found]


class Decoder:
    """A model that reads tokens of I images, R / I rows of each, a few at a time, under the seq2seq mask."""

    def __init__(self, model: VLT, image: Tensor):
        """`image`: the tokens of I images (I, N, width)."""
        self.model, self.image = model, image
        self.present = torch.ones(len(image), 0, dtype=torch.bool, device=image.device)
        self.cache = Cache()

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read a prompt of at least one token for each image -> the fused last word of each (I, width)."""
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.image.device)
        tokens = lengths.new_full((len(prompts), max(map(len, prompts))), self.model.vocabulary[1])
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = lengths.new_tensor(prompt)
        present = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        return self.read(tokens, present)[torch.arange(len(prompts), device=tokens.device), lengths - 1]

    def read(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Next tokens (R, L) int64, where `present` (R, L) bool says so -> fused words (R, L, width)."""
        new = torch.ones_like(tokens, dtype=torch.bool) if present is None else present
        self.present = torch.cat([self.present, new], dim=1)  # R, all words
        length = tokens.shape[1]
        places = self.present.cumsum(1)[:, -length:] - 1
        mask = text_mask(self.present, "seq2seq")[:, :, -length:]  # R, 1, L, all words
        text = self.model.text.follow(tokens, places, mask, self.cache)
        return self.model.norm_text(self.model.fusion.follow(text, self.image, mask, self.cache))

    def select(self, rows: Tensor, images: Tensor) -> None:
        """Go on with these rows (R',) and images (I',), by their numbers, int64."""
        self.present, self.image = self.present[rows], self.image[images]
        self.cache.select(rows, images)


@torch.no_grad()
def generate(
    decoder: Decoder, prompts: Sequence[Sequence[int]], search: Search, *, end: int, banned: Sequence[int] = ()
) -> list[Generated]:
    """A text for each image of a fresh decoder, behind its prompt of at least one token, which may differ in length.

    Never a token of `banned`. A text is finished by `end` or where the model has no more places; an image's search
    stops when as many are finished as there are beams.
    """
    longest = decoder.model.config.max_tokens
    rooms = [longest - len(prompt) for prompt in prompts]
    if min(rooms) < 1:
        raise ValueError(f"a prompt of {longest - min(rooms)} tokens where there are places for {longest}")
    beam = _Beam(rooms, search, end, decoder.image.device)
    silent = torch.tensor(banned, dtype=torch.long, device=decoder.image.device)
    words = decoder.start(prompts)  # rows, width
    while True:
        logits = decoder.model.word_logits(words)
        told = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        rows, images = beam.grow(told.index_fill(1, silent, -math.inf))
        if not len(images):
            return beam.best()
        decoder.select(rows, images)
        words = decoder.read(beam.ids[:, -1:])[:, 0]


class _Beam:
    """The open hypotheses of the images that are searched for, as many of each, and the finished ones of all."""

    def __init__(self, rooms: list[int], search: Search, end: int, device: torch.device):
        self.rooms, self.search, self.end = rooms, search, end
        self.closed: list[list[Generated]] = [[] for _ in rooms]
        self.numbers = list(range(len(rooms)))  # of the images that are left
        self.ids = torch.empty(len(rooms), 0, dtype=torch.long, device=device)  # rows, tokens written
        self.scores = torch.zeros(len(rooms), 1, device=device)  # images, beams: sums; -inf where there is none

    def grow(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """By a token each, of log-probabilities (rows, V); the rows (R',) and images (I',) to go on with."""
        forbid_repeats(told, self.ids, self.search.no_repeat)
        images, beams = self.scores.shape
        self.scores, parents, tokens = self._next(told.unflatten(0, (images, beams)))
        rows = torch.arange(images, device=told.device)[:, None] * beams + parents  # images, new beams
        self.ids = torch.cat([self.ids[rows.flatten()], tokens.reshape(-1, 1)], dim=1)
        self._close(tokens)
        going = torch.tensor(self._going(), dtype=torch.long, device=told.device)
        self.numbers = [self.numbers[image] for image in going.tolist()]
        self.ids = self.ids.unflatten(0, rows.shape)[going].flatten(0, 1)
        self.scores = self.scores[going]
        return rows[going].flatten(), going

    def _next(self, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sums, parents and tokens (images, new beams) that follow (images, beams, V)."""
        if self.search.sampling:
            tokens = draw(told[:, 0], self.search.sampling)[:, None]
            return self.scores + told[:, 0].gather(1, tokens), torch.zeros_like(tokens), tokens
        sums = (self.scores[..., None] + told).flatten(1)
        best = sums.topk(min(self.search.beams, sums.shape[1]), dim=1)
        return best.values, best.indices // told.shape[2], best.indices % told.shape[2]

    def _close(self, tokens: Tensor) -> None:
        """Finish what has just written its end."""
        ended = (tokens == self.end) & self.scores.isfinite()
        for image, beam in ended.nonzero().tolist():
            self.closed[self.numbers[image]].append(self._generated(image, beam))
        self.scores = self.scores.masked_fill(ended, -math.inf)

    def _going(self) -> list[int]:
        """The images that are not done; one that is without a finished hypothesis gets its best open one."""
        going, length = [], self.ids.shape[1]
        for image, alive in enumerate(self.scores.isfinite().any(1).tolist()):
            number = self.numbers[image]
            if alive and len(self.closed[number]) < self.search.beams and length < self.rooms[number]:
                going.append(image)
            elif not self.closed[number]:
                self.closed[number].append(self._generated(image, int(self.scores[image].argmax())))
        return going

    def _generated(self, image: int, beam: int) -> Generated:
        ids = self.ids[image * self.scores.shape[1] + beam].tolist()
        return Generated(ids, float(self.scores[image, beam]) / len(ids) ** self.search.length_penalty)

    def best(self) -> list[Generated]:
        """The finished hypothesis of the highest score of each image."""
        return [max(found, key=lambda one: one.score) for found in self.closed]


def forbid_repeats(told: Tensor, ids: Tensor, n: int) -> None:
    """Set to -inf, in place, what of log-probabilities (R, V) would repeat n tokens in a row of ids (R, L); 0: none."""
    if not 0 < n <= ids.shape[1]:
        return
    runs = ids.unfold(1, n, 1)  # R, L - n + 1, n
    last = ids[:, None, ids.shape[1] - n + 1 :]  # R, 1, n - 1
    row, place = (runs[..., :-1] == last).all(2).nonzero(as_tuple=True)
    told[row, runs[row, place, -1]] = -math.inf


def draw(told: Tensor, sampling: Sampling) -> Tensor:
    """A token (R,) for each row of log-probabilities (R, V)."""
    ordered, tokens = (told / sampling.temperature).sort(dim=1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = -math.inf
    shares = ordered.softmax(1)
    if sampling.top_p < 1:
        shares = shares.masked_fill(shares.cumsum(1) - shares >= sampling.top_p, 0)
    drawn = torch.multinomial(shares, 1, generator=sampling.generator)
    return tokens.gather(1, drawn)[:, 0]
