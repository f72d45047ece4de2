"""Checkpoints that survive what may happen while they are written, and are not trusted when they are read.

A checkpoint is a file and, written after it, a marker with its hash. One without its marker, or that is not what the
marker says, is passed over for the one before.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from corpus_db.read import UserError, written

KEPT = 2  # checkpoints: the newest, and one to fall back to
Say = Callable[[str], None]


class Unwritten(UserError):
    """A checkpoint could not be written; its run can still be gone on with."""


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the state after a step, then remove all but the KEPT newest up to it, and what kills have left behind.

    Raises Unwritten where it cannot be; then the checkpoints before are as they were.
    """
    path = folder / f"step-{step:08}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written(path) as file:
            torch.save(state, file)
        with written(path.with_suffix(".json")) as file:
            file.write(json.dumps({"sha256": _sha256(path), "step": step}).encode())
    except (OSError, RuntimeError) as error:  # torch's writer tells a full disk by a RuntimeError
        raise Unwritten(
            f"{path}: cannot be written ({_line(error)}); free some space, then go on: "
            f"--resume {shlex.quote(folder.parent.name)}"
        ) from error
    upto = sorted(marker for marker in folder.glob("step-*.json") if marker.stem <= path.stem)
    kept = {marker.stem for marker in upto[-KEPT:]}
    for old in sorted([*folder.glob("step-*"), *folder.glob(".step-*")]):  # a marker (.json) goes before its file (.pt)
        if old.stem not in kept:
            old.unlink(missing_ok=True)


def newest(folder: Path, say: Say = lambda line: None) -> tuple[int, dict[str, Any]] | None:
    """The newest whole checkpoint as (step, state), on the CPU; None where none was ever written.

    Says which it passes over; UserError where there are some and none is whole.
    """
    markers = sorted(folder.glob("step-*.json"), reverse=True)
    whole = {marker.stem for marker in markers}
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        if path.stem not in whole:
            say(f"{path}: passed over, as {path.stem}.json, which vouches for it, is not there")
    for marker in markers:
        path = marker.with_suffix(".pt")
        try:
            told = json.loads(marker.read_text())
            if _sha256(path) != told["sha256"]:
                raise ValueError("its bytes are not those that were written")
            return int(told["step"]), torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes of its reader
            say(f"{path}: damaged, passed over for the checkpoint before it ({_line(error)})")
    if markers:
        raise UserError(f"{folder}: none of its checkpoints is whole; begin a new run")
    return None


@contextmanager
def of_this_model() -> Iterator[None]:
    """What goes wrong while a state is loaded becomes one line: it is another model's."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"the checkpoint is not of this run's model ({_line(error)})") from error


def _line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:150]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
