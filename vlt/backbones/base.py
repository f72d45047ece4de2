"""What every image backbone offers."""

from torch import Tensor, nn

from vlt.norm import BatchNorm


class ConvStem(nn.Sequential):
    """Overlapping 3 x 3 convolutions in place of one that cuts patches (arXiv 2106.14881), for the small models.

    (B, channels, S, S) -> (B, width, S / patch, S / patch); `patch` is a power of 2. With few images and little time
    a Transformer learns edges and blobs from it many times sooner than from patches. With norms of each image alone in
    place of its batch norms, contrast and words were learnt later (docs/results.md).
    """

    def __init__(self, channels: int, width: int, patch: int):
        layers: list[nn.Module] = []
        inner = channels
        for number in range(patch.bit_length() - 1):
            outer = min(16 << number, width)
            layers += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), BatchNorm(outer, 1), nn.ReLU()]
            inner = outer
        super().__init__(*layers, nn.Conv2d(inner, width, 1))
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class Backbone(nn.Module):
    """float (B, channels, S, S), normalised -> tokens (B, N, width)."""

    first: str  # the name of the layer that reads the image
    channels: int
    width: int
    grid: tuple[int, int]  # rows and columns of the tokens, N = rows * columns

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's weights of the same model under our names, without its classifier."""
        raise NotImplementedError
