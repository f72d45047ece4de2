"""Write a sample into a folder: whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from corpus_db.workers import processes
from rgc.phantom.draw import draw_case
from rgc.phantom.recipe import GENERATOR, Recipe
from rgc.phantom.records import encounter_record, topic_records

Progress = Callable[[int, int], None]
UNFINISHED = ".unfinished"
CHUNK = 6  # cases a worker renders between two reports
Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def generate(
    recipe: Recipe, directory: str | os.PathLike[str], workers: int = 2, progress: Progress | None = None
) -> Path:
    """Render the recipe's sample into `directory` and return it; a whole one that is there already is used as it is.

    `progress(done, all)` is called with numbers of cases. Raises ValueError where `directory` holds something else.
    """
    target = Path(directory).absolute()
    if _is_sample_of(recipe, target):
        return target
    _refuse_strangers(recipe, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    prefix = f".{target.name}.{os.getpid()}."
    made = Path(tempfile.mkdtemp(prefix=prefix, suffix=UNFINISHED, dir=target.parent))
    try:
        made.chmod(0o755)
        _write(recipe, made, workers, progress)
        try:
            os.replace(made, target)  # onto nothing, or onto an empty folder
        except OSError as error:
            if _is_sample_of(recipe, target):  # another process was faster
                return target
            raise ValueError(f"cannot put the sample at {target}: {error}") from error
        _sync(target.parent)
    finally:
        if made.exists():
            shutil.rmtree(made, ignore_errors=True)
    return target


def _sweep(target: Path) -> None:
    """Remove what generations of this folder left that were killed: more than an hour old, their process gone."""
    for left in target.parent.glob(f".{target.name}.*{UNFINISHED}"):
        pid = left.name.removeprefix(f".{target.name}.").partition(".")[0]
        try:
            old = time.time() - left.stat().st_mtime > 3600
            if old and pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process swept it


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_recipe(directory: Path) -> tuple[Recipe, int] | None:
    """The recipe of a whole sample and the version of its generator; None where the folder holds no sample."""
    try:
        body = json.loads((directory / "recipe.json").read_text(encoding="utf-8"))
        return Recipe.from_json(body), int(body["generator"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_sample_of(recipe: Recipe, target: Path) -> bool:
    return read_recipe(target) == (recipe, GENERATOR)


def _refuse_strangers(recipe: Recipe, target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    found = read_recipe(target) if target.is_dir() else None
    if found is None:
        raise ValueError(f"{target} exists and is no sample: choose another folder, or move it away")
    raise ValueError(
        f"{target} holds another sample ({found[0]}, generator {found[1]}), not {recipe}, generator {GENERATOR}: "
        "choose another folder, or delete it"
    )


def _write(recipe: Recipe, made: Path, workers: int, progress: Progress | None) -> None:
    images = made / "images"
    images.mkdir()
    chunks = [range(n, min(n + CHUNK, recipe.cases)) for n in range(0, recipe.cases, CHUNK)]
    encounters: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    for part_encounters, part_truth in _run(recipe, images, chunks, workers):
        encounters += part_encounters
        truth += part_truth
        if progress:
            progress(len(encounters), recipe.cases)
    topics = topic_records(recipe, {str(e["topicID"]) for e in encounters})
    for name, rows in (("encounters", encounters), ("topics", topics), ("truth", truth)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_durably(made / f"{name}.jsonl", text.encode())
    _sync(images)
    # The recipe is the mark of a whole sample, so it comes last.
    write_durably(made / "recipe.json", (json.dumps(recipe.to_json(), indent=1) + "\n").encode())
    _sync(made)


def _run(recipe: Recipe, images: Path, chunks: list[range], workers: int) -> Iterable[Rows]:
    if workers <= 1 or len(chunks) == 1:
        yield from (_draw_chunk(recipe, images, chunk) for chunk in chunks)
        return
    with processes(workers) as pool:
        yield from pool.map(_draw_chunk, [recipe] * len(chunks), [images] * len(chunks), chunks)


def _draw_chunk(recipe: Recipe, images: Path, chunk: range) -> Rows:
    encounters, truth = [], []
    for index in chunk:
        case, files, rows = draw_case(recipe, index)
        for name, data, _ in files:
            (images / name).write_bytes(data)
        encounters.append(encounter_record(recipe, case))
        truth += rows
    return encounters, truth


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
