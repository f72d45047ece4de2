"""What the VLT learns: masked words, image-text matching, contrast, captioning and answers, in any weighted mix.

All chance but dropout's is drawn beforehand, on the CPU and for the whole batch of all ranks (`draw`), so that a step
is a function of its batch alone: the same on any device and for any number of ranks.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from vlt.config import Config
from vlt.data import UNSCORED, Batch, to_say
from vlt.model import VLT
from vlt.ranks import gathered, world
from vlt.text import Tokenizer
from vlt.words import WordClass

NEGATIVE_KEYS = ("image_id", "caption_id", "case_id", "cluster_id")  # what a negative must not share


class Outcome(NamedTuple):
    """One objective's result on a batch: how many it was asked for and had right."""

    loss: Tensor  # scalar; its mean over ranks is the mean over the whole batch
    correct: Tensor  # of this rank, detached
    asked: Tensor  # of this rank, detached


def hide(batch: Batch, rate: float, findings: float, tokenizer: Tokenizer, generator: torch.Generator) -> Batch:
    """The batch with its words hidden for MLM: `mlm_tokens` and `mlm_labels` (UNSCORED where nothing is asked).

    Whole words, each with probability `rate` and at least one a caption; in a share `findings` of the captions all
    finding, side and size words as well. Of the tokens 80 % become [MASK], 10 % any word, 10 % stay (BERT,
    arXiv 1810.04805, appendix C.2).
    """
    is_word, draws = batch.words >= 0, word_draws(batch, generator)
    hidden = (draws < rate) | (draws == draws.amin(1, keepdim=True))
    whole = torch.rand(len(draws), 1, generator=generator) < findings
    hidden = (hidden | (whole & (batch.classes >= WordClass.FINDING))) & is_word
    fate = torch.rand(*draws.shape, generator=generator)
    plain = torch.from_numpy(tokenizer.plain)  # the tokens that are no specials
    other = plain[torch.randint(len(plain), draws.shape, generator=generator)]
    shown = torch.where(fate < 0.8, tokenizer.mask, torch.where(fate < 0.9, other, batch.tokens))
    return replace(
        batch,
        mlm_tokens=torch.where(hidden, shown, batch.tokens),
        mlm_labels=torch.where(hidden, batch.tokens, UNSCORED),
    )


def word_draws(batch: Batch, generator: torch.Generator) -> Tensor:
    """(B, L): a number in [0, 1) for each word, the same for all of its tokens; 2 for what is no word."""
    draws = torch.rand(*batch.words.shape, generator=generator)
    return draws.gather(1, batch.words.clamp(min=0)).masked_fill(batch.words < 0, 2.0)


def draw(batch: Batch, config: Config, tokenizer: Tokenizer, generator: torch.Generator, done: float = 0.0) -> Batch:
    """All that chance decides in the objectives of a batch; `done`: the share of the run that is over."""
    end = config.mask_rate if config.mask_rate_end is None else config.mask_rate_end
    rate = config.mask_rate + (end - config.mask_rate) * done
    batch = hide(batch, rate, config.mask_findings, tokenizer, generator)
    if config.word_drop:
        dropped = word_draws(batch, generator) < config.word_drop
        batch = replace(batch, thinned=torch.where(dropped, tokenizer.mask, batch.tokens))
    return replace(batch, uniforms=torch.rand(len(batch.tokens), 4, generator=generator))


def allowed_negatives(batch: Batch) -> Tensor:
    """(B, B of all ranks) bool: pairs j whose image is surely not pair i's."""
    shares = [getattr(batch, key)[:, None] == everyone(batch, key)[None] for key in NEGATIVE_KEYS]
    return ~torch.stack(shares).any(0)


def everyone(batch: Batch, key: str) -> Tensor:
    """A key of the pairs of all ranks, in order."""
    return getattr(batch, key) if batch.peers is None else batch.peers[key]


def choose(weights: Tensor, uniform: Tensor) -> Tensor:
    """One column a row, with probability by weight: (B, M) >= 0 and (B,) in [0, 1) -> (B,) int64."""
    edges = weights.double().cumsum(1)
    return torch.searchsorted(edges, uniform.double()[:, None] * edges[:, -1:], right=True)[:, 0].clamp(
        max=weights.shape[1] - 1
    )


