"""A batch norm over the batch of all ranks, on any device (torch's SyncBatchNorm needs CUDA)."""

import torch
from torch import Tensor, nn

from vlt import ranks


class BatchNorm(nn.Module):
    """A batch norm (arXiv 1502.03167) of one dimension of a tensor, `dim`, over all others and all ranks.

    Images of a corpus are alike, and a norm of each image or token alone keeps what all have in common: the mean tokens
    of any two then have a cosine of 0.9, and contrast takes many times longer to tell them apart. Here that mean is
    taken out.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, dim: int = -1, momentum: float = 0.1):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.dim, self.momentum = dim, momentum
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, `width` at `dim`; in training by the batch's mean and variance, else by those of training."""
        axis, mean, variance = self.dim % x.ndim, self.mean, self.variance
        if self.training:
            values, others = x.float(), [other for other in range(x.ndim) if other != axis]
            moments = ranks.mean(torch.stack([values.mean(others), values.square().mean(others)]))
            mean, variance = moments[0], (moments[1] - moments[0].square()).clamp(min=0)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.variance.lerp_(variance, self.momentum)
        scale = self.weight * (variance + 1e-5).rsqrt()
        shape = (-1, *[1] * (x.ndim - 1 - axis))  # to the dimension `dim` from the right
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)
