"""The real loop on a CUDA card: images a second, MFU, waiting, memory, and what compiling gains.

    python bench/card.py [--backbones swin_s,vit_b_16,resnet50] [--batch PAIRS] [--steps N] [--modes bf16,bf16+compile]

Each row is `pretrain` with `--preset paper` on drawn images and captions, a vocabulary of the preset's size, and
the middle of the records after the first half of its steps: packing, compiling and the first allocations are over by
then. "first record" is when they were: the seconds from the run's begin to its 25th step. The last row stops a run
by SIGTERM and resumes it.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tests.vlt import corpus, tiny
from vlt import runs
from vlt.config import PRESETS, Config
from vlt.tasks.pretraining import pretrain
from vlt.text import Tokenizer
from vlt.train import Interrupted

QUIET = 10**9  # steps between evaluations and checkpoints: neither is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="swin_s,vit_b_16,resnet50", help="torchvision's names, with commas")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--modes", default="bf16,bf16+compile", help="of bf16, fp16, fp32, each with or without +compile"
    )
    asked = parser.parse_args()
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else "CPU"
    print(
        f"{name}, torch {torch.__version__}; {asked.batch} pairs of {asked.size} pixels a step, {asked.steps} steps\n"
    )
    print("| backbone | mode | images/s | MFU | waits for data | memory, GB | first record, s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RGC_DATA"] = folder
        for backbone in asked.backbones.split(","):
            for mode in asked.modes.split(","):
                if cuda:
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                settings = {"backbone": backbone, "image_size": asked.size, "batch_size": asked.batch}
                precision, _, compiled = mode.partition("+")
                settings |= {"precision": precision, "compile": bool(compiled), "steps": asked.steps}
                run, seconds = trained(Path(folder), f"{backbone}-{mode}", settings)
                print(row(backbone, mode, run, seconds), flush=True)
        print(resumed(Path(folder), asked.backbones.split(",")[0], asked))


def vocabulary(size: int) -> Tokenizer:
    """The words of the drawn captions and as many more as the preset's vocabulary has."""
    known = tiny.TOKENIZER.vocabulary
    return Tokenizer([*known, *(f"word{number}" for number in range(size - len(known)))])


def begun(folder: Path, name: str, settings: dict[str, Any]) -> tuple[runs.Run, list[runs.Corpus]]:
    """A run of the paper's preset with some settings replaced."""
    paper = PRESETS["paper"] | {"evaluate_every": QUIET, "checkpoint_every": QUIET} | settings
    corpora = [runs.Corpus(corpus.version(folder / "images", train=1024, val=0))]
    return runs.create(folder / "runs" / name, Config(**paper), corpora, vocabulary(paper["vocab_size"])), corpora


def trained(folder: Path, name: str, settings: dict[str, Any]) -> tuple[runs.Run, float]:
    """The run at its end, and the seconds until its first record."""
    run, corpora = begun(folder, name, settings)
    clock, first = time.perf_counter(), []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if not first and any(one["kind"] == "train" for one in run.records()):
                first.append(time.perf_counter() - clock)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    pretrain(run, corpora, lambda line: print(line, file=sys.stderr))
    done.set()
    watcher.join()
    return run, first[0] if first else float("nan")


def row(backbone: str, mode: str, run: runs.Run, seconds: float) -> str:
    records = [one for one in run.records() if one["kind"] == "train"]
    late = records[len(records) // 2 :]
    speed, mfu, wait, memory = (
        statistics.median(one[key] for one in late) for key in ("images_per_s", "mfu", "data_wait", "memory_bytes")
    )
    cells = [backbone, mode, f"{speed:,.0f}", f"{mfu:.1%}", f"{wait:.1%}", f"{memory / 1e9:.1f}", f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def resumed(folder: Path, backbone: str, asked: argparse.Namespace) -> str:
    """Stop a run by SIGTERM in its middle and go on with it."""
    steps = min(asked.steps, 40)
    settings = {"backbone": backbone, "image_size": asked.size, "batch_size": asked.batch, "steps": steps}
    run, corpora = begun(folder, "resumed", settings)
    threading.Thread(target=_stop, args=(run,), daemon=True).start()
    try:
        pretrain(run, corpora, lambda line: None)
    except Interrupted:
        pretrain(run, corpora, lambda line: print(line, file=sys.stderr))
    saved = sorted(path.name for path in run.checkpoints.iterdir())
    return f"\nStopped by SIGTERM and resumed: ends at step {run.records()[-1]['step']} of {steps}; checkpoints {saved}"


def _stop(run: runs.Run) -> None:
    while not any(one["kind"] == "train" for one in run.records()):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
