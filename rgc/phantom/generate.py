"""Write a sample into a folder: whole, or not at all."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corpus_db.files import sync, written
from corpus_db.progress import told
from corpus_db.workers import processes
from rgc.phantom.draw import draw_case
from rgc.phantom.recipe import GENERATOR, Recipe
from rgc.phantom.records import encounter_record, topic_records

Say = Callable[[str], None]
UNFINISHED = ".unfinished"
CHUNK = 6  # cases a worker renders between two reports; what a kill loses


def generate(recipe: Recipe, directory: str | os.PathLike[str], workers: int = 2, say: Say | None = None) -> Path:
    """Render the recipe's sample into `directory` and return it; a whole one that is there already is used as it is.

    What a killed generation of the same recipe had rendered is kept. `say` is told how far it is. Raises ValueError
    where `directory` holds something else.
    """
    target = Path(directory).absolute()
    if _is_sample_of(recipe, target):
        return target
    _refuse_strangers(recipe, target)
    made = target.parent / f".{target.name}.{recipe.digest}{UNFINISHED}"
    made.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target, made)
    with _locked(made):
        if _is_sample_of(recipe, target):  # another process made it meanwhile
            with suppress(OSError):
                made.rmdir()
            return target
        if not _is_sample_of(recipe, made):
            _write(recipe, made, workers, say)
        shutil.rmtree(made / "rows", ignore_errors=True)
        try:
            os.replace(made, target)  # onto nothing, or onto an empty folder
        except OSError as error:
            raise ValueError(f"cannot put the sample at {target}: {error}") from error
        sync(target.parent)
    return target


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder, made where it is missing, against other processes; False where one has it and we do not wait."""
    while True:
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # the process that had it has just finished, and renamed it
            handle = os.open(folder, os.O_RDONLY)
            break
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _sweep(target: Path, ours: Path) -> None:
    """Remove what killed generations of other recipes left for this folder."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{UNFINISHED}"):
        if left != ours and left.is_dir():
            with _locked(left, wait=False) as dead:
                if dead:
                    shutil.rmtree(left, ignore_errors=True)


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


def _write(recipe: Recipe, made: Path, workers: int, say: Say | None) -> None:
    images, rows = made / "images", made / "rows"
    for folder in (images, rows):
        folder.mkdir(exist_ok=True)
    chunks = [range(n, min(n + CHUNK, recipe.cases)) for n in range(0, recipe.cases, CHUNK)]
    missing = [chunk for chunk in chunks if not _rows_of(chunk, rows).exists()]
    drawn = _run(recipe, made, missing, workers)
    for _ in told(drawn, sum(map(len, missing)), "cases to render", say) if say else drawn:
        pass
    parts = [json.loads(_rows_of(chunk, rows).read_text(encoding="utf-8")) for chunk in chunks]
    encounters = [encounter for part in parts for encounter in part["encounters"]]
    truth = [row for part in parts for row in part["truth"]]
    topics = topic_records(recipe, {str(e["topicID"]) for e in encounters})
    for name, records in (("encounters", encounters), ("topics", topics), ("truth", truth)):
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        _write_durably(made / f"{name}.jsonl", text.encode())
    # The recipe is the mark of a whole sample, so it comes last.
    _write_durably(made / "recipe.json", (json.dumps(recipe.to_json(), indent=1) + "\n").encode())
    sync(made)


def _rows_of(chunk: range, rows: Path) -> Path:
    return rows / f"{chunk.start:06d}.json"


def _run(recipe: Recipe, made: Path, chunks: list[range], workers: int) -> Iterable[range]:
    if workers <= 1 or len(chunks) <= 1:
        yield from (_draw_chunk(recipe, made, chunk) for chunk in chunks)
        return
    with processes(workers) as pool:
        yield from pool.map(_draw_chunk, [recipe] * len(chunks), [made] * len(chunks), chunks)


def _draw_chunk(recipe: Recipe, made: Path, chunk: range) -> range:
    """Render a chunk's images, then its rows, which mark it as done; give it back."""
    encounters, truth = [], []
    for index in chunk:
        case, files, rows = draw_case(recipe, index)
        for name, data, _ in files:
            _write_durably(made / "images" / name, data)
        encounters.append(encounter_record(recipe, case))
        truth += rows
    sync(made / "images")
    with written(_rows_of(chunk, made / "rows")) as file:
        file.write(json.dumps({"encounters": encounters, "truth": truth}).encode())
    return chunk


def _write_durably(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.write_bytes(data)
    sync(path)
