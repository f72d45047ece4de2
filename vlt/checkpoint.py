"""Checkpoints that survive what may happen while they are written, and are not trusted when they are read.

A checkpoint is a file and, written after it, a marker with its hash; one without its marker, or that is not what the
marker says, is passed over for the one before.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vlt.pack import written

KEPT = 2  # checkpoints: the newest, and one to fall back to
Say = Callable[[str], None]


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the state after a step; older checkpoints but KEPT - 1 go only when it is on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08}.pt"
    with written(path) as file:
        torch.save(state, file)
    with written(path.with_suffix(".json")) as file:
        file.write(json.dumps({"sha256": _sha256(path), "step": step}).encode())
    for old in sorted(folder.glob("step-*.json"), reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)  # the marker first: a file without one counts for nothing
        old.with_suffix(".pt").unlink(missing_ok=True)


def newest(folder: Path, say: Say = lambda line: None) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint as (step, state), on the CPU; None where there is none. Says what it skips."""
    for marker in sorted(folder.glob("step-*.json"), reverse=True):
        path = marker.with_suffix(".pt")
        try:
            told = json.loads(marker.read_text())
            if _sha256(path) != told["sha256"]:
                raise ValueError("its bytes are not those that were written")
            return int(told["step"]), torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes of its reader
            why = str(error).partition("\n")[0] or type(error).__name__
            say(f"{path}: damaged, passed over for the checkpoint before ({why[:120]})")
    return None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
