"""Studies of seconds: steps few enough, and their corpora made once for all tests."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vlt import device, studies
from vlt.studies import run, table
from vlt.tasks.questions import SAMPLE

ROOT = Path(__file__).resolve().parents[3]
MODEL: dict[str, Any] = {"image_size": 32, "width": 32, "heads": 2, "fusion_layers": 1, "max_tokens": 40}
PRETRAIN = {**MODEL, "backbone": "vit_pico", "batch_size": 8, "steps": 4, "evaluate_every": 4, "checkpoint_every": 1}
TUNE = {**PRETRAIN, "steps": 6, "evaluate_every": 3}
PRESETS = {name: {"cases": 0.01, "pretrain": PRETRAIN, "tune": TUNE} for name in ("full", "quick")}
MLM, ITM = {"objectives": {"mlm": 1.0}}, {"objectives": {"itm": 1.0}}


def arms(**told: Mapping[str, Any]) -> dict[str, studies.Arm]:
    """Arms by name, matched by operations unless told otherwise."""
    return {name: studies.Arm(name, **{"match": "flops", **one}) for name, one in told.items()}


def study(name: str = "tiny", seeds: Sequence[int] = (1, 2), **told: Mapping[str, Any]) -> studies.Study:
    """A comparison with nothing and with masked words; `told`: its arms."""
    found = arms(**(told or {"none": {}, "mlm": {"pretrain": MLM}}))
    reference = next(key for key, arm in found.items() if arm.pretrain is not None)
    return studies.Study(name, "A title", "it was so.", "vqa", tuple(seeds), next(iter(found)), reference, found, {})


def data(home: Path, **changes: Any) -> run.Data:
    """The sample that `prepared` left in a data folder."""
    (db,) = home.glob("studies/sample-*.db")
    return run.Data({studies.MAIN: str(db)}, SAMPLE, **changes)


def runner(
    declared: studies.Study, home: Path, say: Callable[[str], None] = lambda line: None, preset: str = "quick"
) -> run.Runner:
    """A study on the sample, in one process."""
    return run.Runner(declared, data(home), preset, 1, say)


def main(home: str) -> int:
    """The tiny study in a process of its own, here."""
    torch.set_num_threads(1)
    device.peak = lambda name, device: 1e9  # it takes a second to measure
    studies.PRESETS.update(PRESETS)
    declared = study()
    made = runner(declared, Path(home), lambda line: print(line, file=sys.stderr, flush=True))
    try:
        made.run(declared.seeds, list(declared.arms))
    except run.Stopped as stop:
        return stop.code
    table.write(declared, made.questions.name, made.folder, True)
    return 0


def environment(home: Path) -> dict[str, str]:
    """Of such a process: where its data and this module are."""
    return {**os.environ, "RGC_DATA": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
