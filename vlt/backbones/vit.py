"""ViT (arXiv 2010.11929), with a class token as torchvision has it; its output leaves that token out."""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from corpus_db.read import UserError
from vlt.attention import MLP, Attention, DropPath, drop_path_rates, initialise
from vlt.backbones.base import Backbone, ConvStem

SIZES: dict[str, dict[str, Any]] = {
    "vit_nano": {"patch": 8, "width": 96, "depth": 2, "heads": 3, "conv_stem": True},
    "vit_pico": {"patch": 8, "width": 68, "depth": 2, "heads": 2, "conv_stem": True},
    "vit_ti_16": {"patch": 16, "width": 192, "depth": 12, "heads": 3},
    "vit_s_16": {"patch": 16, "width": 384, "depth": 12, "heads": 6},
    "vit_b_16": {"patch": 16, "width": 768, "depth": 12, "heads": 12},
    "vit_l_16": {"patch": 16, "width": 1024, "depth": 24, "heads": 16},
}
_NAMES = {  # torchvision's, and ours
    r"conv_proj\.": "patches.",
    r"encoder\.pos_embedding": "places",
    r"encoder\.layers\.encoder_layer_(\d+)\.ln_1\.": r"blocks.\1.norm1.",
    r"encoder\.layers\.encoder_layer_(\d+)\.ln_2\.": r"blocks.\1.norm2.",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_": r"blocks.\1.attention.qkv.",
    r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.": r"blocks.\1.attention.out.",
    r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.": r"blocks.\1.mlp.",
    r"encoder\.ln\.": "norm.",
}


class Block(nn.Module):
    """A Transformer layer with the norm before each branch."""

    def __init__(self, width: int, heads: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + N, width) -> the same."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ViT(Backbone):
    """Patches, a class token, learned places, blocks."""

    first = "patches"

    def __init__(
        self,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        conv_stem: bool = False,
        *,
        image_size: int,
        channels: int,
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__()
        if image_size % patch:
            raise UserError(f"image_size {image_size} is no multiple of ViT's patch {patch}")
        side = image_size // patch
        self.channels, self.checkpointing, self.width, self.grid = channels, checkpointing, width, (side, side)
        self.patches = ConvStem(channels, width, patch) if conv_stem else nn.Conv2d(channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        self.blocks = nn.ModuleList(Block(width, heads, rate) for rate in drop_path_rates(drop_path, depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        initialise(self, None if conv_stem else 0.02)  # the paper's sizes as usual
        nn.init.trunc_normal_(self.places, std=0.02)
        if isinstance(self.patches, nn.Conv2d):
            nn.init.trunc_normal_(self.patches.weight, std=(channels * patch * patch) ** -0.5)
            nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, S, S) with the S it was built for -> (B, N, width)."""
        x = self.patches(x).flatten(2).transpose(1, 2)  # B, N, width
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.places
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        return self.norm(x)[:, 1:]

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's weights under our names, the places resized to this grid."""
        found = {}
        for name, tensor in state.items():
            if not name.startswith("heads."):
                for theirs, ours in _NAMES.items():
                    name = re.sub(f"^{theirs}", ours, name)
                found[name] = tensor
        if "places" in found:
            found["places"] = resized(found["places"], self.grid)
        return found


def resized(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table of places (1, 1 + N, width) of a square grid for another grid: bicubic, the class token's kept."""
    side = round((places.shape[1] - 1) ** 0.5)
    if places.ndim != 3 or side * side != places.shape[1] - 1 or (side, side) == grid:
        return places
    table = places[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # 1, width, side, side
    table = F.interpolate(table, grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([places[:, :1], table.flatten(2).transpose(1, 2)], dim=1)
