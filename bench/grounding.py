"""Do the default models look at their images? Each backbone over some seeds, beside twins that see blank images.

    python bench/grounding.py [--backbones swin,vit,resnet] [--seeds 1,2,3] [--blind-seeds 1] [--corpus V] [--db DB]
                              [--prefix NAME] [-- OPTIONS OF PRETRAIN]

Each run is `cli.py pretrain` with its defaults and stands in runs/PREFIX-BACKBONE-SEED, its twin in ...-blind. What has
ended is not trained again and what was interrupted is resumed, so the command may be stopped and given again. It prints
a Markdown table: the validation split's scores at the end of each run, their means over the seeds with the 95 %
interval of Student's t, and the losses before the first step.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vlt import predict, runs

ROOT = Path(__file__).resolve().parent.parent
SHOWN = {
    "words_loss": "MLM loss",
    "itm_loss": "ITM loss",
    "gap": "content gap",
    "itm": "ITM",
    "hard_gap": "hard gap",
    "finding_gap": "finding",
    "side_gap": "side",
    "size_gap": "size",
    "itm_hard": "hard ITM",
    "itm_told": "told apart",
}
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t at 97.5 %, by how many seeds


def trained(name: str, options: Sequence[str]) -> str:
    """Train a run, or go on with it -> the minutes it took, from the command to its end. Exits where it fails."""
    folder, clock = runs.RUNS / name, runs.RUNS / f"{name}.minutes"  # beside the run, which is its own affair
    if not (folder / predict.FILE).exists():
        begun = time.perf_counter()
        fresh = not folder.exists()
        given = ["--name", name, *options] if fresh else ["--resume", name]
        done = subprocess.run([sys.executable, ROOT / "cli.py", "pretrain", *given], stdout=sys.stderr)
        if done.returncode:
            sys.exit(done.returncode)
        if fresh:
            clock.write_text(f"{(time.perf_counter() - begun) / 60:.1f}")
    return clock.read_text() if clock.exists() else "resumed"


def scores(name: str) -> tuple[dict[str, float], dict[str, float]]:
    """A run's first evaluation and its last."""
    found: list[dict[str, Any]] = [one for one in runs.open_run(name).records() if one.get("kind") == "eval"]
    return found[0], found[-1]


def interval(values: Sequence[float]) -> str:
    """Mean and half of its 95 % interval."""
    if len(values) not in T:
        return f"{statistics.mean(values):.3f}"
    half = T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.3f} ± {half:.3f}"


def row(title: str, cells: Sequence[str]) -> str:
    return f"| {title} | " + " | ".join(cells) + " |"


def group(backbone: str, blind: bool, args: argparse.Namespace, shared: Sequence[str]) -> None:
    """The rows of a backbone's runs, or of their blind twins, and their mean."""
    kind, ended = backbone + (", blind" if blind else ""), []
    for seed in filter(None, (args.blind_seeds if blind else args.seeds).split(",")):
        name = f"{args.prefix}-{backbone}-{seed}" + ("-blind" if blind else "")
        minutes = trained(name, ["--backbone", backbone, "--seed", seed, *(["--blind"] if blind else []), *shared])
        first, last = scores(name)
        if not ended and not blind:
            print(row(f"{backbone}, before step 1", [f"{first[key]:.3f}" for key in SHOWN] + [""]))
        print(row(f"{kind}, seed {seed}", [f"{last[key]:.3f}" for key in SHOWN] + [minutes]), flush=True)
        ended.append(last)
    if len(ended) > 1:
        print(row(f"**{kind}, mean**", [interval([one[key] for one in ended]) for key in SHOWN] + [""]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default="swin,vit,resnet")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--blind-seeds", default="1")
    parser.add_argument("--prefix", default="grounding")
    parser.add_argument("--corpus")
    parser.add_argument("--db")
    parser.add_argument("options", nargs="*", help="given to each pretrain, after --")
    args = parser.parse_args()
    shared = [*args.options]
    for option in ("corpus", "db"):
        if value := getattr(args, option):
            shared += [f"--{option}", value]

    print(row("run", [*SHOWN.values(), "minutes"]))
    print(row("---", ["---:"] * (len(SHOWN) + 1)))
    for backbone in args.backbones.split(","):
        for blind in (False, True):
            group(backbone, blind, args, shared)


if __name__ == "__main__":
    main()
