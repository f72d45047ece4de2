"""Vary a batch of images on its device, in one go: crop, small rotation, intensity. Never a flip.

A flip would swap left and right under the caption's words, and turn situs solitus into situs inversus.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 7  # random numbers an image takes
SMALLEST = 0.92  # share of the side that a crop keeps: a lesion at the border stays in nearly all crops
SHIFT = 0.03  # of half the side, beyond what the crop allows: letterboxed images have a margin
DEGREES = 4.0  # how far most patients lie askew
GAMMA = math.log(1.3)  # windowing differs between sites: gamma, gain and offset stand for it
GAIN = 0.2
OFFSET = 0.1


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """uint8 (B, C, S, S) and uniform numbers in [0, 1) (B, DRAWS) -> float32 (B, C, S, S) in [0, 1]."""
    angle, scale, across, down, gamma, gain, offset = (draws * 2 - 1).unbind(1)  # each in [-1, 1)
    angle = angle * math.radians(DEGREES)
    scale = 1 - (1 - SMALLEST) * (scale + 1) / 2
    room = 1 - scale + SHIFT
    grid = _grid(scale * angle.cos(), scale * angle.sin(), across * room, down * room, images.shape[-1])
    pixels = F.grid_sample(images / 255, grid, align_corners=False).clamp_(min=1e-4)
    pixels.log_().mul_(_each(torch.exp(gamma * GAMMA))).exp_()  # the power gamma; `pow` takes 5 times as long
    return pixels.mul_(_each(1 + gain * GAIN)).add_(_each(offset * OFFSET)).clamp_(0, 1)


def _grid(cosine: Tensor, sine: Tensor, across: Tensor, down: Tensor, size: int) -> Tensor:
    """Where each pixel of the result comes from, (B, S, S, 2) in [-1, 1]; `affine_grid`'s product is slow on CPUs."""
    centres = (torch.arange(size, device=cosine.device) * 2 + 1) / size - 1
    x, y = centres[None, None], centres[None, :, None]
    cosine, sine, across, down = (values[:, None, None] for values in (cosine, sine, across, down))
    grid = cosine.new_empty(len(cosine), size, size, 2)
    torch.add(cosine * x + across, -sine * y, out=grid[..., 0])
    torch.add(sine * x + down, cosine * y, out=grid[..., 1])
    return grid


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
