"""ResNet (arXiv 1512.03385), with the stride of a bottleneck in its 3 x 3 convolution as torchvision has it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vlt.attention import DropPath, drop_path_rates
from vlt.backbones.base import Backbone

_WIDTHS = (64, 128, 256, 512)
SIZES = {
    # its last stage keeps the map's size: a grid of 8 x 8 at 64 pixels, as that of the other nano models
    "resnet_nano": {"stem": 24, "widths": (32, 64, 96), "depths": (1, 1, 1), "strides": (1, 2, 1), "expansion": 1},
    "resnet_pico": {"stem": 16, "widths": (24, 48, 80), "depths": (1, 1, 1), "strides": (1, 2, 1), "expansion": 1},
    "resnet18": {"stem": 64, "widths": _WIDTHS, "depths": (2, 2, 2, 2), "strides": (1, 2, 2, 2), "expansion": 1},
    "resnet50": {"stem": 64, "widths": _WIDTHS, "depths": (3, 4, 6, 3), "strides": (1, 2, 2, 2), "expansion": 4},
    "resnet101": {"stem": 64, "widths": _WIDTHS, "depths": (3, 4, 23, 3), "strides": (1, 2, 2, 2), "expansion": 4},
}


class FoldedConv(nn.Conv2d):
    """A convolution whose input was x + 1 * c before: c's part, `of_ones`, is convolved with ones of the input's size.

    Zero unless `backbones.load_torchvision` folds a normalisation into it. Its map is the same for the whole batch.
    """

    of_ones: Tensor  # out, 1, k, k

    def __init__(self, channels: int, out: int, kernel: int, stride: int, padding: int):
        super().__init__(channels, out, kernel, stride, padding, bias=False)
        self.register_buffer("of_ones", torch.zeros(self.out_channels, 1, *self.kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        ones = x.new_ones(1, 1, *x.shape[2:])
        return super().forward(x) + F.conv2d(ones, self.of_ones, None, self.stride, int(self.padding[0]))


class Block(nn.Module):
    """A residual block: two 3 x 3 convolutions, or, with expansion 4, 1 x 1, 3 x 3, 1 x 1."""

    def __init__(self, width: int, inner: int, stride: int, expansion: int, drop_path: float):
        super().__init__()
        outer = inner * expansion
        kernels = (1, 3, 1) if expansion > 1 else (3, 3)
        sizes = [width, *[inner] * (len(kernels) - 1), outer]
        for number, kernel in enumerate(kernels, start=1):
            own = stride if number == (2 if expansion > 1 else 1) else 1
            layer = nn.Conv2d(sizes[number - 1], sizes[number], kernel, own, kernel // 2, bias=False)
            self.add_module(f"conv{number}", layer)
            self.add_module(f"bn{number}", nn.BatchNorm2d(sizes[number]))
        self.count = len(kernels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(width, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
            if stride != 1 or width != outer
            else None
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, inner * expansion, H / stride, W / stride)."""
        y = x
        for number in range(1, self.count + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            if number < self.count:
                y = F.relu(y, inplace=True)
        short = x if self.downsample is None else self.downsample(x)
        return F.relu(self.drop_path(y) + short, inplace=True)


class ResNet(Backbone):
    """The convolutional part of a ResNet; its last map is the grid of tokens."""

    first = "conv1"

    def __init__(
        self,
        stem: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        strides: tuple[int, ...],
        expansion: int,
        *,
        image_size: int,
        channels: int,
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__()
        self.channels, self.checkpointing = channels, checkpointing
        self.width = widths[-1] * expansion
        self.conv1 = FoldedConv(channels, stem, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(stem)
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        width, side = stem, -(-image_size // 4)
        for stage, (inner, depth, first) in enumerate(zip(widths, depths, strides, strict=True), start=1):
            blocks = []
            for number in range(depth):
                blocks.append(Block(width, inner, 1 if number else first, expansion, next(rates)))
                width = inner * expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            side = -(-side // first)
        self.grid = (side, side)
        self.stages = len(widths)
        self._initialise()
        if checkpointing:  # a block's norms then see each batch twice: two steps of this momentum make the usual 0.1
            for part in self.modules():
                if isinstance(part, nn.BatchNorm2d) and part is not self.bn1:
                    part.momentum = 1 - 0.9**0.5

    def _initialise(self) -> None:
        """He et al.'s init (arXiv 1502.01852); the last norm of each block at 0, so that blocks begin as identities."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(part, Block):
                nn.init.zeros_(part.get_submodule(f"bn{part.count}").weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, rows * columns of `grid`, width)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        for stage in range(1, self.stages + 1):
            for block in self.get_submodule(f"layer{stage}").children():
                kept = not (self.checkpointing and self.training)
                x = block(x) if kept else checkpoint(block, x, use_reentrant=False)
        return x.flatten(2).transpose(1, 2)  # B, N, width

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The names are torchvision's."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
