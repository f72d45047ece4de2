"""Vary a batch of images on its device, in one go: crop, small rotation, intensity. Never a flip.

A flip would swap left and right under the caption's words, and turn situs solitus into situs inversus.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 7  # random numbers an image takes
SMALLEST = 0.8  # share of the side that a crop keeps: a lesion at the border stays in most crops
SHIFT = 0.05  # of the side, beyond what the crop allows: letterboxed images have a margin
DEGREES = 10.0  # about how far patients lie askew
GAMMA = math.log(1.3)  # windowing differs between sites: gamma, gain and offset stand for it
GAIN = 0.2
OFFSET = 0.1


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """uint8 (B, C, S, S) and uniform numbers in [0, 1) (B, DRAWS) -> float32 (B, C, S, S) in [0, 1]."""
    angle, scale, across, down, gamma, gain, offset = (draws * 2 - 1).unbind(1)  # each in [-1, 1)
    angle = angle * math.radians(DEGREES)
    scale = 1 - (1 - SMALLEST) * (scale + 1) / 2
    room = 1 - scale + SHIFT
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    moved = torch.stack([cosine, -sine, across * room, sine, cosine, down * room], dim=1).view(-1, 2, 3)  # B, 2, 3
    grid = F.affine_grid(moved, list(images.shape), align_corners=False)
    pixels = F.grid_sample(images / 255, grid, align_corners=False)
    pixels = pixels.clamp_(min=1e-4) ** _each(torch.exp(gamma * GAMMA))
    return (pixels * _each(1 + gain * GAIN) + _each(offset * OFFSET)).clamp_(0, 1)


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
