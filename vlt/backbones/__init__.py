"""Image backbones by torchvision's names, each giving a grid of tokens, and torchvision's weights loaded into them.

`nano` of each is ours, for CPUs and tests; `pico` has as many parameters as Swin's nano (within 3 %), to compare with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corpus_db.read import UserError
from vlt.backbones import resnet, swin, vit
from vlt.backbones.base import Backbone

# VLT feeds (x / 255 - MEAN) / STD, the same for grey and for each colour: radiology has no colour to speak of, and is
# mostly black: letterboxed, VQA-RAD's images have 0.27 and 0.29, the sample's 0.22 and 0.25
MEAN, STD = 0.25, 0.25
# what torchvision's weights were trained with (ImageNet), red, green, blue
_IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])
_IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225])

_FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (resnet.ResNet, sizes) for name, sizes in resnet.SIZES.items()},
    **{name: (vit.ViT, sizes) for name, sizes in vit.SIZES.items()},
    **{name: (swin.Swin, sizes) for name, sizes in swin.SIZES.items()},
}
NAMES = tuple(_FAMILIES)


def build(
    name: str, image_size: int = 224, *, channels: int = 3, drop_path: float = 0.0, checkpointing: bool = False
) -> Backbone:
    """A backbone: float (B, channels, H, W), normalised -> tokens (B, N, width).

    It has `.width`, and `.grid`, the (rows, columns) of its tokens at `image_size`, N = rows * columns. `drop_path`:
    stochastic depth of the last block, rising linearly from 0 at the first. `checkpointing`: blocks are computed again
    in the backward pass and not kept. Raises UserError for a name that is none and a size that it cannot take.
    """
    if name not in _FAMILIES:
        raise UserError(f"backbone {name!r}: there is none of this name; there are: {', '.join(NAMES)}")
    family, sizes = _FAMILIES[name]
    return family(**sizes, image_size=image_size, channels=channels, drop_path=drop_path, checkpointing=checkpointing)


def load_torchvision(module: Backbone, state_dict: Mapping[str, Tensor], *, fold: bool = False) -> None:
    """Load torchvision's weights of the same model; its classifier is left out, position tables are resized.

    The module then expects images as torchvision's does, normalised by ImageNet's constants; with `fold` as VLT feeds
    them, by MEAN and STD: the change of normalisation goes into the first layer. A one-channel module always folds: its
    kernel is the sum over colours. Raises UserError naming what is missing or has another shape.
    """
    found = module.from_torchvision(dict(state_dict))
    first = module.first
    if fold or module.channels == 1:
        _fold(module, found)
    wanted = module.state_dict()
    found = {**{name: tensor for name, tensor in wanted.items() if name == f"{first}.of_ones"}, **found}
    if missing := sorted(wanted.keys() - found.keys()):
        raise UserError(f"weights: no {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""))
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            shapes = f"{list(found[name].shape)} where {list(tensor.shape)} is wanted"
            raise UserError(f"weights: {name} is {shapes}; are these of another size or family?")
    module.load_state_dict({name: found[name] for name in wanted})


def load_file(module: Backbone, path: Path) -> None:
    """Load a torchvision checkpoint for the images that VLT feeds. Nothing in the file is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a stranger's file makes of its reader
        raise UserError(f"{path}: not a PyTorch file of tensors alone ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: not a state_dict, which maps names to tensors")
    try:
        load_torchvision(module, state, fold=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _fold(module: Backbone, found: dict[str, Tensor]) -> None:
    """Rewrite the first layer for z = (x - MEAN) / STD, of one channel or three.

    torchvision's input is n = (x - mean) / std = a z + b in each colour, a = STD / std, b = (MEAN - mean) / std. So
    the kernel is scaled by a, and the kernel times b is convolved with ones. Without padding that is a bias; with it
    (ResNet) the border gets less of it, which `of_ones` keeps exact.
    """
    first = module.first
    kernel = found.get(f"{first}.weight")
    if kernel is None or kernel.ndim != 4 or kernel.shape[1] != 3:
        raise UserError(f"weights: no {first}.weight of three colours to begin with")
    scale = (STD / _IMAGENET_STD).view(1, 3, 1, 1).to(kernel.dtype)
    shift = ((MEAN - _IMAGENET_MEAN) / _IMAGENET_STD).view(1, 3, 1, 1).to(kernel.dtype)
    of_ones = (kernel * shift).sum(1, keepdim=True)  # out, 1, k, k
    scaled = kernel * scale
    found[f"{first}.weight"] = scaled if module.channels == 3 else scaled.sum(1, keepdim=True)
    if f"{first}.of_ones" in module.state_dict():
        found[f"{first}.of_ones"] = of_ones
    else:
        found[f"{first}.bias"] = found[f"{first}.bias"] + of_ones.sum((1, 2, 3))
