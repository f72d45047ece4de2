"""A nano model on a CPU's cores: the threads of one process beside processes of one thread, and fp32 beside bf16.

    python bench/cores.py [--backbones swin,vit,resnet] [--steps N] [--rounds N] [--db DB]

Each number is the median of the images a second that `cli.py pretrain` logs with its defaults on the corpus that was
built last, the first 25 steps left out; a run of each form in turn, `--rounds` times over.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vlt import runs

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
FORMS = {
    f"{CORES} threads": ["--processes", "1"],
    f"{CORES} processes": ["--processes", str(CORES)],
    f"{CORES} processes, bf16": ["--processes", str(CORES), "--precision", "bf16"],
}


def speeds(options: list[str], steps: int) -> list[float]:
    """What a run of these options logs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "cli.py", "pretrain", "--name", "one", "--steps", str(steps), *options]
        data = os.path.abspath(os.environ.get("RGC_DATA", "data"))
        subprocess.run(command, cwd=folder, env=os.environ | {"RGC_DATA": data}, stderr=subprocess.DEVNULL, check=True)
        records = runs.open_run(Path(folder) / "runs" / "one").records()
    return [one["images_per_s"] for one in records if one["kind"] == "train"][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="swin,vit,resnet")
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--db")
    asked = parser.parse_args()
    shared = ["--db", os.path.abspath(asked.db)] if asked.db else []
    print("images a second\n\n| backbone | " + " | ".join(FORMS) + " | processes / threads |")
    print("| --- " + "| ---: " * (len(FORMS) + 1) + "|")
    for backbone in asked.backbones.split(","):
        found: dict[str, list[float]] = {form: [] for form in FORMS}
        for _ in range(asked.rounds):
            for form, options in FORMS.items():
                found[form] += speeds(["--backbone", backbone, *options, *shared], asked.steps)
        threads, processes, *rest = (statistics.median(values) for values in found.values())
        cells = [f"{speed:.0f}" for speed in (threads, processes, *rest)]
        print(f"| {backbone} | {' | '.join(cells)} | {processes / threads:.2f} |", flush=True)


if __name__ == "__main__":
    main()
