"""Swin (arXiv 2103.14030): attention inside windows, shifted in every other block.

All but attention treats each token alone, so tokens stay in the order of the windows from block to block: going over to
shifted windows is one gather, and so is the way to the next stage. A map is padded to whole windows, then rolled.
"""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corpus_db.read import UserError
from vlt.attention import MLP, DropPath, attend, drop_path_rates, initialise
from vlt.backbones.base import Backbone, ConvStem

SIZES: dict[str, dict[str, Any]] = {
    "swin_nano": {"width": 32, "depths": (2, 2), "heads": (2, 4), "window": 8, "conv_stem": True},
    "swin_t": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_s": {"width": 96, "depths": (2, 2, 18, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_b": {"width": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32), "window": 7},
}
PATCH = 4


def windows(cells: np.ndarray, window: int) -> np.ndarray:
    """A map of whole windows (P, P) -> (windows, window ** 2)."""
    count = len(cells) // window
    return cells.reshape(count, window, count, window).swapaxes(1, 2).reshape(-1, window * window)


def window_order(side: int, window: int, shift: int) -> np.ndarray:
    """A map's cells, row * side + column, in the order of its windows, -1 for padding: (windows * window ** 2,)."""
    padded = -(-side // window) * window
    cells = np.full((padded, padded), -1)
    cells[:side, :side] = np.arange(side * side).reshape(side, side)
    return windows(np.roll(cells, (-shift, -shift), (0, 1)), window).ravel()


def merge_order(side: int, window: int) -> np.ndarray:
    """The four cells that become one of the next map, for each of those in the order of its windows: (cells * 4,)."""
    half = -(-side // 2)
    cells = np.full((2 * half, 2 * half), -1)  # an odd side is padded
    cells[:side, :side] = np.arange(side * side).reshape(side, side)
    fours = cells.reshape(half, 2, half, 2).transpose(0, 2, 3, 1).reshape(-1, 4)  # down first, as torchvision has it
    order = window_order(half, window, 0)
    return np.where(order[:, None] < 0, -1, fours[order]).ravel()


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """Of a map of whole windows: 0 for cells that were neighbours before the roll, -inf else: (windows, N, N)."""
    part = np.digitize(np.arange(side), (side - window, side - shift))
    regions = windows(part[:, None] * 3 + part, window)  # windows, N
    barred = regions[:, None] != regions[:, :, None]
    return torch.as_tensor(np.where(barred, np.float32("-inf"), np.float32(0)))


def offsets(window: int) -> Tensor:
    """For each two cells of a window the row of the bias table of their offset: (N * N,) int64, N = window ** 2."""
    place = torch.arange(window * window)
    rows, columns = (x[:, None] - x + window - 1 for x in (place // window, place % window))
    return (rows * (2 * window - 1) + columns).flatten()


class _Take(torch.autograd.Function):
    """x[:, index], 0 where the index is -1. Its gradient is a gather by the inverse; autograd's own would scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor, holes: bool, losses: bool) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.losses = losses
        return _take(x, index, holes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (inverse,) = ctx.saved_tensors
        return _take(grads[0], inverse, ctx.losses), None, None, None, None


def _take(x: Tensor, index: Tensor, holes: bool) -> Tensor:
    if not holes:
        return x.index_select(1, index)
    return x.index_select(1, index.clamp(min=0)).masked_fill_((index < 0)[:, None], 0)


class Reorder(nn.Module):
    """Tokens (B, L, C) in the order `source` -> (B, L', C) in the order `target`, both of cells; its padding is 0."""

    index: Tensor
    inverse: Tensor

    def __init__(self, source: np.ndarray, target: np.ndarray):
        super().__init__()
        index, inverse = _find(target, source), _find(source, target)
        self.same = np.array_equal(source, target)
        self.holes, self.losses = bool((index < 0).any()), bool((inverse < 0).any())
        self.register_buffer("index", torch.as_tensor(index), persistent=False)
        self.register_buffer("inverse", torch.as_tensor(inverse), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.same else _Take.apply(x, self.index, self.inverse, self.holes, self.losses)


def _find(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where each of `wanted` stands in `among`; -1 for padding and for what is not there."""
    where = np.full(max(wanted.max(), among.max()) + 2, -1)  # the last is padding's, by its -1
    where[among] = np.arange(len(among))
    where[-1] = -1
    return where[wanted]


class WindowAttention(nn.Module):
    """Attention among the cells of each window of a map, with a learned bias for each offset between two cells."""

    offsets: Tensor
    barred: Tensor | None

    def __init__(self, width: int, heads: int, window: int, shift: int, side: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.heads, self.cells = heads, window * window
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("offsets", offsets(window), persistent=False)
        padded = -(-side // window) * window
        self.register_buffer("barred", shift_mask(padded, window, shift) if shift else None, persistent=False)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, windows * N, width), window by window -> the same."""
        mask = self._mask()
        qkv = self.qkv(x).view(len(x), -1, self.cells, 3, self.heads, x.shape[2] // self.heads)
        qkv = qkv.permute(3, 0, 1, 4, 2, 5)  # 3, B, windows, heads, N, d
        # where windows have masks of their own they are folded into heads, so that one mask serves the whole batch
        q, k, v = qkv.reshape(3, -1, mask.shape[1], self.cells, qkv.shape[-1]).unbind(0)
        seen = attend(q, k, v, mask).reshape(qkv.shape[1:])  # B, windows, heads, N, d
        return self.out(seen.transpose(2, 3).reshape(x.shape))  # B, windows * N, width

    def _mask(self) -> Tensor:
        """Bias and shift in one: (1, heads, N, N), or (1, windows * heads, N, N) where there is a shift."""
        bias = self.bias_table.index_select(0, self.offsets).t().unflatten(1, (self.cells, -1))  # heads, N, N
        return (bias if self.barred is None else (bias + self.barred[:, None]).flatten(0, 1))[None]


class Block(nn.Module):
    """Window attention and an MLP, each with the norm before it, on tokens in the order of the block's own windows."""

    padding: Tensor | None

    def __init__(self, width: int, heads: int, window: int, shift: int, side: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, shift, side)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width)
        self.drop_path = DropPath(drop_path)
        padding = window_order(side, window, shift)[:, None] < 0  # windows * N, 1
        self.register_buffer("padding", torch.as_tensor(padding) if padding.any() else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, windows * N, width) -> the same; what becomes of its padding is for the next order to drop."""
        y = self.norm1(x)
        if self.padding is not None:
            y = y.masked_fill(self.padding, 0)  # a window attends to its padding as zeros
        x = x + self.drop_path(self.attention(y))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Merging(nn.Module):
    """Four neighbouring cells become one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4 * L, width), the four one after the other -> (B, L, 2 * width)."""
        return self.reduction(self.norm(x.unflatten(1, (-1, 4)).flatten(2)))


class Swin(Backbone):
    """Patches of 4 x 4, then stages of blocks with a merging between them."""

    first = "patches"

    def __init__(
        self,
        width: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        window: int,
        conv_stem: bool = False,
        *,
        image_size: int,
        channels: int,
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__()
        side = image_size // PATCH
        if side < 1:
            raise UserError(f"image_size {image_size} is smaller than Swin's patch {PATCH}")
        self.channels, self.checkpointing = channels, checkpointing
        self.patches = ConvStem(channels, width, PATCH) if conv_stem else nn.Conv2d(channels, width, PATCH, PATCH)
        self.patch_norm = nn.LayerNorm(width)
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        self.stages, self.mergings, self.orders = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        order = np.arange(side * side)
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            if stage:
                self.orders.append(Reorder(order, merge_order(side, window)))
                self.mergings.append(Merging(width))
                width, side = 2 * width, -(-side // 2)
                order = window_order(side, window, 0)
            # as in the paper's code and torchvision: a map of a single window has nothing to be shifted to
            shifts = [window // 2 if number % 2 and side > window else 0 for number in range(depth)]
            self.stages.append(nn.ModuleList(Block(width, count, window, shift, side, next(rates)) for shift in shifts))
            for shift in shifts:
                self.orders.append(Reorder(order, order := window_order(side, window, shift)))
        self.orders.append(Reorder(order, np.arange(side * side)))
        self.norm = nn.LayerNorm(width)
        self.width, self.grid = width, (side, side)
        initialise(self, None if conv_stem else 0.02)  # the papers' sizes as in the papers

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, S, S) with the S it was built for -> (B, N, width)."""
        x = self.patch_norm(self.patches(x).flatten(2).transpose(1, 2))  # B, cells, width
        orders = iter(self.orders)
        for number, blocks in enumerate(self.stages):
            if number:
                x = self.mergings[number - 1](next(orders)(x))
            for block in blocks:  # type: ignore[attr-defined]
                x = next(orders)(x)
                x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        return self.norm(next(orders)(x))

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's weights under our names; its `features` alternate between stages and mergings."""
        found = {}
        for name, tensor in state.items():
            if name.startswith("head.") or name.endswith("relative_position_index"):
                continue
            name = name.replace("features.0.0.", "patches.").replace("features.0.2.", "patch_norm.")
            name = re.sub(r"^features\.(\d)\.(norm|reduction)\.", _merging, name)
            name = re.sub(r"^features\.(\d)\.(\d+)\.", _block, name)
            name = name.replace(".attn.relative_position_bias_table", ".attention.bias_table")
            name = name.replace(".attn.qkv.", ".attention.qkv.").replace(".attn.proj.", ".attention.out.")
            found[name] = tensor
        return found


def _merging(match: re.Match[str]) -> str:
    return f"mergings.{int(match[1]) // 2 - 1}.{match[2]}."


def _block(match: re.Match[str]) -> str:
    return f"stages.{int(match[1]) // 2}.{match[2]}."
