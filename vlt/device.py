"""Where a run computes and in which precision; and how fast that is at best."""

import atexit
import os
import resource
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist

from corpus_db.read import UserError
from vlt.config import Config

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# dense operations a second in bf16 and fp16, from NVIDIA's data sheets; TF32's rate is half of it
_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
}


class Place(NamedTuple):
    """A device, and which of how many processes this is."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"


def start() -> Place:
    """This process's place; under `torchrun` the processes are joined first, by NCCL on CUDA and by Gloo on CPUs."""
    cuda = torch.cuda.is_available()
    if cuda:  # on the CPU, fp32 stays fp32
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Place(torch.device("cuda" if cuda else "cpu"))
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
        atexit.register(_leave)
    return Place(device, dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def fitting(config: Config, place: Place) -> str:
    """The precision that a run computes in at a place. UserError for settings that cannot be there."""
    found = precision(config.precision, place.device, small=config.nano)
    if config.shard and place.world > 1 and found == "fp16":
        raise UserError("shard has no loss scaling: give --precision bf16 or fp32")
    compiler = os.environ.get("CXX", "g++")
    if config.compile and not place.cuda and shutil.which(compiler) is None:
        raise UserError(
            f"compile needs a C++ compiler, and there is no {compiler}: install one, or leave --compile out"
        )
    return found


def precision(asked: str, device: torch.device, small: bool = False) -> str:
    """auto: bf16 where the device computes in it, else fp16 on CUDA and fp32 on a CPU. UserError for what cannot be.

    `small` models stay in fp32 on a CPU: turning their short rows into bf16 and back costs more than their products.
    """
    cuda = device.type == "cuda"
    if asked == "fp16" and not cuda:
        raise UserError("precision fp16 is for CUDA; on a CPU give fp32 or auto")
    if asked != "auto":
        return asked
    native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_has_bf16() and not small
    return "bf16" if native else "fp16" if cuda else "fp32"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bf16; where it does not, emulation is a hundred times slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def autocast(name: str, device: torch.device) -> AbstractContextManager[object]:
    """The context to run a forward pass in."""
    return nullcontext() if name == "fp32" else torch.autocast(device.type, _TYPES[name])


def peak(name: str, device: torch.device) -> float:
    """Operations a second that MFU is a share of: of a known card by its data sheet, else of a large product."""
    if device.type == "cuda":
        card = torch.cuda.get_device_name(device)
        known = next((rate for part, rate in _PEAKS.items() if part in card), None)
        if known is not None:
            return known / 2 if name == "fp32" else known
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=_TYPES[name]) for _ in range(2))
    rates = []
    for _ in range(4):
        _synchronise(device)
        begun = time.perf_counter()
        a @ b
        _synchronise(device)
        rates.append(2 * size**3 / (time.perf_counter() - begun))
    return max(rates)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> int:
    """Bytes at most in use so far: of the card on CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's, on whatever device."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
