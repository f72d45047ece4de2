"""What every Transformer here is made of: attention, the MLP, stochastic depth, and their initialisation."""

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


class Attention(nn.Module):
    """Multi-head attention, over the sequence itself or over another one."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x (B, L, width) reads `memory` (B, M, width), or itself; `mask` as `attend` takes it -> (B, L, width)."""
        if memory is None:
            q, k, v = self._split(self.qkv(x), 3)
        else:
            (wq, wkv), (bq, bkv) = (p.split((self.width, 2 * self.width)) for p in (self.qkv.weight, self.qkv.bias))
            (q,) = self._split(F.linear(x, wq, bq), 1)
            k, v = self._split(F.linear(memory, wkv, bkv), 2)
        seen = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.out(seen.transpose(1, 2).flatten(2))  # B, L, width

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
