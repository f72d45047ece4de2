"""What every Transformer here is made of: attention, the MLP, stochastic depth, and their initialisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) v (arXiv 1706.03762), on each device by the core that measures best there.

    q (B, H, Lq, d), k and v (B, H, Lk, d), floating -> (B, H, Lq, d). `mask` is broadcastable to (B, H, Lq, Lk): bool,
    True where q may attend, or floating and added. Every row must be left with a key; `dropout` is on the weights.
    """
    if mask is not None and mask.requires_grad:
        if q.device.type == "cpu" and not dropout:
            return _attend_learned(q, k, v, mask)  # SDPA has no fused kernel for a learned mask on a CPU
        mask = _aligned(mask.to(q.dtype)).expand(*q.shape[:3], -1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _aligned(mask: Tensor) -> Tensor:
    """The same mask with rows that begin at multiples of 8, as CUDA's fused kernels want them: Swin's are of 49.

    On an H100 a pass of Swin-S takes 77 ms with it and 95 without (docs/performance.md).
    """
    keys = mask.shape[-1]
    return F.pad(mask, (0, -keys % 8))[..., :keys]


def _attend_learned(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # B, H, Lq, Lk
    return weights.add_(mask).softmax(-1) @ v


KeysValues = tuple[Tensor, Tensor]  # B, heads, L, d, each


class Cache:
    """Keys and values that attentions keep from one step of decoding to the next.

    Of words a row each, R of them; of I images once for all R / I rows of each, which stand together in order.
    """

    def __init__(self) -> None:
        self.words: dict[Attention, KeysValues] = {}
        self.image: dict[Attention, KeysValues] = {}

    def append(self, reader: "Attention", keys: Tensor, values: Tensor) -> KeysValues:
        """Keep those of further words, (R, heads, L, d) each -> of all words."""
        if reader in self.words:
            before = self.words[reader]
            keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
        self.words[reader] = keys, values
        return keys, values

    def select(self, rows: Tensor, images: Tensor) -> None:
        """Go on with these rows and images, by their numbers (R',) and (I',), int64."""
        for kept, numbers in ((self.words, rows), (self.image, images)):
            for reader, (k, v) in kept.items():
                kept[reader] = k.index_select(0, numbers), v.index_select(0, numbers)


def attend_image(q: Tensor, image: KeysValues) -> Tensor:
    """`attend` of q (R, H, L, d) over I images (I, H, N, d), not copied for the R / I rows of each -> (R, H, L, d)."""
    return _unfolded(attend(_folded(q, image[0]), *image), q)


def attend_both(q: Tensor, image: KeysValues, words: KeysValues, mask: Tensor | None) -> Tensor:
    """One softmax over an image, as `attend_image` takes it, and words (R, H, M, d), which `mask` (bool) is over."""
    q = q * q.shape[-1] ** -0.5
    over_image = _unfolded(_folded(q, image[0]) @ image[0].transpose(2, 3), q)  # R, H, L, N
    over_words = q @ words[0].transpose(2, 3)  # R, H, L, M
    if mask is not None:
        over_words = over_words.masked_fill(~mask, -torch.inf)
    weights = torch.cat([over_image, over_words], dim=3).softmax(-1)
    of_image, of_words = weights.split((over_image.shape[3], over_words.shape[3]), dim=3)
    return _unfolded(_folded(of_image, image[1]) @ image[1], q) + of_words @ words[1]


def _folded(rows: Tensor, image: Tensor) -> Tensor:
    """(R, H, L, x) -> (I, H, R / I * L, x): the rows of an image as one."""
    return rows.unflatten(0, (len(image), -1)).transpose(1, 2).flatten(2, 3)


def _unfolded(folded: Tensor, rows: Tensor) -> Tensor:
    """What `_folded` made of (R, H, L, x), as it was."""
    return folded.unflatten(2, (-1, rows.shape[2])).transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention, over the sequence itself or over another one."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """x (B, L, width) reads `memory` (B, M, width), or itself; `mask` as `attend` takes it -> (B, L, width).

        With a `cache`, in use only, x (R, L, width) goes on where the words that it keeps end and reads those, too;
        `mask` (R, 1, L, all words) is over both. `memory` is then of I images, and only looked at the first time.
        """
        if cache is not None:
            seen = self._read_kept(x, memory, mask, cache)
        else:
            seen = attend(*self._project(x, memory), mask, self.dropout if self.training else 0.0)
        return self.out(seen.transpose(1, 2).flatten(2))  # B, L, width

    def _read_kept(self, x: Tensor, memory: Tensor | None, mask: Tensor | None, cache: Cache) -> Tensor:
        if memory is None:
            q, k, v = self._project(x, None)
            words, image = cache.append(self, k, v), cache.image.get(self)
            return attend(q, *words, mask) if image is None else attend_both(q, image, words, mask)
        if self in cache.image:
            (q,) = self._split(F.linear(x, self.qkv.weight[: self.width], self.qkv.bias[: self.width]), 1)
        else:
            q, k, v = self._project(x, memory)
            cache.image[self] = k, v
        return attend_image(q, cache.image[self])

    def _project(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x, keys and values of `memory` or of x itself."""
        if memory is None:
            q, k, v = self._split(self.qkv(x), 3)
            return q, k, v
        (wq, wkv), (bq, bkv) = (p.split((self.width, 2 * self.width)) for p in (self.qkv.weight, self.qkv.bias))
        k, v = self._split(F.linear(memory, wkv, bkv), 2)
        return self._split(F.linear(x, wq, bq), 1)[0], k, v

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, L, parts * width) -> parts of (B, heads, L, d), views."""
        return x.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class MLP(nn.Sequential):
    """Linear, GELU, dropout, Linear; (..., width) -> (..., width)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0):
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training a residual branch is 0 for whole samples, the rest scaled up."""

    def __init__(self, rate: float):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop path rate {rate} is not in [0, 1)")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x (B, ...) -> (B, ...), with the same mean."""
        if not self.training or not self.rate:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Rates that rise linearly from 0 at the first of some blocks to `last`, as Swin and DeiT have them."""
    return [last * number / max(blocks - 1, 1) for number in range(blocks)]


def initialise(module: nn.Module, std: float | None = None) -> None:
    """Linear weights from a normal cut at +-2, biases 0, LayerNorms 1 and 0.

    Without `std` it is 1 / sqrt(3 * fan in): the papers' 0.02 at a width of 768, and as much of the signal in a
    narrow model. At 0.02 a width of 64 hears its images a tenth as loud, and learns from them many times later.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=std or (3 * part.in_features) ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
