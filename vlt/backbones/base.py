"""What every image backbone offers."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """float (B, channels, S, S), normalised -> tokens (B, N, width)."""

    first: str  # the name of the layer that reads the image
    channels: int
    width: int
    grid: tuple[int, int]  # rows and columns of the tokens, N = rows * columns

    def from_torchvision(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's weights of the same model under our names, without its classifier."""
        raise NotImplementedError
