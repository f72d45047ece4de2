"""Weights, gradients and optimiser state shared out over ranks (FSDP2), and gathered again."""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from vlt.backbones import resnet, swin, vit
from vlt.model import VLT, Layer
from vlt.objectives import Objectives
from vlt.text import TextLayer

_BLOCKS = (resnet.Block, swin.Block, vit.Block, TextLayer, Layer)  # what is whole on a rank only while it computes
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def share_out(objectives: Objectives) -> None:
    """Leave each rank its part of every weight; in place."""
    device = next(objectives.parameters()).device
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for part in objectives.modules():
        if isinstance(part, _BLOCKS):
            fully_shard(part, mesh=mesh)
    fully_shard(objectives, mesh=mesh)


def gathered(model: VLT, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole state of both, on the first rank's CPU; all ranks call it."""
    return get_state_dict(model, optimizer, options=_WHOLE)


def load_optimizer(model: VLT, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Let each rank take its part of an optimiser's state that `gathered` gave."""
    set_optimizer_state_dict(model, optimizer, state, options=StateDictOptions(full_state_dict=True))


def whole(model: VLT) -> VLT:
    """A model with all weights on the first rank's device; all ranks call it, and the others' holds nothing of use."""
    state = get_model_state_dict(model, options=_WHOLE)
    copy = VLT(model.config, *model.vocabulary)
    if dist.get_rank() == 0:
        copy.load_state_dict(state)
    return copy.to(next(model.buffers()).device)
