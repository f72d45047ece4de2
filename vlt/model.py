"""The VLT: an image backbone, a text encoder, a cross-modal Transformer over both, and the heads of its objectives.

After Xu et al., "Multi-modal Pre-training for Medical Vision-language Understanding and Generation" (arXiv 2306.06494).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlt import backbones
from vlt.attention import MLP, Attention, Cache, KeysValues, initialise
from vlt.config import Config
from vlt.masks import merged_mask, text_mask
from vlt.norm import BatchNorm
from vlt.text import TextEncoder


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; then in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class Fused(NamedTuple):
    """Both streams after fusion."""

    text: Tensor  # B, L, width
    image: Tensor  # B, N, width


class Reading(nn.Module):
    """One stream reads the other, pre-norm."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None, cache: Cache | None = None) -> Tensor:
        """x (B, T, width), other (B, S, width); `mask` and `cache` as `Attention` takes them -> (B, T, width)."""
        return x + self.drop(self.attention(self.norm(x), other, mask, cache))


class Layer(nn.Module):
    """A Transformer layer over one stream, pre-norm."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None = None) -> Tensor:
        """(B, T, width) -> the same; `mask` and `cache` as `Attention` takes them."""
        x = x + self.drop(self.attention(self.norm_attention(x), mask=mask, cache=cache))
        return x + self.drop(self.mlp(self.norm_mlp(x)))


class CrossFusion(nn.Module):
    """Two streams that read each other in every layer; under seq2seq the image stream does not read the text.

    Mixing image tokens among themselves is the backbone's work, so the image stream only reads; it does so first and
    the text reads its result, so that the last layer's image stream still counts for a loss on words alone.
    """

    def __init__(self, config: Config):
        super().__init__()
        sizes = config.width, config.heads, config.dropout
        # without a bidirectional objective the image stream reads nothing
        wanted = set(config.objectives)
        both = {"itm", "answer"} & wanted or ("mlm" in wanted and config.mask == "bidirectional")
        self.image = nn.ModuleList(Reading(*sizes) for _ in range(config.fusion_layers if both else 0))
        self.text = nn.ModuleList(Reading(*sizes) for _ in range(config.fusion_layers))
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(config.fusion_layers))

    def forward(self, text: Tensor, image: Tensor, present: Tensor, mask: str) -> Fused:
        """text (B, L, width), image (B, N, width), present (B, L) bool -> both streams."""
        over_text, keys = text_mask(present, mask), text_mask(present, "bidirectional")
        for number, layer in enumerate(self.layers):
            if mask == "bidirectional":
                image = self.image[number](image, text, keys)
            text = layer(self.text[number](text, image, None), over_text)
        return Fused(text, image)

    def follow(self, text: Tensor, image: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """`forward` under seq2seq of the next words (R, L, width) of I images' rows -> (R, L, width).

        image (I, N, width); mask bool (R, 1, L, all words); `cache` keeps what was computed before.
        """
        for reading, layer in zip(self.text, self.layers, strict=True):
            text = layer(reading(text, image, None, cache), mask, cache)
        return text


class MergedFusion(nn.Module):
    """One stream over image tokens and words."""

    def __init__(self, config: Config):
        super().__init__()
        sizes = config.width, config.heads, config.dropout
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(config.fusion_layers))
        self.kinds = nn.Parameter(torch.zeros(2, config.width))  # tells an image token from a word

    def forward(self, text: Tensor, image: Tensor, present: Tensor, mask: str) -> Fused:
        """text (B, L, width), image (B, N, width), present (B, L) bool -> both parts of the stream."""
        stream = torch.cat([image + self.kinds[0], text + self.kinds[1]], dim=1)  # B, N + L, width
        allowed = merged_mask(present, image.shape[1], mask)
        for layer in self.layers:
            stream = layer(stream, allowed)
        return Fused(stream[:, image.shape[1] :], stream[:, : image.shape[1]])

    def follow(self, text: Tensor, image: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """As `CrossFusion.follow`."""
        if not cache.image:
            cache.image = self._keys(image + self.kinds[0])
        text = text + self.kinds[1]
        for layer in self.layers:
            text = layer(text, mask, cache)
        return text

    def _keys(self, image: Tensor) -> dict[Attention, KeysValues]:
        """Of image tokens (I, N, width), which see themselves alone, in every layer."""
        seen = Cache()
        for layer in self.layers:
            image = layer(image, None, seen)
        return seen.words


class VLT(nn.Module):
    """Backbone, text encoder, fusion, heads; what a forward pass is made of is for the objectives to choose."""

    def __init__(self, config: Config, vocab_size: int, pad: int, answers: int = 0):
        """`answers`: how many there are to choose from, for a model that answers questions."""
        super().__init__()
        width = config.width
        self.config, self.vocabulary = config, (vocab_size, pad)
        self.backbone = backbones.build(
            config.backbone,
            config.image_size,
            channels=config.channels,
            drop_path=config.drop_path,
            checkpointing=config.checkpointing,
        )
        rows, columns = self.backbone.grid
        self.project = nn.Sequential(
            nn.LayerNorm(self.backbone.width), nn.Linear(self.backbone.width, width, bias=False)
        )
        self.norm_tokens = BatchNorm(width)
        self.places = nn.Parameter(torch.zeros(1, rows * columns, width))  # Swin and ResNet know no absolute place
        self.text = TextEncoder(
            vocab_size, width, config.heads, config.text_layers, config.max_tokens, config.dropout, pad
        )
        self.fusion = CrossFusion(config) if config.fusion == "cross" else MergedFusion(config)
        self.norm_text = nn.LayerNorm(width)
        self._add_heads(config, vocab_size, answers)
        for part in (self.project, self.fusion, self.heads):
            initialise(part)
        nn.init.trunc_normal_(self.places, std=0.02)

    def _add_heads(self, config: Config, vocab_size: int, answers: int) -> None:
        """Heads of the objectives that there are; MLM and LM share one, its matrix tied to the word embeddings."""
        width = config.width
        self.heads = nn.ModuleDict()
        if {"mlm", "lm"} & set(config.objectives):
            self.heads["word"] = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
            self.word_bias = nn.Parameter(torch.zeros(vocab_size))
        if {"itm", "answer"} & set(config.objectives):
            self.norm_image = nn.LayerNorm(width)
        if "itm" in config.objectives:
            self.heads["match"] = nn.Sequential(nn.Linear(3 * width, width), nn.GELU(), nn.Linear(width, 2))
        if "answer" in config.objectives:
            self.heads["answer"] = nn.Sequential(
                nn.Linear(3 * width, 2 * width), nn.GELU(), nn.LayerNorm(2 * width), nn.Linear(2 * width, answers)
            )
        if "itc" in config.objectives:
            self.heads["image"] = nn.Linear(width, width, bias=False)
            self.heads["text"] = nn.Linear(width, width, bias=False)
            if "itm" in config.objectives:
                self.match_scale = nn.Parameter(torch.tensor([-2.0, 2.0]))  # of the similarity, for no and yes
            self.log_scale = nn.Parameter(torch.tensor([1 / 0.07]).log())  # CLIP's start (arXiv 2103.00020)

    def encode_image(self, images: Tensor) -> Tensor:
        """(B, C, S, S), uint8 or float in [0, 1] -> image tokens (B, N, width)."""
        if images.dtype == torch.uint8:
            images = images.to(self.places.dtype) / 255
        if self.config.blind:
            images = torch.zeros_like(images)
        tokens = self.norm_tokens(self.project(self.backbone((images - backbones.MEAN) / backbones.STD)))
        return self._thinned(tokens + self.places)

    def _thinned(self, tokens: Tensor) -> Tensor:
        """Image tokens (B, N, width); in training without a random share of each image's, as FLIP (arXiv 2212.00794).

        What is left costs less, and a caption is not learnt by heart from one corner of its image.
        """
        if not (self.training and self.config.token_drop):
            return tokens
        kept = max(1, round(tokens.shape[1] * (1 - self.config.token_drop)))
        order = torch.rand(tokens.shape[:2], device=tokens.device).argsort(1)[:, :kept]  # B, kept
        return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))

    def encode_text(self, tokens: Tensor, present: Tensor, mask: str = "bidirectional") -> Tensor:
        """tokens (B, L) int64, present (B, L) bool -> (B, L, width)."""
        return self.text(tokens, text_mask(present, mask))

    def fuse(self, text: Tensor, image: Tensor, present: Tensor, mask: str = "bidirectional") -> Fused:
        """text (B, L, width), image (B, N, width), present (B, L) bool -> both streams, the text's normalised."""
        fused = self.fusion(text, image, present, mask)
        return Fused(self.norm_text(fused.text), fused.image)

    def word_logits(self, text: Tensor) -> Tensor:
        """Fused words (..., width) -> (..., V)."""
        return F.linear(self.heads["word"](text), self.text.tokens.weight, self.word_bias)

    def match_logits(self, text: Tensor, image: Tensor, present: Tensor) -> Tensor:
        """Both streams before fusion, as `fuse` takes them -> (B, 2): [not a pair, a pair].

        From [CLS], the mean image token and their product (arXiv 1908.02265), all fused; where contrast is learnt, too,
        its similarity counts, which tells pairs apart long before the fusion does.
        """
        logits = self.heads["match"](self._joint(text, image, present))
        if "itc" not in self.config.objectives:
            return logits
        alike = (self.embed_text(text) * self.embed_image(image)).sum(1)  # B
        return logits + alike[:, None] * self.match_scale

    def answer_logits(self, text: Tensor, image: Tensor, present: Tensor) -> Tensor:
        """A question and its image before fusion, as `fuse` takes them -> (B, answers)."""
        return self.heads["answer"](self._joint(text, image, present))

    def _joint(self, text: Tensor, image: Tensor, present: Tensor) -> Tensor:
        """[CLS], the mean image token and their product, all fused -> (B, 3 * width)."""
        fused = self.fuse(text, image, present)
        first, mean = fused.text[:, 0], self.norm_image(fused.image.mean(1))
        return torch.cat([first, mean, first * mean], dim=1)

    def embed_image(self, image: Tensor) -> Tensor:
        """Image tokens before fusion (B, N, width) -> unit vectors (B, width)."""
        pooled = image.mean(1)
        return F.normalize(self.heads["image"](pooled) if "image" in self.heads else pooled, dim=1)

    def embed_text(self, text: Tensor) -> Tensor:
        """Words before fusion (B, L, width) -> unit vectors (B, width), of [CLS]."""
        first = text[:, 0]
        return F.normalize(self.heads["text"](first) if "text" in self.heads else first, dim=1)