class Objectives(nn.Module):
    """The model with its losses: `forward(batch)` gives an `Outcome` of each objective of the config."""

    def __init__(self, model: VLT, config: Config):
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Batch) -> dict[str, Outcome]:
        wanted = self.config.objectives
        image = self.model.encode_image(batch.images)
        losses: dict[str, Callable[[Batch, Tensor, Tensor | None], Outcome]] = {
            "mlm": self.masked_words,
            "itm": self.matching,
            "itc": self.contrast,
            "lm": self.captioning,
            "answer": self.answering,
        }
        shown = batch.tokens if batch.thinned is None else batch.thinned
        text = self.model.encode_text(shown, batch.present) if {"itm", "itc", "answer"} & set(wanted) else None
        return {name: losses[name](batch, image, text) for name in wanted}

    def masked_words(self, batch: Batch, image: Tensor, _: Tensor | None = None) -> Outcome:
        """MLM: the hidden words, from the image and the other words, under the config's mask."""
        assert batch.mlm_tokens is not None and batch.mlm_labels is not None
        mask = self.config.mask
        text = self.model.encode_text(batch.mlm_tokens, batch.present, mask)
        logits = self.model.word_logits(self.model.fuse(text, image, batch.present, mask).text)
        return scored(logits.flatten(0, 1), batch.mlm_labels.flatten(), asked_tokens(batch, "mlm_labels"))

    def captioning(self, batch: Batch, image: Tensor, _: Tensor | None = None) -> Outcome:
        """LM: each next token, from the image and the words up to here; of a question's answer, the answer's alone."""
        tokens, labels = to_say(batch)
        present = batch.present if batch.said is None else batch.said != self.model.vocabulary[1]
        text = self.model.encode_text(tokens, present, "seq2seq")
        logits = self.model.word_logits(self.model.fuse(text, image, present, "seq2seq").text)
        return scored(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), asked_tokens(batch, "lm"))

    def answering(self, batch: Batch, image: Tensor, text: Tensor | None) -> Outcome:
        """A question's answer, of those that there are to choose from; UNSCORED where it is none of them."""
        assert text is not None and batch.answer is not None
        logits = self.model.answer_logits(text, image, batch.present)
        return scored(logits, batch.answer, asked_tokens(batch, "answer").clamp(min=1))

    def contrast(self, batch: Batch, image: Tensor, text: Tensor | None) -> Outcome:
        """ITC: image to text and text to image over all ranks; what is no negative of a pair is left out of its sum."""
        assert text is not None
        images, texts = self.model.embed_image(image), self.model.embed_text(text)
        scale = self.model.log_scale.clamp(max=4.6052).exp()  # at most 100, as CLIP has it
        own = torch.arange(len(images), device=images.device) + _first(batch)
        allowed = allowed_negatives(batch).index_put(
            (torch.arange(len(own), device=own.device), own), own.new_ones((), dtype=torch.bool)
        )
        total = everyone(batch, "image_id").shape[0]
        sides = [
            scored((scale * one @ gathered(other).T).masked_fill(~allowed, float("-inf")), own, total)
            for one, other in ((images, texts), (texts, images))
        ]
        return Outcome((sides[0].loss + sides[1].loss) / 2, sides[0].correct + sides[1].correct, sides[0].asked * 2)

    def matching(self, batch: Batch, image: Tensor, text: Tensor | None) -> Outcome:
        """ITM: does this text belong to this image? Half of the texts get another pair's image."""
        assert text is not None and batch.uniforms is not None
        weights, possible = self._negative_weights(batch, image, text)
        swapped = (batch.uniforms[:, 0] < 0.5) & possible
        own = torch.arange(len(image), device=image.device) + _first(batch)
        chosen = torch.where(swapped, choose(weights, batch.uniforms[:, 1]), own)
        logits = self.model.match_logits(text, gathered(image)[chosen], batch.present)
        return scored(logits, (~swapped).long(), everyone(batch, "image_id").shape[0])

    def _negative_weights(self, batch: Batch, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Which image each text may get, by weight (B, B of all ranks), and whether there is one (B,)."""
        assert batch.uniforms is not None
        allowed = allowed_negatives(batch)
        weights = allowed.float()
        if self.config.hard_negatives:  # as ALBEF has it (arXiv 2107.07651): by the contrastive similarity
            with torch.no_grad():
                scale = self.model.log_scale.clamp(max=4.6052).exp()
                alike = scale * self.model.embed_text(text) @ gathered(self.model.embed_image(image)).T
                weights = alike.float().masked_fill(~allowed, float("-inf")).softmax(1).nan_to_num(0.0)
        of_kind = (batch.kind[:, None] == everyone(batch, "kind")[None]) & (batch.kind[:, None] >= 0)
        hard = weights * of_kind
        use_hard = (batch.uniforms[:, 2:3] < self.config.itm_hard) & (hard.sum(1, keepdim=True) > 0)
        weights = torch.where(use_hard, hard, weights)
        return weights, weights.sum(1) > 0


def scored(logits: Tensor, labels: Tensor, total: int | Tensor) -> Outcome:
    """Cross-entropy of logits (M, K) on labels (M,), over `total` labels of all ranks."""
    asked = labels != UNSCORED
    loss = F.cross_entropy(logits.float(), labels, ignore_index=UNSCORED, reduction="sum") * world() / total
    correct = ((logits.detach().argmax(-1) == labels) & asked).sum()
    return Outcome(loss, correct, asked.sum())


def asked_tokens(batch: Batch, name: str) -> Tensor:
    """How many labels of all ranks an objective asks for: `name` is lm, answer or mlm_labels."""
    if batch.peers is not None:
        return batch.peers[name]
    labels = to_say(batch)[1][:, 1:] if name == "lm" else getattr(batch, name)
    return (labels != UNSCORED).sum()


def _first(batch: Batch) -> int:
    """Where this rank's pairs begin among those of all ranks."""
    return 0 if batch.peers is None else len(batch.tokens) * dist.get_rank()
