"""A backbone's forward and backward pass beside torchvision's of the same name, weights and threads, in turn.

    python bench/backbones.py                                   # swin_s, vit_b_16, resnet50
    python bench/backbones.py --models swin_t --batch 2 --rounds 30 --threads 1

A ratio is torchvision's time over ours, above 1 where ours is faster: the median over rounds, in which each runs once,
and the 95 % interval of that median. Once by the clock, once by the time of the processor, which other work on the
machine distorts less. The share of GEMM is the rate of a pass over that of square matrix products, taken in the same
rounds. The last table says what every backbone takes.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from vlt import backbones  # noqa: E402

SIZE = 224
SQUARE = 1536  # the sides of the matrix product that stands for the machine
Times = list[tuple[float, float]]  # clock and processor, seconds, a round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="swin_s,vit_b_16,resnet50", help="torchvision's names, with commas")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtypes = [torch.float32, torch.bfloat16] if native_bf16() else [torch.float32]
    print(
        f"{arguments.threads} threads, batches of {arguments.batch} images of {SIZE} pixels, {arguments.rounds} rounds"
    )
    if len(dtypes) == 1:
        print("bf16 is left out: this processor has no instructions for it and would emulate them")
    print("\n| backbone | | ms | of GEMM | torchvision ms | of GEMM | ratio, clock | ratio, processor |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- | --- |")
    for dtype in dtypes:
        for name in arguments.models.split(","):
            print(beside(name, arguments.batch, arguments.rounds, dtype), flush=True)
    print(f"\n{sizes()}")


def native_bf16() -> bool:
    """Whether bf16 products run on the processor's own instructions."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def beside(name: str, batch: int, rounds: int, dtype: torch.dtype) -> str:
    """A row of the first table."""
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None).train()
    for part in theirs.modules():
        if isinstance(part, torchvision.ops.StochasticDepth):
            part.p = 0.0
    ours = backbones.build(name, SIZE)
    backbones.load_torchvision(ours, theirs.state_dict())
    x = torch.randn(batch, 3, SIZE, SIZE)
    upstream = torch.randn(batch, ours.grid[0] * ours.grid[1], ours.width)
    square = torch.randn(SQUARE, SQUARE, dtype=dtype)

    def step(model: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            out = run(x)
        out.backward(upstream.to(out.dtype))
        model.zero_grad(set_to_none=True)

    runs: list[Callable[[], object]] = [
        lambda: step(ours, ours),
        lambda: step(theirs, lambda x: tokens(theirs, x)),
        lambda: square @ square,
    ]
    own, peer, gemm = in_turn(runs, rounds)
    rate = 2 * SQUARE**3 / min(clock for clock, _ in gemm)
    work = operations(lambda: step(theirs, lambda x: tokens(theirs, x)))
    cells = [name, str(dtype).removeprefix("torch.")]
    for times in (own, peer):
        median = statistics.median(clock for clock, _ in times)
        cells += [f"{median * 1e3:,.0f}", f"{work / median / rate:.0%}"]
    cells += [ratio(own, peer, kind) for kind in (0, 1)]
    return f"| {' | '.join(cells)} |"


def tokens(model: nn.Module, x: Tensor) -> Tensor:
    """What torchvision's model computes before it pools, (B, N, C)."""
    if isinstance(model, torchvision.models.SwinTransformer):
        return model.norm(model.features(x)).flatten(1, 2)
    if isinstance(model, torchvision.models.VisionTransformer):
        x = model._process_input(x)
        return model.encoder(torch.cat([model.class_token.expand(len(x), -1, -1), x], dim=1))[:, 1:]
    for name, part in model.named_children():
        if name not in ("avgpool", "fc"):
            x = part(x)
    return x.flatten(2).transpose(1, 2)


def in_turn(runs: list[Callable[[], object]], rounds: int) -> list[Times]:
    """The times of each, one after the other in every round, the first round left out."""
    found: list[Times] = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, times in zip(runs, found, strict=True):
            begun, clock = os.times(), time.perf_counter()
            run()
            ended = os.times()
            if number:
                spent = ended.user + ended.system - begun.user - begun.system
                times.append((time.perf_counter() - clock, spent))
    return found


def ratio(own: Times, peer: Times, kind: int) -> str:
    """The median ratio of a round and its 95 % interval, by the ranks that hold the median of a binomial."""
    ratios = sorted(theirs[kind] / max(ours[kind], 1e-9) for ours, theirs in zip(own, peer, strict=True))
    outside = max(round(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5), 1)  # 1.96 * sqrt(n) / 2
    return f"{statistics.median(ratios):.3f} [{ratios[outside - 1]:.3f}, {ratios[-outside]:.3f}]"


def operations(run: Callable[[], object]) -> int:
    """Floating-point operations of a run, of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


def sizes() -> str:
    """The last table: parameters, and multiplications of a forward pass."""
    rows = [
        "| backbone | pixels | grid | width | M parameters | M multiply-adds |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for name in backbones.NAMES:
        size = 128 if name.endswith("nano") else SIZE
        model = backbones.build(name, size, channels=1).eval().to("meta")
        x = torch.empty(1, 1, size, size, device="meta")
        work = operations(lambda model=model, x=x: model(x)) / 2e6  # type: ignore[misc]
        count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        grid = f"{model.grid[0]} x {model.grid[1]}"
        rows.append(f"| {name} | {size} | {grid} | {model.width} | {count:.2f} | {work:,.0f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
