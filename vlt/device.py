"""Where a run computes and in which precision, and how fast that is at best."""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.distributed as dist

from corpus_db.read import UserError

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def start() -> tuple[torch.device, int, int]:
    """(device, rank, world); under `torchrun` the processes are joined, by NCCL on CUDA and by Gloo on CPUs."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return torch.device("cuda" if cuda else "cpu"), 0, 1
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return device, dist.get_rank(), dist.get_world_size()


def precision(asked: str, device: torch.device) -> str:
    """auto: bf16 where the device computes in it, else fp16 on CUDA and fp32 on a CPU. UserError for what cannot be."""
    cuda = device.type == "cuda"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_has_bf16()
    if asked == "fp16" and not cuda:
        raise UserError("precision fp16 is for CUDA; on a CPU give fp32 or auto")
    if asked != "auto":
        return asked
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


def gemm_rate(name: str, device: torch.device, size: int = 2048) -> float:
    """Floating-point operations a second of a large matrix product: the rate that MFU is a share of."""
    a, b = (torch.randn(size, size, device=device, dtype=_TYPES[name]) for _ in range(2))
    rates = []
    for _ in range(4):
        synchronise(device)
        begun = time.perf_counter()
        a @ b
        synchronise(device)
        rates.append(2 * size**3 / (time.perf_counter() - begun))
    return max(rates)


def synchronise(device: torch.device) -> None:
    """Wait for what the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> int:
    """Bytes at most in use so far: of the card on CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's, on whatever device."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )
