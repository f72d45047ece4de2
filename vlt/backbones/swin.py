"""Swin (arXiv 2103.14030): attention inside windows, shifted in every other block."""

import re
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from corpus_db.read import UserError
from vlt.attention import MLP, DropPath, attend, drop_path_rates, initialise
from vlt.backbones.base import Backbone

SIZES = {
    "swin_nano": {"width": 32, "depths": (2, 2, 2), "heads": (2, 4, 8), "window": 8},
    "swin_t": {"width": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_s": {"width": 96, "depths": (2, 2, 18, 2), "heads": (3, 6, 12, 24), "window": 7},
    "swin_b": {"width": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32), "window": 7},
}
PATCH = 4


class WindowAttention(nn.Module):
    """Attention among the cells of each window of a map, with a learned bias for each offset between two cells."""

    offsets: Tensor
    barred: Tensor | None

    def __init__(self, width: int, heads: int, window: int, shifted: bool, side: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.heads, self.window = heads, window
        self.padded = -(-side // window) * window
        # as in the paper's code and torchvision: a map of a single window has nothing to be shifted to
        self.shift = window // 2 if shifted and self.padded > window else 0
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("offsets", offsets(window), persistent=False)
        barred = shift_mask(self.padded, window, self.shift) if self.shift else None
        self.register_buffer("barred", barred, persistent=False)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> the same; padded first, then rolled, so that a shift never brings padding inside."""
        side, window = x.shape[1], self.window
        extra = self.padded - side
        if extra:
            x = F.pad(x, (0, 0, 0, extra, 0, extra))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        count = self.padded // window
        qkv = self.qkv(x).view(-1, count, window, count, window, 3, self.heads, x.shape[3] // self.heads)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)  # 3, B, rows, columns, heads, window, window, d
        # windows folded into heads: one mask serves the whole batch
        q, k, v = qkv.reshape(3, len(x), count * count * self.heads, window * window, -1)  # B, nW*heads, N, d
        y = attend(q, k, v, self._mask(count * count))
        y = y.view(-1, count, count, self.heads, window, window, y.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6)
        y = self.out(y.reshape(x.shape))  # B, H, W, width
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        return y[:, :side, :side] if extra else y

    def _mask(self, windows: int) -> Tensor:
        """Bias and shift in one: (1, windows * heads, N, N)."""
        cells = self.window**2
        bias = self.bias_table[self.offsets].view(cells, cells, self.heads).permute(2, 0, 1)  # heads, N, N
        both = bias.expand(windows, -1, -1, -1) if self.barred is None else bias + self.barred[:, None]
        return both.reshape(1, windows * self.heads, cells, cells)


def offsets(window: int) -> Tensor:
    """For each two cells of a window the row of the bias table of their offset: (N * N,) int64, N = window ** 2."""
    row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows = row.flatten()[:, None] - row.flatten()[None] + window - 1
    columns = column.flatten()[:, None] - column.flatten()[None] + window - 1
    return (rows * (2 * window - 1) + columns).flatten()


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """0 for cells that were neighbours before the roll, -inf else: (windows, N, N) float32."""
    regions = torch.zeros(side, side, dtype=torch.int64)
    cuts = [slice(0, side - window), slice(side - window, side - shift), slice(side - shift, side)]
    for number, (rows, columns) in enumerate(product(cuts, cuts)):
        regions[rows, columns] = number
    count = side // window
    cells = regions.view(count, window, count, window).permute(0, 2, 1, 3).reshape(count * count, window * window)
    barred = cells[:, None] != cells[:, :, None]
    return torch.zeros(barred.shape).masked_fill(barred, float("-inf"))


class Block(nn.Module):
    """Window attention and an MLP, each with the norm before it."""

    def __init__(self, width: int, heads: int, window: int, shifted: bool, side: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window, shifted, side)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> the same."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Merging(nn.Module):
    """Four neighbouring cells become one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, width) -> (B, H / 2, W / 2, 2 * width), rounded up."""
        if x.shape[1] % 2:
            x = F.pad(x, (0, 0, 0, 1, 0, 1))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Swin(Backbone):
    """Patches of 4 x 4, then stages of blocks with a merging between them."""

    first = "patches"

    def __init__(
        self,
        width: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        window: int,
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
        self.patches = nn.Conv2d(channels, width, PATCH, PATCH)
        self.patch_norm = nn.LayerNorm(width)
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList()
        self.mergings = nn.ModuleList()
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            if stage:
                self.mergings.append(Merging(width))
                width, side = 2 * width, -(-side // 2)
            blocks = (Block(width, count, window, bool(number % 2), side, next(rates)) for number in range(depth))
            self.stages.append(nn.ModuleList(blocks))
        self.norm = nn.LayerNorm(width)
        self.width, self.grid = width, (side, side)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, S, S) with the S it was built for -> (B, N, width)."""
        x = self.patch_norm(self.patches(x).permute(0, 2, 3, 1))  # B, H, W, width
        for number, blocks in enumerate(self.stages):
            if number:
                x = self.mergings[number - 1](x)
            for block in blocks:  # type: ignore[attr-defined]
                x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        return self.norm(x).flatten(1, 2)  # B, N, width

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
